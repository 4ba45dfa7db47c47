"""Photographs and overlays small enough to lie inside one file."""

from __future__ import annotations

import base64
import io
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from camcore._shared.optional import needs
from camcore.adapter import Array
from camcore.errors import InputError
from camcore.photos.crop import CentreCrop
from camcore.recipes import OverlayStyle

Picture: TypeAlias = npt.NDArray[np.uint8]


def shrunk(photo: npt.ArrayLike, side: int) -> Picture:
    """Bring a photograph to uint8 RGB whose longer side is at most `side`.

    Parameters
    ----------
    photo : (H, W, 3) or (H, W, 1) array
        uint8, or floating in [0, 1].
    side : int
        In pixels; smaller photographs keep their size.

    Returns
    -------
    (h, w, 3) uint8 array
    """
    from camcore.viz.arrays import as_images

    with needs("report", "scaling photographs"):
        from PIL import Image
    pixels = np.asarray(photo)
    if pixels.ndim != 3:
        raise InputError(f"A photograph of shape {pixels.shape}; expected (H, W, 3).")
    image = Image.fromarray(np.rint(as_images(pixels)[0]).astype(np.uint8))
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.array(image)


def laid_over(
    photo: Picture, shown: Array, style: OverlayStyle, crop: CentreCrop | None = None
) -> Picture:
    """Lay a map over a photograph, which stays bare where the model did not look.

    Parameters
    ----------
    photo : (H, W, 3) uint8 array
        RGB.
    shown : (h, w) array
        The map; drawn stretched to [0, 1] where it leaves it.
    style : OverlayStyle
        How the two are mixed.
    crop : CentreCrop, optional
        Which square of the photograph the map is of.

    Returns
    -------
    (H, W, 3) uint8 array
    """
    from camcore.viz import overlay

    low, high = float(shown.min()), float(shown.max())
    if low < 0 or high > 1:
        shown = (shown - low) / (high - low or 1.0)
    if crop is None:
        whole: Picture = overlay(photo, shown, style=style)[0]
        return whole
    mixed = overlay(photo, crop.to_photo(shown), style=style)[0]
    bare: Picture = np.where(crop.seen()[..., None], mixed, photo)
    return bare


def data_uri(picture: Picture) -> str:
    """Encode a picture as a JPEG within a ``data:`` address.

    Parameters
    ----------
    picture : (H, W, 3) uint8 array
        RGB.
    """
    with needs("report", "encoding pictures"):
        from PIL import Image
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=84, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
