"""What every layer returns, by shape, from one pass without gradients."""

from __future__ import annotations

import weakref
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from camcore.trace import Layer, LayerRecord
from camcore_torch import arrays, attention, naming, nest
from camcore_torch.capture import undisturbed


def survey(model: nn.Module, sample: Any) -> list[LayerRecord]:
    """Record each layer's output, ordered by when its last call finished."""
    by_module: dict[Any, Layer] = {layer.native: layer for layer in naming.layers(model)}
    last: dict[Any, weakref.ref[torch.Tensor]] = {}
    shapes: dict[Any, tuple[int, ...]] = {}
    calls = dict.fromkeys(by_module, 0)
    attending: set[nn.Module] = set()

    def record(module: nn.Module, args: Any, output: Any) -> None:
        calls[module] += 1
        found = nest.first_floating(output)
        if found is not None:
            for kept in (shapes, last):
                kept.pop(module, None)
            shapes[module], last[module] = tuple(found[1].shape), weakref.ref(found[1])

    def attended(module: nn.Module, tensor: torch.Tensor) -> torch.Tensor:
        attending.add(module)
        return tensor

    with undisturbed(model), attention.watched(by_module, attended), ExitStack() as undo:
        for module in by_module:
            undo.callback(module.register_forward_hook(record).remove)
        outputs = arrays.call(model, sample)
    leaves = nest.floating(outputs).values()
    return [
        LayerRecord(
            by_module[module],
            shape,
            naming.channels(module),
            calls[module],
            any(last[module]() is leaf for leaf in leaves),
            module in attending,
        )
        for module, shape in shapes.items()
    ]
