"""The verbs of the adapter: one pass, what the layers did in it, gradients pulled back to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import jit, nn

from camcore.adapter import (
    Array,
    Bias,
    Channels,
    Layer,
    LayerRecord,
    LayerTrace,
    Leaves,
    Mode,
    NativeScore,
    Parameters,
    Rectifier,
    SecondOrder,
    Seed,
    Trace,
    check_parameters,
    not_between,
    not_offered,
)
from camcore.errors import BackendError, CamcoreError
from camcore.layers.image_tokens import stated_image_tokens
from camcore.layers.layout import shape_of_one
from camcore.nest import path_of
from camcore.targets.scale import Scale
from camcore_torch import guided, resume, survey, weights, wrapped
from camcore_torch import inputs as inputs_of
from camcore_torch import layers as layers_of
from camcore_torch.attention import StepByStep
from camcore_torch.backward import PulledBack, pull_back, pull_between
from camcore_torch.forward import Pass, forward
from camcore_torch.inputs import floating, to_numpy
from camcore_torch.layers import LayerCall
from camcore_torch.logits import detected_classes, stated
from camcore_torch.preserve import copied, preserved
from camcore_torch.shells import Shells
from camcore_torch.sparse_linear import skip_zero_rows
from camcore_torch.traits import on_shells, traits_of


class TorchAdapter:
    """A `torch.nn.Module` as `camcore.adapter.Adapter` sees it.

    What runs are shells of the model's modules, so that the model is never written to; see
    `camcore_torch.shells`. Layers have the dotted names of ``named_modules()``; a shared module
    goes by its first. ``relu#0`` is the first call of a layer that runs several times,
    ``relu#-1`` or plain ``relu`` the last. What ``torch.compile``, ``DataParallel``
    or ``DistributedDataParallel`` wrap is run itself, eagerly and on one device, and
    names start inside the wrapper. Checkpointed stretches are run without computing anything
    twice. Models in train mode are run as in eval mode, unless another mode is asked for.

    Parameters
    ----------
    model : nn.Module
        The model, which may be a Keras 3 model on the torch backend.
    mode : {"eval", "as-is", "train"}
        Whether modules run in eval mode, each in its own, or in train mode. In train mode they
        have copies of their buffers, so that what they write there is forgotten.

    Raises
    ------
    BackendError
        The model is TorchScript, which fires no hooks, has lazy layers without weights yet, or
        is one of Keras that shall run in another mode than inference.
    """

    compiles = False

    def __init__(self, model: nn.Module, mode: Mode = "eval") -> None:
        self.model = layers_of.unwrap(model)
        self.mode = mode
        if mode != "eval" and layers_of.is_keras(self.model):
            raise BackendError(
                f"A Keras model on the torch backend is run in inference only; leave mode={mode!r} "
                "out, or run it on the TensorFlow backend."
            )
        if isinstance(self.model, jit.ScriptModule):
            raise BackendError(
                f"The model is TorchScript ({type(self.model).__name__}), whose layers cannot be "
                "hooked. Give the nn.Module it was scripted or traced from."
            )
        if not layers_of.is_built(self.model):
            raise BackendError(
                f"The {type(self.model).__name__} has no weights yet, since it has lazy layers. "
                "Run it once on an input, then explain it."
            )

    @property
    def stated_scales(self) -> Mapping[str, Scale]:
        """What the model's configuration, or a loss that it holds, says of its outputs."""
        return stated(self.model)

    @property
    def stated_output(self) -> str | None:
        """Which of several outputs the model predicts by, where its library is known."""
        return wrapped.output_of(self.model)

    @property
    def stated_image_tokens(self) -> frozenset[int]:
        """The ids that hold the place of image tokens in a text, as the configuration says."""
        return stated_image_tokens(self.model)

    @property
    def stated_classes(self) -> int | None:
        """How many classes the model's detection head scores, where it says."""
        return detected_classes(self.model)

    @property
    def input_channels(self) -> Channels:
        """``"first"``; for Keras models, what their layers say."""
        return layers_of.input_channels(self.model)

    @property
    def input_shape(self) -> tuple[int | None, ...] | None:
        """What the first convolution takes, and the size of pictures where the model has it."""
        return inputs_of.image_shape(self.model)

    @property
    def takes_images(self) -> bool:
        """Whether a bare list of images is one argument of the model's ``forward``."""
        return inputs_of.takes_images(self.model)

    @property
    def output_names(self) -> Mapping[str, str]:
        """Paths of the outputs by the names that a functional Keras model has for them."""
        model: Any = self.model
        names = getattr(model, "output_names", None) or ()
        tensors = model.outputs if names else ()
        paths = (path_of(model.output, tensor) for tensor in tensors)
        return {name: path for name, path in zip(names, paths, strict=True) if path is not None}

    def layers(self) -> Sequence[Layer]:
        """List every layer by its dotted path, in the order of ``named_modules()``."""
        return layers_of.layers(self.model)

    def survey(self, inputs: Any) -> Sequence[LayerRecord]:
        """Record the shapes of every layer that runs, from one pass of the first sample.

        A model that does not take a single sample is surveyed on the whole batch.

        Raises
        ------
        LayerError
            No layer runs where it can be seen.
        """
        self._build(inputs)
        batch = inputs_of.prepare(self.model, inputs)

        def look(at: Any) -> list[LayerRecord]:
            return on_shells(self.model, lambda: survey.survey(self.model, at, self.mode))

        try:
            records = look(inputs_of.first_sample(batch))
        except CamcoreError:
            raise
        except Exception:  # a batch size of its own, rows that belong together
            rows = len(next(iter(inputs_of.leaves(batch).values())))
            if rows == 1:
                raise
            records = [
                replace(record, shape=shape_of_one(record.shape, rows)) for record in look(batch)
            ]
        if not records:
            raise layers_of.unseen(self.model)
        return records

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
        """Run one forward pass, and one pull-back for each seed; see `camcore.adapter.Adapter`."""
        self._build(inputs)
        asked = layers, seeds, logits, second_order, rectifier, optional
        return on_shells(self.model, lambda: self._run(inputs, *asked))

    def _run(
        self,
        given: Any,
        names: Sequence[str],
        seeds: Sequence[Seed | NativeScore],
        logits: bool,
        second_order: SecondOrder,
        rectifier: Rectifier | None,
        optional: Sequence[str],
    ) -> Trace:
        calls = {name: layers_of.find(self.model, name) for name in names}
        graph = bool(calls and (seeds or second_order == "tangents"))

        def on(shells: Shells) -> tuple[Pass, PulledBack]:
            self._prepare_shells(shells, calls, plain=bool(second_order) or rectifier is not None)
            if graph and not second_order:
                skip_zero_rows(shells)
            # Fused attention kernels have no second derivative.
            with StepByStep() if second_order else nullcontext():
                made = forward(
                    self.model,
                    shells,
                    given,
                    calls,
                    graph=graph,
                    logits=logits,
                    rewinds=self.mode != "eval",
                )
                if rectifier is not None:
                    roots = [*made.scores.values(), *floating(made.outputs).values()]
                    guided.apply_rule(roots, rectifier)
                return made, pull_back(
                    seeds,
                    made.outputs,
                    made.scores,
                    made.captured,
                    second_order=second_order,
                    model=self.model,
                    activation=made.activation,
                    applied=made.applied,
                    optional=optional,
                )

        made, pulled = preserved(self.model, on, graph=graph, mode=self.mode)
        return Trace(
            made.inputs,
            self.input_channels,
            pulled.outputs,
            made.activation,
            {
                name: LayerTrace(
                    to_numpy(tensor),
                    tuple(gradients[name] for gradients in pulled.gradients),
                    self._channels(calls[name].module, tensor.ndim),
                    tuple(products[name] for products in pulled.hessian_products),
                    made.capture.ran(name),
                    made.capture.leaves(name),
                    tangents=pulled.tangents.get(name, {}),
                )
                for name, tensor in made.captured.items()
            },
            tuple(pulled.native_scores),
            made.applied,
        )

    def resume(
        self, inputs: Any, layer: str, *, logits: bool = True
    ) -> AbstractContextManager[resume.Head]:
        """Run one sample up to `layer`, then from there on; see `camcore_torch.resume`."""
        self._build(inputs)
        return resume.resume(self.model, inputs, layer, logits=logits, mode=self.mode)

    @contextmanager
    def gradients_from(
        self, inputs: Any, layer: str, *, logits: bool = True
    ) -> Iterator[Callable[[Array, Seed], Array]]:
        """Run one sample up to `layer`, then from there on and back again."""
        with self.resume(inputs, layer, logits=logits) as head:
            yield head.gradients

    @contextmanager
    def gradients_beyond(
        self, inputs: Any, layer: str, later: str, *, logits: bool = True
    ) -> Iterator[Callable[[Array, Seed], Array]]:
        """Run one sample up to `layer`, then from there on and back to a later one."""
        call = layers_of.find(self.model, later)
        if call.name.is_input:
            raise not_between(layer, later)
        with self.resume(inputs, layer, logits=logits) as head:
            yield lambda activations, seed: head.gradients(activations, seed, call)

    def gradients_between(self, inputs: Any, pulls: Mapping[str, tuple[str, Array]]) -> Leaves:
        """Run one forward pass, and pull what is given at some layers back to earlier ones."""
        self._build(inputs)
        names = dict.fromkeys([*pulls, *(later for later, _ in pulls.values())])
        calls = {name: layers_of.find(self.model, name) for name in names}

        def on(shells: Shells) -> Leaves:
            self._prepare_shells(shells, calls, plain=False)
            rewinds = self.mode != "eval"
            how = {"graph": True, "logits": False, "rewinds": rewinds}
            made = forward(self.model, shells, inputs, calls, **how)
            return pull_between(made.captured, pulls, self.model)

        def run() -> Leaves:
            return preserved(self.model, on, graph=True, mode=self.mode)

        return on_shells(self.model, run)

    def classifier(self) -> tuple[Array, Array] | None:
        """Read weights ``(K, C)`` and bias ``(K,)`` of the last linear layer or 1×1 convolution."""
        return weights.classifier(self.model)

    def biases(self) -> Sequence[Bias]:
        """List the layers that add a bias or normalise by running statistics."""
        return weights.biases(self.model)

    def parameters(self) -> Parameters:
        """Copy each module's own parameters, and the running statistics of normalisations.

        Raises
        ------
        NotOfferedError
            The model is one of Keras on the torch backend.
        """
        if layers_of.is_keras(self.model):
            raise not_offered(self, "parameters of Keras models on torch")
        own = weights.own_tensors(self.model)
        return {name: [to_numpy(t, copy=True) for t in tensors] for name, tensors in own.items()}

    def with_parameters(self, parameters: Parameters) -> nn.Module:
        """Copy the model, and write these into the copy.

        Raises
        ------
        InputError
            They are not those of the model's modules.
        BackendError
            The model cannot be copied.
        """
        check_parameters(parameters, self.parameters())
        with torch.inference_mode(False), torch.no_grad():
            twin = copied(self.model, "drawing its parameters anew needs")
            own = weights.own_tensors(twin)
            for name, arrays in parameters.items():
                for tensor, array in zip(own[name], arrays, strict=True):
                    tensor.copy_(torch.from_numpy(np.array(array)))
        return twin

    def _prepare_shells(
        self, shells: Shells, calls: Mapping[str, LayerCall], *, plain: bool
    ) -> None:
        """Alter the shells of a pass; faster ways than the model's own do."""

    def _build(self, given: Any) -> None:
        """Let a Keras model that was never called make its weights, from the first sample."""
        traits = traits_of(self.model)
        if traits.is_built or not layers_of.is_keras(self.model):
            return
        every = [self.model, *(layer.native for layer in self.layers())]
        if not all(getattr(layer, "built", True) for layer in every):
            with torch.no_grad():
                sample = inputs_of.first_sample(inputs_of.prepare(self.model, given))
                inputs_of.call(self.model, sample)
        traits.is_built = True

    def _channels(self, module: nn.Module | None, rank: int) -> Channels | None:
        return self.input_channels if module is None else layers_of.channels(module, rank)
