"""Colour signed maps: red counts for what is explained, blue against it, zero for neither."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError
from camcore.photos.preprocessing import as_grey
from camcore.viz.arrays import Floats, Picture, as_maps, as_pairs, check_weight, resized
from camcore.viz.overlay import Table, matplotlib_table

DIVERGING = "RdBu_r"
_STEPS = 255  # odd, so that zero has a colour of its own


def signed_map(
    maps: npt.ArrayLike,
    size: tuple[int, int] | None = None,
    *,
    limit: float | None = None,
    colormap: str = DIVERGING,
) -> Picture:
    """Colour signed maps on a scale whose middle is zero.

    Parameters
    ----------
    maps : (B, h, w) or (h, w) array
        Any finite values, such as an explanation's raw maps.
    size : (H, W), optional
        Brought to this size by linear interpolation; the maps' own unless given.
    limit : float, optional
        The absolute value of the strongest colours; larger values look the same. The
        largest in the batch unless given.
    colormap : str
        A diverging colour map of matplotlib.

    Returns
    -------
    (B, H, W, 3) uint8 array
        RGB.

    Raises
    ------
    InputError
        Maps have another shape or are not finite, `limit` is not positive, or the colour
        map is unknown.
    MissingExtraError
        matplotlib is not installed.
    """
    values = resized(as_maps(maps, signed=True), size)
    return _coloured(values, _reach(values, limit), colormap)


def signed_overlay(
    images: npt.ArrayLike,
    maps: npt.ArrayLike,
    *,
    limit: float | None = None,
    alpha: float = 0.85,
    colormap: str = DIVERGING,
) -> Picture:
    """Lay signed maps over their images, which turn grey so that every colour is a sign.

    Parameters
    ----------
    images : (B, H, W, 3) or (H, W, 3) array
        RGB, or grey as `overlay` takes it, uint8 or floating in [0, 1]. One image serves any
        number of maps.
    maps : (B, h, w) or (h, w) array
        Any finite values; brought to the image's size.
    limit : float, optional
        As `signed_map` takes it.
    alpha : float in [0, 1]
        The weight of a colour at the limit. It falls in proportion to the value, to nothing
        at zero.
    colormap : str
        A diverging colour map of matplotlib.

    Returns
    -------
    (B, H, W, 3) uint8 array
        RGB.

    Raises
    ------
    InputError
        As for `signed_map`, or the images do not match the maps in number.
    MissingExtraError
        matplotlib is not installed.
    """
    photos, values = as_pairs(images, maps, signed=True)
    values = resized(values, photos.shape[1:3])
    check_weight(alpha)
    reach = _reach(values, limit)
    weight = alpha * np.minimum(np.abs(values) / np.float32(reach), 1)[..., None]
    mixed = (1 - weight) * as_grey(photos) + weight * _coloured(values, reach, colormap)
    return np.rint(mixed).astype(np.uint8)


def _reach(values: Floats, limit: float | None) -> float:
    if limit is not None and not (0 < limit < np.inf):
        raise InputError(f"limit is {limit}; pass the positive value of the strongest colour.")
    return limit or float(np.abs(values).max()) or 1.0


def _coloured(values: Floats, reach: float, colormap: str) -> Picture:
    steps = np.rint(np.clip(values / np.float32(reach), -1, 1) * (_STEPS // 2)).astype(int)
    colours: Picture = np.rint(255 * diverging_table(colormap)).astype(np.uint8)
    picture: Picture = colours[steps + _STEPS // 2]
    return picture


@lru_cache(maxsize=8)
def diverging_table(name: str = DIVERGING) -> Table:
    """Return the 255 colours of a diverging colour map of matplotlib; the 128th is zero's.

    Returns
    -------
    (255, 3) read-only array
        RGB in [0, 1].

    Raises
    ------
    InputError
        There is no colour map of that name.
    MissingExtraError
        matplotlib is not installed.
    """
    table = matplotlib_table(name, _STEPS, "try a diverging one: RdBu_r, coolwarm or PuOr_r")
    table.setflags(write=False)
    return table
