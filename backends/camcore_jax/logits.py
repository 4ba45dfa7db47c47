"""Finding the activation a model ends in, by walking its trace back from an output."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from .graph import Graph, inner, is_floating, name_of, value_of
from .marks import mark_p

_RESHAPES = {"reshape", "squeeze", "expand_dims"}
_SAME = {mark_p.name, "convert_element_type", "copy", "optimization_barrier"}
SHOWING = _SAME | _RESHAPES | {"transpose", "rev", "sharding_constraint"}
"""Operations that show again what they are given."""

_SPREAD = {"broadcast_in_dim", *_RESHAPES, *_SAME, "stop_gradient"}


class Ends:
    """What scores are read from: the outputs, or what was before their final activations.

    Parameters
    ----------
    graph : Graph
        The model's trace.
    logits : bool
        Whether to take outputs before a final activation.

    Attributes
    ----------
    variables : list
        One an output.
    activation, applied : dict of str to str
        The activations left off and those that are still there, by path.
    """

    def __init__(self, graph: Graph, logits: bool) -> None:
        self._graph = graph
        ends, found = dict(graph.ends), dict[str, str]()
        for path, end in graph.ends.items():
            if is_floating(end) and (before := before_activation(graph, end)):
                ends[path] = before[0] if logits else end
                found[path] = before[1]
        self.activation, self.applied = (found, {}) if logits else ({}, found)
        self.variables = [*ends.values()]

    def read(self, values: dict[Any, Any]) -> list[jax.Array]:
        """Read them, each in its output's own shape and dtype, where variables have values."""
        pairs = zip(self.variables, self._graph.ends.values(), strict=True)
        return [
            jnp.reshape(value_of(v, values), end.aval.shape).astype(end.aval.dtype)
            for v, end in pairs
        ]


def before_activation(graph: Graph, output: Any) -> tuple[Any, str] | None:
    """Take an output before its final softmax, log-softmax or sigmoid.

    Returns
    -------
    logits : variable
        What the activation was applied to, as many numbers as `output` has.
    activation : str
        ``"softmax"``, ``"log_softmax"`` or ``"sigmoid"``. None in place of the two where the
        output does not end in one of them.
    """
    plain = graph.back(output, _SAME)
    inmost = graph.back(output, _SAME | _RESHAPES)
    for variable in (plain, inmost):
        found = activation_of(graph, variable)
        if found is None:
            continue
        moved = variable is not plain and found[1] != "sigmoid"
        # Probabilities that are rearranged need not lie along one axis any more.
        if not moved or output.aval.shape[-1:] == found[0].aval.shape[-1:]:
            return found
    return None


def activation_of(graph: Graph, variable: Any) -> tuple[Any, str] | None:
    """Tell what is activated, and by which function, where a variable is made so."""
    eqn = graph.maker(variable)
    if eqn is None:
        return None
    if eqn.primitive.name == "logistic":
        return _known(eqn.invars[0], "sigmoid")
    if "softmax" in name_of(eqn):
        (function,) = inner(eqn)
        within = Graph(function, (), ("",), None)
        found = activation_of(within, function.jaxpr.outvars[0])
        if found is not None and found[0] in function.jaxpr.invars:
            return eqn.invars[function.jaxpr.invars.index(found[0])], found[1]
    if eqn.primitive.name == "div":
        return _softmax(graph, eqn)
    return _log_softmax(graph, eqn) if eqn.primitive.name == "sub" else None


def _softmax(graph: Graph, eqn: Any) -> tuple[Any, str] | None:
    """Read ``exp(x) / sum(exp(x))``."""
    powers, total = graph.maker(eqn.invars[0]), graph.maker(_spread(graph, eqn.invars[1]))
    is_power = powers is not None and powers.primitive.name == "exp"
    if is_power and _sums(graph, total, powers.invars[0]):
        return _known(_unshifted(graph, powers.invars[0]), "softmax")
    return None


def _log_softmax(graph: Graph, eqn: Any) -> tuple[Any, str] | None:
    """Read ``x - log(sum(exp(x)))``."""
    log = graph.maker(_spread(graph, eqn.invars[1]))
    total = log and log.primitive.name == "log" and graph.maker(_spread(graph, log.invars[0]))
    if total and _sums(graph, total, eqn.invars[0]):
        return _known(_unshifted(graph, eqn.invars[0]), "log_softmax")
    return None


def _sums(graph: Graph, eqn: Any, exponents: Any) -> bool:
    """Tell whether an operation sums the powers of numbers along one axis."""
    if eqn is None or eqn.primitive.name != "reduce_sum" or len(eqn.params["axes"]) != 1:
        return False
    powers = graph.maker(eqn.invars[0])
    is_power = powers is not None and powers.primitive.name == "exp"
    return bool(is_power and powers.invars[0] is exponents)


def _unshifted(graph: Graph, variable: Any) -> Any:
    """Go back over the subtraction of the largest value."""
    eqn = graph.maker(variable)
    if eqn is None or eqn.primitive.name != "sub":
        return variable
    largest = _spread(graph, eqn.invars[1])
    maker = graph.maker(largest)
    while maker is not None and maker.primitive.name == "max":  # with minus infinity
        largest = _spread(graph, next(v for v in maker.invars if not isinstance(v, Literal)))
        maker = graph.maker(largest)
    is_largest = maker is not None and maker.primitive.name == "reduce_max"
    return eqn.invars[0] if is_largest and maker.invars[0] is eqn.invars[0] else variable


def _spread(graph: Graph, variable: Any) -> Any:
    return graph.back(variable, _SPREAD)


def _known(variable: Any, activation: str) -> tuple[Any, str] | None:
    return None if isinstance(variable, Literal) else (variable, activation)
