"""Which layers are worth looking at, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from camcore import nest, registry
from camcore.adapter import Adapter, Array, Channels, Layer, LayerTrace, Leaves
from camcore.errors import LayerError
from camcore.layers import layout, selection
from camcore.layers.connected import connected


@dataclass(frozen=True)
class Candidate:
    """A layer that ran, and whether it is worth looking at.

    Parameters
    ----------
    layer : Layer
        The layer.
    shape : tuple of int
        Shape of its output, batch axis included.
    calls : int
        How many times it ran; `shape` is that of its last call.
    size : tuple of int or None
        Spatial size of the map that is made there; None where there is none.
    fault : str
        Why it is not worth looking at; empty where it is.
    chosen : bool
        Whether it is the one that is looked at when none is named.
    """

    layer: Layer
    shape: tuple[int, ...]
    calls: int
    size: tuple[int, ...] | None
    fault: str
    chosen: bool


def candidates(model: object, inputs: Any) -> tuple[Candidate, ...]:
    """Every layer that runs, and which are worth looking at.

    Such a layer returns a map: an array with spatial extent, or tokens on a grid. It does
    more than pool, pad, drop or rearrange what came before, it is not the model's own
    output, and a gradient reaches it: in transformers, not its class tokens alone.

    Parameters
    ----------
    model : torch.nn.Module, keras.Model, or camcore.adapter.Adapter
        Left exactly as it is.
    inputs : array, tensor, or nest of these
        What the model takes; the first sample is looked at. Take a photograph or noise:
        where an input is all alike, gradients may be absent that others have.

    Returns
    -------
    tuple of Candidate
        In the order in which their last calls finished.

    Raises
    ------
    BackendError
        No installed adapter owns the model.
    """
    adapter = registry.adapter(model)
    one = nest.sample_of(inputs, 0)
    about = nest.spatial_size(one, adapter.input_channels), adapter.input_channels
    records = adapter.survey(one)
    faults = selection.faults(records, *about)
    names = [r.layer.name for r, fault in zip(records, faults, strict=True) if not fault]
    reached = _reached(adapter, one, names, *about)
    if not reached:
        # A head of zeros, as some models start with, hides what would be reached.
        reached = set(names)
    try:
        chosen = selection.choose(records, *about)
    except LayerError:
        chosen = None
    sizes = [selection.map_size(record, *about) for record in records]
    return tuple(
        Candidate(
            record.layer,
            record.shape,
            record.calls,
            size,
            _fault(record.layer.name in reached, fault, size),
            record.layer.name == chosen,
        )
        for record, fault, size in zip(records, faults, sizes, strict=True)
    )


def _fault(reached: bool, fault: str, size: tuple[int, ...] | None) -> str:
    if size is None:
        return "no map"
    return fault or ("" if reached else "no gradient")


def _reached(adapter: Adapter, inputs: Any, names: Sequence[str], *about: Any) -> set[str]:
    """Those of the layers where some output has a gradient, class tokens aside."""
    found = connected(lambda some: adapter.run(inputs, some, [_any_score]), names)
    return {name for name, traced in found.items() if np.any(_on_the_map(traced, *about))}


def _on_the_map(traced: LayerTrace, size: tuple[int, ...], convention: Channels) -> Array:
    """The layer's gradients where its map is."""
    (gradients,) = traced.gradients
    found = layout.infer(gradients.shape, traced.channels, size, convention=convention)
    return found.canonical(gradients)


def _any_score(outputs: Leaves) -> Leaves:
    """A random functional of every output, whose gradient is zero nowhere by chance."""
    rng = np.random.default_rng(0)
    return {
        path: rng.normal(size=leaf.shape).astype(leaf.dtype)
        for path, leaf in outputs.items()
        if np.issubdtype(leaf.dtype, np.floating)
    }
