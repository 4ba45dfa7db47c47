"""Refuse NaN and infinity where they come in, and results that overflow."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from camcore.errors import CamcoreError, InputError

Array = npt.NDArray[Any]

_SMALL = 2**16
"""Arrays of fewer values are looked at one by one, which takes less time than to prepare a sum."""


def is_finite(array: Array) -> bool:
    """Tell whether no value is NaN or infinite."""
    if array.dtype.kind in "biu" or not array.size:
        return True
    if array.size < _SMALL:
        return bool(np.isfinite(array).all())
    # A sum takes no memory; where it overflows, each value is looked at.
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(_sum(array)) or np.isfinite(array).all())


def _sum(array: Array) -> Any:
    """Add up an array without the help of BLAS, whose threads then wait busily for more.

    On the cores that the model runs on next, they would slow it down by tens of milliseconds.
    """
    if array.dtype.kind != "f" or array.dtype.itemsize < 4:
        return array.sum()
    return np.einsum("i->", array.ravel("K"))


def finite(array: Array, name: str, error: type[CamcoreError] = InputError) -> Array:
    """Return `array` as it is, or refuse it and say where it is not finite.

    Raises
    ------
    CamcoreError
        Of the type `error`: it is no array of numbers, or has NaN or infinity.
    """
    if array.dtype.kind not in "biuf":
        raise error(f"{name} must be real numbers; got dtype {array.dtype}.")
    if is_finite(array):
        return array
    bad = np.argwhere(~np.isfinite(array))
    raise error(
        f"{name} must be finite; of shape {array.shape}, they have {len(bad)} values that are NaN "
        f"or infinite, the first at {tuple(bad[0].tolist())}. Clean them, and pass finite "
        f"{name[0].lower()}{name[1:]}."
    )


def without_overflow(array: Array, name: str, error: type[CamcoreError] = InputError) -> Array:
    """Return a result as it is, or refuse one that finite arrays were too large for.

    Raises
    ------
    CamcoreError
        Of the type `error`: the result has NaN or infinity.
    """
    if is_finite(array):
        return array
    raise error(
        f"{name} overflows {array.dtype}: the result is not finite. Give arrays of a wider dtype, "
        "or scale them down."
    )
