"""Names of layers: those of the modules that a file was exported from, else of its nodes."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from onnx import NodeProto

from camcore.adapter import Channels

from .graph import Graph

_SCOPES = "pkg.torch.onnx.name_scopes"
_CLASSES = "pkg.torch.onnx.class_hierarchy"

_CHANNELS_FIRST = {"BatchNormalization", "Conv", "ConvTranspose", "InstanceNormalization", "LRN"}
_KEEP_CHANNELS = ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool")
_MOVES_AXES = {"Einsum", "Flatten", "Gather", "MatMul", "Reshape", "Squeeze", "Transpose"}

Scopes: TypeAlias = tuple[str, ...]
"""Paths of the modules around a node, outermost first."""


@dataclass(frozen=True)
class Named:
    """A layer of the file.

    Parameters
    ----------
    name : str
        Its name, unique among the layers.
    kind : str
        The operator; the class of a module of several nodes where that is known.
    tensor : str
        What it returns.
    node : onnx.NodeProto
        The node that makes this.
    """

    name: str
    kind: str
    tensor: str
    node: NodeProto


def layers(graph: Graph, floating: set[str]) -> list[Named]:
    """List the nodes and modules that return floating tensors, modules behind what they contain.

    Parameters
    ----------
    graph : Graph
        The file's.
    floating : set of str
        Its floating tensors.
    """
    returned = graph.data & floating
    nodes = [node for node in graph.nodes if node.output[0] in returned]
    scopes = {n.output[0]: _scopes(n) for n in nodes}
    inside: dict[str, list[NodeProto]] = defaultdict(list)
    for node in nodes:
        for path in scopes[node.output[0]]:
            inside[path].append(node)
    returns = {path: _returned(graph, within) for path, within in inside.items()}
    found: dict[str, Named] = {}
    for node in nodes:
        tensor, around = node.output[0], scopes[node.output[0]]
        ends = [path for path in reversed(around) if returns[path] is node]
        own = around[-1] if around else ""
        if own not in ends:
            name = _unique(_own_name(node, own), {*found, *inside})
            found[name] = Named(name, node.op_type, tensor, node)
        for path in ends:
            alone = len(inside[path]) == 1
            kind = node.op_type if alone else _class(node, path) or "Module"
            found[path] = Named(path, kind, tensor, node)
    return list(found.values())


def owner(graph: Graph, named: Sequence[Named], node: NodeProto) -> str | None:
    """Name the layer that a node's output is part of: the innermost module of several nodes."""
    by_name = {one.name: one for one in named}
    for path in reversed(_scopes(node)):
        if path in by_name and by_name[path].node is not node:
            return path
    return next((one.name for one in named if one.node is node), None)


def holder(named: Sequence[Named], node: NodeProto) -> str:
    """Name the layer that holds what a node reads: the innermost module around it, or the node."""
    around = _scopes(node)
    return around[-1] if around else next(one.name for one in named if one.node is node)


def channels(graph: Graph) -> dict[str, Channels]:
    """Tell which tensors have their channels behind the batch, as operators define it."""
    found: dict[str, Channels] = {}
    for node in graph.nodes:
        kept = any(tensor in found for tensor in node.input)
        if node.op_type in _CHANNELS_FIRST | {*_KEEP_CHANNELS} or (
            kept and node.op_type not in _MOVES_AXES and not node.op_type.startswith("Reduce")
        ):
            found[node.output[0]] = "first"
    return found


def _scopes(node: NodeProto) -> Scopes:
    """List the modules around a node, as the exporter notes them."""
    noted = {one.key: one.value for one in node.metadata_props}.get(_SCOPES)
    if noted is not None:
        paths = [path for path in ast.literal_eval(noted)[:-1] if path]
        return tuple(dict.fromkeys(map(_clean, paths)))
    if not node.name.startswith("/"):
        return ()
    paths, step = [], ""
    for part in node.name.split("/")[1:-1]:
        # A child of a sequence has its parent's name before its own: /features/features.0.
        outer = paths[-1] if paths else ""
        if step and part.startswith(step + "."):
            outer = outer[: -len(step)].rstrip(".")
        paths.append(_clean(f"{outer}.{part}" if outer else part))
        step = part
    return tuple(paths)


def _returned(graph: Graph, within: Sequence[NodeProto]) -> NodeProto:
    """Find the last node of a module whose output is used outside it."""
    own = {id(node) for node in within}

    def leaves(node: NodeProto) -> bool:
        tensor = node.output[0]
        users = graph.users[tensor]
        return tensor in graph.outputs or any(id(user) not in own for user in users)

    return next((node for node in reversed(within) if leaves(node)), within[-1])


def _own_name(node: NodeProto, scope: str) -> str:
    own = _clean(node.name.rpartition("/")[2] if scope or node.name[:1] == "/" else node.name)
    own = own or _clean(node.output[0])
    return f"{scope}.{own}" if scope else own


def _clean(name: str) -> str:
    """Leave out of a name what would be read as the part or the call of a layer."""
    return re.sub(r"#|@(?=[A-Za-z]+$)", "_", name)


def _unique(name: str, taken: set[str]) -> str:
    copies, free = 0, name
    while free in taken:
        copies += 1
        free = f"{name}_{copies}"
    return free


def _class(node: NodeProto, path: str) -> str | None:
    """Read the class of a module around a node, where the exporter notes it."""
    noted: Mapping[str, str] = {one.key: one.value for one in node.metadata_props}
    if _SCOPES not in noted or _CLASSES not in noted:
        return None
    pairs = zip(ast.literal_eval(noted[_SCOPES]), ast.literal_eval(noted[_CLASSES]), strict=False)
    return next((kind.rpartition(".")[2] for scope, kind in pairs if scope == path), None)
