"""Find and read the masks that say where objects lie in photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from camcore.photos.io import read_photo

_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".jpg", ".jpeg")


def mask_of(photo: Path, folder: Path) -> Path | None:
    """Find the mask of a photograph.

    Parameters
    ----------
    photo : Path
    folder : Path
        Its masks are named as the photographs but for their endings.

    Returns
    -------
    Path or None
        A PNG before other formats; None where there is none.
    """
    named = (folder / f"{photo.stem}{suffix}" for suffix in _SUFFIXES)
    return next((path for path in named if path.exists()), None)


def read_mask(path: Path) -> npt.NDArray[np.bool_]:
    """Read a mask.

    Parameters
    ----------
    path : Path
        A picture, white on the object and black elsewhere.

    Returns
    -------
    (H, W) bool array
        Whether the brightest of a pixel's channels is 128 of 255 or more.

    Raises
    ------
    InputError
        It is no picture.
    """
    marked: npt.NDArray[np.bool_] = read_photo(path).max(axis=-1) > 127
    return marked
