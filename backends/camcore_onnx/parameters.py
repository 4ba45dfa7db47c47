"""The parameters that a file holds, by the layers that read them, and copies with others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, helper, numpy_helper

from camcore.adapter import Array, Parameters

from .backward import is_floating
from .forward import as_float
from .graph import Graph, attributes
from .layers import holder
from .model import Model

_SLOTS: Mapping[str, tuple[int, ...]] = {
    "BatchNormalization": (1, 2, 3, 4),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "DeformConv": (1, 3),
    "Einsum": (0, 1, 2, 3),
    "GRU": (1, 2, 3),
    "Gather": (0,),
    "Gemm": (1, 2),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LSTM": (1, 2, 3, 7),
    "LayerNormalization": (1, 2),
    "MatMul": (0, 1),
    "PRelu": (1,),
    "RMSNormalization": (1,),
    "RNN": (1, 2, 3),
}
"""Which inputs of an operator are parameters where they are constants."""

_BY_ELEMENT = {"Add": (0, 1), "Mul": (0, 1)}
"""The same, of operators for which a constant of one number is none."""

_WHOLE = ("quantize", "qlinear", "integer")
"""What operators on whole numbers that stand for floating ones have in their names."""


@dataclass(frozen=True)
class Slot:
    """A tensor that a file stores, and how it is shown.

    Parameters
    ----------
    tensor : str
        Its name.
    axes : tuple of int
        Its axes in the order in which they are shown: of a kernel (O, C, *K).
    """

    tensor: str
    axes: tuple[int, ...]


def refusal(graph: Graph) -> str:
    """Say why a file's parameters cannot be told; empty where they can."""
    if any(word in node.op_type.lower() for node in graph.nodes for word in _WHOLE):
        return "parameters of files whose weights are whole numbers"
    for inner in _within(graph.nodes):
        stored = {one.name for one in inner.initializer}
        stored.update(n.output[0] for n in inner.node if n.op_type == "Constant")
        asked = [tensor for node in inner.node for tensor in _asked(node, _SLOTS)]
        if any(tensor in stored or _followed(graph, tensor) for tensor in asked):
            return "parameters of files that have layers in branches or loops"
    return ""


def parameters(model: Model) -> dict[str, list[Array]]:
    """Copy the parameters of each layer, in the order of the nodes that read them first."""
    return {
        layer: [as_float(_stored(model.graph, slot).transpose(slot.axes)).copy() for slot in own]
        for layer, own in _slots(model).items()
    }


def with_parameters(model: Model, given: Parameters) -> onnx.ModelProto:
    """Copy the file, with these in place of its layers' own."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model.graph.proto)
    initializers = {one.name: one for one in copy.graph.initializer}
    nodes = {name: node for node in copy.graph.node for name in node.output}
    own = _slots(model)
    for layer, arrays in given.items():
        for slot, array in zip(own[layer], arrays, strict=True):
            values = np.asarray(array).transpose(np.argsort(slot.axes))
            dtype = _stored(model.graph, slot).dtype
            tensor = numpy_helper.from_array(
                np.ascontiguousarray(values.astype(dtype)), slot.tensor
            )
            if slot.tensor in initializers:
                initializers[slot.tensor].CopyFrom(tensor)
            else:
                del nodes[slot.tensor].attribute[:]
                nodes[slot.tensor].attribute.append(helper.make_attribute("value", tensor))
    return copy


def _slots(model: Model) -> dict[str, list[Slot]]:
    """Find the floating parameters of each layer, each once."""
    graph, found = model.graph, dict[str, list[Slot]]()
    named, seen = [*model.layers.values()], set[str]()
    returned = graph.data & model.floating
    for node in graph.nodes:
        for slot in _of_node(graph, node) if node.output[0] in returned else ():
            if slot.tensor not in seen:
                seen.add(slot.tensor)
                found.setdefault(holder(named, node), []).append(slot)
    return found


def _of_node(graph: Graph, node: NodeProto) -> Iterator[Slot]:
    for table, least in ((_SLOTS, 1), (_BY_ELEMENT, 2)):
        for tensor in _asked(node, table):
            slot = _followed(graph, tensor)
            if slot is None:
                continue
            stored = _stored(graph, slot)
            if is_floating(stored.dtype) and stored.size >= least:
                yield Slot(slot.tensor, _shown(node, tensor, slot.axes))


def _asked(node: NodeProto, table: Mapping[str, Sequence[int]]) -> list[str]:
    """List the inputs of a node that may be parameters."""
    places = table.get(node.op_type, ())
    return [node.input[at] for at in places if at < len(node.input) and node.input[at]]


def _followed(graph: Graph, tensor: str) -> Slot | None:
    """Find the stored tensor that another is, but for its type and the order of its axes."""
    node = graph.maker.get(tensor)
    if node is not None and node.op_type in ("Cast", "Identity"):
        return _followed(graph, node.input[0])
    if node is not None and node.op_type == "Transpose":
        before = _followed(graph, node.input[0])
        if before is None:
            return None
        order = attributes(node).get("perm", range(len(before.axes))[::-1])
        return Slot(before.tensor, tuple(before.axes[axis] for axis in order))
    stored = graph.constant(tensor)
    return None if stored is None else Slot(tensor, tuple(range(stored.ndim)))


def _shown(node: NodeProto, tensor: str, axes: tuple[int, ...]) -> tuple[int, ...]:
    """Turn a matrix ``(C, O)`` to (O, C)."""
    is_right = len(axes) == 2 and tensor == node.input[1]
    turns = node.op_type == "MatMul" or (
        node.op_type == "Gemm" and not attributes(node).get("transB", 0)
    )
    return axes[::-1] if is_right and turns else axes


def _stored(graph: Graph, slot: Slot) -> Array:
    stored = graph.constant(slot.tensor)
    assert stored is not None  # it is a weight
    return stored


def _within(nodes: Sequence[NodeProto]) -> Iterator[GraphProto]:
    """Yield the graphs of branches and loops."""
    for node in nodes:
        for attribute in node.attribute:
            for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield graph
                yield from _within(graph.node)
