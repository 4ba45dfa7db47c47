"""What every layer returns, by shape, from one pass without gradients."""

from __future__ import annotations

import itertools
import weakref
from collections import defaultdict
from typing import Any, cast

import torch
from torch import nn
from torch.utils.weak import WeakTensorKeyDictionary

from camcore.adapter import Layer, LayerRecord, Mode
from camcore.layers.ends import ends
from camcore.outputs import score_paths
from camcore_torch import attention, layers
from camcore_torch.graph import Graph
from camcore_torch.inputs import call, floating
from camcore_torch.inputs import version as version_of
from camcore_torch.joins import Joins
from camcore_torch.preserve import Draws, preserved, reached
from camcore_torch.shells import Shells


def survey(model: nn.Module, sample: Any, mode: Mode) -> list[LayerRecord]:
    """Record each layer's output, ordered by when its last call finished."""
    draws = Draws()
    try:
        return preserved(model, lambda shells: _survey(model, shells, sample), mode=mode)
    finally:
        draws.rewind()


def _survey(model: nn.Module, shells: Shells, sample: Any) -> list[LayerRecord]:
    known: dict[nn.Module, Layer] = {}
    for layer in layers.layers(model):
        known[shells.of(cast(nn.Module, layer.native))] = layer
    seen = _Seen()
    graph = Graph([*model.parameters(), *model.buffers(), *floating(sample).values()])
    shapes: dict[nn.Module, tuple[int, ...]] = {}
    repeats: dict[nn.Module, nn.Module | None] = {}
    several: set[nn.Module] = set()
    calls = dict.fromkeys(known, 0)
    attended: dict[nn.Module, tuple[int, ...]] = {}
    joins, joined = Joins(), defaultdict[nn.Module, tuple[tuple[int, ...], ...]](tuple)
    events = itertools.count()
    starts: dict[nn.Module, int] = {}
    spans: dict[nn.Module, tuple[int, int]] = {}

    def start(module: nn.Module, args: Any) -> None:
        starts[module] = next(events)

    def record(module: nn.Module, args: Any, output: Any) -> None:
        if module not in calls:  # a copy that the model made of one, hooks and all
            return
        calls[module] += 1
        spans[module] = starts[module], next(events)
        found = floating(output)
        if found:
            tensor = next(iter(found.values()))
            shapes.pop(module, None)
            shapes[module] = tuple(tensor.shape)
            joined[module] += joins.take()
            repeats[module] = seen.by(module, tensor)
            graph.returned(module, found.values())
            (several.add if len(found) > 1 else several.discard)(module)

    def attend(module: nn.Module, tensor: torch.Tensor) -> torch.Tensor:
        attended[module] = tuple(tensor.shape)
        return tensor

    with attention.watched(known, attend):
        for module in known:
            module.register_forward_pre_hook(start)
            module.register_forward_hook(record)
        with graph, joins:
            outputs = floating(reached(model, shells, lambda: call(shells.model, sample)))
    paths = score_paths({path: leaf.ndim for path, leaf in outputs.items()})
    found = ends([outputs[path] for path in sorted(paths)], graph.step, graph.linear)
    around = [spans[module] for module in attended if module in spans]
    return [
        LayerRecord(
            known[module],
            shape,
            layers.channels(module, len(shape)),
            calls[module],
            any(seen.last[module]() is tensor for tensor in found.shown),
            attended.get(module),
            None if (first := repeats[module]) is None else known[first].name,
            module in several,
            module in graph.rectified,
            any(graph.feeds(module, parts) for parts in found.parts),
            any(first < spans[module][0] and spans[module][1] < last for first, last in around),
            joins=joined[module],
        )
        for module, shape in shapes.items()
    ]


class _Seen:
    """Which module returned which tensor, first and last."""

    def __init__(self) -> None:
        self.last: dict[nn.Module, weakref.ref[torch.Tensor]] = {}
        self._first: Any = WeakTensorKeyDictionary()

    def by(self, module: nn.Module, tensor: torch.Tensor) -> nn.Module | None:
        """Note a tensor; returns another module that returned it before, as it is now."""
        self.last[module] = weakref.ref(tensor)
        version = version_of(tensor)
        first, before = self._first.get(tensor, (module, None))
        if before != version:
            first = module
            self._first[tensor] = module, version
        return None if first is module else first
