"""Lay maps over their images, as an `OverlayStyle` says: which colours, mixed in which way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore._shared.optional import needs
from camcore.errors import InputError
from camcore.photos.crop import Crop
from camcore.recipes import OverlayStyle
from camcore.resize import Interpolation
from camcore.viz.arrays import Floats, Picture, as_maps, as_pairs, check_weight, resized

Table: TypeAlias = npt.NDArray[np.float64]

PILLOW_CUBIC = Interpolation("cubic", cubic_coefficient=-0.5, border="renormalise")
"""``Image.resize`` with ``BICUBIC``, where it enlarges."""


_LINES = 200
"""How many lines of a frame are as wide as a photograph's shorter side."""


def overlay(
    images: npt.ArrayLike,
    maps: npt.ArrayLike,
    *,
    style: OverlayStyle | None = None,
    colormap: str | None = None,
    alpha: float | None = None,
    blend: str | None = None,
) -> Picture:
    """Lay maps over their images.

    Parameters
    ----------
    images : (B, H, W, 3) or (H, W, 3) array
        RGB, uint8 or floating in [0, 1]; or grey, (H, W) or (B, H, W), with or without a
        channel axis of 1. One image serves any number of maps.
    maps : (B, h, w) or (h, w) array
        In [0, 1]; brought to the image's size.
    style : OverlayStyle, optional
        How the two are mixed.
    colormap : str, optional
        Instead of the style's: a matplotlib colour map, ``"viridis"``, or one of
        OpenCV's, ``"cv2:JET"``.
    alpha : float in [0, 1], optional
        Instead of the style's: the weight of the heat.
    blend : str, optional
        Instead of the style's. With a = alpha and h the map's value:

        - ``mix_by_heat``: (1 - w) image + w heat, with w = a h (2 - h): an image stays as it
          is where there is no evidence (camcore's own).
        - ``mix``: (1 - a) image + a heat.
        - ``mix_peak``: the same, then divided by the picture's largest value
          (pytorch-grad-cam's ``show_cam_on_image``).
        - ``mix_squared``: the same as ``mix``, of the map's square, which is enlarged by
          cubic interpolation (torchcam's ``overlay_mask``).
        - ``add_clip``: image + a heat, cut off at white.
        - ``add_dimmed``: (1 - a) image + heat, cut off at white (tf-explain).
        - ``add_rescale``: image + a heat, its range then stretched to 0..255. The map
          is coloured at its own resolution and the colours are resized (keras.io).

    Returns
    -------
    (B, H, W, 3) uint8 array
        RGB.

    Raises
    ------
    InputError
        Images or maps have another shape or range, the colour map or blend is
        unknown, or the weight lies outside [0, 1].
    MissingExtraError
        The colour map's library is not installed.
    """
    style = style or OverlayStyle()
    table = colour_table(style.colormap if colormap is None else colormap)
    weight = style.alpha if alpha is None else alpha
    check_weight(weight)
    mix = _blend(blend or style.blend)
    photos, heat = as_pairs(images, maps)
    photos = np.broadcast_to(photos, (len(heat), *photos.shape[1:]))
    return np.stack([mix(p, h, table, weight) for p, h in zip(photos, heat, strict=True)])


def heat_map(
    maps: npt.ArrayLike, size: tuple[int, int] | None = None, *, colormap: str = "inferno"
) -> Picture:
    """Colour maps, without images.

    Parameters
    ----------
    maps : (B, h, w) or (h, w) array
        In [0, 1].
    size : (H, W), optional
        Brought to this size; the map's own unless given.
    colormap : str
        As `overlay` takes it.

    Returns
    -------
    (B, H, W, 3) uint8 array
        RGB.

    Raises
    ------
    InputError
        Maps have another shape or range, or the colour map is unknown.
    MissingExtraError
        The colour map's library is not installed.
    """
    heat = resized(as_maps(maps), size)
    return _to_uint8(255 * _coloured(heat, colour_table(colormap)))


@lru_cache(maxsize=32)
def colour_table(name: str) -> Table:
    """Return the 256 colours of a colour map, coldest first.

    Parameters
    ----------
    name : str
        A matplotlib name, or ``cv2:`` and the end of one of OpenCV's ``COLORMAP_`` names.

    Returns
    -------
    (256, 3) read-only array
        RGB in [0, 1], whatever order the library keeps its channels in.

    Raises
    ------
    InputError
        There is no colour map of that name.
    MissingExtraError
        The library is not installed.
    """
    advice = "try viridis, inferno, turbo or jet, or one of OpenCV's, such as cv2:JET"
    opencv = name.startswith("cv2:")
    table = _opencv_table(name[4:]) if opencv else matplotlib_table(name, 256, advice)
    table.setflags(write=False)
    return table


def _opencv_table(name: str) -> Table:
    with needs("viz", "OpenCV's colour maps"):
        import cv2
    code = getattr(cv2, f"COLORMAP_{name.upper()}", None)
    if code is None:
        known = sorted(key[9:] for key in dir(cv2) if key.startswith("COLORMAP_"))
        raise InputError(f"OpenCV has no colour map {name!r}; choose from {', '.join(known)}.")
    bgr = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], code)[:, 0]
    return bgr[:, ::-1].astype(np.float64) / 255


def matplotlib_table(name: str, steps: int, advice: str) -> Table:
    """Sample a colour map of matplotlib in `steps` colours; `advice` ends the error message.

    Returns
    -------
    (steps, 3) array
        RGB in [0, 1].
    """
    with needs("viz", "matplotlib's colour maps"):
        import matplotlib
    if name not in matplotlib.colormaps:
        raise InputError(f"matplotlib has no colour map {name!r}; {advice}.")
    return np.array(matplotlib.colormaps[name].resampled(steps)(np.arange(steps))[:, :3])


def _coloured(maps: Floats, table: Table) -> Floats:
    # Truncated, not rounded: every library and tutorial looks its colours up so.
    return table.astype(np.float32)[(255 * maps).astype(np.uint8)]


def _to_uint8(values: Floats) -> Picture:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


_Mix: TypeAlias = Callable[[Floats, Floats, Table, float], Picture]
"""A blend: of an image ``(H, W, 3)`` in [0, 255], a map ``(h, w)``, colours and alpha."""

_Weight: TypeAlias = float | Floats


def _weighted(weights: Callable[[float, Floats], tuple[_Weight, _Weight]]) -> _Mix:
    """Blend image and colours by their weights, which depend on alpha and the map."""

    def mix(image: Floats, heat: Floats, table: Table, alpha: float) -> Picture:
        large = resized(heat, image.shape[:2])
        image_weight, colour_weight = weights(alpha, large[..., None])
        return _to_uint8(image_weight * image + colour_weight * (255 * _coloured(large, table)))

    return mix


def _weights_by_heat(alpha: float, heat: Floats) -> tuple[Floats, Floats]:
    """Weigh image and colours; the slope is bounded, so that no heat begins at an edge."""
    weight = alpha * heat * (2 - heat)
    return 1 - weight, weight


def _mix_peak(image: Floats, heat: Floats, table: Table, alpha: float) -> Picture:
    colours = _coloured(resized(heat, image.shape[:2]), table)
    mixed = alpha * colours + (1 - alpha) * (image / np.float32(255))
    peak = mixed.max()
    return (255 * (mixed / peak if peak > 0 else mixed)).astype(np.uint8)


def _mix_squared(image: Floats, heat: Floats, table: Table, alpha: float) -> Picture:
    squared = resized(heat, image.shape[:2], PILLOW_CUBIC) ** 2
    # matplotlib looks up one of 256 colours by the floor of 256 x.
    colours = table[np.minimum(256 * squared, 255).astype(np.uint8)] * 255
    return _to_uint8((1 - alpha) * image + alpha * colours.astype(np.float32))


def _add_rescale(image: Floats, heat: Floats, table: Table, alpha: float) -> Picture:
    with needs("viz", "resizing pictures"):
        from PIL import Image
    colours = _stretched(_coloured(heat, table))
    large = Image.fromarray(colours).resize((image.shape[1], image.shape[0]))
    return _stretched(np.asarray(large, dtype=np.float32) * alpha + image)


def _stretched(values: Floats) -> Picture:
    """Stretch to 0..255 and truncate, in the order in which Keras makes an image of an array."""
    values = values - values.min()
    peak = values.max()
    if peak != 0:
        values = values / peak
    return (values * 255).astype(np.uint8)


_BLENDS: Mapping[str, _Mix] = {
    "mix_by_heat": _weighted(_weights_by_heat),
    "mix": _weighted(lambda alpha, _: (1 - alpha, alpha)),
    "mix_peak": _mix_peak,
    "mix_squared": _mix_squared,
    "add_clip": _weighted(lambda alpha, _: (1, alpha)),
    "add_dimmed": _weighted(lambda alpha, _: (1 - alpha, 1)),
    "add_rescale": _add_rescale,
}


def _blend(name: str) -> _Mix:
    if name not in _BLENDS:
        raise InputError(f"There is no blend {name!r}; choose from {', '.join(_BLENDS)}.")
    return _BLENDS[name]


def overlay_crop(
    photo: Picture, heat: npt.NDArray[np.floating], crop: Crop, style: OverlayStyle
) -> Picture:
    """Lay the map of a crop over the whole photograph, quickly.

    `overlay` mixes in floating point, which takes longer than many a model once
    photographs are large. Here OpenCV mixes bytes: colours are rounded before they are
    mixed, so that a pixel is at most one of 255 levels away.

    Parameters
    ----------
    photo : (H, W, 3) uint8 array
        RGB.
    heat : (h, w) array
        In [0, 1], of the square that the model saw.
    crop : Crop
        Where what the model saw lies in the photograph.
    style : OverlayStyle
        How the two are mixed. Only ``mix_by_heat`` and ``mix`` are quick.

    Returns
    -------
    (H, W, 3) uint8 array
        The photograph, bare where the model did not look, with a thin frame around where it did.

    Raises
    ------
    MissingExtraError
        OpenCV is not installed.
    """
    window = crop.seen_window
    seen = np.ascontiguousarray(photo[window])
    if style.blend not in ("mix_by_heat", "mix"):
        seen = overlay(photo, crop.to_photo(heat), style=style)[0][window]
    elif seen.size:
        seen = _mixed_bytes(seen, _enlarged(heat, crop)[window], style)
    return framed(photo, seen, window)


def framed(photo: Picture, seen: Picture, window: tuple[slice, slice]) -> Picture:
    """Lay a picture of what the model saw into its photograph, in a thin frame.

    Parameters
    ----------
    photo : (H, W, 3) uint8 array
        RGB.
    seen : (h, w, 3) uint8 array
        RGB, of the window.
    window : (slice, slice)
        Rows and columns of the photograph that the model saw.

    Returns
    -------
    (H, W, 3) uint8 array
        The frame, a white line within a black one that show on any photograph, lies outside
        of the window. There is none on the sides where nothing was left out.
    """
    picture = photo.copy()
    if seen.size:
        line = max(1, round(min(photo.shape[:2]) / _LINES))
        picture[_widened(window, 2 * line)] = 0
        picture[_widened(window, line)] = 255
        picture[window] = seen
    return picture


def _widened(window: tuple[slice, slice], by: int) -> tuple[slice, slice]:
    rows, columns = (slice(max(0, side.start - by), side.stop + by) for side in window)
    return rows, columns


def _mixed_bytes(image: Picture, levels: Floats, style: OverlayStyle) -> Picture:
    """Mix bytes as ``mix_by_heat`` or ``mix`` does; `levels` are heat from 0 to 255."""
    import cv2

    colours = cv2.applyColorMap(levels.astype(np.uint8), _byte_table(style.colormap))
    if style.blend == "mix":
        mixed: Any = cv2.addWeighted(image, 1 - style.alpha, colours, style.alpha, 0)
    else:
        mixed = cv2.blendLinear(
            image, colours, *_weights_by_heat(style.alpha, levels / np.float32(255))
        )
    return np.asarray(mixed)


def _enlarged(heat: npt.NDArray[np.floating], crop: Crop) -> Floats:
    """Enlarge a crop's map to the photograph, as `Crop.to_photo` does, to 0..255."""
    with needs("viz", "laying maps over photographs"):
        import cv2
    square: Any = 255 * np.clip(np.asarray(heat, np.float32), 0, 1)
    if square.shape != crop.grid:
        square = cv2.resize(square, crop.grid[::-1])
    height, width = crop.photo_shape[:2]
    return np.asarray(cv2.resize(crop.carried_on(square), (width, height)))


@lru_cache(maxsize=32)
def _byte_table(name: str) -> Picture:
    """Convert a colour table to what OpenCV looks up, ``(256, 1, 3)`` bytes, RGB."""
    return np.rint(255 * colour_table(name)).astype(np.uint8)[:, None]
