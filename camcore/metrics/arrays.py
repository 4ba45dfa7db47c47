"""What metrics of maps alone, or of maps and masks, read, refuse and share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore._shared.finite import finite
from camcore.errors import InputError

Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]


def read_maps(maps: npt.ArrayLike) -> Floats:
    """Read maps ``(B, *S)`` as float64.

    Raises
    ------
    InputError
        They are of another shape, empty, no real numbers, or not finite.
    """
    array = np.asarray(maps)
    if array.ndim < 2 or array.size == 0:
        raise InputError(
            f"Maps of shape {array.shape} cannot be measured; pass (B, *S), one map for each "
            "sample and none of them empty."
        )
    return finite(array, "Maps").astype(np.float64)


def read_unit_maps(maps: npt.ArrayLike, lowest: int = 0) -> Floats:
    """Read maps whose values lie in [`lowest`, 1].

    Raises
    ------
    InputError
        As `read_maps` raises it, or a value lies outside.
    """
    array = read_maps(maps)
    if array.min() < lowest or array.max() > 1:
        raise InputError(
            f"Maps go from {array.min():g} to {array.max():g}; expected values in [{lowest}, 1]. "
            "Scale them with camcore.postprocess.normalise."
        )
    return array


def read_masks(masks: npt.ArrayLike, shape: tuple[int, ...], name: str = "Masks") -> Bools:
    """Read masks of the maps' `shape`, of True and False or of 1 and 0.

    Raises
    ------
    InputError
        The shapes differ, or there are other values.
    """
    array = np.asarray(masks)
    if array.shape != shape:
        raise InputError(
            f"{name} of shape {array.shape} do not fit maps of shape {shape}; pass one for each "
            "map, of its size."
        )
    marked: Bools = array.astype(bool) if array.dtype.kind in "biuf" else np.zeros(shape, bool)
    if not np.array_equal(array, marked):
        raise InputError(
            f"{name} must be True or False, or 1 or 0; got other values, of dtype {array.dtype}. "
            "Say what is marked: masks > 0, for example."
        )
    return marked


def read_thresholds(thresholds: int | Sequence[float], first: int) -> Floats:
    """Read thresholds, or make N of them equally apart up to 1, from `first` steps on.

    Raises
    ------
    InputError
        There are none, or a number is not in [0, 1].
    """
    if isinstance(thresholds, int | np.integer):
        least = 2 - first
        if thresholds < least:
            raise InputError(f"thresholds={thresholds}; expected {least} or more of them.")
        return np.linspace(0, 1, thresholds + first)[first:]
    levels = np.asarray(thresholds, dtype=np.float64)
    if levels.ndim != 1 or levels.size == 0 or not ((levels >= 0) & (levels <= 1)).all():
        raise InputError(
            f"thresholds={thresholds!r}; expected how many, or a list of numbers in [0, 1]."
        )
    return levels


def rows_of(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Flatten space, ``(B, *S)`` to ``(B, P)``."""
    return array.reshape(len(array), -1)


def is_constant(maps: npt.NDArray[Any]) -> Bools:
    """Tell of each map whether all its values are equal, so that it ranks nothing."""
    constant: Bools = np.ptp(rows_of(maps), axis=1) == 0
    return constant


def without_scale(rows: Floats) -> Floats:
    """Divide each row by a power of two, so that its largest value is in [0.5, 1).

    Shares stay what they are to the last bit, and sums do not overflow.
    """
    _, exponents = np.frexp(np.abs(rows).max(axis=1, keepdims=True))
    scaled: Floats = np.ldexp(rows, -exponents)
    return scaled


def where_marked(values: npt.NDArray[Any], masks: Bools) -> Floats:
    """Return each sample's value; NaN where nothing is marked."""
    return np.where(rows_of(masks).any(axis=1), values, np.nan)


def mean_of_numbers(values: npt.NDArray[Any]) -> Floats:
    """Average over samples, the first axis, without those that are NaN; NaN where all are."""
    numbers = ~np.isnan(values)
    counts = numbers.sum(axis=0)
    totals = np.where(numbers, values, 0).sum(axis=0)
    mean: Floats = np.divide(totals, counts, out=np.full(counts.shape, np.nan), where=counts > 0)
    return mean
