"""Turn signed maps into shown ones: scale them to [0, 1] and join those of several layers.

One scaling and one joining function serve every recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from camcore._shared.finite import finite, without_overflow
from camcore.adapter import Array
from camcore.errors import InputError

Scale: TypeAlias = Literal["max", "min_max", "shifted"]
Fusion: TypeAlias = Literal["mean", "max", "product", "sum", "root", "exp_mean", "log_exp"]


def relu(maps: Array) -> Array:
    """Keep the positive part of the maps; the rest becomes 0."""
    positive: Array = np.maximum(_maps(maps), 0)
    return positive


def normalise(
    maps: Array, scale: Scale = "max", *, eps: float = 0.0, outliers: float = 0.0
) -> Array:
    """Scale each map of a batch by its own extremes.

    Parameters
    ----------
    maps : (B, *S) array
        Any finite values; integers become float32.
    scale : {"max", "min_max", "shifted"}
        ``max``: x / (max + eps). ``min_max``: (x − min) / (max − min + eps). ``shifted``:
        (x − min) / (max + eps), at most 1; with no positive value, 1 wherever x is above min.
    eps : float
        Added to the divisor.
    outliers : float
        Percent of the positions at either end that are beyond what min and max stand for, and
        become 0 (with ``max`` they stay as they are) or 1.

    Returns
    -------
    (B, *S) array
        All zeros for a map whose largest value, or range, is 0.

    Raises
    ------
    InputError
        There is no such scale, `outliers` is not in [0, 50), or the maps are not finite or
        overflow.
    """
    maps = _maps(maps)
    if not np.issubdtype(maps.dtype, np.floating):
        maps = maps.astype(np.float32)
    if scale not in get_args(Scale):
        known = ", ".join(map(repr, get_args(Scale)))
        raise InputError(f"There is no scale {scale!r}; choose one of {known}.")
    low, high = _extremes(maps, outliers)
    if scale != "max":
        maps = without_overflow(maps - low, "Normalising")
    largest = high - low if scale == "min_max" else high
    empty, instead = ~(largest > 0), 1.0
    if scale == "shifted":  # what is above min is so many times this small number, and becomes 1
        instead = float(np.finfo(maps.dtype).tiny)
        empty &= ~(maps > 0).any(axis=tuple(range(1, maps.ndim)), keepdims=True)
    divisor = np.where(largest > 0, largest + maps.dtype.type(eps), instead).astype(maps.dtype)
    with np.errstate(over="ignore"):
        result: Array = maps / divisor
    if outliers or scale == "shifted":
        result = np.clip(result, None if scale == "max" else 0, 1)
    result[empty.reshape(-1)] = 0
    return without_overflow(result, "Normalising")


def _extremes(maps: Array, outliers: float) -> tuple[Array, Array]:
    """Find each map's smallest and largest value, or the percentiles in their place."""
    if not 0 <= outliers < 50:
        raise InputError(f"outliers={outliers}; a percentage in [0, 50) is expected.")
    axes = tuple(range(1, maps.ndim))
    if outliers:
        low, high = np.percentile(maps, [outliers, 100 - outliers], axis=axes, keepdims=True)
        return low.astype(maps.dtype), high.astype(maps.dtype)
    return maps.min(axis=axes, keepdims=True), maps.max(axis=axes, keepdims=True)


def scaling(scale: Scale, eps: float = 0.0, outliers: float = 0.0) -> str:
    """Write what `normalise` does as an equation."""
    more = f" + {eps:g}" if eps else ""
    if scale == "min_max":
        written = f"(x - min) / (max - min{more})"
    else:
        largest = f"(max{more})" if more else "max"
        written = f"x / {largest}" if scale == "max" else f"(x - min) / {largest}"
    if not outliers:
        return written
    return f"{written}, min and max at {outliers:g} % and {100 - outliers:g} %"


def _root(maps: Array, axis: int) -> Array:
    """Take the n-th root of the product, each factor's first, so that none underflows."""
    roots: Array = np.prod(maps ** (1 / maps.shape[axis]), axis=axis)
    return roots


def _exp_mean(maps: Array, axis: int) -> Array:
    """Compute 1 / log(mean(e^(1/x)))."""
    return _over_log_of_exponentials(maps, axis, 1, np.log(maps.shape[axis]))


def _log_exp(maps: Array, axis: int) -> Array:
    """Compute (1 + log n) / log(Σ e^(1/x))."""
    return _over_log_of_exponentials(maps, axis, 1 + np.log(maps.shape[axis]), 0)


def _over_log_of_exponentials(maps: Array, axis: int, above: float, less: float) -> Array:
    """Compute above / (log(Σ e^(1/x)) − less), the largest exponent drawn out; 0 where an x is."""
    with np.errstate(divide="ignore", over="ignore"):
        exponents = 1 / np.abs(maps.astype(np.float64))  # a zero may bear a sign
        largest = exponents.max(axis=axis)
        drawn_out = np.where(np.isfinite(largest), largest, 0)
        others = np.where(np.isfinite(largest), exponents - drawn_out, 0)
        joined: Array = above / (np.log(np.exp(others).sum(axis=axis)) - less + largest)
    result: Array = joined.astype(np.result_type(maps, np.float32))
    return result


_FUSIONS: dict[str, Callable[..., Any]] = {
    "mean": np.mean,
    "max": np.max,
    "product": np.prod,
    "sum": np.sum,
    "root": _root,
    "exp_mean": _exp_mean,
    "log_exp": _log_exp,
}


def fuse(maps: Sequence[Array], how: Fusion = "mean") -> Array:
    """Join the maps of several layers, all of one shape, into one.

    Parameters
    ----------
    maps : sequence of (B, *S) array
        One for each layer.
    how : {"mean", "max", "product", "sum", "root", "exp_mean", "log_exp"}
        How the layers' values x at each position become one. Three are for values that are not
        negative, and 0 where one of them is: ``root``, the n-th root of the product of n;
        ``exp_mean``, 1 / log(mean(e^(1/x))); and ``log_exp``, (1 + log n) / log(Σ e^(1/x)).

    Returns
    -------
    (B, *S) array

    Raises
    ------
    InputError
        The shapes differ, there is no such way to join them, they are negative where they may
        not be, or they are not finite or overflow.

    References
    ----------
    The last three are mixers of RefineCAM's authors, github.com/liuktc/RefineCAM, whose float32
    overflows to 0 where x is below 1/88.
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
    stacked = np.stack(maps)
    if how in ("root", "exp_mean", "log_exp") and stacked.min() < 0:
        raise InputError(
            f"Maps with negative values have no {how!r}; rectify them, or choose 'mean', 'max', "
            "'product' or 'sum'."
        )
    fused: Array = _FUSIONS[how](stacked, axis=0)
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
