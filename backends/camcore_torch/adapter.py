"""The verbs of the adapter: one pass, what the layers did in it, gradients pulled back to them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import jit, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from camcore.adapter import (
    INPUT,
    Array,
    Bias,
    Channels,
    Layer,
    LayerRecord,
    LayerTrace,
    Leaves,
    NativeScore,
    Rectifier,
    Seed,
    Trace,
)
from camcore.errors import BackendError
from camcore_torch import arrays, naming, nest, resume, survey, weights
from camcore_torch.arrays import to_numpy
from camcore_torch.capture import Capture, holds_inference_tensors, undisturbed
from camcore_torch.final_activation import call_model, looks_activated
from camcore_torch.pullback import pull_back
from camcore_torch.rectifiers import bend
from camcore_torch.rows import zero_rows_skipped


@dataclass
class Habits:
    """What earlier passes taught about a model, so that later ones run once."""

    ends_in_activation: bool = False
    """Its outputs come out of a softmax or sigmoid: watch for the scores before it."""

    switches_grad_off: bool = False
    """It leaves a ``no_grad`` block after the layer, so grad mode must be on before it."""

    is_built: bool = False
    """Its weights exist, as is known for Keras models."""

    holds_inference_tensors: bool = False
    """Some weights were made in inference mode: autograd can only save copies of them."""


_habits: weakref.WeakKeyDictionary[nn.Module, Habits] = weakref.WeakKeyDictionary()


@dataclass
class Pass:
    """One forward pass, its tensors still in the graph."""

    inputs: Leaves
    outputs: Any
    scores: dict[str, torch.Tensor]
    activation: dict[str, str]
    capture: Capture

    @property
    def connected(self) -> bool:
        """Whether any output can be differentiated."""
        return any(score.requires_grad for score in self.scores.values())


class TorchAdapter:
    """A `torch.nn.Module` as `camcore.adapter.Adapter` sees it.

    Layers have the dotted names of ``named_modules()``; a shared module goes by its
    first. ``relu#0`` is the first call of a layer that runs several times,
    ``relu#-1`` or plain ``relu`` the last. What ``torch.compile``, ``DataParallel``
    or ``DistributedDataParallel`` wrap is run itself, eagerly and on one device, and
    names start inside the wrapper. Checkpointed stretches are run without computing anything
    twice. Models in train mode run in eval mode, and are in train mode again afterwards.

    Parameters
    ----------
    model : nn.Module
        The model, which may be a Keras 3 model on the torch backend.

    Raises
    ------
    BackendError
        The model is TorchScript, which fires no hooks, or has lazy layers without weights yet.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = naming.unwrap(model)
        if isinstance(self.model, jit.ScriptModule):
            raise BackendError(
                f"The model is TorchScript ({type(self.model).__name__}), whose layers cannot be "
                "hooked. Give the nn.Module it was scripted or traced from."
            )
        if not naming.is_built(self.model):
            raise BackendError(
                f"The {type(self.model).__name__} has no weights yet, since it has lazy layers. "
                "Run it once on an input, then explain it."
            )

    @property
    def input_channels(self) -> Channels:
        """``"first"``; for Keras models, what their layers say."""
        return naming.input_channels(self.model)

    @property
    def takes_images(self) -> bool:
        """Whether a bare list of images is one argument of the model's ``forward``."""
        return arrays.takes_images(self.model)

    def layers(self) -> Sequence[Layer]:
        """Every layer by its dotted path, in the order of ``named_modules()``."""
        return naming.layers(self.model)

    def survey(self, inputs: Any) -> Sequence[LayerRecord]:
        """Shapes of every layer that runs, from one pass of the first sample."""
        self._build(inputs)
        sample = arrays.first_sample(arrays.prepare(self.model, inputs))
        return survey.survey(self.model, sample)

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
        """One forward pass, and for each seed one pull-back; see `camcore.adapter.Adapter`."""
        self._build(inputs)
        asked = layers, seeds, logits, second_order, rectifier
        try:
            return self._run(inputs, *asked)
        except RuntimeError:
            habits = self._habits
            if habits.holds_inference_tensors or not holds_inference_tensors(self.model):
                raise
            habits.holds_inference_tensors = True
            return self._run(inputs, *asked)

    def _run(
        self,
        inputs: Any,
        layers: Sequence[str],
        seeds: Sequence[Seed | NativeScore],
        logits: bool,
        second_order: bool,
        rectifier: Rectifier | None,
    ) -> Trace:
        calls = {name: None if name == INPUT else naming.find(self.model, name) for name in layers}
        graph = bool(calls and seeds)
        with ExitStack() as inside:
            copies = self._habits.holds_inference_tensors
            modules = inside.enter_context(
                undisturbed(self.model, copy_inference_tensors=graph and copies)
            )
            if second_order:  # fused attention kernels have no second derivative
                inside.enter_context(sdpa_kernel(SDPBackend.MATH))
            elif graph:
                inside.enter_context(zero_rows_skipped(modules))
            made = self._forward(inputs, calls, graph=graph, logits=logits)
            captured = {name: made.capture[name] for name in calls}
            if rectifier is not None:
                bend([*made.scores.values(), *nest.floating(made.outputs).values()], rectifier)
            pulled = pull_back(
                seeds,
                made.outputs,
                made.scores,
                captured,
                second_order=second_order,
                model=self.model,
            )
        return Trace(
            made.inputs,
            self.input_channels,
            pulled.outputs,
            made.activation,
            {
                name: LayerTrace(
                    to_numpy(tensor),
                    tuple(to_numpy(gradients[name]) for gradients in pulled.gradients),
                    self._channels(calls[name]),
                    tuple(to_numpy(products[name]) for products in pulled.hessian_products),
                )
                for name, tensor in captured.items()
            },
            tuple(pulled.native_scores),
        )

    def resume(
        self, inputs: Any, layer: str, *, logits: bool = True
    ) -> AbstractContextManager[Callable[[Array], Leaves]]:
        """Run one sample up to `layer`, then from there on; see `camcore_torch.resume`."""
        self._build(inputs)
        return resume.resume(self.model, inputs, layer, logits=logits)

    def classifier(self) -> tuple[Array, Array] | None:
        """Weights ``(K, C)`` and bias ``(K,)`` of the last linear layer or 1×1 convolution."""
        return weights.classifier(self.model)

    def biases(self) -> Sequence[Bias]:
        """Layers that add a bias or normalise by running statistics."""
        return weights.biases(self.model)

    def _build(self, inputs: Any) -> None:
        """Let a Keras model that was never called make its weights, from the first sample."""
        if not naming.is_keras(self.model) or self._habits.is_built:
            return
        layers = [self.model, *(layer.native for layer in self.layers())]
        if not all(getattr(layer, "built", True) for layer in layers):
            with torch.no_grad():
                arrays.call(self.model, arrays.first_sample(arrays.prepare(self.model, inputs)))
        self._habits.is_built = True

    @property
    def _habits(self) -> Habits:
        return _habits.setdefault(self.model, Habits())

    def _channels(self, call: naming.Call | None) -> Channels | None:
        return self.input_channels if call is None else naming.channels(call.module)

    def _forward(
        self, inputs: Any, calls: Mapping[str, naming.Call | None], *, graph: bool, logits: bool
    ) -> Pass:
        """One pass; another only where the first shows that this model needs it done otherwise."""
        habits = self._habits
        made = self._once(inputs, calls, habits, graph=graph, logits=logits)
        if graph and not made.connected and not habits.switches_grad_off:
            habits.switches_grad_off = True
            made = self._once(inputs, calls, habits, graph=graph, logits=logits)
            habits.switches_grad_off = made.connected
        if graph and logits and not habits.ends_in_activation and looks_activated(made.scores):
            habits.ends_in_activation = True
            made = self._once(inputs, calls, habits, graph=graph, logits=logits)
        return made

    def _once(
        self,
        inputs: Any,
        calls: Mapping[str, naming.Call | None],
        habits: Habits,
        *,
        graph: bool,
        logits: bool,
    ) -> Pass:
        capture = Capture(calls, graph=graph)
        torch.set_grad_enabled(graph and habits.switches_grad_off)
        given = own = arrays.prepare(self.model, inputs)
        versions = arrays.versions(own)
        if INPUT in calls:
            own = capture.take_input(own)
        # Without a graph to look at afterwards, an activation can only be seen as it happens.
        watch = logits and (habits.ends_in_activation or not graph)
        with capture.hooked():
            outputs, scores, activation = call_model(self.model, own, watch=watch)
        if arrays.versions(given) != versions:  # the model works in place on what it is given
            given = arrays.prepare(self.model, inputs)
        return Pass(arrays.leaves(given), outputs, scores, activation, capture)
