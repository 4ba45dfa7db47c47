"""What every layer of a file returns, and how outputs show it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from camcore.adapter import Layer, LayerRecord
from camcore.errors import LayerError
from camcore.layers.ends import Step, ends, kind_of
from camcore.outputs import score_paths

from .forward import path_of
from .graph import Graph
from .logits import SHOWING
from .model import Model
from .sizes import Sizes
from .weights import linear_nodes

_AS_ELSEWHERE = {
    "AveragePool": "avgpool",
    "Clip": "clamp",
    "GlobalAveragePool": "avgpool",
    "GlobalMaxPool": "maxpool",
    "ReduceMax": "max",
    "ReduceMean": "mean",
    "ReduceSum": "sum",
    "Sum": "add",
}
"""Names of operators that other frameworks have, where these differ."""


def survey(model: Model, sizes: Sizes) -> list[LayerRecord]:
    """Record each layer's output for one sample, in the order that layers finish.

    Parameters
    ----------
    model : Model
        The file.
    sizes : Sizes
        Of its tensors.
    """
    graph, attended = model.graph, {owner: t for t, owner in model.attention.items()}
    arrays = {path_of(model, t): t for t in graph.outputs if t in model.floating & set(sizes.few)}
    scores = score_paths({path: len(sizes.few[tensor]) for path, tensor in arrays.items()})
    linear = linear_nodes(graph)
    found = ends(
        [arrays[path] for path in sorted(scores)],
        lambda tensor: _step(graph, tensor),
        lambda tensor: linear.get(tensor, ""),
    )
    above = [[graph.before([part]) for part in parts] for parts in found.parts]
    joins, laid_out = _joins(model, sizes), model.channels
    if graph.quantised and not any(len(sizes.few[t]) > 2 for t in laid_out.keys() & model.floating):
        raise LayerError(
            "The file computes in whole numbers, so none of its layers returns a floating map. "
            "Quantise the model in the QDQ format, or explain the one that it was made from."
        )
    first: dict[str, str] = {}
    records = []
    for one in model.layers.values():
        maker = first.setdefault(one.tensor, one.name)
        attention = attended.get(one.name)
        records.append(
            LayerRecord(
                Layer(one.name, one.kind, one.node),
                _of_one(sizes, one.tensor),
                laid_out.get(one.tensor),
                is_output=one.tensor in found.shown,
                attention=None if attention is None else _of_one(sizes, attention),
                repeats=None if maker == one.name else maker,
                several=len(model.floating.intersection(one.node.output)) > 1,
                feeds=any(all(one.tensor in inside for inside in parts) for parts in above),
                joins=tuple(joins.pop(id(one.node), ())),
            )
        )
    return records


def _of_one(sizes: Sizes, tensor: str) -> tuple[int, ...]:
    """Give a tensor's shape for one sample."""
    shape, axis = sizes.few[tensor], sizes.axis(tensor)
    if axis is None or sizes.samples == 1:
        return shape
    return (*shape[:axis], shape[axis] // sizes.samples, *shape[axis + 1 :])


def _step(graph: Graph, tensor: str) -> Step | None:
    """Tell how a tensor shows others again; see `camcore.layers.ends`."""
    node = graph.maker.get(tensor)
    given = [t for t in (node.input if node is not None else ()) if t in graph.data]
    if node is None or not given:
        return None
    if node.op_type in SHOWING:
        return Step("same", (given[0],))
    kind = kind_of(_AS_ELSEWHERE.get(node.op_type, node.op_type), len(given))
    if kind is None or (kind == "sum" and any(len(graph.users[t]) > 1 for t in given)):
        return None
    return Step(kind, tuple(given))


def _joins(model: Model, sizes: Sizes) -> dict[int, list[tuple[int, ...]]]:
    """List the lengths that were put together, by the id of the next node that is a layer."""
    found, waiting = defaultdict(list), list[tuple[int, ...]]()
    last: Collection[int] = {id(one.node) for one in model.layers.values()}
    for node in model.graph.nodes:
        shape = sizes.few.get(node.output[0], ())
        if node.op_type == "Concat" and len(shape) == 3 and node.output[0] in model.floating:
            (axis,) = (a.i for a in node.attribute if a.name == "axis")
            waiting.append(tuple(sizes.few[part][axis] for part in node.input))
        if id(node) in last and waiting:
            found[id(node)], waiting = waiting, []
    return found
