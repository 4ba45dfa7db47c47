"""Gradients pulled back through float16 at a scale at which none underflows and none overflows.

Scaling by a power of two changes no digit of a float, unless the result leaves the dtype's
range. So gradients pulled back at two scales agree once unscaled, or show what was lost.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from camcore._shared.finite import Array, is_finite
from camcore.errors import CamcoreWarning

Leaves: TypeAlias = Mapping[str, Array]

START, STEP, LEAST = 12, 6, -24
"""The exponent of two that is tried first, the step to the next, and the least one."""

Pull: TypeAlias = Callable[[int], Sequence[Leaves]]
"""Gradients, and Hessian products where there are any, of cotangents scaled by 2 to an exponent."""


@dataclass
class ScaledCotangents:
    """One seed's cotangents, brought to a size of one and scaled from there.

    Parameters
    ----------
    given : mapping of str to array
        What the seed answered.
    """

    given: Leaves
    _unit: int = field(init=False)

    def __post_init__(self) -> None:
        peaks = [np.abs(array).max(initial=0) for array in self.given.values()]
        largest = max(peaks, default=0.0)
        usable = np.isfinite(largest) and largest > 0
        self._unit = 1 - int(np.frexp(largest)[1]) if usable else 0

    def at(self, exponent: int) -> Leaves:
        """Scale the cotangents: the largest is 2 to the exponent, or up to twice as much."""
        return {p: np.ldexp(a, self._unit + exponent) for p, a in self.given.items()}

    def undo(self, gradients: Leaves, exponent: int) -> Leaves:
        """Take the scale off what was pulled back."""
        return {p: np.ldexp(a, -self._unit - exponent) for p, a in gradients.items()}


def pulled_in_range(pull: Pull, batch: int, most: int) -> Sequence[Leaves]:
    """Pull back at the scale at which float16 loses least; warn where it still loses something.

    Parameters
    ----------
    pull : callable
        Takes an exponent of two and gives the unscaled gradients by layer, and with them the
        Hessian products where these are wanted.
    batch : int
        Number of samples.
    most : int
        The largest exponent that the outputs' own dtype can hold.

    Returns
    -------
    sequence of mapping of str to array
        As `pull` gives them.

    Warns
    -----
    CamcoreWarning
        Gradients underflow at every scale at which others do not overflow, or are zero.
    """
    exponent = min(START, most)
    while not _in_range(found := pull(exponent)) and exponent > LEAST:
        most = exponent - 1
        exponent -= STEP
    if not _in_range(found):
        return found  # so they are at any scale
    weaker = pull(exponent - STEP)
    while (lost := _lost(found, weaker, batch)) and exponent < most:
        exponent = min(exponent + STEP, most)
        stronger = pull(exponent)
        if not _in_range(stronger):
            break
        found, weaker = stronger, found
    for name, samples in lost.items():
        warnings.warn(
            f"The gradients at layer {name!r} are zero or too small for float16 in "
            f"sample{'s' * (len(samples) > 1)} {', '.join(map(str, samples))}, at any scale, so "
            "the maps may be wrong. Explain the model in float32 or bfloat16.",
            CamcoreWarning,
            stacklevel=2,
        )
    return found


def pairs_in_range(
    pull: Callable[[Leaves], Leaves], cotangents: Leaves, batch: int, most: int
) -> Leaves:
    """Pull back between pairs of layers, each pair's cotangent scaled by itself.

    Parameters
    ----------
    pull : callable
        Takes the cotangent of each pair, scaled, and gives what comes of it, by the same names.
    cotangents : mapping of str to array
        As they were given.
    batch, most : int
        As `pulled_in_range` takes them.

    Returns
    -------
    mapping of str to array
        Unscaled.
    """
    each = {name: ScaledCotangents({name: array}) for name, array in cotangents.items()}

    def at(exponent: int) -> list[Leaves]:
        found = pull({name: one.at(exponent)[name] for name, one in each.items()})
        return [{n: one.undo({n: found[n]}, exponent)[n] for n, one in each.items()}]

    (in_range,) = pulled_in_range(at, batch, most)
    return in_range


def _in_range(pulled: Sequence[Leaves]) -> bool:
    return all(is_finite(array) for arrays in pulled for array in arrays.values())


def _lost(found: Sequence[Leaves], weaker: Sequence[Leaves], batch: int) -> dict[str, list[int]]:
    """List by layer the samples whose digits differ at two scales, or whose gradient is zero.

    What a smaller scale loses is larger by as much, so a difference of a thirty-second there
    is less than one of the dtype's last digits here.
    """
    lost = {}
    for name, gradient in found[0].items():
        peaks = _largest(gradient, batch)
        bad = peaks == 0
        for arrays, others in zip(found, weaker, strict=True):
            peaks = np.maximum(peaks, _largest(arrays[name], batch))
            bad |= 32 * _largest(arrays[name] - others[name], batch) > peaks
        if bad.any():
            lost[name] = np.flatnonzero(bad).tolist()
    return lost


def _largest(array: Array, batch: int) -> Array:
    """Largest absolute value of each sample; of all together where the rows are not samples."""
    rows = len(array) if array.ndim and len(array) == batch else 1
    largest: Array = np.abs(array).reshape(rows, -1).max(axis=1, initial=0)
    return largest
