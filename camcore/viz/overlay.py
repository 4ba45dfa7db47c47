"""Lay maps over their images, as an `OverlayStyle` says: which colours, mixed in which way."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from camcore._shared.optional import needs
from camcore.errors import InputError
from camcore.photos.crop import Crop
from camcore.recipes import OverlayStyle
from camcore.viz.arrays import Floats, Picture, Table, as_maps, as_pairs, check_weight
from camcore.viz.blends import Heat, coloured, find_blend, lay, weights_by_heat

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
    mix = find_blend(blend or style.blend)
    photos, heats = as_pairs(images, maps)
    size = photos.shape[1:3]
    photos = np.broadcast_to(photos, (len(heats), *photos.shape[1:]))
    pairs = zip(photos, heats, strict=True)
    laid = [lay(photo, Heat(size, heat), mix, table, weight) for photo, heat in pairs]
    return np.stack(laid) if len(laid) > 1 else laid[0][None]


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
    heats = as_maps(maps)
    height, width = size or heats.shape[1:]
    return coloured(heats, (height, width), colour_table(colormap))


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
    if style.blend not in ("mix_by_heat", "mix"):
        return overlay_exactly(photo, heat, crop, style)
    window = crop.seen_window
    seen = np.ascontiguousarray(photo[window])
    if seen.size:
        seen = _mixed_bytes(seen, _enlarged(heat, crop)[window], style)
    return framed(photo, seen, window)


def overlay_exactly(
    photo: Picture, heat: npt.NDArray[np.floating], crop: Crop, style: OverlayStyle
) -> Picture:
    """Lay the map of a crop over the whole photograph, as `overlay` mixes the two.

    Parameters
    ----------
    photo, heat, crop, style
        As `overlay_crop` takes them.

    Returns
    -------
    (H, W, 3) uint8 array
        As `overlay_crop` returns it.
    """
    check_weight(style.alpha)
    photos, heats = as_pairs(photo, heat)
    window, size = crop.seen_window, photos.shape[1:3]
    laid = Heat((size[0], size[1]), rows=crop.rows_on_photo(heats[0]))
    table, blend = colour_table(style.colormap), find_blend(style.blend)
    return framed(photo, lay(photos[0], laid, blend, table, style.alpha, window), window)


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
            image, colours, *weights_by_heat(style.alpha, levels / np.float32(255))
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
