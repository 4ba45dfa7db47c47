"""Overlays of whole photographs, quickly: OpenCV does what NumPy spells out.

`camcore.viz.overlay` mixes in floating point, which takes longer than many a model once
photographs are large. Here colours are rounded to bytes before they are mixed, so that a
pixel is at most one of 255 levels away.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from camcore._shared.optional import needs
from camcore.photos.crop import CentreCrop
from camcore.recipes import OverlayStyle
from camcore.viz.overlay import Floats, Picture, colour_table, overlay


def paint(
    photo: Picture, heat: npt.NDArray[np.floating], crop: CentreCrop, style: OverlayStyle
) -> Picture:
    """Lay the map of a model's square over the whole photograph.

    Parameters
    ----------
    photo : (H, W, 3) uint8 array
        RGB.
    heat : (h, w) array
        In [0, 1], of the square that the model saw.
    crop : CentreCrop
        Where the square lies in the photograph.
    style : OverlayStyle
        How the two are mixed.

    Returns
    -------
    (H, W, 3) uint8 array
        The photograph, bare where the model did not look.

    Raises
    ------
    MissingExtraError
        OpenCV is not installed.
    """
    if style.blend != "mix":
        mixed = overlay(photo, crop.to_photo(heat), style=style)[0]
        return np.where(crop.seen()[..., None], mixed, photo)
    with needs("viz", "painting overlays"):
        import cv2
    painted = photo.copy()
    if not (rows_and_columns := _seen(crop)):
        return painted
    rows, columns = rows_and_columns
    levels = (255 * _enlarged(heat, crop)[rows, columns]).astype(np.uint8)
    colours = cv2.applyColorMap(levels, _byte_table(style.colormap))
    inside = np.ascontiguousarray(photo[rows, columns])
    painted[rows, columns] = cv2.addWeighted(inside, 1 - style.alpha, colours, style.alpha, 0)
    return painted


def _seen(crop: CentreCrop) -> tuple[slice, slice] | None:
    """The pixels whose centres the model saw, a rectangle of the photograph."""
    top, left, bottom, right = crop.box
    spans = []
    for first, last, length in (
        (top, bottom, crop.photo_shape[0]),
        (left, right, crop.photo_shape[1]),
    ):
        inside = np.flatnonzero(
            (np.arange(length) + 0.5 >= first) & (np.arange(length) + 0.5 <= last)
        )
        if not len(inside):
            return None
        spans.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return spans[0], spans[1]


def _enlarged(heat: npt.NDArray[np.floating], crop: CentreCrop) -> Floats:
    """The map over the whole photograph, as `CentreCrop.to_photo` has it where it was seen."""
    import cv2

    (rows, columns), (top, left) = crop.scaled, crop.corner
    square: Any = np.asarray(heat, np.float32)
    if square.shape != (crop.size, crop.size):
        square = cv2.resize(square, (crop.size, crop.size))
    below, right = rows - top - crop.size, columns - left - crop.size
    canvas = np.pad(square, ((top, below), (left, right)), mode="edge")
    height, width = crop.photo_shape[:2]
    large: Floats = np.clip(cv2.resize(canvas, (width, height)), 0, 1)
    return large


@lru_cache(maxsize=32)
def _byte_table(name: str) -> Picture:
    """Colours as OpenCV looks them up, ``(256, 1, 3)``; RGB as the photograph is."""
    return np.rint(255 * colour_table(name)).astype(np.uint8)[:, None]
