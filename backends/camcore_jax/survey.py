"""What layers return, read off a trace: nothing is computed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from camcore.adapter import Channels, Layer, LayerRecord
from camcore.layers.ends import Step, ends, kind_of
from camcore.outputs import score_paths

from .attention import attention, joins
from .graph import Graph, is_floating, variables
from .logits import SHOWING, activation_of
from .marks import layers_around, mark_p
from .places import is_array, operation, rectified


def records(graph: Graph, layers: Iterable[Layer], channels: Channels) -> list[LayerRecord]:
    """List every layer that returned a floating array, by when its last call finished.

    Parameters
    ----------
    graph : Graph
        The trace of one sample.
    layers : iterable of Layer
        All layers.
    channels : {"first", "last"}
        Where the model has its channels.
    """
    known = {layer.name: layer for layer in layers}
    last = {name: [eqns[-1] for eqns in graph.calls[name].values()] for name in _order(graph)}
    attending = attention(graph, {name: layer.kind for name, layer in known.items()})
    made = rectified(graph)
    scores = score_paths({path: end.aval.ndim for path, end in graph.ends.items()})
    found = ends(
        [graph.ends[path] for path in sorted(scores) if not _is_constant(graph.ends[path])],
        lambda tensor: _step(graph, tensor),
        _Linear(graph),
    )
    shown, returned = (
        set(found.shown),
        {eqn.outvars[0] for leaves in last.values() for eqn in leaves},
    )
    parts = [[_made_of(graph, part) & returned for part in output] for output in found.parts]
    parts = [[inside for inside in output if inside] for output in parts]
    joined: dict[str, list[tuple[int, ...]]] = {}
    for name, lengths in joins(graph):
        joined.setdefault(name, []).append(lengths)

    def record(name: str, leaves: list[Any]) -> LayerRecord:
        first = leaves[0].outvars[0]
        shape, attended = first.aval.shape, attending.get(name, [None])[-1]
        own = {eqn.outvars[0] for eqn in leaves}
        return LayerRecord(
            known[name],
            shape,
            layout(len(shape), channels),
            calls=max(map(len, graph.calls[name].values())),
            is_output=first in shown,
            attention=None if attended is None else attended.aval.shape[-4:],
            repeats=_first_name(graph, leaves[0], name),
            several=len(leaves) > 1,
            rectified=made.get(first) not in {None, *returned, *shown},
            feeds=any(all(own & inside for inside in output) for output in parts),
            in_attention=any(around in attending for around in layers_around(leaves[0])),
            joins=tuple(joined.get(name, ())),
        )

    return [record(name, leaves) for name, leaves in last.items() if name in known]


def layout(rank: int, channels: Channels) -> Channels | None:
    """Say where an output has its channels; only images and volumes follow the model."""
    return channels if rank in (4, 5) else None


def _order(graph: Graph) -> list[str]:
    """List the layers by when their last call finished."""
    names = [eqn.params["name"] for eqn in graph.eqns if eqn.primitive is mark_p]
    return list(dict.fromkeys(names[::-1]))[::-1]


def _first_name(graph: Graph, eqn: Any, name: str) -> str | None:
    """Find the first layer that returned what this one does."""
    first = None
    while (eqn := graph.maker(eqn.invars[0])) is not None and eqn.primitive is mark_p:
        first = eqn.params["name"] if eqn.params["name"] != name else first
    return first


def _step(graph: Graph, variable: Any) -> Step | None:
    """Tell how a variable shows others again; see `camcore.layers.ends`."""
    if (eqn := graph.maker(variable)) is None:
        return None
    if (found := activation_of(graph, variable)) is not None:
        return Step("same", (found[0],))
    given = tuple(v for v in eqn.invars if is_array(graph, v))
    if eqn.primitive.name in SHOWING and given:
        return Step("same", given[:1])
    kind = kind_of(operation(eqn), len(given))
    goes_on = any(len(graph.users.get(each, ())) > 1 for each in given)
    if kind is None or not given or (kind == "sum" and goes_on):
        return None
    return Step(kind, given)


class _Linear:
    """Tells whether a linear layer or a convolution returned a variable."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._moving = graph.after(graph.inputs.values())

    def __call__(self, variable: Any) -> Any:
        eqn = self._graph.maker(variable)
        if eqn is None or eqn.primitive is not mark_p:
            return ""
        while eqn is not None and eqn.primitive.name in {"add", *SHOWING}:
            moving = [v for v in variables(eqn.invars) if v in self._moving]
            eqn = self._graph.maker(moving[0]) if len(moving) == 1 else None
        name = "" if eqn is None else eqn.primitive.name
        if sum(v in self._moving for v in variables(eqn.invars if eqn is not None else ())) != 1:
            return ""
        if name == "conv_general_dilated":
            numbers, kernel = eqn.params["dimension_numbers"].rhs_spec, eqn.invars[1].aval.shape
            one_place = all(kernel[axis] == 1 for axis in numbers[2:])
            is_plain = one_place and eqn.params["feature_group_count"] == 1
            return "pointwise" if is_plain else "linear"
        return "pointwise" if name == "dot_general" else ""


def _made_of(graph: Graph, variable: Any) -> set[Any]:
    """Collect the floating variables that one is made of, as gradients go back."""
    found, todo = set[Any](), [variable]
    while todo:
        if (one := todo.pop()) in found:
            continue
        found.add(one)
        eqn = graph.maker(one)
        if eqn is not None and eqn.primitive.name != "stop_gradient":
            todo += [v for v in variables(eqn.invars) if is_floating(v)]
    return found


def _is_constant(end: Any) -> bool:
    return not variables([end])
