"""Ways to run a model that beat its eager float32 pass, on a copy that is made for them.

The copy follows the model: it is made anew when a weight was written to, or anything replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch._functorch.config as functorch_config
from torch import nn
from torch.nn.modules import conv

from camcore._shared.reads import Snapshot
from camcore._shared.same import is_installed
from camcore.adapter import Array, Leaves, NativeScore, Rectifier, SecondOrder, Seed, Trace
from camcore.errors import BackendError
from camcore.nest import map_leaves
from camcore_torch import inputs as inputs_of
from camcore_torch import layers as layers_of
from camcore_torch.adapter import TorchAdapter
from camcore_torch.layers import LayerCall
from camcore_torch.preserve import copied
from camcore_torch.resume import Head
from camcore_torch.shells import Shells
from camcore_torch.traits import traits_of

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
        if unknown or layers_of.is_keras(model):
            what = f"fast={unknown[0]!r}" if unknown else "a Keras model on the torch backend"
            raise BackendError(f"PyTorch has no fast way for {what}; there are {', '.join(WAYS)}.")
        self.ways = tuple(ways)
        self.compiles = "compile" in ways
        self._original = layers_of.unwrap(model)
        self._compiled: dict[nn.Module, Callable[..., Any]] = {}
        self._weights: list[tuple[int, int, int]] = []
        self._modules: Snapshot | None = None
        super().__init__(self._original)
        self._renew()

    def run(
        self,
        inputs: Any,
        layers: Sequence[str] = (),
        seeds: Sequence[Seed | NativeScore] = (),
        *,
        logits: bool = True,
        second_order: SecondOrder = False,
        rectifier: Rectifier | None = None,
        optional: Sequence[str] = (),
    ) -> Trace:
        """Run one fast pass; see `camcore.adapter.Adapter`."""
        self._renew()
        with self._switched():
            return super().run(
                self._laid_out(inputs),
                layers,
                seeds,
                logits=logits,
                second_order=second_order,
                rectifier=rectifier,
                optional=optional,
            )

    @contextmanager
    def resume(self, inputs: Any, layer: str, *, logits: bool = True) -> Iterator[Head]:
        """Run one sample up to `layer`, then from there on; see `camcore.adapter.Adapter`."""
        self._renew()
        with self._switched(), super().resume(inputs, layer, logits=logits) as head:
            yield head

    def gradients_between(self, inputs: Any, pulls: Mapping[str, tuple[str, Array]]) -> Leaves:
        """Run one fast pass, and pull back between layers; see `camcore.adapter.PullsBetween`."""
        self._renew()
        with self._switched():
            return super().gradients_between(self._laid_out(inputs), pulls)

    def _laid_out(self, inputs: Any) -> Any:
        if "channels_last" not in self.ways:
            return inputs

        def channels_last(_: str, value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            return value.contiguous(memory_format=_channels_last(value.ndim))

        return map_leaves(inputs_of.prepare(self.model, inputs), channels_last)

    def _prepare_shells(
        self, shells: Shells, calls: Mapping[str, LayerCall], *, plain: bool
    ) -> None:
        """Let the largest parts that have no captured layer inside them run compiled."""
        if "compile" not in self.ways or plain:
            return
        captured = {id(call.module) for call in calls.values() if call.module is not None}
        for part in _parts(self.model, captured):
            if part not in self._compiled:
                self._compiled[part] = torch.compile(part.forward)
            shells.of(part).__dict__["forward"] = self._compiled[part]

    @contextmanager
    def _switched(self) -> Iterator[None]:
        """Set what the ways need, for this thread alone."""
        with ExitStack() as undo:
            if "bfloat16" in self.ways:
                device = next((p.device.type for p in self.model.parameters()), "cpu")
                undo.enter_context(torch.autocast(device, torch.bfloat16))
            if self.compiles:
                # A compiled graph that gives its buffers away is pulled back through only once.
                undo.enter_context(functorch_config.patch(donated_buffer=False))
            yield

    def _renew(self) -> None:
        """Copy the model, unless nothing was written to it since it was last copied."""
        tensors = [*self._original.parameters(), *self._original.buffers()]
        state = [(id(each), inputs_of.version(each), each.data_ptr()) for each in tensors]
        if self._modules and self._modules.is_current() and state == self._weights:
            return
        wanted = "the fast ways need; leave `fast` out"
        twin = copied(self._original, wanted).eval().requires_grad_(False)
        for module in twin.modules():
            weighs = isinstance(module, (nn.Linear, conv._ConvNd))
            if "channels_last" in self.ways and isinstance(module, conv._ConvNd):
                module.to(memory_format=_channels_last(module.weight.ndim))
            if "bfloat16" in self.ways and weighs:
                module.to(torch.bfloat16)
        traits_of(twin).is_reached = True  # it is not the user's, and compiled parts of it run
        attributes = [
            (module, name)
            for module in Shells(self._original, {}).originals
            for name in {**vars(module), "forward": None}
            if name != "training"  # the copy is in eval mode
        ]
        self._modules = Snapshot(attributes, lambda kind: not is_installed(kind), private=True)
        self.model, self._weights = twin, state
        self._compiled.clear()


def _channels_last(rank: int) -> torch.memory_format:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return formats.get(rank, torch.contiguous_format)


def _parts(module: nn.Module, captured: set[int]) -> Iterator[nn.Module]:
    """Yield the module, or where a captured one lies inside it, its parts."""
    inside = {id(below) for below in module.modules() if below is not module}
    if inside & captured:
        for child in module.children():
            yield from _parts(child, captured)
    elif any(True for _ in module.parameters()):
        yield module
