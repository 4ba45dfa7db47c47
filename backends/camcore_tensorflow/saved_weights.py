"""The variables of a saved model, by the layers that read them, and copies of it with others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from camcore.adapter import Array, Parameters

from .frozen import FrozenGraph
from .weights import Kernel, array, channels_first, channels_last

_ORDER = ("kernel", "embeddings", "gamma", "bias", "beta", "moving_mean", "moving_variance")
"""How Keras lists what a layer has."""

_KERNELS: Mapping[str, Kernel] = {
    "Conv2D": "plain",
    "Conv2DBackpropInput": "plain",
    "Conv3D": "plain",
    "Conv3DBackpropInputV2": "plain",
    "DepthwiseConv2dNative": "depthwise",
    "MatMul": "plain",
}
"""What a variable is to the operation that reads it."""


@dataclass(frozen=True)
class Variable:
    """A variable of a saved model.

    Parameters
    ----------
    variable : tf.Variable
        The variable.
    placeholder : str
        What stands for it in the graph of the model's function.
    kernel : {"", "plain", "depthwise"}
        Whether it is a kernel.
    """

    variable: Any
    placeholder: str
    kernel: Kernel


def held(function: Any, graph: FrozenGraph) -> dict[str, list[Variable]]:
    """Find the floating variables of each layer, in the order in which they are read."""
    by_handle = {id(variable.handle): variable for variable in function.graph.variables}
    found: dict[str, list[Variable]] = {}
    for handle, placeholder in function.graph.captures:
        variable = by_handle.get(id(handle))
        reader = graph.reader(placeholder.op.name)
        if variable is None or reader is None or not variable.dtype.is_floating:
            continue
        layer, kernel = _layer(variable, reader.name, graph), _KERNELS.get(reader.op, "")
        found.setdefault(layer, []).append(Variable(variable, placeholder.op.name, kernel))
    return {layer: sorted(own, key=_rank) for layer, own in found.items()}


def parameters(own: Mapping[str, list[Variable]]) -> dict[str, list[Array]]:
    """Copy the variables of each layer, kernels as (O, C, *K)."""
    return {
        layer: [channels_first(np.array(array(one.variable)), one.kernel) for one in every]
        for layer, every in own.items()
    }


def with_parameters(
    function: Any, own: Mapping[str, list[Variable]], given: Parameters
) -> tf.Module:
    """Make a model of the same function on variables of its own, some of them with these values."""
    values = {
        id(one.variable): channels_last(np.asarray(new), one.kernel, tuple(one.variable.shape))
        for layer, arrays in given.items()
        for one, new in zip(own[layer], arrays, strict=True)
    }
    copy = tf.Module()
    copy.held = []
    handles = {}
    by_handle = {id(variable.handle): variable for variable in function.graph.variables}
    for handle, placeholder in function.graph.captures:
        old = by_handle.get(id(handle))
        if old is not None:
            name = old.name.partition(":")[0]
            new = tf.Variable(values.get(id(old), old), name=name, dtype=old.dtype)
            copy.held.append(new)
            handle = new.handle
        handles[placeholder.name] = handle
    definition = function.graph.as_graph_def()
    given_names = [tensor.name for tensor in function.inputs]
    names = [tensor.name for tensor in function.outputs]
    structure = function.structured_outputs

    def body(*args: Any, **kwargs: Any) -> Any:
        tensors = dict(zip(given_names, tf.nest.flatten((args, kwargs)), strict=False))
        graph = tf.compat.v1.get_default_graph()
        for variable in copy.held:
            graph.watch_variable(variable)
        captured = {name: graph.capture(handle) for name, handle in handles.items()}
        made = tf.graph_util.import_graph_def(definition, tensors | captured, names, name="")
        return tf.nest.pack_sequence_as(structure, made)

    args, kwargs = function.structured_input_signature
    traced = tf.function(body, autograph=False).get_concrete_function(*args, **kwargs)
    copy.signatures = {"serving_default": traced}
    return copy


def _layer(variable: Any, reader: str, graph: FrozenGraph) -> str:
    """Name the layer that a variable is of, by the variable's own name and where it is read."""
    owner = variable.name.partition(":")[0].rpartition("/")[0]
    last = re.escape(owner.rpartition("/")[2])
    steps = reader.split("/")
    for end in range(len(steps), 0, -1):
        if re.fullmatch(rf"{last}(_\d+)?", steps[end - 1]):
            scopes = ("/".join(steps[start:end]) for start in range(end))
            return next((scope for scope in scopes if scope in graph.layers), owner)
    return owner


def _rank(one: Variable) -> tuple[int, str]:
    name = one.variable.name.partition(":")[0].rpartition("/")[2]
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER)), name
