"""What a file's constants say: its classifier, and what its nodes add."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
from onnx import NodeProto

from camcore.adapter import Array, Bias

from .forward import as_float
from .graph import Graph, attributes
from .model import Model

_BIAS_AT = {
    "Conv": 2,
    "ConvTranspose": 2,
    "Gemm": 2,
    "GroupNormalization": 2,
    "InstanceNormalization": 2,
    "LayerNormalization": 2,
}


def linear_nodes(graph: Graph) -> dict[str, Literal["linear", "pointwise"]]:
    """Find what linear nodes and convolutions return, and tell which are of one place."""
    found: dict[str, Literal["linear", "pointwise"]] = {}
    for node in graph.nodes:
        if node.op_type in ("Conv", "ConvTranspose"):
            found[node.output[0]] = "linear" if _weights(graph, node) is None else "pointwise"
        elif _weights(graph, node) is not None:
            found[node.output[0]] = "pointwise"
            if (adding := _adding(graph, node)) is not None:
                found[adding[0].output[0]] = "pointwise"
    return found


def classifier(graph: Graph) -> tuple[Array, Array] | None:
    """Read weights ``(K, C)`` and bias ``(K,)`` of the last linear node or 1×1 convolution."""
    for node in reversed(graph.nodes):
        weights = _weights(graph, node) if node.output[0] in graph.data else None
        if weights is None:
            continue
        adding = _adding(graph, node)
        bias = _bias(graph, node) if adding is None else adding[1]
        if bias is not None and bias.size == 1:
            bias = np.full(len(weights), bias.item())
        return weights, np.zeros(len(weights), np.float32) if bias is None else as_float(bias)
    return None


def biases(model: Model) -> Iterator[Bias]:
    """Yield the nodes that add one number a channel or normalise by running statistics."""
    graph = model.graph
    names = {one.tensor: one.name for one in reversed([*model.layers.values()])}
    for node in graph.nodes:
        name = names.get(node.output[0])
        if name is None:
            continue
        if node.op_type == "BatchNormalization":
            gamma, beta, mean, variance = (_read(graph, tensor) for tensor in node.input[1:5])
            if mean is not None and variance is not None:
                yield Bias.of_batch_norm(
                    name,
                    mean=mean,
                    variance=variance,
                    gamma=gamma,
                    beta=beta,
                    epsilon=mean.dtype.type(attributes(node).get("epsilon", 1e-5)),
                )
            continue
        bias, adding = _bias(graph, node), _adding(graph, node)
        if adding is not None:
            name, bias = names.get(adding[0].output[0], name), adding[1]
        if bias is not None and bias.ndim == 1:
            yield Bias(name, as_float(bias))


def _weights(graph: Graph, node: NodeProto) -> Array | None:
    """Read the weights ``(K, C)`` of a linear node or 1×1 convolution; None for others."""
    if node.op_type not in ("Conv", "Gemm", "MatMul"):
        return None
    weights, how = _read(graph, node.input[1]), attributes(node)
    if weights is None or (node.op_type != "Conv" and weights.ndim != 2):
        return None
    if node.op_type == "Conv":
        is_one = math.prod(weights.shape[2:]) == 1 and how.get("group", 1) == 1
        return weights.reshape(weights.shape[:2]) if is_one else None
    weights = weights if how.get("transB") else weights.T
    return np.ascontiguousarray(weights * how.get("alpha", 1.0))


def _bias(graph: Graph, node: NodeProto) -> Array | None:
    at = _BIAS_AT.get(node.op_type, len(node.input))
    bias = _read(graph, node.input[at]) if len(node.input) > at and node.input[at] else None
    beta = attributes(node).get("beta", 1.0) if node.op_type == "Gemm" else 1.0
    return None if bias is None else bias * np.asarray(beta, bias.dtype)


def _adding(graph: Graph, node: NodeProto) -> tuple[NodeProto, Array] | None:
    """Find the addition of one constant a channel that alone uses a matrix product."""
    users = graph.users[node.output[0]]
    if node.op_type != "MatMul" or len(users) != 1 or users[0].op_type != "Add":
        return None
    (other,) = (t for t in [*users[0].input, *[""]][:2] if t != node.output[0])
    bias = _read(graph, other)
    return (users[0], bias) if bias is not None and bias.ndim == 1 else None


def _read(graph: Graph, tensor: str) -> Array | None:
    """Read a constant; half precision as float32."""
    array = graph.constant(tensor) if tensor else None
    return None if array is None else as_float(array)
