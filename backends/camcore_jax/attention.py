"""Attention, found in a trace by what it is: a softmax that weighs something in a product."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from .graph import Graph
from .logits import SHOWING, activation_of
from .marks import layers_around


def attention(graph: Graph, kinds: dict[str, str]) -> dict[str, list[Any]]:
    """Find what layers attend with, by layer and in order.

    Each is ``(B, heads, queries, keys)``, or has the heads folded into the batch. The innermost
    layer computes it, but a softmax layer.

    Parameters
    ----------
    graph : Graph
        The model's trace.
    kinds : dict of str to str
        Class names of the layers.
    """
    found: dict[str, list[Any]] = {}
    for eqn in graph.eqns:
        if eqn.primitive.name not in ("div", "custom_jvp_call") or len(eqn.outvars) > 1:
            continue
        (made,) = eqn.outvars
        # Axes of length one may stand in front, where heads that share keys would be.
        is_attention = made.aval.ndim > 2 and math.prod(made.aval.shape[:-4]) == 1
        ends_in = activation_of(graph, made) if is_attention else None
        if ends_in is not None and ends_in[1] == "softmax" and _weighs(graph, made):
            around = [name for name in layers_around(eqn) if name in kinds]
            own = [name for name in around if kinds[name] not in ("Softmax", "Activation")]
            if around:
                found.setdefault((own or around)[-1], []).append(made)
    return found


def joins(graph: Graph) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the lengths that are put together, with the layer that finishes next."""
    waiting: list[tuple[int, ...]] = []
    for eqn in graph.eqns:
        parts = [variable.aval for variable in eqn.invars]
        if eqn.primitive.name == "concatenate" and parts[0].ndim == 3:
            waiting.append(tuple(part.shape[eqn.params["dimension"]] for part in parts))
        if "leaf" in eqn.params and waiting:
            yield from ((eqn.params["name"], lengths) for lengths in waiting)
            waiting = []


def _weighs(graph: Graph, variable: Any) -> bool:
    """Tell whether a product is made of an array, as it is or rearranged."""
    return any(
        user.primitive.name == "dot_general"
        or (user.primitive.name in SHOWING and _weighs(graph, user.outvars[0]))
        for user in graph.users.get(variable, ())
    )
