"""See which axes of the input the axes of layers lie along: alter halves of it, and look.

Where one half of an axis of the input is altered, a layer that lies along it changes most on
that side, whatever lies between; along its channels it changes everywhere. Halves are altered
by moving their values along the axis, so that what a model first normalises by (the mean,
the range, the mean of each frequency) stays what it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from camcore.adapter import Adapter, Array
from camcore.input_layout import InputLayout
from camcore.inputs import Inputs


@dataclass(frozen=True)
class Response:
    """How one layer's output answers to altered halves of each axis of the input.

    Parameters
    ----------
    shape : tuple of int
        Of the layer's output for one sample.
    changes : mapping of int to pair of arrays
        For each axis of the input of length 2 or more, the absolute changes of the output as
        its first and as its last half is altered.
    """

    shape: tuple[int, ...]
    changes: dict[int, tuple[Array, Array]]

    @property
    def along(self) -> dict[int, int]:
        """For each axis of the input that one of the layer lies along, which one."""
        found = {}
        for axis, halves in self.changes.items():
            slopes = [self._slope(halves, own) for own in range(len(self.shape))]
            if max(slopes) > 0:
                found[axis] = int(np.argmax(slopes))
        return found

    def mixes(self, axis: int) -> bool | None:
        """Tell whether every place of the layer answers to all of an axis, as to channels.

        Returns
        -------
        bool or None
            False where each place answers to a part of it, None where neither is plain, or
            more than the layer's channels lies along no axis of the input.
        """
        places = set(self.along.values())
        rest = tuple(own for own in range(len(self.shape)) if own not in places)
        if sum(self.shape[own] > 1 for own in rest) > 1:
            return None  # one of them may be an axis of places
        first, last = (half.sum(axis=rest) for half in self.changes[axis])
        sides = np.abs(_sides(first, last))
        answering = np.isfinite(sides)
        if not places or answering.mean() < 0.5:
            return None
        one_sided = sides[answering].mean()
        return True if one_sided < 0.6 else False if one_sided > 0.7 else None

    def _slope(self, halves: tuple[Array, Array], own: int) -> float:
        """Measure how plainly an axis of the layer follows one of the input; 0 where it does not.

        The sides of its first and of its last positions differ by up to 2.
        """
        if self.shape[own] < 2:
            return 0.0
        rest = tuple(other for other in range(len(self.shape)) if other != own)
        sides = _sides(*(half.sum(axis=rest) for half in halves))
        third = max(len(sides) // 3, 1)
        first, last = sides[:third], sides[-third:]
        first, last = first[np.isfinite(first)], last[np.isfinite(last)]
        if not len(first) or not len(last):
            return 0.0
        # Of a few channels, some may lean to one side by chance.
        least = 1.2 if len(sides) < 6 else 1.0 if len(sides) < 16 else 0.5
        apart = float(first.mean() - last.mean())
        orderly = min((first > 0).mean(), (last < 0).mean()) >= 0.9
        return apart if orderly and apart >= least else 0.0


def responses(adapter: Adapter, inputs: Inputs, names: Sequence[str]) -> dict[str, Response]:
    """Alter halves of each axis of the first sample, and see how the layers answer.

    Parameters
    ----------
    adapter : Adapter
        The model.
    inputs : Inputs
        Its array at ``inputs.path`` is altered.
    names : sequence of str
        Layers that run on them.

    Returns
    -------
    dict of str to Response
        From one pass for each half of each axis, and one of the sample as it is.
    """
    sample = inputs.sample(0)
    path = sample.image_path()
    plain = adapter.run(sample.native, names, logits=False)
    array = plain.inputs[path]
    # What is moved along an axis must differ there.
    if array.dtype.kind == "f" and any(
        n > 1 and not np.ptp(array, axis=i).any() for i, n in enumerate(array.shape)
    ):
        noise = np.random.default_rng(0).normal(size=array.shape).astype(array.dtype)
        array = array + noise * max(1.0, float(np.abs(array).max()))
        plain = adapter.run(sample.with_images(array).native, names, logits=False)

    def changes(axis: int, last: bool) -> dict[str, Array]:
        altered = sample.with_images(_altered(array, axis, last)).native
        layers = adapter.run(altered, names, logits=False).layers
        return {
            name: _changes(plain.layers[name].activations, layers[name].activations)
            for name in names
        }

    axes = [axis for axis in range(1, array.ndim) if array.shape[axis] > 1]
    by_half = {axis: (changes(axis, False), changes(axis, True)) for axis in axes}
    return {
        name: Response(
            plain.layers[name].activations.shape,
            {axis: (first[name], last[name]) for axis, (first, last) in by_half.items()},
        )
        for name in names
    }


def all_spatial(inputs: Inputs) -> Inputs:
    """Take every axis of the first array with two axes or more, batch aside, for a spatial one."""
    path = inputs.path
    if path is None:
        path = next((p for p, shape in inputs.shapes.items() if len(shape) == 2), None)
    if path is None:
        return inputs
    return replace(inputs, said=InputLayout.of(len(inputs.shapes[path]), None))


def _altered(array: Array, axis: int, last: bool) -> Array:
    """Move the values of one half of an axis along it; where it is one long, along the others."""
    half = array.shape[axis] // 2
    part = slice(array.shape[axis] - half, None) if last else slice(half)
    place = (slice(None),) * axis + (part,)
    block = array[place]
    if half > 1:
        moved = np.roll(block, half // 2, axis)
    else:
        others = [other for other in range(1, array.ndim) if other != axis]
        moved = np.roll(block, [array.shape[other] // 2 for other in others], others)
    altered = array.copy()
    altered[place] = moved
    return altered


def _changes(plain: Array, altered: Array) -> Array:
    """Measure where two outputs differ, beyond rounding."""
    if plain.shape != altered.shape:
        return np.zeros(plain.shape)
    changes: Array = np.abs(altered.astype(np.float64) - plain)
    rounding = max(1e-3 * changes.max(initial=0), 3e-6 * np.abs(plain).max(initial=0))
    return np.where(changes > rounding, changes, 0)


def _sides(first: Array, last: Array) -> Array:
    """Say which half counts, from -1 (the last alone) to 1 (the first); NaN where neither does."""
    total = first + last
    sides: Array = np.divide(first - last, total, out=np.full(total.shape, np.nan), where=total > 0)
    return sides
