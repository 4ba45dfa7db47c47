"""Ways to run a model that beat its eager float32 pass, on a copy that is made for them.

The copy follows the model: it is made anew when a weight was written to or replaced.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules import conv

from camcore.adapter import Array, Leaves, NativeScore, Rectifier, Seed, Trace
from camcore.errors import BackendError
from camcore_torch import arrays, naming, nest
from camcore_torch.adapter import TorchAdapter

WAYS = ("channels_last", "bfloat16", "compile")


class FastAdapter(TorchAdapter):
    """A model run in faster ways than its own.

    Parameters
    ----------
    model : nn.Module
        The model; a copy of it is what runs, which takes its memory once more.
    ways : sequence of {"channels_last", "bfloat16", "compile"}
        Convolutions on channels-last memory; autocast to bfloat16, with the weights cast
        beforehand; `torch.compile` of the parts between which nothing is captured.

    Raises
    ------
    BackendError
        The model cannot be copied, or a way is unknown.
    """

    def __init__(self, model: nn.Module, ways: Sequence[str]) -> None:
        unknown = [way for way in ways if way not in WAYS]
        if unknown or naming.is_keras(model):
            what = f"fast={unknown[0]!r}" if unknown else "a Keras model on the torch backend"
            raise BackendError(f"PyTorch has no fast way for {what}; there are {', '.join(WAYS)}.")
        self.ways = tuple(ways)
        self._original = naming.unwrap(model)
        self._compiled: dict[nn.Module, Callable[..., Any]] = {}
        self._made_from: list[tuple[int, int]] = []
        super().__init__(self._original)
        self._renew()

    def run(
        self,
        inputs: Any,
        layers: Sequence[str] = (),
        seeds: Sequence[Seed | NativeScore] = (),
        *,
        logits: bool = True,
        second_order: bool = False,
        rectifier: Rectifier | None = None,
    ) -> Trace:
        """One fast pass; see `camcore.adapter.Adapter`."""
        plain = second_order or rectifier is not None
        with self._fast(layers, compiled=not plain):
            return super().run(
                self._laid_out(inputs),
                layers,
                seeds,
                logits=logits,
                second_order=second_order,
                rectifier=rectifier,
            )

    @contextmanager
    def resume(
        self, inputs: Any, layer: str, *, logits: bool = True
    ) -> Iterator[Callable[[Array], Leaves]]:
        """Run one sample up to `layer`, then from there on; see `camcore.adapter.Adapter`."""
        with (
            self._fast([layer], compiled=False),
            super().resume(inputs, layer, logits=logits) as head,
        ):
            yield head

    def _laid_out(self, inputs: Any) -> Any:
        if "channels_last" not in self.ways:
            return inputs

        def channels_last(_: str, value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            return value.contiguous(memory_format=_channels_last(value.ndim))

        return nest.transform(arrays.prepare(self.model, inputs), channels_last)

    @contextmanager
    def _fast(self, layers: Sequence[str], *, compiled: bool) -> Iterator[None]:
        self._renew()
        with ExitStack() as inside:
            if "bfloat16" in self.ways:
                inside.enter_context(self._autocast())
            if "compile" in self.ways and compiled:
                calls = [naming.find(self.model, name) for name in layers if name[:1] != "@"]
                inside.enter_context(self._compiled_around([call.module for call in calls]))
            yield

    def _autocast(self) -> AbstractContextManager[Any]:
        device = next((p.device.type for p in self.model.parameters()), "cpu")
        return torch.autocast(device, torch.bfloat16)

    @contextmanager
    def _compiled_around(self, captured: Sequence[nn.Module]) -> Iterator[None]:
        """Let the largest parts that have no captured layer inside them run compiled."""
        parts = list(_parts(self.model, {id(module) for module in captured}))
        for part in parts:
            if part not in self._compiled:
                self._compiled[part] = torch.compile(part.forward)
            part.__dict__["forward"] = self._compiled[part]
        try:
            yield
        finally:
            for part in parts:
                del part.__dict__["forward"]

    def _renew(self) -> None:
        """Copy the model, unless nothing was written to it since it was last copied."""
        tensors = [*self._original.parameters(), *self._original.buffers()]
        state = [(id(tensor), arrays.version(tensor)) for tensor in tensors]
        if state == self._made_from:
            return
        try:
            twin = copy.deepcopy(self._original).eval().requires_grad_(False)
        except (RuntimeError, TypeError) as error:
            raise BackendError(
                f"The {type(self._original).__name__} cannot be copied, which the fast ways need: "
                f"{error} Leave `fast` out."
            ) from error
        for module in twin.modules():
            weighs = isinstance(module, (nn.Linear, conv._ConvNd))
            if "channels_last" in self.ways and isinstance(module, conv._ConvNd):
                module.to(memory_format=_channels_last(module.weight.ndim))
            if "bfloat16" in self.ways and weighs:
                module.to(torch.bfloat16)
        self.model, self._made_from = twin, state
        self._compiled.clear()


def _channels_last(rank: int) -> torch.memory_format:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return formats.get(rank, torch.contiguous_format)


def _parts(module: nn.Module, captured: set[int]) -> Iterator[nn.Module]:
    """The module, or where a captured one lies inside it, its parts."""
    inside = {id(below) for below in module.modules() if below is not module}
    if inside & captured:
        for child in module.children():
            yield from _parts(child, captured)
    elif any(True for _ in module.parameters()):
        yield module
