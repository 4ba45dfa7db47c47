"""An adapter to check, and how its numbers are held against each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from camcore.adapter import INPUT, Adapter, Array, LayerTrace, Leaves, NativeScore, Seed, Trace
from camcore.errors import CamcoreError


@dataclass(frozen=True)
class Subject:
    """An adapter, and a batch and a layer to try it on.

    Parameters
    ----------
    adapter : Adapter
        Of a model whose one floating output is class scores, ``(B, K)``.
    inputs : (B, ...) array
        At least two samples, as the model takes them, with spatial extent.
    layer : str
        A layer on the way to the output that runs once and returns a map.
    tolerance : float
        Largest difference allowed, relative to the largest value compared.
    native : callable or None
        A `NativeScore`'s function that scores class 0, where the adapter serves such.
    offered : dict of str to bool
        What the adapter may leave out, as it was found.
    """

    adapter: Adapter
    inputs: Array
    layer: str
    tolerance: float
    native: Callable[[Any], Any] | None = None
    offered: dict[str, bool] = field(default_factory=dict)

    @cached_property
    def trace(self) -> Trace:
        """One pass with the gradients of class 0 and of class 1, at the layer and the input."""
        return self.run([of_class(0), of_class(1)], self.layer, INPUT)

    def run(self, seeds: Sequence[Seed | NativeScore] = (), *layers: str, **options: Any) -> Trace:
        """Run the adapter on the batch, and look at the layer unless `layers` are named."""
        return self.adapter.run(self.inputs, layers or [self.layer], seeds, **options)

    def run_at_input(self, inputs: Array, **options: Any) -> LayerTrace:
        """Run the adapter on other inputs, and look at what class 0 does there."""
        return self.adapter.run(inputs, [INPUT], [of_class(0)], **options).layers[INPUT]

    @property
    def activations(self) -> Array:
        """The layer's output in that pass."""
        return self.trace.layers[self.layer].activations

    @property
    def gradients(self) -> Array:
        """The gradient of class 0 at the layer in that pass."""
        return self.trace.layers[self.layer].gradients[0]

    @property
    def scores(self) -> Array:
        """The class scores of that pass."""
        return scores_of(self.trace.outputs)

    def close(self, one: Array, other: Array, what: str) -> None:
        """Assert that two arrays agree to the tolerance."""
        same(one.shape, other.shape, f"{what}: shapes")
        error = np.abs(one - other).max(initial=0) / max(np.abs(other).max(initial=0), 1e-30)
        assert error <= self.tolerance, f"{what} differ by {error:.1e} of the largest value"


def of_class(index: int) -> Callable[[Leaves], Leaves]:
    """Make a seed for the score of one class."""

    def seed(leaves: Leaves) -> Leaves:
        cotangents = {}
        for path, leaf in leaves.items():
            if np.issubdtype(leaf.dtype, np.floating):
                cotangents[path] = np.zeros(leaf.shape, leaf.dtype)
                cotangents[path][:, index] = 1
        return cotangents

    return seed


def scores_of(outputs: Leaves) -> Array:
    """Take the one floating output."""
    (scores,) = (leaf for leaf in outputs.values() if np.issubdtype(leaf.dtype, np.floating))
    return scores


def same(one: object, other: object, what: str) -> None:
    """Assert that two values are equal."""
    assert one == other, f"{what} differ: {one} and {other}"


@contextmanager
def refuses(kind: type[CamcoreError], what: str) -> Iterator[None]:
    """Assert that an error of this kind is raised within."""
    try:
        yield
    except kind:
        return
    raise AssertionError(f"{what} raises no {kind.__name__}")


def slope_errors(
    score: Callable[[Array], Array], at: Array, gradients: Array
) -> Iterator[tuple[float, float]]:
    """Compare a gradient with slopes along random directions, at steps that shrink.

    Directions scale each value by itself, so that what a rectifier has set to zero stays
    zero: there the score has a kink at every step.

    Yields
    ------
    predicted : float
        The change by the gradient, along one direction.
    error : float
        How far the slope at the best step is from it.
    """
    for number in range(3):
        rng = np.random.default_rng(number)
        direction = (at * rng.uniform(-1, 1, at.shape)).astype(at.dtype)
        predicted = float((gradients * direction).sum())
        yield predicted, min(abs(slope - predicted) for slope in slopes(score, at, direction))


def slopes(
    score: Callable[[Array], Array],
    at: Array,
    direction: Array,
    steps: Sequence[float] = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4),
) -> Iterator[float]:
    """Measure how fast a score grows along a direction, at steps that shrink."""
    for step in steps:
        moved = score(np.concatenate([at + step * direction, at - step * direction]))
        yield (float(moved[0]) - float(moved[1])) / (2 * step)


def assert_slopes(errors: Sequence[tuple[float, float]], tolerance: float, what: str) -> None:
    """Assert that slopes agree with the gradient to 2 %, next to the largest of them."""
    scale = max(abs(predicted) for predicted, _ in errors)
    worst, predicted = max((error, predicted) for predicted, error in errors)
    assert worst <= 0.02 * scale + tolerance, (
        f"the gradient predicts a change of {predicted:.6g}, {what} shows one {worst:.2g} away"
    )
