"""An ONNX file, seen through the verbs of `camcore.adapter.Adapter`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from camcore.adapter import (
    Array,
    Bias,
    Channels,
    Layer,
    LayerRecord,
    LayerTrace,
    Leaves,
    NativeScore,
    Parameters,
    Rectifier,
    SecondOrder,
    Seed,
    Trace,
    check_parameters,
    check_pulled,
    not_offered,
)

from . import inputs as inputs_of
from . import parameters as parameters_of
from . import resume, survey, weights
from .between import Between
from .forward import Passes, Program, Request, as_float, ask, path_of
from .model import Model


class OnnxAdapter:
    """A file and the verbs that camcore asks for; see `camcore.adapter.Adapter`.

    Parameters
    ----------
    model : Model
        The file, read.
    """

    takes_images = False
    compiles = True

    def __init__(self, model: Model) -> None:
        self._model = model

    @property
    def input_channels(self) -> Channels:
        """As the file declares its images, or turns them first."""
        return self._model.input_channels

    @property
    def output_names(self) -> Mapping[str, str]:
        """Paths of the outputs by the names that the file has for them."""
        return {name: path_of(self._model, name) for name in self._model.graph.outputs}

    def layers(self) -> Sequence[Layer]:
        """List the nodes that return floating arrays, and the modules that they were part of."""
        return [Layer(n.name, n.kind, n.node) for n in self._model.layers.values()]

    def survey(self, inputs: Any) -> Sequence[LayerRecord]:
        """List the shapes of every layer, measured once for each size of input."""
        given = inputs_of.prepare(self._model.graph, inputs)
        return survey.survey(self._model, self._model.sizes(given))

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
        """Run one forward pass, and one pull-back for each seed or for all at once.

        A file that takes a fixed number of samples is run as often as it takes.

        Raises
        ------
        MethodError
            Second derivatives were asked for, or a score that no NumPy target expresses.
        """
        if second_order:
            raise not_offered(self, "second_order")
        numeric = [seed for seed in seeds if not isinstance(seed, NativeScore)]
        if len(numeric) < len(seeds):
            raise not_offered(self, "native scores")
        model = self._model
        given = inputs_of.prepare(model.graph, inputs)
        asked = Request(
            {name: model.tensor(name, given) for name in layers},
            logits,
            len(numeric),
            rectifier,
        )
        sizes = model.sizes(given)
        samples = given.samples if sizes.grows else sizes.samples

        def make() -> Program:
            return Program(model, sizes, asked, samples)

        question = "run", tuple(asked.layers.items()), asked.logits, asked.seeds, asked.rectifier
        program = model.fetch(question, given.shapes(samples), make)
        passes = Passes(program, given)
        outputs = passes.outputs(program)
        pulled = passes.gradients(ask(numeric, program, outputs, optional))
        images = self.input_channels
        traced = {
            name: LayerTrace(
                passes.activations(tensor),
                tuple(gradients[tensor] for gradients in pulled),
                images if tensor in given.feed else model.channels.get(tensor),
            )
            for name, tensor in asked.layers.items()
        }
        return Trace(
            {path: as_float(given.feed[name]) for path, name in given.names.items()},
            images,
            outputs,
            program.activation,
            traced,
            (None,) * len(seeds),
            program.applied,
        )

    @contextmanager
    def resume(
        self, inputs: Any, layer: str, *, logits: bool = True
    ) -> Iterator[Callable[[Array], Leaves]]:
        """Run one sample up to `layer`, then as often as asked from there on."""
        yield resume.head(self._model, inputs, layer, logits=logits)

    @contextmanager
    def gradients_from(
        self, inputs: Any, layer: str, *, logits: bool = True
    ) -> Iterator[Callable[[Array, Seed], Array]]:
        """Run one sample up to `layer`, then from there on and back again."""
        yield resume.head(self._model, inputs, layer, logits=logits).gradients

    @contextmanager
    def gradients_beyond(
        self, inputs: Any, layer: str, later: str, *, logits: bool = True
    ) -> Iterator[Callable[[Array, Seed], Array]]:
        """Run one sample up to `layer`, then from there on and back to a later one."""
        yield resume.head(self._model, inputs, layer, logits=logits, later=later).gradients

    def gradients_between(self, inputs: Any, pulls: Mapping[str, tuple[str, Array]]) -> Leaves:
        """Run a forward pass, and pull what is given at some layers back to earlier ones."""
        model = self._model
        given = inputs_of.prepare(model.graph, inputs)
        pairs = {
            name: (model.tensor(name, given), later, model.tensor(later, given))
            for name, (later, _) in pulls.items()
        }
        sizes = model.sizes(given)
        samples = given.samples if sizes.grows else sizes.samples
        for *_, end in pairs.values():
            if samples != given.samples and sizes.axis(end):
                raise not_offered(self, "gradients_between for more samples than the file takes")
        for name, (_, later, end) in pairs.items():
            shape = sizes.shape(end, samples)
            if samples != given.samples:
                shape = (shape[0] // samples * given.samples, *shape[1:])
            check_pulled(pulls[name][1], later, shape)

        def make() -> Between:
            return Between(model, sizes, pairs, samples)

        question = "between", tuple(pairs.items())
        between = model.fetch(question, given.shapes(samples), make)
        cotangents = [{later: np.asarray(cotangent)} for later, cotangent in pulls.values()]
        found = Passes(between, given).gradients(cotangents)
        tensors = (tensor for tensor, *_ in pairs.values())
        return {name: one[tensor] for name, one, tensor in zip(pairs, found, tensors, strict=True)}

    def classifier(self) -> tuple[Array, Array] | None:
        """Read weights and bias of the last linear node or 1×1 convolution."""
        return weights.classifier(self._model.graph)

    def biases(self) -> Sequence[Bias]:
        """List what linear nodes, convolutions and normalisations add."""
        return list(weights.biases(self._model))

    def parameters(self) -> Parameters:
        """Copy the constants that layers weigh, add or normalise by.

        A file does not tell what was trained from what was fixed: whatever layers multiply by or
        add, other than a single number, is listed.

        Raises
        ------
        NotOfferedError
            Weights are whole numbers, or layers are within branches or loops.
        """
        if left_out := parameters_of.refusal(self._model.graph):
            raise not_offered(self, left_out)
        return parameters_of.parameters(self._model)

    def with_parameters(self, parameters: Parameters) -> Any:
        """Copy the file with these, as a `ModelProto`; off the processor, ready to run there."""
        check_parameters(parameters, self.parameters())
        copy = parameters_of.with_parameters(self._model, parameters)
        return copy if self._model.runtime.is_plain else Model(copy, self._model.runtime)
