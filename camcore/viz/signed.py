"""Colour signed maps: red counts for what is explained, blue against it, zero for neither."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError
from camcore.photos.preprocessing import as_grey
from camcore.viz.arrays import (
    Floats,
    Picture,
    Table,
    as_floats,
    as_maps,
    as_pairs,
    check_weight,
)
from camcore.viz.blends import Heat, in_colours, strips
from camcore.viz.overlay import matplotlib_table

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
    values = as_maps(maps, signed=True)
    height, width = size or values.shape[1:]
    heats = [Heat((height, width), one) for one in values]
    reach = _reach(heats, limit)
    return in_colours(values, (height, width), _bytes(colormap), partial(_steps, reach=reach))


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
    height, width = photos.shape[1:3]
    check_weight(alpha)
    heats = [Heat((height, width), one) for one in values]
    reach, table = _reach(heats, limit), _bytes(colormap)
    picture = np.empty((len(heats), height, width, 3), np.uint8)
    for index, (one, heat) in enumerate(zip(picture, heats, strict=True)):
        rows, photo = heat.enlarged(), photos[index % len(photos)]
        for strip in strips((height, width)):
            large = rows(strip)
            places = _steps(large, reach)
            weight = alpha * np.minimum(np.abs(large) / np.float32(reach), 1)
            grey = as_grey(np.broadcast_to(as_floats(photo[strip]), (*large.shape, 3)))[..., 0]
            for channel in range(3):
                mixed = (1 - weight) * grey + weight * table[:, channel][places]
                one[strip, :, channel] = np.rint(mixed).astype(np.uint8)
    return picture


def _reach(heats: Sequence[Heat], limit: float | None) -> float:
    """Find the value of the strongest colours: the largest of all maps where none is given."""
    if limit is not None and not (0 < limit < np.inf):
        raise InputError(f"limit is {limit}; pass the positive value of the strongest colour.")
    if limit is not None:
        return limit
    return max(map(_largest, heats)) or 1.0


def _largest(heat: Heat) -> float:
    rows = heat.enlarged()
    return max(float(np.abs(rows(strip)).max()) for strip in strips(heat.size))


def _steps(values: Floats, reach: float) -> npt.NDArray[np.intp]:
    """Find each value's place in the table of colours."""
    scaled = np.clip(values / np.float32(reach), -1, 1) * (_STEPS // 2)
    steps: npt.NDArray[np.intp] = np.rint(scaled).astype(np.intp) + _STEPS // 2
    return steps


def _bytes(colormap: str) -> Picture:
    return np.rint(255 * diverging_table(colormap)).astype(np.uint8)


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
