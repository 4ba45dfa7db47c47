"""What every layer returns, by shape, from one pass without gradients."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from camcore.adapter import Layer, LayerRecord
from camcore.outputs import score_paths
from camcore_torch import arrays, attention, naming, nest
from camcore_torch.capture import undisturbed
from camcore_torch.final_activation import ACTIVATIONS, TRIVIAL

_PASSING = TRIVIAL | ACTIVATIONS.keys() | {"interpolate", "upsample"}
"""Functions by ``__name__`` that show again what they are given, at most on another scale."""


def survey(model: nn.Module, sample: Any) -> list[LayerRecord]:
    """Record each layer's output, ordered by when its last call finished."""
    by_module: dict[Any, Layer] = {layer.native: layer for layer in naming.layers(model)}
    seen = _Seen()
    shapes: dict[Any, tuple[int, ...]] = {}
    repeats: dict[Any, nn.Module | None] = {}
    several: set[nn.Module] = set()
    calls = dict.fromkeys(by_module, 0)
    attended: dict[nn.Module, tuple[int, ...]] = {}

    def record(module: nn.Module, args: Any, output: Any) -> None:
        calls[module] += 1
        found = nest.first_floating(output)
        if found is not None:
            shapes.pop(module, None)
            shapes[module] = tuple(found[1].shape)
            repeats[module] = seen.by(module, found[1])
            (several.add if len(nest.floating(output)) > 1 else several.discard)(module)

    def attend(module: nn.Module, tensor: torch.Tensor) -> torch.Tensor:
        attended[module] = tuple(tensor.shape)
        return tensor

    passing = _Passing()
    with undisturbed(model), attention.watched(by_module, attend), ExitStack() as undo:
        for module in by_module:
            undo.callback(module.register_forward_hook(record).remove)
        with passing:
            outputs = arrays.call(model, sample)
    leaves = nest.floating(outputs)
    scores = score_paths({path: leaf.ndim for path, leaf in leaves.items()})
    returned = passing.back_from(leaves[path] for path in scores)
    return [
        LayerRecord(
            by_module[module],
            shape,
            naming.channels(module),
            calls[module],
            any(seen.last[module]() is tensor for tensor in returned),
            attended.get(module),
            None if (first := repeats[module]) is None else by_module[first].name,
            module in several,
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
        version = arrays.version(tensor)
        first, before = self._first.get(tensor, (module, None))
        if before != version:
            first = module
            self._first[tensor] = module, version
        return None if first is module else first


class _Passing(TorchFunctionMode):
    """Remembers, for each tensor that only shows another again, which one."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: Any = WeakTensorKeyDictionary()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one function of PyTorch."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if getattr(func, "__name__", "") in _PASSING and isinstance(result, torch.Tensor):
            shown = args[0] if args else kwargs.get("input")
            if isinstance(shown, torch.Tensor) and shown is not result:
                self._shown[result] = shown
        return result

    def back_from(self, leaves: Iterable[torch.Tensor]) -> list[torch.Tensor]:
        """The tensors, and those that they show."""
        found = []
        for leaf in leaves:
            tensor: torch.Tensor | None = leaf
            while tensor is not None:
                found.append(tensor)
                tensor = self._shown.get(tensor)
        return found
