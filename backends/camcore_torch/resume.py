"""Running a model from a layer on, with altered activations, as often as asked.

Of a first, plain pass the outputs of the sub-modules that finished before the layer
are recorded, the outermost of each. Afterwards their shells return what was recorded
instead of computing it, and the layer's returns what it is given, while the model's
own ``forward`` does the rest; so a residual that bypasses the layer keeps its value.
Whether that gives back the plain outputs is checked before it is relied upon.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn.modules import batchnorm

from camcore.adapter import Array, LayerName, Leaves, Mode, Seed, not_between, replays
from camcore.errors import CamcoreWarning, InputError, LayerError
from camcore.layers.layout import axis_of_one
from camcore.layers.names import not_rectified
from camcore.layers.rectified import Origins
from camcore.nest import put
from camcore_torch import inputs as inputs_of
from camcore_torch import layers
from camcore_torch.backward import depends, pull_back
from camcore_torch.capture import Capture
from camcore_torch.inputs import first_floating, floating, to_numpy
from camcore_torch.logits import call_model
from camcore_torch.preserve import preserved, reached
from camcore_torch.rectified import Following
from camcore_torch.shells import Shells
from camcore_torch.traits import on_shells

T = TypeVar("T")

Called: TypeAlias = tuple[Any, dict[str, torch.Tensor], dict[str, str], dict[str, str]]
"""What `camcore_torch.logits.call_model` gives."""

_NOT_REPLAYED = (RuntimeError, ValueError, TypeError, IndexError, AssertionError, LayerError)
"""What a model raises that takes one sample only, or goes another way through its layers.

It ran as a whole on the same sample when it was recorded.
"""


@dataclass
class Recording:
    """A plain pass of one sample, up to one call of a layer.

    Parameters
    ----------
    layer : str
        The layer's name, as it was asked for.
    before : sequence of (nn.Module, output)
        What was called before the layer's call, outermost, in order, and what it returned.
    output, path : nest, str
        What the layer's call returned, and where its activations are in it.
    rectified : tensor or None
        What a function made of those, where that is what the model goes on from.
    plain : mapping of str to array
        The model's outputs by path.
    """

    model: nn.Module
    inputs: Any
    logits: bool
    layer: str
    target: nn.Module
    index: int
    before: tuple[tuple[nn.Module, Any], ...]
    output: Any
    path: str
    rectified: torch.Tensor | None
    plain: Leaves
    mode: Mode

    @property
    def activations(self) -> torch.Tensor:
        """What the layer returned, rectified where that is meant."""
        return floating(self.output)[self.path] if self.rectified is None else self.rectified

    @property
    def batch_axis(self) -> int:
        """Which axis of them carries the batch."""
        return axis_of_one(tuple(self.activations.shape))

    def altered(self, activations: Array) -> tuple[torch.Tensor, int]:
        """Copy activations into a tensor, and count the alterations of the sample in it."""
        own, axis = self.activations, self.batch_axis
        expected: list[Any] = list(own.shape)
        times, rest = divmod(activations.shape[axis], expected[axis])
        expected[axis] = times * expected[axis]
        if rest or not times or list(activations.shape) != expected:
            expected[axis] = "N"
            raise InputError(
                f"Altered activations have shape {activations.shape}; "
                f"expected ({', '.join(map(str, expected))})."
            )
        return torch.from_numpy(np.array(activations)).to(own.device, own.dtype), times

    def call(self, shells: Shells, inputs: Any, altered: torch.Tensor) -> Called:
        """Run the model's shell.

        Where the model goes on from what a function made of the layer's output, `altered`
        takes its place.
        """
        how = {"watch": self.logits, "logits": self.logits}
        with nullcontext() if self.rectified is None else self._rectifying(shells, altered):
            return call_model(shells.model, inputs, **how)

    @contextmanager
    def _rectifying(self, shells: Shells, altered: torch.Tensor) -> Iterator[None]:
        following, ran = Following(lambda origins, tensor: altered), 0

        def follow(module: nn.Module, args: Any, output: Any) -> Any:
            nonlocal ran
            ran += 1
            if ran - 1 != self.index:
                return None
            passed_on = floating(output)[self.path].clone()
            following.start(passed_on, module)
            return put(output, self.path, passed_on)

        hook = shells.of(self.target).register_forward_hook(follow)
        with following:
            yield
        hook.remove()


@contextmanager
def resume(
    model: nn.Module, inputs: Any, layer: str, *, logits: bool = True, mode: Mode = "eval"
) -> Iterator[Head]:
    """Run one sample up to `layer`; within, ``head(activations)`` gives the outputs from there on.

    And ``head.gradients(activations, seed)`` the gradients there.

    Where replaying what came before does not give back the plain outputs, the whole
    model is run each time, and a `CamcoreWarning` says so.

    Raises
    ------
    LayerError
        The layer did not run, or ran more than once and `layer` does not say which call. Or
        the model mixes samples, or draws at random.
    InputError
        There is more than one sample.
    """
    if mode != "eval" and _mixes_samples(model, mode):
        raise _not_again(layer)
    prepared = inputs_of.prepare(model, inputs)
    for way in (Way(), Way(copies=True), Way(copies=True, at_once=False)):
        # Recorded anew: a model that writes to what is replayed has spoilt the record.
        recording = on_shells(model, lambda: _record(model, prepared, layer, logits, mode))
        replay = Replay(recording, way)
        if replay.is_faithful():
            yield replay
            return
    rerun = Rerun(recording, way)
    if not rerun.is_faithful():
        raise _not_again(layer)
    warnings.warn(
        f"What comes before layer {layer!r} cannot be replayed in this model; the whole model is "
        "run for each alteration, which is slower and gives the same numbers.",
        CamcoreWarning,
        stacklevel=3,
    )
    yield rerun


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
        """List the outputs for ``(N, ...)`` altered activations."""
        rows = self._each(activations, self._outputs)
        if len(rows) == 1:
            return rows[0]
        return {
            path: np.concatenate([np.atleast_1d(row[path]) for row in rows]) for path in rows[0]
        }

    def gradients(
        self, activations: Array, seed: Seed, later: layers.LayerCall | None = None
    ) -> Array:
        """Pull a seed's cotangents of those outputs back to the ``(N, ...)`` activations.

        Or to what a later layer makes of them.
        """
        parts = self._each(activations, partial(self._gradients, seed, later))
        if len(parts) == 1:
            return parts[0]
        attends = later is not None and later.name.is_attention
        return np.concatenate(parts, 0 if attends else axis_of_one(parts[0].shape))

    def is_faithful(self) -> bool:
        """Tell whether the recorded activations, twice over, give the plain outputs twice over."""
        recorded = self.recording
        records = [recorded.inputs, recorded.output, *(output for _, output in recorded.before)]
        tensors = [leaf for record in records for leaf in floating(record).values()]
        versions = list(map(inputs_of.version, tensors))
        own = to_numpy(recorded.activations)
        try:
            twice = self(np.concatenate([own, own], recorded.batch_axis))
        except _NOT_REPLAYED:
            return False
        epsilon = torch.finfo(recorded.activations.dtype).eps
        unspoilt = list(map(inputs_of.version, tensors)) == versions
        return unspoilt and replays(twice, recorded.plain, epsilon)

    def _each(self, activations: Array, run: Callable[[torch.Tensor, int], T]) -> list[T]:
        """Run the alterations as one batch, or one by one."""
        tensor, times = self.recording.altered(activations)
        if self.way.at_once:
            return [run(tensor, times)]
        return [run(part, 1) for part in tensor.chunk(times, self.recording.batch_axis)]

    def _outputs(self, tensor: torch.Tensor, times: int) -> Leaves:
        """List the outputs for one batch of alterations."""

        def on(shells: Shells) -> Leaves:
            returned, scores, *_ = self._run(shells, tensor, times)
            return inputs_of.outputs(returned, scores)

        return preserved(self.recording.model, on, mode=self.recording.mode)

    def _gradients(
        self, seed: Seed, later: layers.LayerCall | None, tensor: torch.Tensor, times: int
    ) -> Array:
        """Pull a seed's cotangents back to one batch of alterations, or to what is made of it."""
        recorded = self.recording
        calls = {} if later is None else {str(later.name): later}

        def on(shells: Shells) -> Array:
            torch.set_grad_enabled(True)
            own = tensor.clone().requires_grad_()
            # A copy goes on, which a function that works in place may write to.
            capture = Capture(shells, calls, graph=True, linked=True)
            with capture.hooked():
                returned, scores, activation, applied = self._run(shells, own.clone(), times)
            name, made = recorded.layer, own
            for name in calls:
                made = capture[name]
                if not depends(made, own):
                    raise not_between(recorded.layer, name)
            pulled = pull_back(
                [seed],
                returned,
                scores,
                {name: made},
                second_order=False,
                model=recorded.model,
                activation=activation,
                applied=applied,
            )
            return pulled.gradients[0][name]

        return preserved(recorded.model, on, graph=True, mode=recorded.mode)

    @abstractmethod
    def _run(self, shells: Shells, tensor: torch.Tensor, times: int) -> Called:
        """Run shells of the model on one batch of alterations."""

    def _inputs(self, times: int) -> Any:
        """Repeat the sample; what autograd may save must not be made in inference mode."""
        again = self._again(self.recording.inputs, times)
        return inputs_of.clone(again) if torch.is_grad_enabled() else again

    def _again(self, nest_of_one: Any, times: int) -> Any:
        expanded = inputs_of.expand(nest_of_one, times, self.recording.batch_axis)
        return inputs_of.clone(expanded) if self.way.copies else expanded


class Replay(Head):
    """Modules before the layer return what they returned in the recording."""

    def _run(self, shells: Shells, tensor: torch.Tensor, times: int) -> Called:
        recorded = self.recording
        scripts: defaultdict[nn.Module, deque[Any]] = defaultdict(deque)
        for module, output in recorded.before:
            scripts[module].append(self._again(output, times))
        own = self._again(recorded.output, times)
        if recorded.rectified is None:
            own = put(own, recorded.path, tensor)
        scripts[recorded.target].append(own)
        for module, script in scripts.items():
            shell = shells.of(module)
            shell.__dict__["forward"] = _player(script, shell.forward)
            # Fused kernels would pass by a module that has no hook.
            shell.register_forward_pre_hook(lambda module, args: None)
        called = recorded.call(shells, self._inputs(times), tensor)
        if any(scripts.values()):
            raise LayerError("The model took another way through its layers when it was replayed.")
        return called


class Rerun(Head):
    """The whole model is run, with one call of the layer replaced."""

    def _run(self, shells: Shells, tensor: torch.Tensor, times: int) -> Called:
        recorded = self.recording
        ran = 0

        def replace(module: nn.Module, args: Any, output: Any) -> Any:
            nonlocal ran
            ran += 1
            return put(output, recorded.path, tensor) if ran - 1 == recorded.index else None

        if recorded.rectified is None:
            shells.of(recorded.target).register_forward_hook(replace)
        return recorded.call(shells, self._inputs(times), tensor)


def _mixes_samples(model: nn.Module, mode: Mode) -> bool:
    """Tell whether a normalisation takes the statistics of the batch."""
    return any(
        isinstance(module, batchnorm._NormBase) and (mode == "train" or module.training)
        for module in model.modules()
    )


def _not_again(layer: str) -> LayerError:
    return LayerError(
        f"Running the model from layer {layer!r} on does not give its outputs again: it draws at "
        "random or mixes the samples of a batch, as dropout and batch normalisation do in "
        "training. Explain it with mode='eval', or choose a method of one pass: method='gradcam'."
    )


def _record(model: nn.Module, inputs: Any, layer: str, logits: bool, mode: Mode) -> Recording:
    target, asked = _target(model, layer)
    named = layers.named_modules(model)
    around = {m for m in named.values() if target in layers.named_modules(m).values()} - {target}
    log: list[tuple[nn.Module, Any]] = []
    starts: list[int] = []
    found: list[tuple[tuple[tuple[nn.Module, Any], ...], Any]] = []
    rectified: dict[int, torch.Tensor] = {}
    rectifies = asked.part == "activated"
    originals: dict[nn.Module, nn.Module] = {}
    inside = 0

    def take(calls: Origins, tensor: torch.Tensor) -> torch.Tensor:
        rectified.update(dict.fromkeys(calls, tensor.clone()))
        return tensor

    following = Following(take)

    def enter(shell: nn.Module, args: Any) -> None:
        nonlocal inside
        starts.append(len(log))
        inside += originals[shell] not in around

    def leave(shell: nn.Module, args: Any, output: Any) -> None:
        nonlocal inside
        start, module = starts.pop(), originals[shell]
        if module in around or (asked.call is not None and 0 <= asked.call < len(found)):
            return
        inside -= 1
        del log[start:]
        if module is target:
            found.append((tuple(log), inputs_of.clone(output)))
            log.append((module, found[-1][1]))
            if rectifies and (returned := first_floating(output)):
                following.start(returned[1], len(found) - 1)
        elif not inside:  # else it is part of a module that will be replayed as a whole
            log.append((module, inputs_of.clone(output)))

    def on(shells: Shells) -> Leaves:
        for module in layers.hookable(model).values():
            shell = shells.of(module)
            originals[shell] = module
            shell.register_forward_pre_hook(enter)
            shell.register_forward_hook(leave)
        own = inputs_of.clone(inputs)
        run = partial(call_model, shells.model, own, watch=logits, logits=logits)
        with following if rectifies else nullcontext():
            returned, scores, *_ = reached(model, shells, run)
        return inputs_of.outputs(returned, scores)

    plain = preserved(model, on, mode=mode)
    if asked.call is None and len(found) > 1:
        raise LayerError(
            f"Layer {layer!r} runs {len(found)} times in a pass; say which call is meant, "
            f"as in {layer + '#0'!r}."
        )
    index = asked.index(len(found))
    before, output = found[index]
    leaf = "" if rectifies else asked.part
    path = leaf or (first_floating(output) or ("",))[0]
    if path not in floating(output):
        raise LayerError(f"Layer {layer!r} returned no floating tensor; choose another layer.")
    if rectifies and index not in rectified:
        raise not_rectified(asked)
    if isinstance(inputs, torch.Tensor) and len(inputs) != 1:
        raise InputError(
            f"Resuming takes one sample; the input holds {len(inputs)}. Give inputs[i : i + 1]."
        )
    made = rectified.get(index)
    found_at = (layer, target, index)
    return Recording(model, inputs, logits, *found_at, before, output, path, made, plain, mode)


def _target(model: nn.Module, layer: str) -> tuple[nn.Module, LayerName]:
    call = layers.find(model, layer)
    if call.module is None or call.name.is_attention:
        raise LayerError(f"A model goes on from what a layer returns, not from {layer!r}.")
    return call.module, call.name


def _player(script: deque[Any], forward: Callable[..., Any]) -> Callable[..., Any]:
    """Return what the script holds, call by call, and compute again after its end."""

    def play(*args: Any, **kwargs: Any) -> Any:
        return script.popleft() if script else forward(*args, **kwargs)

    return play
