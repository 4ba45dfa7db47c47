"""The former place of `camcore.photos`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from camcore.photos import CentreCrop, encode_png, read_photo, write_image

__all__ = ["CentreCrop", "encode_png", "read_photo", "write_png"]


def write_png(path: str | os.PathLike[str], picture: npt.NDArray[np.uint8] | bytes) -> Path:
    """Write a picture as PNG whatever the path ends in; see `camcore.photos.write_image`."""
    return write_image(path, picture if isinstance(picture, bytes) else encode_png(picture))
