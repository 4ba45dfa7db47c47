"""Find where what a preprocessing makes of a photograph lies in it, by showing it ramps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from camcore.photos.crop import Crop

Picture: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float64]

_BRIGHT = 0.5
"""Share of the largest change from black to white from which on a pixel is of the photograph."""


_ROUGHLY = 0.005
"""How far from its length a scaled side that is seen in part may be taken for."""

_GOLDEN = (5**0.5 - 1) / 2
"""The fractional parts of its multiples are spread evenly, however many they are."""


def measured_crop(see: Callable[[Picture], Floats], photo_shape: tuple[int, ...]) -> Crop | None:
    """Find what a preprocessing shows of a photograph, where it scales, crops and fills up.

    It is shown a black and a white photograph, which tell how it scales values and what it fills
    up, and one that brightens downwards and one that brightens to the right, which tell where
    each of its rows and columns comes from.

    Parameters
    ----------
    see : callable
        Takes a photograph ``(H, W, 3)`` uint8, and returns what the model is shown, ``(h, w)``.
    photo_shape : (int, int)
        The photograph's height and width; further entries are ignored.

    Returns
    -------
    Crop or None
        None where it does something else: it turns, mirrors or warps photographs, or scales the
        values of each by its own range.
    """
    height, width = photo_shape[:2]
    black, white = (see(np.full((height, width, 3), level, np.uint8)) for level in (0, 255))
    change = np.abs(white - black)
    inside = change > _BRIGHT * change.max()
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not change.max() > 0 or not inside[np.ix_(rows, columns)].all():
        return None
    scaled, starts = [], []
    for axis, length, along in ((0, height, rows), (1, width, columns)):
        seen = see(_ramp(height, width) if axis == 0 else _ramp(width, height).swapaxes(0, 1))
        levels = 255 * ((seen - black) / np.where(inside, white - black, 1))[np.ix_(rows, columns)]
        # Level 0 is the first pixel's centre, 254 the last one's.
        places = levels / 254 * (length - 1) + 0.5
        line = _line(places if axis == 0 else places.T, along + 0.5, length)
        if line is None:
            return None
        slope, offset = line
        scaled.append(round(length / slope))
        starts.append(offset / length)
    short, long = (0, 1) if height <= width else (1, 0)
    # Little of a long side tells its scaled length but roughly; kept in proportion, it is exact.
    exact = scaled[short] * photo_shape[long] // photo_shape[short]
    in_part = (rows, columns)[long].size < scaled[long] - 1
    if in_part and abs(exact - scaled[long]) <= max(2, _ROUGHLY * exact):
        scaled[long] = exact
    top, left = (round(start * side) for start, side in zip(starts, scaled, strict=True))
    return Crop(photo_shape, black.shape, (scaled[0], scaled[1]), (top, left))


def _line(
    places: Floats, along: npt.NDArray[np.floating], length: int
) -> tuple[float, float] | None:
    """Fit a line to where rows come from; returns its slope and offset."""
    middle = places.mean(1)
    # The first and last rows may be mixed with what is filled up, or repeated.
    inner = slice(1, -1) if len(along) > 4 else slice(None)
    if len(along[inner]) < 2:
        return None
    slope, offset = np.polyfit(along[inner], middle[inner], 1)
    # Two of 255 levels, and half a pixel of either.
    tolerance = 2 * (length - 1) / 254 + 0.5 + 0.5 * abs(slope)
    astray = np.abs(places[inner] - (slope * along[inner] + offset)[:, None]).max()
    if slope <= 0 or astray > tolerance:
        return None
    return float(slope), float(offset)


def _ramp(length: int, across: int) -> Picture:
    """Make a grey photograph that brightens downwards, from 0 to 254.

    What lies between two levels is told by how many pixels of a row have the higher one.
    """
    levels = np.linspace(0, 254, length)[:, None]
    parts = np.modf(np.arange(across) * _GOLDEN)[0]
    return np.repeat((levels + parts).astype(np.uint8)[..., None], 3, -1)
