"""Mix colours into images, in each of the ways that an `OverlayStyle` names.

A picture is mixed a strip of rows and a colour at a time: one of 48 megapixels takes little more
memory than itself, and its pixels are to the last bit those of the whole mixed at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore._shared.optional import needs
from camcore.errors import InputError
from camcore.resize import LINEAR, Interpolation, resized_rows
from camcore.viz.arrays import Floats, Picture, Table, as_floats

Rows: TypeAlias = Callable[[slice], Floats]
"""The rows ``(n, W)`` of a map of a picture's size, once they are asked for."""

Places: TypeAlias = npt.NDArray[np.integer[Any]]
"""Indices of colours in a table."""

Window: TypeAlias = tuple[slice, slice]
"""Rows and columns of a picture."""

PILLOW_CUBIC = Interpolation("cubic", cubic_coefficient=-0.5, border="renormalise")
"""``Image.resize`` with ``BICUBIC``, where it enlarges."""

STRIP = 2**18
"""About how many pixels are mixed at once: their arrays stay within a processor's cache."""

_EVERYWHERE: Window = (slice(None), slice(None))


def strips(size: tuple[int, ...], pixels: int | None = None) -> Iterator[slice]:
    """Cut a picture into strips of rows.

    Parameters
    ----------
    size : (H, W)
        The picture's height and width; further entries are ignored.
    pixels : int, optional
        About how many pixels a strip has; `STRIP` unless given.

    Yields
    ------
    slice
        Of rows, from the top.
    """
    height, width = size[:2]
    step = max(1, (pixels or STRIP) // max(1, width))
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))


def to_uint8(values: Floats) -> Picture:
    """Round to whole levels from 0 to 255."""
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def coloured(maps: Floats, size: tuple[int, int], table: Table) -> Picture:
    """Colour maps ``(B, h, w)`` in [0, 1] at a size; returns RGB ``(B, H, W, 3)``."""
    return in_colours(maps, size, to_uint8(255 * table.astype(np.float32)), _levels)


def in_colours(
    maps: Floats, size: tuple[int, int], table: Picture, places: Callable[[Floats], Places]
) -> Picture:
    """Colour maps ``(B, h, w)`` at a size by the places of their values in a table ``(N, 3)``."""
    picture = np.empty((len(maps), *size, 3), np.uint8)
    for one, heat in zip(picture, maps, strict=True):
        rows = Heat(size, heat).enlarged()
        for strip in strips(size):
            found = places(rows(strip))
            for channel in range(3):
                one[strip, :, channel] = table[:, channel][found]
    return picture


def _levels(maps: Floats) -> Picture:
    # Truncated, not rounded: every library and tutorial looks its colours up so.
    return (255 * maps).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Heat:
    """A map that is laid over a picture.

    Parameters
    ----------
    size : (int, int)
        The picture's height and width.
    map : (h, w) array
        In [0, 1], to be stretched over the picture. None where `rows` are given.
    rows : callable, optional
        The `Rows` of the map where it lies over the picture in another way.
    """

    size: tuple[int, int]
    map: Floats | None = None
    rows: Rows | None = None

    def enlarged(self, how: Interpolation = LINEAR) -> Rows:
        """Bring the map to the picture's size."""
        if self.rows is not None:
            return self.rows
        assert self.map is not None
        return resized_rows(self.map, self.size, how)

    def own(self) -> Floats:
        """Return the map at its own resolution."""
        if self.map is not None:
            return self.map
        assert self.rows is not None
        return np.concatenate([self.rows(strip) for strip in strips(self.size)])


_Colours: TypeAlias = Callable[[slice], tuple[Floats, Callable[[int], Floats]]]
"""Of some rows: the map ``(n, W)``, and what gives the colours there, a channel at a time."""


def _by_level(heat: Heat, table: Table) -> _Colours:
    """Look colours from 0 to 255 up."""
    return _looked_up(heat.enlarged(), 255 * table.astype(np.float32), _levels)


def _in_unit_range(heat: Heat, table: Table) -> _Colours:
    """Look colours from 0 to 1 up."""
    return _looked_up(heat.enlarged(), table.astype(np.float32), _levels)


def _of_square(heat: Heat, table: Table) -> _Colours:
    """Look colours of the map's square up, as matplotlib does: by the floor of 256 x."""
    rows = heat.enlarged(PILLOW_CUBIC)

    def levels(squared: Floats) -> Picture:
        return np.minimum(256 * squared, 255).astype(np.uint8)

    return _looked_up(lambda strip: rows(strip) ** 2, (table * 255).astype(np.float32), levels)


def _looked_up(rows: Rows, table: Floats, levels: Callable[[Floats], Picture]) -> _Colours:
    channels = np.ascontiguousarray(table.T)

    def colours(strip: slice) -> tuple[Floats, Callable[[int], Floats]]:
        large = rows(strip)
        places = levels(large)
        return large, lambda channel: channels[channel][places]

    return colours


def _of_small_picture(heat: Heat, table: Table) -> _Colours:
    """Colour the map at its own resolution, stretch the colours to 0..255 and enlarge these."""
    with needs("viz", "resizing pictures"):
        from PIL import Image
    places = _levels(heat.own())
    levels = table.astype(np.float32)
    used = levels[np.bincount(places.reshape(-1), minlength=256) > 0]
    low, high = used.min(), used.max()
    small = Image.fromarray(_stretched(levels, low, high)[places])
    large = np.asarray(small.resize(heat.size[::-1]))
    unused = np.zeros((0, 0), np.float32)
    return lambda strip: (unused, lambda channel: large[strip, :, channel].astype(np.float32))


def _stretched(values: Floats, low: np.float32, high: np.float32) -> Picture:
    """Stretch to 0..255 and truncate, in the order in which Keras makes an image of an array."""
    values, peak = values - low, high - low
    if peak != 0:
        values = values / peak
    return (values * 255).astype(np.uint8)


def _divided_by_peak(values: Floats, _: np.float32, peak: np.float32) -> Picture:
    return (255 * (values / peak if peak > 0 else values)).astype(np.uint8)


_Weight: TypeAlias = float | Floats


@dataclass(frozen=True)
class Blend:
    """How an image and a map's colours are mixed.

    Parameters
    ----------
    weights : callable
        Takes alpha and the map; returns the weights of image and colours, which are added.
    colours : callable
        Takes the `Heat` and the colour table.
    unit : bool
        Whether image and colours are mixed in [0, 1], and not in [0, 255].
    by_range : callable, optional
        Takes what is mixed, and its smallest and largest value in the picture; returns uint8.
        Left out, values are rounded, and cut off at black and white.
    """

    weights: Callable[[float, Floats], tuple[_Weight, _Weight]]
    colours: Callable[[Heat, Table], _Colours] = _by_level
    unit: bool = False
    by_range: Callable[[Floats, np.float32, np.float32], Picture] | None = None


def weights_by_heat(alpha: float, heat: Floats) -> tuple[Floats, Floats]:
    """Weigh image and colours; the slope is bounded, so that no heat begins at an edge."""
    weight = alpha * heat * (2 - heat)
    return 1 - weight, weight


def _mean(alpha: float, _: Floats) -> tuple[_Weight, _Weight]:
    return 1 - alpha, alpha


def _sum(alpha: float, _: Floats) -> tuple[_Weight, _Weight]:
    return 1, alpha


_BLENDS: Mapping[str, Blend] = {
    "mix_by_heat": Blend(weights_by_heat),
    "mix": Blend(_mean),
    "mix_peak": Blend(_mean, _in_unit_range, unit=True, by_range=_divided_by_peak),
    "mix_squared": Blend(_mean, _of_square),
    "add_clip": Blend(_sum),
    "add_dimmed": Blend(lambda alpha, _: (1 - alpha, 1)),
    "add_rescale": Blend(_sum, _of_small_picture, by_range=_stretched),
}


def find_blend(name: str) -> Blend:
    """Find a blend by its name.

    Raises
    ------
    InputError
        There is none of that name.
    """
    if name not in _BLENDS:
        raise InputError(f"There is no blend {name!r}; choose from {', '.join(_BLENDS)}.")
    return _BLENDS[name]


def lay(
    image: npt.NDArray[Any],
    heat: Heat,
    blend: Blend,
    table: Table,
    alpha: float,
    window: Window = _EVERYWHERE,
) -> Picture:
    """Lay the colours of a map over an image.

    Parameters
    ----------
    image : (H, W, 1 or 3) array
        uint8, or floating in [0, 1].
    heat : Heat
        The map.
    blend, table, alpha
        How the two are mixed.
    window : (slice, slice)
        The rows and columns of the picture that are wanted.

    Returns
    -------
    (h, w, 3) uint8 array
        RGB, of the window.
    """
    height, width = image.shape[:2]
    colours = blend.colours(heat, table)
    top, bottom, _ = window[0].indices(height)
    left, right, _ = window[1].indices(width)

    def mixed(rows: slice, columns: slice) -> Iterator[Floats]:
        large, colour = colours(rows)
        image_weight, colour_weight = blend.weights(alpha, large[:, columns])
        for channel in range(3):
            part = as_floats(image[rows, columns, channel % image.shape[2]])
            part = part / np.float32(255) if blend.unit else part
            yield image_weight * part + colour_weight * colour(channel)[:, columns]

    low, high = np.float32(np.inf), np.float32(-np.inf)
    if blend.by_range is not None:
        for values in (one for rows in strips(image.shape) for one in mixed(rows, slice(None))):
            low, high = min(low, values.min()), max(high, values.max())
    picture = np.empty((bottom - top, right - left, 3), np.uint8)
    for strip in strips((bottom - top, width)):
        rows = slice(top + strip.start, top + strip.stop)
        for channel, values in enumerate(mixed(rows, slice(left, right))):
            finished = blend.by_range and blend.by_range(values, low, high)
            picture[strip, :, channel] = to_uint8(values) if finished is None else finished
    return picture
