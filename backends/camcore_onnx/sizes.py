"""Shapes of all tensors of a file, measured on one and two samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from camcore.adapter import Array
from camcore.errors import InputError
from camcore.layers.layout import axis_moved, axis_of_one

from .graph import Graph
from .sessions import Session

Shape: TypeAlias = tuple[int, ...]
Feed: TypeAlias = Mapping[str, Array]


@dataclass(frozen=True)
class Sizes:
    """Shapes of all tensors, by how many samples there are.

    Parameters
    ----------
    few, more : mapping of str to tuple of int
        Shapes for `samples` and for twice as many; the same where the file takes no more.
    samples : int
        One, or as many as the file takes at a time.
    grows : bool
        Whether the file takes any number of samples.
    dtypes : mapping of str to dtype
        Of each tensor.
    values : mapping of str to array
        What tensors hold that depend on no input, but perhaps on the inputs' sizes, the number
        of samples aside.
    """

    few: Mapping[str, Shape]
    more: Mapping[str, Shape]
    samples: int
    grows: bool
    dtypes: Mapping[str, np.dtype[Any]]
    values: Mapping[str, Array]

    def shape(self, tensor: str, samples: int) -> Shape:
        """Give a tensor's shape for a number of samples."""
        times = samples // self.samples - 1
        lengths = zip(self.few[tensor], self.more[tensor], strict=True)
        return tuple(few + (more - few) * times for few, more in lengths)

    def axis(self, tensor: str) -> int | None:
        """Tell which axis of a tensor carries the batch; None where all samples share it."""
        few, more = self.few[tensor], self.more[tensor]
        if few != more:
            return axis_moved(few, more)
        if self.grows or not few:
            return None
        return (
            axis_of_one(few)
            if self.samples == 1
            else next((axis for axis, length in enumerate(few) if length == self.samples), 0)
        )

    def doubled(self, tensor: str) -> int | None:
        """Find the one axis of a tensor that is twice as long for two samples, and no other is."""
        few, more = self.few[tensor], self.more[tensor]
        longer = [axis for axis, length in enumerate(few) if more[axis] != length]
        alone = len(longer) == 1 and more[longer[0]] == 2 * few[longer[0]]
        return longer[0] if alone else None


def measure(session: Session, graph: Graph, one: Feed, declared: int | None) -> Sizes:
    """Run a session that returns every tensor, on one sample and on two.

    Parameters
    ----------
    session : Session
        Of the file, every tensor an output.
    graph : Graph
        The file's.
    one : mapping of str to array
        One sample, as often as the file takes samples at a time.
    declared : int or None
        How many those are; None where the file leaves it open.
    """

    def run(feed: Feed) -> dict[str, Array]:
        found = session(feed) | dict(feed)
        return {name: value for name, value in found.items() if isinstance(value, np.ndarray)}

    few = run(one)
    more = few if declared is not None else _twice(run, one) or few
    stored = {name: tuple(tensor.dims) for name, tensor in graph.initializers.items()}
    return Sizes(
        stored | {name: array.shape for name, array in few.items()},
        stored | {name: more[name].shape for name in few},
        declared or 1,
        more is not few,
        {name: array.dtype for name, array in few.items()},
        {
            name: array
            for name, array in few.items()
            if name not in graph.data and np.array_equal(array, more[name])
        },
    )


def _twice(run: Callable[[Feed], dict[str, Array]], one: Feed) -> dict[str, Array] | None:
    """Run two samples; None where a batch of one is written into the file."""
    try:
        return run({name: np.concatenate([a] * 2) if len(a) == 1 else a for name, a in one.items()})
    except InputError:
        return None
