"""How a pass's tensors come from one another and from what layers return, without autograd."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.weak import WeakTensorKeyDictionary

from camcore.layers.ends import Step, kind_of
from camcore.layers.rectified import Origins
from camcore_torch.logits import ACTIVATIONS, TRIVIAL
from camcore_torch.rectified import Following, floating
from camcore_torch.weights import is_linear

_SHOWING = TRIVIAL | ACTIVATIONS.keys() | {"interpolate", "H", "T", "mH", "mT"}
"""Functions by ``__name__`` that show again what they are given, at most on another scale."""


class Graph(Following):
    """Remembers how tensors come from what layers return.

    Parameters
    ----------
    constants : iterable of tensor
        What no layer has a part in: weights, buffers, inputs.
    """

    def __init__(self, constants: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.rectified: set[nn.Module] = set()
        """Modules whose output a function rectified, of their last call."""
        self._rectified_of: Any = WeakTensorKeyDictionary()
        self._steps: Any = WeakTensorKeyDictionary()
        self._linear: Any = WeakTensorKeyDictionary()
        self._uses: Any = WeakTensorKeyDictionary()
        self._made_of: Any = WeakTensorKeyDictionary()
        self._marks: dict[nn.Module, int] = {}
        self._calls = 0
        for tensor in constants:
            self._made_of[tensor] = 0

    def returned(self, module: nn.Module, tensors: Collection[torch.Tensor]) -> None:
        """Note what a module's call returned."""
        self._marks[module] = mark = 1 << self._calls
        self._calls += 1
        self.rectified.discard(module)
        for tensor in tensors:
            self._made_of[tensor] = self._mark(tensor) | mark
            if kind := is_linear(module):
                self._linear[tensor] = kind
        first = next(iter(tensors))
        self.rectified -= self._rectified_of.pop(first, frozenset())  # it has a name by this
        self.start(first, module)

    def step(self, tensor: torch.Tensor) -> Step | None:
        """Tell how a tensor shows others again."""
        step: Step | None = self._steps.get(tensor)
        if step is not None and step.kind == "sum" and any(self._uses[t] > 1 for t in step.given):
            return None  # a residual, which goes on beside
        return step

    def linear(self, tensor: torch.Tensor) -> Literal["", "linear", "pointwise"]:
        """Tell whether a linear layer or convolution returned a tensor."""
        kind: Literal["", "linear", "pointwise"] = self._linear.get(tensor, "")
        return kind

    def feeds(self, module: nn.Module, tensors: Iterable[torch.Tensor]) -> bool:
        """Tell whether all tensors that are made of layers are made of a module's last call."""
        marks = map(self._mark, tensors)
        return all(mark & self._marks[module] for mark in marks if mark)

    def replace(self, tensor: torch.Tensor, other: torch.Tensor) -> None:
        """Follow another tensor in place of one, where that is followed."""
        super().replace(tensor, other)
        if (origins := self._rectified_of.pop(tensor, None)) is not None:
            self._rectified_of[other] = origins

    def _seen(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
        result = super()._seen(name, args, kwargs, result)
        made = next(floating([result]), None)
        if name == "__setitem__":
            made = args[0]
        if made is None:
            return result
        given, mark = [], 0
        for tensor in floating([args, [*kwargs.values()]]):
            if own := self._mark(tensor):
                given.append(tensor)
                mark |= own
                self._uses[tensor] = self._uses.get(tensor, 0) + 1
        for tensor in [made, *floating([result])]:
            self._made_of[tensor] = 0 if name in ("data", "detach") else mark
        if not mark or any(made is tensor for tensor in given):
            return result
        kind = "same" if name in _SHOWING else kind_of(name, len(given))
        if kind == "same" or (
            # What is kept keeps tensors alive, so nothing that cannot be scores.
            kind is not None and all(t in self._linear or t in self._steps for t in given)
        ):
            self._steps[made] = Step(kind, tuple(given[:1] if kind == "same" else given))
        return result

    def _mark(self, tensor: torch.Tensor) -> int:
        """Tell by its bits which calls a tensor is made of: all, where a function was not seen."""
        mark: int = self._made_of.get(tensor, (1 << self._calls) - 1)
        return mark

    def rectify(self, origins: Origins, tensor: torch.Tensor) -> torch.Tensor:
        """Note what functions make of modules' outputs."""
        self._rectified_of[tensor] = origins
        self.rectified |= origins
        return tensor
