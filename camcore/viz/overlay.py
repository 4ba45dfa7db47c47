"""A map laid over its image. How the two are mixed is data: a recipe's `OverlayStyle`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore._shared.optional import needs
from camcore.errors import InputError
from camcore.recipes import OverlayStyle
from camcore.resize import LINEAR, Interpolation, resize

Floats: TypeAlias = npt.NDArray[np.float32]
Picture: TypeAlias = npt.NDArray[np.uint8]
Table: TypeAlias = npt.NDArray[np.float64]

PILLOW_CUBIC = Interpolation("cubic", cubic_coefficient=-0.5, border="renormalise")
"""``Image.resize`` with ``BICUBIC``, where it enlarges."""


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
        RGB, uint8 or floating in [0, 1]; a last axis of 1 is grey. One image
        serves any number of maps.
    maps : (B, h, w) or (h, w) array
        In [0, 1]; brought to the image's size.
    style : OverlayStyle, optional
        How the two are mixed.
    colormap : str, optional
        Instead of the style's: a matplotlib colour map, ``"viridis"``, or one of
        OpenCV's, ``"cv2:JET"``.
    alpha : float in [0, 1], optional
        Instead of the style's: the weight of the heat.
    blend : {"mix", "mix_peak", "mix_squared", "add_clip", "add_dimmed", "add_rescale"}, optional
        Instead of the style's. With a = alpha:

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
        Shapes or values that are no images or maps, an unknown colour map or
        blend, or a weight outside [0, 1].
    MissingExtraError
        The colour map's library is not installed.
    """
    style = style or OverlayStyle()
    table = colour_table(style.colormap if colormap is None else colormap)
    weight = style.alpha if alpha is None else alpha
    if not 0 <= weight <= 1:
        raise InputError(f"alpha is {weight}; it is a weight between 0 and 1")
    mix = _blend(blend or style.blend)
    photos, heat = as_images(images), as_maps(maps)
    if len(photos) not in (1, len(heat)):
        raise InputError(
            f"{len(photos)} images and {len(heat)} maps; pass one map for each image, "
            "or one image for all maps"
        )
    photos = np.broadcast_to(photos, (len(heat), *photos.shape[1:]))
    return np.stack([mix(p, h, table, weight) for p, h in zip(photos, heat, strict=True)])


def heat_map(
    maps: npt.ArrayLike, size: tuple[int, int] | None = None, *, colormap: str = "inferno"
) -> Picture:
    """Colour maps, without an image.

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
    """
    heat = as_maps(maps)
    table = colour_table(colormap)
    return _to_uint8(255 * _coloured(_resized(heat, size or heat.shape[-2:]), table))


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
    table = _opencv_table(name[4:]) if name.startswith("cv2:") else _matplotlib_table(name)
    table.setflags(write=False)
    return table


def _opencv_table(name: str) -> Table:
    with needs("viz", "OpenCV's colour maps"):
        import cv2
    code = getattr(cv2, f"COLORMAP_{name.upper()}", None)
    if code is None:
        known = sorted(key[9:] for key in dir(cv2) if key.startswith("COLORMAP_"))
        raise InputError(f"OpenCV has no colour map {name!r}; it has {', '.join(known)}")
    bgr = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], code)[:, 0]
    return bgr[:, ::-1].astype(np.float64) / 255


def _matplotlib_table(name: str) -> Table:
    with needs("viz", "matplotlib's colour maps"):
        import matplotlib
    if name not in matplotlib.colormaps:
        raise InputError(
            f"matplotlib has no colour map {name!r}; try viridis, inferno, turbo or jet, "
            "or one of OpenCV's, such as cv2:JET"
        )
    return np.array(matplotlib.colormaps[name].resampled(256)(np.arange(256))[:, :3])


def as_images(images: npt.ArrayLike) -> Floats:
    """Check images and bring them to one form.

    Parameters
    ----------
    images : (B, H, W, C) or (H, W, C) array
        uint8 or floating in [0, 1]; C is 3 (RGB) or 1 (grey).

    Returns
    -------
    (B, H, W, 3) float32 array
        In [0, 255].

    Raises
    ------
    InputError
        Anything else.
    """
    array = _array(images, "images")
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4 or array.shape[-1] not in (1, 3) or 0 in array.shape:
        raise InputError(
            f"images of shape {np.shape(images)}; expected (B, H, W, 3) or (H, W, 3), RGB with "
            f"the channel axis last{_channel_hint(array)}"
        )
    if array.dtype == np.uint8:
        floats = array.astype(np.float32)
    elif np.issubdtype(array.dtype, np.floating):
        _check_unit(array, "images", "pass the photograph before preprocessing, uint8 or in [0, 1]")
        floats = array.astype(np.float32) * np.float32(255)
    else:
        raise InputError(f"images of dtype {array.dtype}; expected uint8 or floating in [0, 1]")
    return np.broadcast_to(floats, (*floats.shape[:3], 3))


def as_maps(maps: npt.ArrayLike) -> Floats:
    """Check maps and bring them to ``(B, h, w)`` float32.

    Raises
    ------
    InputError
        Not of that shape, or not in [0, 1].
    """
    array = _array(maps, "maps")
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or 0 in array.shape:
        raise InputError(
            f"maps of shape {np.shape(maps)}; expected (B, H, W) or (H, W): pictures are flat, "
            "so cut a slice out of a volume first"
        )
    _check_unit(array, "maps", "pass an explanation's maps, not its signed raw maps")
    return np.clip(array.astype(np.float32), 0, 1)


def _array(values: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(
            f"{name} of several shapes cannot be one batch; pass them one by one"
        ) from error


def _channel_hint(array: npt.NDArray[Any]) -> str:
    if array.ndim == 4 and array.shape[1] in (1, 3):
        return "; this looks channels-first: images.transpose(0, 2, 3, 1)"
    return ""


def _check_unit(array: npt.NDArray[Any], name: str, advice: str) -> None:
    low, high = float(array.min()), float(array.max())
    if not (low >= -1e-6 and high <= 1 + 1e-6):
        raise InputError(f"{name} range from {low:.4g} to {high:.4g}, not within [0, 1]; {advice}")


def _resized(maps: Floats, size: tuple[int, ...], how: Interpolation = LINEAR) -> Floats:
    if maps.shape[-2:] == size:
        return maps
    return np.asarray(resize(maps, size, how), dtype=np.float32)


def _coloured(maps: Floats, table: Table) -> Floats:
    # Truncated, not rounded: every library and tutorial looks its colours up so.
    return table.astype(np.float32)[(255 * maps).astype(np.uint8)]


def _to_uint8(values: Floats) -> Picture:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


# One function per blend: (H, W, 3) image in [0, 255], (h, w) map, colours, weight -> picture.


def _mix(image: Floats, heat: Floats, table: Table, alpha: float) -> Picture:
    colours = 255 * _coloured(_resized(heat, image.shape[:2]), table)
    return _to_uint8((1 - alpha) * image + alpha * colours)


def _mix_peak(image: Floats, heat: Floats, table: Table, alpha: float) -> Picture:
    colours = _coloured(_resized(heat, image.shape[:2]), table)
    mixed = alpha * colours + (1 - alpha) * (image / np.float32(255))
    peak = mixed.max()
    return (255 * (mixed / peak if peak > 0 else mixed)).astype(np.uint8)


def _mix_squared(image: Floats, heat: Floats, table: Table, alpha: float) -> Picture:
    squared = _resized(heat, image.shape[:2], PILLOW_CUBIC) ** 2
    # matplotlib looks up one of 256 colours by the floor of 256 x.
    colours = table[np.minimum(256 * squared, 255).astype(np.uint8)] * 255
    return _to_uint8((1 - alpha) * image + alpha * colours.astype(np.float32))


def _add_dimmed(image: Floats, heat: Floats, table: Table, alpha: float) -> Picture:
    colours = 255 * _coloured(_resized(heat, image.shape[:2]), table)
    return _to_uint8((1 - alpha) * image + colours)


def _add_clip(image: Floats, heat: Floats, table: Table, alpha: float) -> Picture:
    colours = 255 * _coloured(_resized(heat, image.shape[:2]), table)
    return _to_uint8(image + alpha * colours)


def _add_rescale(image: Floats, heat: Floats, table: Table, alpha: float) -> Picture:
    with needs("viz", "resizing pictures"):
        from PIL import Image
    colours = _stretched(_coloured(heat, table))
    resized = Image.fromarray(colours).resize((image.shape[1], image.shape[0]))
    return _stretched(np.asarray(resized, dtype=np.float32) * alpha + image)


def _stretched(values: Floats) -> Picture:
    """Min-max to 0..255 and truncate, in the order in which Keras makes an image of an array."""
    values = values - values.min()
    peak = values.max()
    if peak != 0:
        values = values / peak
    return (values * 255).astype(np.uint8)


_Mix: TypeAlias = Callable[[Floats, Floats, Table, float], Picture]
_BLENDS: Mapping[str, _Mix] = {
    "mix": _mix,
    "mix_peak": _mix_peak,
    "mix_squared": _mix_squared,
    "add_clip": _add_clip,
    "add_dimmed": _add_dimmed,
    "add_rescale": _add_rescale,
}


def _blend(name: str) -> _Mix:
    if name not in _BLENDS:
        raise InputError(f"unknown blend {name!r}; choose {', '.join(_BLENDS)}")
    return _BLENDS[name]
