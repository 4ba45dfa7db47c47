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


def as_images(images: npt.ArrayLike) -> Floats:
    """Check images and convert them to ``(B, H, W, 3)``.

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
        The images have another shape, dtype or range.
    """
    array = _batch(images, "Images", 3)
    if array.ndim != 4 or array.shape[-1] not in (1, 3) or 0 in array.shape:
        raise InputError(
            f"Images of shape {np.shape(images)} cannot be drawn; pass (B, H, W, 3) or (H, W, 3), "
            f"RGB with the channel axis last{_channel_hint(array)}."
        )
    if array.dtype == np.uint8:
        floats = array.astype(np.float32)
    elif np.issubdtype(array.dtype, np.floating):
        _check_range(
            array, "Images", "pass the photograph before preprocessing, uint8 or in [0, 1]"
        )
        floats = array.astype(np.float32) * np.float32(255)
    else:
        raise InputError(
            f"Images of dtype {array.dtype} cannot be drawn; pass uint8, or floating in [0, 1]."
        )
    return np.broadcast_to(floats, (*floats.shape[:3], 3))


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
        return check_finite(array.astype(np.float32), "Signed maps")
    _check_range(array, "Maps", "pass an explanation's maps, not its signed raw maps")
    return np.clip(array.astype(np.float32), 0, 1)


def as_pairs(
    images: npt.ArrayLike, maps: npt.ArrayLike, *, signed: bool = False
) -> tuple[Floats, Floats]:
    """Check images and maps, one map for each image or one image for all maps.

    Parameters
    ----------
    images, maps, signed
        As `as_images` and `as_maps` take them.

    Returns
    -------
    (B or 1, H, W, 3) and (B, h, w) float32 arrays

    Raises
    ------
    InputError
        They differ in number, or one of them cannot be drawn.
    """
    photos, heats = as_images(images), as_maps(maps, signed=signed)
    if len(photos) not in (1, len(heats)):
        raise InputError(
            f"{len(photos)} images and {len(heats)} maps cannot be laid over one another; pass "
            "one map for each image, or one image for all maps."
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
    first = values[0] if isinstance(values, (list, tuple)) and values else values
    if isinstance(first, (str, PathLike)):
        raise InputError(
            f"{name} are arrays here; got the name of a file. Photographs that are given to "
            "camcore.explain are kept, for overlay() and figure(); a figure is written by "
            "figure().savefig(path)."
        )
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(
            f"{name} of several shapes cannot be one batch; pass them one by one."
        ) from error
    return array[None] if array.ndim == rank else array


def _channel_hint(array: npt.NDArray[Any]) -> str:
    if array.ndim == 4 and array.shape[1] in (1, 3):
        return "; this looks channels-first: images.transpose(0, 2, 3, 1)"
    return ""


def _check_range(array: npt.NDArray[Any], name: str, advice: str) -> None:
    low, high = float(array.min()), float(array.max())
    if not (low >= -1e-6 and high <= 1 + 1e-6):
        raise InputError(f"{name} range from {low:.4g} to {high:.4g}, not within [0, 1]; {advice}.")
