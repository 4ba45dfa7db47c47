"""Check images and maps, and convert them to the arrays that pictures are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError
from camcore.resize import LINEAR, Interpolation, resize

Floats: TypeAlias = npt.NDArray[np.float32]
Picture: TypeAlias = npt.NDArray[np.uint8]
Table: TypeAlias = npt.NDArray[np.float64]


def check_images(images: npt.ArrayLike) -> npt.NDArray[Any]:
    """Check images, and bring them to ``(B, H, W, C)`` in the dtype that they have.

    Parameters
    ----------
    images : (B, H, W, C) or (H, W, C) array; (B, H, W), (H, W) or (B, 1, H, W) of grey ones
        uint8 or floating in [0, 1]; C is 3 (RGB) or 1 (grey).

    Returns
    -------
    (B, H, W, C) array
        Nothing is copied; `as_floats` makes levels from 0 to 255 of a part.

    Raises
    ------
    InputError
        The images have another shape, dtype or range.
    """
    array = _batch(channels_last(images), "Images", 3)
    if array.ndim != 4 or array.shape[-1] not in (1, 3) or 0 in array.shape:
        raise InputError(
            f"Images of shape {np.shape(images)} cannot be drawn; pass (B, H, W, 3) or (H, W, 3), "
            f"RGB with the channel axis last{_channel_hint(array)}; or grey ones, (B, H, W) or "
            "(H, W)."
        )
    if np.issubdtype(array.dtype, np.floating):
        _check_range(
            array, "Images", "pass the photograph before preprocessing, uint8 or in [0, 1]"
        )
    elif array.dtype != np.uint8:
        raise InputError(
            f"Images of dtype {array.dtype} cannot be drawn; pass uint8, or floating in [0, 1]."
        )
    return array


def as_floats(images: npt.NDArray[Any]) -> Floats:
    """Convert what `check_images` returns, or a part of it, to float32 levels from 0 to 255."""
    floats = images.astype(np.float32)
    return floats if images.dtype == np.uint8 else floats * np.float32(255)


def as_bytes(images: npt.ArrayLike) -> Picture:
    """Check images and round them to ``(B, H, W, 3)`` uint8; see `check_images`."""
    array = check_images(images)
    if array.dtype != np.uint8:
        array = np.rint(as_floats(array)).astype(np.uint8)
    return np.broadcast_to(array, (*array.shape[:3], 3))


def channels_last(images: npt.ArrayLike) -> npt.NDArray[Any]:
    """Give grey images a channel axis, last; all others stay as they are.

    Parameters
    ----------
    images : array
        Grey: (H, W), (B, H, W) or (B, 1, H, W). What ends in 1 or 3 has its channels last.

    Returns
    -------
    array
        ``(H, W, 1)`` or ``(B, H, W, 1)`` where they were grey.
    """
    array = _array(images, "Images")
    if array.shape[-1:] in ((1,), (3,)) and array.ndim > 2:
        return array
    if array.ndim in (2, 3):
        return array[..., None]
    return np.moveaxis(array, 1, -1) if array.ndim == 4 and array.shape[1] == 1 else array


def as_maps(maps: npt.ArrayLike, *, signed: bool = False) -> Floats:
    """Check maps and convert them to ``(B, h, w)``.

    Parameters
    ----------
    maps : (B, h, w) or (h, w) array
        In [0, 1], or any finite values where they are `signed`.
    signed : bool
        Whether negative values are meant.

    Returns
    -------
    (B, h, w) float32 array

    Raises
    ------
    InputError
        The maps have another shape or range.
    """
    array = _batch(maps, "Maps", 2)
    if array.ndim != 3 or 0 in array.shape:
        raise InputError(
            f"Maps of shape {np.shape(maps)} cannot be drawn; pass (B, H, W) or (H, W). "
            "Pictures are flat: cut a slice out of a volume first."
        )
    if signed:
        return check_finite(array.astype(np.float32, copy=False), "Signed maps")
    _check_range(array, "Maps", "pass an explanation's maps, not its signed raw maps")
    return np.clip(array.astype(np.float32, copy=False), 0, 1)


def as_pairs(
    images: npt.ArrayLike, maps: npt.ArrayLike, *, signed: bool = False
) -> tuple[npt.NDArray[Any], Floats]:
    """Check images and maps, one map for each image or one image for all maps.

    Parameters
    ----------
    images, maps, signed
        As `check_images` and `as_maps` take them.

    Returns
    -------
    (B or 1, H, W, C) array and (B, h, w) float32 array
        As these return them.

    Raises
    ------
    InputError
        They differ in number, or one of them cannot be drawn.
    """
    photos, heats = check_images(images), as_maps(maps, signed=signed)
    if len(photos) not in (1, len(heats)):
        raise InputError(
            f"{len(photos)} images and {len(heats)} maps cannot be laid over one another; pass "
            f"one map for each image, or one image for all maps{_first_hint(images)}."
        )
    return photos, heats


def resized(maps: Floats, size: Sequence[int] | None, how: Interpolation = LINEAR) -> Floats:
    """Resize maps ``(..., h, w)`` to `size`; None keeps their own."""
    if size is None or maps.shape[-2:] == tuple(size):
        return maps
    return np.asarray(resize(maps, tuple(size), how), dtype=np.float32)


def check_finite(values: Floats, name: str) -> Floats:
    """Return the values, or raise `InputError` where one is NaN or infinite."""
    if not np.isfinite(values).all():
        raise InputError(f"{name} hold NaN or infinity, which cannot be drawn; replace them first.")
    return values


def check_weight(alpha: float) -> None:
    """Raise `InputError` unless `alpha` is a weight from 0 to 1."""
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha is {alpha}; pass a weight between 0 and 1.")


def _batch(values: npt.ArrayLike, name: str, rank: int) -> npt.NDArray[Any]:
    """Convert to an array; one of `rank` axes gets a batch axis."""
    array = _array(values, name)
    return array[None] if array.ndim == rank else array


def _array(values: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    first = values[0] if isinstance(values, (list, tuple)) and values else values
    if isinstance(first, (str, PathLike)):
        raise InputError(
            f"{name} are arrays here; got the name of a file. Photographs that are given to "
            "camcore.explain are kept, for overlay() and figure(); a figure is written by "
            "figure().savefig(path)."
        )
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(
            f"{name} of several shapes cannot be one batch; pass them one by one."
        ) from error


def _channel_hint(array: npt.NDArray[Any]) -> str:
    if array.ndim == 4 and array.shape[1] == 3:
        return "; this looks channels-first: images.transpose(0, 2, 3, 1)"
    return ""


def _first_hint(images: npt.ArrayLike) -> str:
    """Hint at one RGB image that was read as three grey ones."""
    shape = np.shape(images)
    if len(shape) == 3 and shape[0] == 3:
        return "; an RGB image has its channel axis last: image.transpose(1, 2, 0)"
    return ""


def _check_range(array: npt.NDArray[Any], name: str, advice: str) -> None:
    low, high = float(array.min()), float(array.max())
    if not (low >= -1e-6 and high <= 1 + 1e-6):
        raise InputError(f"{name} range from {low:.4g} to {high:.4g}, not within [0, 1]; {advice}.")
