"""The graph of an ONNX file: which node makes a tensor, which read it, and what it depends on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import onnx
from onnx import NodeProto, ValueInfoProto, helper, numpy_helper
from onnx.inliner import inline_local_functions

from camcore.adapter import Array

_OWN_SIZE = {"Compress", "If", "Loop", "NonMaxSuppression", "NonZero", "Scan", "Unique"}
"""Operators whose outputs' shapes depend on values."""

_SIZED_BY = {
    "ConstantOfShape": slice(0, None),
    "Expand": slice(1, None),
    "OneHot": slice(1, 2),
    "Pad": slice(1, None),
    "Range": slice(0, None),
    "Reshape": slice(1, None),
    "Resize": slice(1, None),
    "Slice": slice(1, None),
    "Split": slice(1, None),
    "Tile": slice(1, None),
    "TopK": slice(1, None),
    "Upsample": slice(1, None),
}
"""Inputs whose values say what shape an operator's output has."""

_DRAWS = ("Random", "Bernoulli", "Multinomial")


class Graph:
    """An ONNX model's main graph, read once and never written to.

    Parameters
    ----------
    proto : onnx.ModelProto
        The model, which nobody else writes to; functions of its own are written out in place.
    """

    def __init__(self, proto: onnx.ModelProto) -> None:
        self.proto = inline_local_functions(proto) if proto.functions else proto
        graph = self.proto.graph
        self.nodes: Sequence[NodeProto] = list(graph.node)
        domains = {one.domain: one.version for one in self.proto.opset_import}
        self.opset = domains.get("", domains.get("ai.onnx", 1))
        self.initializers = {one.name: one for one in graph.initializer}
        self.inputs: Mapping[str, ValueInfoProto] = {
            one.name: one for one in graph.input if one.name not in self.initializers
        }
        self.outputs: Sequence[str] = [one.name for one in graph.output]
        self.maker = {name: node for node in self.nodes for name in node.output if name}
        self.users: dict[str, list[NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in reads(node):
                self.users[name].append(node)
        self.data: set[str] = set(self.inputs)
        """Tensors whose values depend on those of the inputs, or are drawn at random."""
        self.unsized: set[str] = set()
        """Tensors whose shapes depend on the inputs' values."""
        for node in self.nodes:
            self._follow(node)
        self._constants: dict[str, Array] = {}

    def _follow(self, node: NodeProto) -> None:
        """Tell what a node's outputs depend on."""
        given, made = reads(node), [name for name in node.output if name]
        by_value = self.data.intersection(given)
        drawn = node.op_type.startswith(_DRAWS)
        sizes = node.op_type in ("Shape", "Size")
        free = bool(self.unsized.intersection(given))
        shapes = node.input[_SIZED_BY.get(node.op_type, slice(0, 0))]
        if (by_value and not sizes) or drawn or (sizes and free):
            self.data.update(made)
        if not sizes and (
            free
            or self.data.intersection(shapes)
            or (node.op_type in _OWN_SIZE and self.data.intersection(made))
        ):
            self.unsized.update(made)

    def constant(self, tensor: str) -> Array | None:
        """Read an initializer or a constant node; None for what is computed."""
        if tensor not in self._constants:
            node, stored = self.maker.get(tensor), self.initializers.get(tensor)
            if node is not None and node.op_type == "Identity":
                return self.constant(node.input[0])
            if node is not None and node.op_type == "Transpose":
                turned = self.constant(node.input[0])
                return None if turned is None else turned.transpose(attributes(node).get("perm"))
            if node is not None and node.op_type == "Constant":
                stored = _stored(node)
            if stored is None:
                return None
            self._constants[tensor] = numpy_helper.to_array(stored)
        return self._constants[tensor]

    @cached_property
    def quantised(self) -> set[str]:
        """Tensors of whole numbers that stand for floating ones."""
        found: set[str] = set()
        for node in self.nodes:
            makes = any(word in node.op_type for word in ("Quantize", "QLinear", "Integer"))
            passes = node.op_type != "Cast" and not found.isdisjoint(node.input)
            if node.op_type != "DequantizeLinear" and (makes or passes):
                found.update(node.output)
        return found & self.data

    def after(self, tensors: Iterable[str], among: Collection[str] | None = None) -> set[str]:
        """List the tensors, and those that are made of them; only through those `among`."""
        found = set(tensors)
        for node in self.nodes:
            if not found.isdisjoint(reads(node)):
                found.update(o for o in node.output if o and (among is None or o in among))
        return found

    def before(self, tensors: Iterable[str]) -> set[str]:
        """List the tensors, and those that they are made of."""
        found = set(tensors)
        for node in reversed(self.nodes):
            if not found.isdisjoint(node.output):
                found.update(name for name in reads(node) if name)
        return found

    def asking(
        self, tensors: Iterable[str], places: Mapping[str, str] | None = None
    ) -> onnx.ModelProto:
        """Copy the model, with other outputs.

        Parameters
        ----------
        tensors : iterable of str
            What it shall return.
        places : mapping of str to str, optional
            Names for the places that maxima are taken from, by the output of each max pooling.
        """
        model = onnx.ModelProto()
        model.CopyFrom(self.proto)
        for node in model.graph.node:
            if node.output and (name := (places or {}).get(node.output[0])):
                node.output[:] = [node.output[0], name]
        declared = {one.name: one for one in self.proto.graph.output}
        del model.graph.output[:]
        model.graph.output.extend(declared.get(t, ValueInfoProto(name=t)) for t in tensors)
        return model


def attributes(node: NodeProto) -> dict[str, Any]:
    """Read a node's attributes; text as str."""
    found = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    return {name: v.decode() if isinstance(v, bytes) else v for name, v in found.items()}


def reads(node: NodeProto) -> list[str]:
    """List the tensors that a node reads, also those that its inner graphs do."""
    found = [name for name in node.input if name]
    for attribute in node.attribute:
        for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            inside = {one.name for one in [*graph.input, *graph.initializer]}
            inside.update(name for inner in graph.node for name in inner.output if name)
            found += [name for inner in graph.node for name in reads(inner) if name not in inside]
            found += [one.name for one in graph.output if one.name not in inside]
    return found


def _stored(node: NodeProto) -> onnx.TensorProto | None:
    """Read the tensor of a constant node, however it is written."""
    (attribute,) = node.attribute
    if attribute.name == "value":
        stored: onnx.TensorProto = attribute.t
        return stored
    value = helper.get_attribute_value(attribute)
    kinds = {"float": onnx.TensorProto.FLOAT, "int": onnx.TensorProto.INT64}
    kind = attribute.name.removeprefix("value_").removesuffix("s")
    if kind not in kinds:
        return None
    several = isinstance(value, (list, tuple)) or attribute.name.endswith("s")
    return helper.make_tensor(
        "", kinds[kind], [len(value)] if several else [], [*value] if several else [value]
    )
