"""A TensorFlow SavedModel, seen through the verbs of `camcore.adapter.Adapter`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal
from weakref import WeakKeyDictionary

import tensorflow as tf

from camcore.adapter import (
    Array,
    Bias,
    Layer,
    LayerRecord,
    Parameters,
    check_parameters,
    not_offered,
)
from camcore.layers.ends import ends

from . import graph, saved_weights
from .adapter import TensorFlowAdapter
from .compile import compiled
from .frozen import FrozenGraph
from .inputs import Signature, prepare
from .layers import channels
from .preserve import uninterrupted
from .survey import places

_LINEAR: Mapping[str, Literal["linear", "pointwise"]] = {
    "MatMul": "pointwise",
    "Conv2D": "linear",
    "Conv3D": "linear",
}


_graphs: WeakKeyDictionary[Any, FrozenGraph] = WeakKeyDictionary()


def function_of(model: object) -> Any:
    """Give the function that a saved model serves; None of what is no such model.

    Parameters
    ----------
    model : object
        What `tf.saved_model.load` gives, or a concrete function.

    Returns
    -------
    tf.ConcreteFunction or None
    """
    if isinstance(model, tf.types.experimental.ConcreteFunction):
        return model
    signatures = getattr(model, "signatures", None)
    if not isinstance(model, tf.__internal__.tracking.Trackable) or not signatures:
        return None
    return signatures.get("serving_default", next(iter(signatures.values())))


def frozen(model: object) -> FrozenGraph:
    """Freeze the graph of a saved model, once."""
    if model not in _graphs:
        _graphs[model] = FrozenGraph(function_of(model))
    return _graphs[model]


class SavedAdapter(TensorFlowAdapter):
    """A saved model and the verbs that camcore asks for; see `camcore.adapter.Adapter`.

    Which of its variables were a classifier's or a bias the graph does not tell.

    Parameters
    ----------
    model : FrozenGraph
        The model.
    function : tf.ConcreteFunction
        The function that it is the graph of.
    """

    def __init__(self, model: FrozenGraph, function: Any) -> None:
        super().__init__(model)
        self._function = function

    @property
    def stated_scales(self) -> Mapping[str, Any]:
        """Nothing: a graph states none."""
        return {}

    @property
    def output_names(self) -> Mapping[str, str]:
        """Nothing: outputs go by their names as it is."""
        return {}

    def layers(self) -> Sequence[Layer]:
        """List the operations that depend on an input, and their scopes."""
        return [Layer(name, one.kind, None) for name, one in self._model.layers.items()]

    @uninterrupted
    def survey(self, inputs: Any) -> Sequence[LayerRecord]:
        """Run one sample, and list the shapes of what all operations return."""
        tensors, signature, layers = self._read(inputs)
        make = partial(_Survey, self._model, self.layers())
        survey = self._compiled("survey", signature.sized(1), (), make)
        shapes = survey.function(*signature.first(tensors.values()))
        images, found = self.input_channels, []
        for layer, shape in zip(self.layers(), shapes, strict=True):
            size = tuple(map(int, shape))
            is_output, rectified, feeds = survey.places[layer.name]
            axis = channels(layers[layer.name].data_format, len(size), images)
            record = LayerRecord(layer, size, axis, is_output=is_output)
            found.append(replace(record, rectified=rectified, feeds=feeds))
        return found

    def classifier(self) -> tuple[Array, Array] | None:
        """Refuse: the graph does not tell."""
        raise not_offered(self, "classifier")

    def biases(self) -> Sequence[Bias]:
        """Refuse: the graph does not tell."""
        raise not_offered(self, "biases")

    def parameters(self) -> Parameters:
        """Copy the variables that the function reads, by the layers that read them."""
        return saved_weights.parameters(saved_weights.held(self._function, self._model))

    def with_parameters(self, parameters: Parameters) -> Any:
        """Make a `tf.Module` that serves the same function, on variables of its own."""
        held = saved_weights.held(self._function, self._model)
        check_parameters(parameters, saved_weights.parameters(held))
        return saved_weights.with_parameters(self._function, held, parameters)

    def _read(self, inputs: Any) -> tuple[dict[str, tf.Tensor], Signature, dict[str, Any]]:
        tensors, signature = prepare(self._model, inputs)
        return tensors, signature, dict(self._model.layers)


class _Survey:
    """All operations followed in one sample."""

    def __init__(self, model: FrozenGraph, layers: Sequence[Layer], signature: Signature) -> None:
        self.places: dict[str, tuple[bool, bool, bool]] = {}
        wanted = [one.tensor for one in model.layers.values()]

        def body(*sample: tf.Tensor) -> list[tf.Tensor]:
            outputs, found = model.call(sample, wanted)
            every = {i: [tensor] for i, tensor in enumerate(found)}
            seen = {i: (LayerRecord(layer, ()), every[i]) for i, layer in enumerate(layers)}
            scores = [leaf for leaf in tf.nest.flatten(outputs) if leaf.dtype.is_floating]
            known = ends(scores, graph.step, _is_linear)
            self.places.update(places(seen, every, known))
            return [tf.shape(tensor) for tensor in found]

        self.function = compiled(body, signature.specs)


def _is_linear(tensor: Any) -> Literal["", "linear", "pointwise"]:
    """Tell whether an operation is a linear layer or a convolution, or adds its bias."""
    operation = tensor.op
    if operation.type in ("AddV2", "BiasAdd") and operation.inputs[1].shape.rank == 1:
        operation = operation.inputs[0].op
        if operation.type == "Reshape":  # of the product of a dense layer at many places
            operation = operation.inputs[0].op
    return _LINEAR.get(operation.type, "")
