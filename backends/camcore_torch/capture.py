"""Taking what layers return, out of a model that is left as it was.

Up to the first captured layer a pass keeps no graph. There the layer's output is
cut off and asked for its gradient, and grad mode goes on: what follows is all that
a gradient is ever worked out for, and parameters are not part of it.
"""

from __future__ import annotations

import operator
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from typing import Any, TypeAlias

import torch
from torch import jit, nn

from camcore.adapter import INPUT
from camcore.errors import LayerError
from camcore_torch import arrays, attention, checkpoints, naming, nest
from camcore_torch.naming import Call, without_compile


@contextmanager
def undisturbed(
    root: nn.Module, *, copy_inference_tensors: bool = False
) -> Iterator[list[nn.Module]]:
    """Inference behaviour inside, without gradients; everything as it was afterwards.

    That includes attributes which a model's own ``forward`` stores on it: they would
    keep the pass, and its graph, alive.

    Parameters
    ----------
    root : nn.Module
        The model.
    copy_inference_tensors : bool
        Whether tensors made under ``torch.inference_mode`` shall have copies stand in for
        them, which autograd can save.

    Yields
    ------
    list of nn.Module
        Those whose attributes are put back: all but TorchScript.
    """
    modules = naming.modules(root)
    eager = [module for module in modules if not isinstance(module, jit.ScriptModule)]
    flags = [module.training for module in modules]
    attributes = _Attributes(eager)
    autocast_caches = torch.is_autocast_cache_enabled()
    try:
        # Older PyTorch trains later with the weights that autocast casts without a graph here.
        torch.set_autocast_cache_enabled(False)
        with torch.inference_mode(False), torch.set_grad_enabled(False), checkpoints.left_out():
            # Flags are set one by one: models override train() and eval() to do more.
            _set_training(modules, [False] * len(modules))
            _run_eagerly(eager)
            if copy_inference_tensors:
                _stand_in_for_inference_tensors(eager)
            yield eager
    finally:
        torch.set_autocast_cache_enabled(autocast_caches)
        _set_training(modules, flags)
        attributes.restore()


class _Attributes:
    """What modules hold by which name, to be put back; kept flat, since there are thousands."""

    def __init__(self, modules: list[nn.Module]) -> None:
        self._stores = [
            store
            for module in modules
            for store in (module.__dict__, module._parameters, module._buffers, module._modules)
        ]
        self._sizes = list(map(len, self._stores))
        self._names = list(chain.from_iterable(self._stores))
        self._values = list(chain.from_iterable(map(dict.values, self._stores)))

    def restore(self) -> None:
        """Put back what was added, taken away or replaced."""
        if self._unchanged():
            return
        pairs = zip(self._names, self._values, strict=True)
        for store, size in zip(self._stores, self._sizes, strict=True):
            before = dict(islice(pairs, size))
            if store.keys() != before.keys() or any(store[k] is not before[k] for k in before):
                store.clear()
                store.update(before)

    def _unchanged(self) -> bool:
        # Values are compared by identity: equality means something else to tensors.
        values = chain.from_iterable(map(dict.values, self._stores))
        return (
            list(map(len, self._stores)) == self._sizes
            and list(chain.from_iterable(self._stores)) == self._names
            and all(map(operator.is_, values, self._values))
        )


def _set_training(modules: list[nn.Module], flags: list[bool]) -> None:
    for module, flag in zip(modules, flags, strict=True):
        if module.training != flag:
            module.training = flag


def _run_eagerly(modules: list[nn.Module]) -> None:
    """Keep compiled parts from running compiled code, which knows nothing of new hooks."""
    for module in modules:
        if module.__dict__.get("_compiled_call_impl") is not None:
            module.__dict__["_compiled_call_impl"] = None
        for name, child in module._modules.items():
            if child is not None and "_orig_mod" in child._modules:
                module._modules[name] = without_compile(child)


def holds_inference_tensors(root: nn.Module) -> bool:
    """Whether a parameter or buffer was made in inference mode."""
    return any(tensor.is_inference() for _, _, tensor in _tensors(naming.modules(root)))


def _stand_in_for_inference_tensors(modules: list[nn.Module]) -> None:
    for store, name, tensor in list(_tensors(modules)):
        if tensor.is_inference():
            store[name] = tensor.clone()


def _tensors(modules: list[nn.Module]) -> Iterator[tuple[dict[str, Any], str, torch.Tensor]]:
    for module in modules:
        stores: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for store in stores:
            for name, tensor in store.items():
                if tensor is not None:
                    yield store, name, tensor


Point: TypeAlias = tuple[nn.Module, bool]
"""A module, and whether its attention is meant rather than what it returns."""


class Capture:
    """What layers return in one pass, taken before anything can change it.

    Parameters
    ----------
    calls : mapping of str to Call or None
        The calls to capture by the name they were asked for; None for the input.
    graph : bool
        Whether gradients will be asked for.
    """

    def __init__(self, calls: Mapping[str, Call | None], *, graph: bool) -> None:
        self.calls = calls
        self.graph = graph
        self._wanted: defaultdict[Point, set[int]] = defaultdict(set)
        for call in calls.values():
            if call is not None:
                self._wanted[call.module, call.attention].add(call.index)
        # One of the captured may be reached through another.
        self._linked = len(calls) > 1 or any(call and call.index < -1 for call in calls.values())
        self._ran: Counter[Point] = Counter()
        self._kept: defaultdict[Point, dict[int, torch.Tensor | None]] = defaultdict(dict)
        self._input: torch.Tensor | None = None

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Hooks on the layers, and only here."""
        attending = [module for module, attends in self._wanted if attends]
        with ExitStack() as undo:
            for module, attends in self._wanted:
                if not attends:
                    undo.callback(module.register_forward_hook(self._hook).remove)
            if attending:
                undo.enter_context(attention.watched(attending, self._attended))
            yield

    def take_input(self, inputs: Any) -> Any:
        """Capture the input that `INPUT` names; returns the inputs to run the model on."""
        floating = nest.floating(inputs)
        if not floating:
            raise LayerError(f"{INPUT!r} was asked for, but no input is a floating tensor.")
        path = next((p for p, tensor in floating.items() if tensor.ndim > 2), next(iter(floating)))
        images = arrays.images_at(inputs, path)
        tensor = floating[path] if images is None else torch.stack(images)
        self._input, passed_on = self._take(tensor)
        if images is None:
            return nest.put(inputs, path, passed_on)
        where = path.rpartition(".")[0]
        for i, image in enumerate(passed_on):
            inputs = nest.put(inputs, f"{where}.{i}", image)
        return inputs

    def __getitem__(self, name: str) -> torch.Tensor:
        """Return the tensor captured for a name.

        Raises
        ------
        LayerError
            The call did not happen, or returned no floating tensor.
        """
        call = self.calls[name]
        if call is None:
            assert self._input is not None
            return self._input
        point = call.module, call.attention
        ran = self._ran[point]
        if not ran and call.attention:
            raise LayerError(
                f"{name!r}: the layer computed no softmax attention in this pass, or hid it in a "
                "kernel other than scaled_dot_product_attention. Choose another layer."
            )
        if not ran:
            raise LayerError(
                f"Layer {name!r} did not run in this pass. It may belong to a branch that is "
                "only used in training, or its parent reads its weights without calling it."
            )
        index = call.index + ran if call.index < 0 else call.index
        if not 0 <= index < ran:
            raise LayerError(f"{name!r}: the layer ran {ran} times, so #0 to #{ran - 1} exist.")
        tensor = self._kept[point][index]
        if tensor is None:
            raise LayerError(f"Layer {name!r} returned no floating tensor; choose another layer.")
        if tensor.is_quantized:
            raise LayerError(
                f"Layer {name!r} returned a quantised tensor ({tensor.dtype}), which has neither "
                "gradients nor its own digits. Choose a layer that returns floats, or explain the "
                "model before it was quantised."
            )
        return tensor

    def _hook(self, module: nn.Module, args: Any, output: Any) -> Any:
        path, tensor = nest.first_floating(output) or ("", None)
        passed_on = self._see((module, False), tensor)
        return None if passed_on is tensor else nest.put(output, path, passed_on)

    def _attended(self, module: nn.Module, tensor: torch.Tensor) -> torch.Tensor:
        passed_on = self._see((module, True), tensor)
        assert passed_on is not None
        return passed_on

    def _see(self, point: Point, tensor: torch.Tensor | None) -> torch.Tensor | None:
        """Keep what may be wanted; returns what the model goes on with."""
        index = self._ran[point]
        self._ran[point] += 1
        wanted = self._wanted[point]
        from_end = -min(wanted)
        if index not in wanted and from_end <= 0:
            return tensor
        kept = self._kept[point]
        if index - from_end not in wanted:
            kept.pop(index - from_end, None)
        if tensor is None or tensor.is_quantized:
            kept[index] = tensor
            return tensor
        kept[index], passed_on = self._take(tensor)
        return passed_on

    def _take(self, tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Copy to keep, and what the model goes on with.

        Both are copies: an in-place ReLU may follow, and the layer may have
        returned memory that somebody else writes to.
        """
        if not self.graph:
            return tensor.detach().clone(), tensor
        torch.set_grad_enabled(True)
        if tensor.requires_grad and not tensor.is_leaf and self._linked:
            kept = tensor.clone()
        else:
            kept = tensor.detach().clone().requires_grad_()
        return kept, kept.clone()
