"""Pulling back through rectifiers by another rule, put on the operations of a trace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from camcore.adapter import Rectifier
from camcore.errors import MethodError

from .graph import Graph, Rule, apply, inner, inside, name_of

_KNOWN = ("relu", "relu6")


@jax.custom_vjp
def _guided(x: jax.Array, output: jax.Array) -> jax.Array:
    return output


def _push(x: jax.Array, output: jax.Array) -> Any:
    return output, ((x > 0) & (output == x), jnp.zeros_like(output))


def _pull(kept: Any, cotangent: jax.Array) -> Any:
    positive, empty = kept
    return jnp.where(positive, jnp.maximum(cotangent, 0), 0), empty


_guided.defvjp(_push, _pull)


@jax.custom_vjp
def _deconvolved(x: jax.Array, output: jax.Array) -> jax.Array:
    return output


_deconvolved.defvjp(
    lambda x, output: (output, jnp.zeros_like(output)),
    lambda empty, cotangent: (jnp.maximum(cotangent, 0), empty),
)

_RECTIFIED = {"guided": _guided, "deconvolution": _deconvolved}


def rule_of(graph: Graph, rectifier: Rectifier) -> Rule:
    """Make the rule that lets only positive gradients past the graph's rectifiers.

    Raises
    ------
    MethodError
        A loop, a branch or a function with a gradient of its own has rectifiers inside.
    """
    for eqn in graph.eqns:
        if _rectifier(graph, eqn) is None and any(map(_is_plain, _within(eqn))):
            raise MethodError(
                f"Rectifiers inside {eqn.primitive.name!r} cannot be reached: they are in a loop "
                "or a function of their own. Choose a method that leaves rectifiers as they are: "
                "method='saliency'."
            )
    places = {id(eqn): place for eqn in graph.eqns if (place := _rectifier(graph, eqn)) is not None}

    rectified = _RECTIFIED[rectifier]

    def rule(eqn: Any, values: Sequence[Any]) -> Sequence[Any]:
        made = apply(eqn, values)
        if id(eqn) not in places:
            return made
        # The output stops its own gradient: what goes back goes back through the rule.
        return [rectified(values[places[id(eqn)]], jax.lax.stop_gradient(made[0]))]

    return rule


def _rectifier(graph: Graph, eqn: Any) -> int | None:
    """Tell which argument an operation rectifies, however that is written."""
    name = name_of(eqn)
    if name in _KNOWN:
        return 0
    zeros = [_is_zero(graph, variable) for variable in eqn.invars]
    if name == "max" and zeros.count(True) == 1:
        return zeros.index(False)
    if name == "clamp" and zeros[0]:
        return 1
    if name == "select_n" and len(zeros) == 3:
        above = graph.maker(eqn.invars[0])
        if above is not None and above.primitive.name in ("gt", "ge"):
            kept = eqn.invars[2]
            return 2 if zeros[1] and above.invars[0] is kept else None
    return None


def _is_zero(graph: Graph, variable: Any) -> bool:
    source = graph.back(variable, ("broadcast_in_dim", "convert_element_type", "reshape"))
    return isinstance(source, Literal) and not np.any(source.val)


def _within(eqn: Any) -> list[Any]:
    if eqn.primitive.name == "custom_jvp_call":
        return []  # a smooth function's own
    return [each for part in inner(eqn) for each in inside(part.jaxpr)]


def _is_plain(eqn: Any) -> bool:
    """Tell whether an operation looks like a rectifier from within a function."""
    zero = any(isinstance(v, Literal) and not np.any(v.val) for v in eqn.invars)
    return name_of(eqn) in _KNOWN or (eqn.primitive.name == "max" and zero)
