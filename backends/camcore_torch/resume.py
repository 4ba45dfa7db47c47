"""Running a model from a layer on, with altered activations, as often as asked.

Of a first, plain pass the outputs of the sub-modules that finished before the layer
are recorded, the outermost of each. Afterwards they return what was recorded
instead of computing it, and the layer returns what it is given, while the model's
own ``forward`` does the rest; so a residual that bypasses the layer keeps its value.
Whether that gives back the plain outputs is checked before it is relied upon.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from camcore.adapter import Array, Leaves
from camcore.errors import CamcoreWarning, InputError, LayerError
from camcore_torch import arrays, naming, nest
from camcore_torch.arrays import to_numpy
from camcore_torch.capture import undisturbed
from camcore_torch.final_activation import call_model


@dataclass
class Recording:
    """A plain pass of one sample, up to one call of a layer.

    Parameters
    ----------
    before : sequence of (nn.Module, output)
        What was called before the layer's call, outermost, in order, and what it returned.
    output, path : nest, str
        What the layer's call returned, and where its activations are in it.
    plain : mapping of str to array
        The model's outputs by path.
    """

    model: nn.Module
    inputs: Any
    logits: bool
    target: nn.Module
    index: int
    before: tuple[tuple[nn.Module, Any], ...]
    output: Any
    path: str
    plain: Leaves

    @property
    def activations(self) -> torch.Tensor:
        """What the layer returned."""
        return nest.floating(self.output)[self.path]

    def altered(self, activations: Array) -> tuple[torch.Tensor, int]:
        """Activations as a tensor of its own, and how many alterations of the sample it holds."""
        own = self.activations
        times, rest = divmod(len(activations), len(own))
        if rest or not times or activations.shape[1:] != tuple(own.shape[1:]):
            raise InputError(
                f"Altered activations have shape {activations.shape}; "
                f"expected (N, {', '.join(map(str, own.shape[1:]))})."
            )
        return torch.from_numpy(np.array(activations)).to(own.device, own.dtype), times

    def outputs(self, inputs: Any) -> Leaves:
        """Outputs of the model as it is now."""
        returned, scores, _ = call_model(self.model, inputs, watch=self.logits)
        return arrays.outputs(returned, scores)


@contextmanager
def resume(
    model: nn.Module, inputs: Any, layer: str, *, logits: bool = True
) -> Iterator[Callable[[Array], Leaves]]:
    """Run one sample up to `layer`; within, ``head(activations)`` gives the outputs from there on.

    Where replaying what came before does not give back the plain outputs, the whole
    model is run each time, and a `CamcoreWarning` says so.

    Raises
    ------
    LayerError
        The layer did not run, or ran more than once and `layer` does not say which call.
    InputError
        There is more than one sample.
    """
    prepared = arrays.prepare(model, inputs)
    for way in (Way(), Way(copies=True), Way(copies=True, at_once=False)):
        # Recorded anew: a model that writes to what is replayed has spoilt the record.
        recording = _record(model, prepared, layer, logits)
        replay = Replay(recording, way)
        if replay.is_faithful():
            yield replay
            return
    warnings.warn(
        f"What comes before layer {layer!r} cannot be replayed in this model; the whole model is "
        "run for each alteration, which is slower and gives the same numbers.",
        CamcoreWarning,
        stacklevel=3,
    )
    yield Rerun(recording, way)


@dataclass(frozen=True)
class Way:
    """How alterations are run.

    Parameters
    ----------
    copies : bool
        Whether replayed outputs get memory of their own, for models that write to them.
    at_once : bool
        Whether all alterations are one batch; some models take one sample only, or give
        their layers several rows for each.
    """

    copies: bool = False
    at_once: bool = True


class Head(ABC):
    """Outputs of a model for altered activations of one of its layers."""

    def __init__(self, recording: Recording, way: Way) -> None:
        self.recording = recording
        self.way = way

    def __call__(self, activations: Array) -> Leaves:
        """Outputs by path for ``(N, ...)`` altered activations."""
        tensor, times = self.recording.altered(activations)
        if self.way.at_once:
            return self._outputs(tensor, times)
        rows = [self._outputs(part, 1) for part in tensor.chunk(times)]
        return {path: np.concatenate([row[path] for row in rows]) for path in rows[0]}

    @abstractmethod
    def _outputs(self, tensor: torch.Tensor, times: int) -> Leaves:
        """Outputs for one batch of alterations."""

    def _again(self, nest_of_one: Any, times: int) -> Any:
        expanded = arrays.expand(nest_of_one, times)
        return arrays.clone(expanded) if self.way.copies else expanded


class Replay(Head):
    """Modules before the layer return what they returned in the recording."""

    def is_faithful(self) -> bool:
        """Whether the recorded activations, twice over, give the plain outputs twice over."""
        recorded = self.recording
        records = [recorded.inputs, recorded.output, *(output for _, output in recorded.before)]
        tensors = [leaf for record in records for leaf in nest.floating(record).values()]
        versions = [arrays.version(tensor) for tensor in tensors]
        own = to_numpy(recorded.activations)
        try:
            twice = self(np.concatenate([own, own]))
        except Exception:
            # What the model itself is to blame for is raised again when all of it is run.
            return False
        tolerance = max(1e-5, 4 * torch.finfo(recorded.activations.dtype).eps)
        return [arrays.version(tensor) for tensor in tensors] == versions and all(
            path in twice and _is_twice(twice[path], plain, tolerance)
            for path, plain in recorded.plain.items()
        )

    def _outputs(self, tensor: torch.Tensor, times: int) -> Leaves:
        recorded = self.recording
        scripts: defaultdict[nn.Module, deque[Any]] = defaultdict(deque)
        for module, output in recorded.before:
            scripts[module].append(self._again(output, times))
        own = nest.put(self._again(recorded.output, times), recorded.path, tensor)
        scripts[recorded.target].append(own)
        with undisturbed(recorded.model), _replaying(scripts):
            outputs = recorded.outputs(self._again(recorded.inputs, times))
        if any(scripts.values()):
            raise LayerError("The model took another way through its layers when it was replayed.")
        return outputs


class Rerun(Head):
    """The whole model is run, with one call of the layer replaced."""

    def _outputs(self, tensor: torch.Tensor, times: int) -> Leaves:
        recorded = self.recording
        ran = 0

        def replace(module: nn.Module, args: Any, output: Any) -> Any:
            nonlocal ran
            ran += 1
            return nest.put(output, recorded.path, tensor) if ran - 1 == recorded.index else None

        with undisturbed(recorded.model), ExitStack() as undo:
            undo.callback(recorded.target.register_forward_hook(replace).remove)
            return recorded.outputs(self._again(recorded.inputs, times))


def _record(model: nn.Module, inputs: Any, layer: str, logits: bool) -> Recording:
    call = naming.find(model, layer)
    if call.attention:
        raise LayerError(f"A model goes on from what a layer returns, not from {layer!r}.")
    named = naming.named_modules(model)
    around = {m for m in named.values() if call.module in naming.named_modules(m).values()}
    around.discard(call.module)
    log: list[tuple[nn.Module, Any]] = []
    starts: list[int] = []
    found: list[tuple[tuple[tuple[nn.Module, Any], ...], Any]] = []
    inside = 0

    def enter(module: nn.Module, args: Any) -> None:
        nonlocal inside
        starts.append(len(log))
        inside += module not in around

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        nonlocal inside
        start = starts.pop()
        if module in around or 0 <= call.index < len(found):
            return
        inside -= 1
        del log[start:]
        if module is call.module:
            found.append((tuple(log), arrays.clone(output)))
            log.append((module, found[-1][1]))
        elif not inside:  # else it is part of a module that will be replayed as a whole
            log.append((module, arrays.clone(output)))

    with undisturbed(model), ExitStack() as undo:
        for module in naming.hookable(model).values():
            undo.callback(module.register_forward_pre_hook(enter).remove)
            undo.callback(module.register_forward_hook(leave).remove)
        returned, scores, _ = call_model(model, arrays.clone(inputs), watch=logits)
    index = _which(layer, call.index, len(found))
    before, output = found[index]
    activations = nest.first_floating(output)
    if activations is None:
        raise LayerError(f"Layer {layer!r} returned no floating tensor; choose another layer.")
    _check_one_sample(inputs)
    plain = arrays.outputs(returned, scores)
    return Recording(
        model, inputs, logits, call.module, index, before, output, activations[0], plain
    )


def _which(layer: str, index: int, ran: int) -> int:
    if not ran:
        raise LayerError(f"Layer {layer!r} did not run in this pass; choose another layer.")
    if "#" not in layer and ran > 1:
        raise LayerError(
            f"Layer {layer!r} runs {ran} times in a pass; say which call is meant, "
            f"as in {layer + '#0'!r}."
        )
    if not -ran <= index < ran:
        raise LayerError(f"{layer!r}: the layer ran {ran} times, so #0 to #{ran - 1} exist.")
    return index % ran


def _check_one_sample(inputs: Any) -> None:
    first = nest.first_floating(inputs)
    if isinstance(inputs, torch.Tensor) and first is not None and len(first[1]) != 1:
        raise InputError(
            f"Resuming takes one sample; the input holds {len(first[1])}. Give inputs[i : i + 1]."
        )


@contextmanager
def _replaying(scripts: dict[nn.Module, deque[Any]]) -> Iterator[None]:
    """Modules return what their script holds, call by call, and compute again after its end.

    Within `undisturbed`, which takes the patches off.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    for module, script in scripts.items():
        module.__dict__["forward"] = _player(script, module.forward)
    try:
        # Fused attention would pass by modules that have no hooks.
        torch.backends.mha.set_fastpath_enabled(False)
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def _player(script: deque[Any], forward: Callable[..., Any]) -> Callable[..., Any]:
    def play(*args: Any, **kwargs: Any) -> Any:
        return script.popleft() if script else forward(*args, **kwargs)

    return play


def _is_twice(twice: Array, plain: Array, tolerance: float) -> bool:
    if twice.shape != (2 * len(plain), *plain.shape[1:]):
        return False
    scale = np.abs(plain).max(initial=0)
    halves = twice.reshape(2, *plain.shape)
    return bool(np.allclose(halves, plain, rtol=0, atol=tolerance * scale, equal_nan=True))
