"""Pulling cotangents back from some layers of a model to earlier ones, compiled from its trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from camcore._shared.loss_scale import pairs_in_range
from camcore.adapter import Array, Leaves, check_pulled, not_between

from .graph import Graph, apply, evaluate, value_of
from .program import has_float16, to_numpy


class Between:
    """A pass, and a pull-back for each pair of layers.

    Parameters
    ----------
    graph : Graph
        The model's trace.
    places : mapping of str to variable
        What the names stand for.
    pairs : mapping of str to str
        By the name to pull back to, the name of the layer that a cotangent is given at.

    Raises
    ------
    GradientError
        A later layer is not made of the earlier one.
    """

    def __init__(self, graph: Graph, places: Mapping[str, Any], pairs: Mapping[str, str]) -> None:
        self._graph, self._places, self._pairs = graph, places, pairs
        for name, later in pairs.items():
            if places[later] not in graph.after([places[name]]):
                raise not_between(name, later)
        self._sources = list(dict.fromkeys(places[name] for name in pairs))
        self._ends = [places[later] for later in pairs.values()]
        self._has_float16 = has_float16(graph)
        self._pulled = jax.jit(self._pull)

    def __call__(self, leaves: Sequence[jax.Array], cotangents: Leaves) -> dict[str, Array]:
        """Run once, and pull each cotangent back.

        Raises
        ------
        InputError
            A cotangent has another shape than what the layer returned.
        """
        for end, (name, later) in zip(self._ends, self._pairs.items(), strict=True):
            check_pulled(cotangents[name], later, tuple(end.aval.shape))
        if not self._has_float16:
            return self._run(leaves, cotangents)
        rows = max(map(len, cotangents.values()))
        return dict(pairs_in_range(partial(self._run, leaves), cotangents, rows, 14))

    def _run(self, leaves: Sequence[jax.Array], cotangents: Leaves) -> dict[str, Array]:
        given = [
            jnp.asarray(cotangents[name], end.aval.dtype)
            for end, name in zip(self._ends, self._pairs, strict=True)
        ]
        found = self._pulled(leaves, given)
        return {name: to_numpy(one) for name, one in zip(self._pairs, found, strict=True)}

    def _pull(self, leaves: Sequence[jax.Array], given: Sequence[jax.Array]) -> list[jax.Array]:
        """Pull back to zeros that are added to what the earlier layers give."""
        closed, sources = self._graph.closed, self._sources

        def later(added: Sequence[jax.Array]) -> list[Any]:
            def moved(variables: Sequence[Any], values: Sequence[Any]) -> list[Any]:
                return [
                    value + added[sources.index(v)] if v in sources else value
                    for v, value in zip(variables, values, strict=True)
                ]

            def rule(eqn: Any, values: Sequence[Any]) -> Sequence[Any]:
                return moved(eqn.outvars, apply(eqn, values))

            arguments = moved(closed.jaxpr.invars, leaves)
            values = evaluate(closed.jaxpr, closed.consts, arguments, rule)
            return [value_of(end, values) for end in self._ends]

        zeros = [jnp.zeros(v.aval.shape, v.aval.dtype) for v in sources]
        _, pull = jax.vjp(later, zeros)
        nothing = [jnp.zeros_like(one) for one in given]
        found = []
        for i, name in enumerate(self._pairs):
            (gradients,) = pull([*nothing[:i], given[i], *nothing[i + 1 :]])
            found.append(gradients[sources.index(self._places[name])])
        return found
