"""Lay a map over the photograph that it explains, at the place that the model saw."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from camcore.photos.crop import Crop
from camcore.recipes import OverlayStyle
from camcore.resize import resize
from camcore.viz.arrays import Picture
from camcore.viz.overlay import overlay, overlay_crop, overlay_exactly


def leaves_unit_range(shown: npt.NDArray[Any]) -> bool:
    """Tell whether a map leaves [0, 1], as some recipes have it, and is stretched to be drawn."""
    return float(shown.min()) < 0 or float(shown.max()) > 1


def heat_of(shown: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Bring a map to [0, 1], where it leaves that range."""
    heat = np.asarray(shown, np.float32)
    if leaves_unit_range(heat):
        low, high = heat.min(), heat.max()
        heat = (heat - low) / ((high - low) or np.float32(1))
    return heat


def map_over(
    photo: Picture, heat: npt.NDArray[np.floating], crop: Crop | None
) -> npt.NDArray[np.float32]:
    """Lay a map over a whole photograph, ``(H, W)`` in [0, 1]; 0 where the model did not look."""
    if crop is not None:
        return crop.to_photo(heat)
    whole: npt.NDArray[np.float32] = resize(heat[None], photo.shape[:2])[0]
    return whole


def overlay_over(
    photo: Picture,
    heat: npt.NDArray[np.floating],
    crop: Crop | None,
    style: OverlayStyle,
    *,
    exact: bool = False,
) -> Picture:
    """Lay the colours of a map over a photograph, which stays bare where the model did not look.

    Parameters
    ----------
    photo : (H, W, 3) uint8 array
        RGB.
    heat : (h, w) array
        In [0, 1], of what the model saw.
    crop : Crop or None
        Where that lies in the photograph; None for all of it.
    style : OverlayStyle
        How the two are mixed.
    exact : bool
        Mix in floating point, as `camcore.viz.overlay` does. Otherwise OpenCV mixes bytes, in a
        fraction of the time and at most one of 255 levels away.

    Returns
    -------
    (H, W, 3) uint8 array
        RGB.

    Raises
    ------
    MissingExtraError
        The extra ``viz`` is not installed.
    """
    if crop is None:
        whole: Picture = overlay(photo, heat, style=style)[0]
        return whole
    lay_over = overlay_exactly if exact else overlay_crop
    return lay_over(photo, heat, crop, style)
