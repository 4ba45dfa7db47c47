"""Turn signed maps into shown ones: scale them to [0, 1] and join those of several layers.

One scaling and one joining function serve every recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore._shared.finite import finite, without_overflow
from camcore.adapter import Array
from camcore.errors import InputError

Scale: TypeAlias = Literal["max", "min_max"]
Fusion: TypeAlias = Literal["mean", "max", "product", "sum"]


def relu(maps: Array) -> Array:
    """Keep the positive part of the maps; the rest becomes 0."""
    positive: Array = np.maximum(_maps(maps), 0)
    return positive


def normalise(maps: Array, scale: Scale = "max", *, eps: float = 0.0) -> Array:
    """Scale each map of a batch by its own extremes.

    Parameters
    ----------
    maps : (B, *S) array
        Any finite values; integers become float32.
    scale : {"max", "min_max"}
        ``max``: x / (max + eps). ``min_max``: (x − min) / (max − min + eps).
    eps : float
        Added to the divisor.

    Returns
    -------
    (B, *S) array
        All zeros for a map whose largest value, or range, is 0.

    Raises
    ------
    InputError
        There is no such scale, or the maps are not finite or overflow.
    """
    maps = _maps(maps)
    if not np.issubdtype(maps.dtype, np.floating):
        maps = maps.astype(np.float32)
    axes = tuple(range(1, maps.ndim))
    if scale == "min_max":
        maps = without_overflow(maps - maps.min(axis=axes, keepdims=True), "Normalising")
    elif scale != "max":
        raise InputError(f"There is no scale {scale!r}; choose 'max' or 'min_max'.")
    largest = maps.max(axis=axes, keepdims=True)
    empty = ~(largest > 0)
    result: Array = maps / np.where(empty, 1, largest + maps.dtype.type(eps))
    result[empty.reshape(-1)] = 0
    return without_overflow(result, "Normalising")


_FUSIONS: dict[str, Callable[..., Any]] = {
    "mean": np.mean,
    "max": np.max,
    "product": np.prod,
    "sum": np.sum,
}


def fuse(maps: Sequence[Array], how: Fusion = "mean") -> Array:
    """Join the maps of several layers, all of one shape, into one.

    Parameters
    ----------
    maps : sequence of (B, *S) array
        One for each layer.
    how : {"mean", "max", "product", "sum"}
        How the layers' values at each position become one.

    Returns
    -------
    (B, *S) array

    Raises
    ------
    InputError
        The shapes differ, there is no such way to join them, or they are not finite or overflow.
    """
    if how not in _FUSIONS:
        raise InputError(f"There is no fusion {how!r}; choose from {', '.join(_FUSIONS)}.")
    maps = [_maps(one) for one in maps]
    shapes = {m.shape for m in maps}
    if len(shapes) != 1:
        raise InputError(
            f"Maps of shapes {sorted(shapes)} cannot be fused; give layers of one size."
        )
    if len(maps) == 1:
        return maps[0]
    fused: Array = _FUSIONS[how](np.stack(maps), axis=0)
    return without_overflow(fused, f"The {how} of the layers")


def without_evidence(raw: Sequence[Array]) -> Array:
    """Mark the samples for which no layer's signed map is positive anywhere.

    Parameters
    ----------
    raw : sequence of (B, *S) array
        One map for each layer.

    Returns
    -------
    (B,) bool array
    """
    positive = [anywhere(_maps(maps) > 0) for maps in raw]
    if len({len(one) for one in positive}) > 1:
        raise InputError("The layers' maps are of several batches; give those of one.")
    empty: Array = ~np.any(positive, axis=0)
    return empty


def _maps(maps: npt.ArrayLike) -> Array:
    """Read maps as real, finite numbers."""
    maps = np.asarray(maps)
    if maps.dtype.kind not in "biuf" or not maps.size or not maps.ndim:
        raise InputError(
            f"Maps are real numbers, (B, *S); got dtype {maps.dtype} and shape {maps.shape}."
        )
    return finite(maps, "Maps")


def anywhere(where: Array) -> Array:
    """Mark the samples ``(B,)`` for which a mask ``(B, *S)`` holds anywhere."""
    found: Array = np.any(where.reshape(len(where), -1), axis=1)
    return found
