"""What every layer returns, by shape, from one pass without gradients."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import nn
from torch.utils.weak import WeakTensorKeyDictionary

from camcore.adapter import Layer, LayerRecord, Mode
from camcore.outputs import score_paths
from camcore_torch import attention, layers
from camcore_torch.inputs import call, floating
from camcore_torch.inputs import version as version_of
from camcore_torch.joins import Joins
from camcore_torch.logits import ACTIVATIONS, TRIVIAL
from camcore_torch.modes import CallMode
from camcore_torch.preserve import Draws, preserved, reached
from camcore_torch.shells import Shells

_PASSING = TRIVIAL | ACTIVATIONS.keys() | {"interpolate", "upsample"}
"""Functions by ``__name__`` that show again what they are given, at most on another scale."""


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
    seen, passing = _Seen(), _Passing()
    shapes: dict[nn.Module, tuple[int, ...]] = {}
    repeats: dict[nn.Module, nn.Module | None] = {}
    several: set[nn.Module] = set()
    calls = dict.fromkeys(known, 0)
    attended: dict[nn.Module, tuple[int, ...]] = {}
    joins, joined = Joins(), defaultdict[nn.Module, tuple[tuple[int, ...], ...]](tuple)

    def record(module: nn.Module, args: Any, output: Any) -> None:
        if module not in calls:  # a copy that the model made of one, hooks and all
            return
        calls[module] += 1
        found = floating(output)
        if found:
            tensor = next(iter(found.values()))
            shapes.pop(module, None)
            shapes[module] = tuple(tensor.shape)
            joined[module] += joins.take()
            repeats[module] = seen.by(module, tensor)
            (several.add if len(found) > 1 else several.discard)(module)

    def attend(module: nn.Module, tensor: torch.Tensor) -> torch.Tensor:
        attended[module] = tuple(tensor.shape)
        return tensor

    with attention.watched(known, attend):
        for module in known:
            module.register_forward_hook(record)
        with passing, joins:
            outputs = floating(reached(model, shells, lambda: call(shells.model, sample)))
    scores = score_paths({path: leaf.ndim for path, leaf in outputs.items()})
    returned = passing.back_from(outputs[path] for path in scores)
    return [
        LayerRecord(
            known[module],
            shape,
            layers.channels(module),
            calls[module],
            any(seen.last[module]() is tensor for tensor in returned),
            attended.get(module),
            None if (first := repeats[module]) is None else known[first].name,
            module in several,
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


class _Passing(CallMode):
    """Remembers, for each tensor that only shows another again, which one."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: Any = WeakTensorKeyDictionary()

    def see(
        self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call the function, and note what its result shows again."""
        result = func(*args, **kwargs)
        if name in _PASSING and isinstance(result, torch.Tensor):
            shown = args[0] if args else kwargs.get("input")
            if isinstance(shown, torch.Tensor) and shown is not result:
                self._shown[result] = shown
        return result

    def back_from(self, leaves: Iterable[torch.Tensor]) -> list[torch.Tensor]:
        """List the tensors, and those that they show."""
        found = []
        for leaf in leaves:
            tensor: torch.Tensor | None = leaf
            while tensor is not None:
                found.append(tensor)
                tensor = self._shown.get(tensor)
        return found
