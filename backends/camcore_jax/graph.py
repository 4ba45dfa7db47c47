"""A traced model as one flat list of operations, with its layers' marks among them.

Calls of compiled functions and of checkpoints are taken apart, and loops of a known length that
run layers are written out. So whatever the model is written with, cutting it at a layer is
cutting a list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from .marks import mark_p

Rule: TypeAlias = Callable[[Any, Sequence[Any]], Sequence[Any]]
"""Gives what an operation makes of values."""

_NOTHING = jax.make_jaxpr(lambda: ())().jaxpr
_INLINED = {"jit", "pjit", "closed_call", "core_call", "remat2", "remat", "checkpoint"}
STEPS = 64
"""The most steps of a loop that are written out."""


def apply(eqn: Any, values: Sequence[Any]) -> Sequence[Any]:
    """Run an operation as it is."""
    if eqn.primitive is mark_p:
        return values
    used, effects = variables(eqn.invars), eqn.effects
    one = _NOTHING.replace(invars=used, outvars=eqn.outvars, eqns=[eqn], effects=effects)
    known = dict(zip(map(id, eqn.invars), values, strict=True))
    made: Sequence[Any] = jax.core.eval_jaxpr(one, (), *(known[id(v)] for v in used))
    return made


def evaluate(jaxpr: Any, consts: Sequence[Any], args: Sequence[Any], rule: Rule) -> dict[Any, Any]:
    """Run every operation by a rule, and return what each variable is."""
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))
    for eqn in jaxpr.eqns:
        given = [value_of(variable, values) for variable in eqn.invars]
        values.update(zip(eqn.outvars, rule(eqn, given), strict=True))
    return values


def value_of(variable: Any, values: dict[Any, Any]) -> Any:
    """Read what a variable or a literal is."""
    return variable.val if isinstance(variable, Literal) else values[variable]


def inner(eqn: Any) -> Iterator[ClosedJaxpr]:
    """Yield the functions that an operation runs."""
    for value in eqn.params.values():
        for part in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(part, (ClosedJaxpr, Jaxpr)):
                yield part if isinstance(part, ClosedJaxpr) else ClosedJaxpr(part, ())


def name_of(eqn: Any) -> str:
    """Name an operation; one with a derivative of its own by the function that it is."""
    if eqn.primitive.name != "custom_jvp_call":
        return str(eqn.primitive.name)
    (function,) = inner(eqn)
    return str(function.jaxpr.debug_info.func_name)


def inside(jaxpr: Any) -> Iterator[Any]:
    """Yield the operations of a function, and of those that it runs."""
    for eqn in jaxpr.eqns:
        yield eqn
        for part in inner(eqn):
            yield from inside(part.jaxpr)


def flatten(closed: ClosedJaxpr) -> ClosedJaxpr:
    """Take apart the functions that a trace runs."""
    if not any(eqn.primitive.name in _INLINED or _runs_layers(eqn) for eqn in closed.eqns):
        return closed

    def whole(*args: Any) -> list[Any]:
        return _run(closed, args)

    return jax.make_jaxpr(whole)(*map(shape_of, closed.in_avals))


def shape_of(array: Any) -> jax.ShapeDtypeStruct:
    """Describe an array, so that a trace needs none."""
    return jax.ShapeDtypeStruct(array.shape, array.dtype)


def _run(closed: ClosedJaxpr, args: Sequence[Any]) -> list[Any]:
    values = evaluate(closed.jaxpr, closed.consts, args, _apart)
    return [value_of(variable, values) for variable in closed.jaxpr.outvars]


def _apart(eqn: Any, values: Sequence[Any]) -> Sequence[Any]:
    """Run an operation, and in its place those of the function that it runs."""
    is_loop = eqn.primitive.name == "scan" and _runs_layers(eqn)
    is_taken_apart = eqn.primitive.name in _INLINED or (is_loop and eqn.params["length"] <= STEPS)
    if not is_taken_apart and eqn.primitive is not mark_p:
        return apply(eqn, values)
    with jax.named_scope(str(eqn.source_info.name_stack)):
        if eqn.primitive is mark_p:
            return [mark_p.bind(*values, **eqn.params)]
        (function,) = inner(eqn)
        return _written_out(eqn.params, function, values) if is_loop else _run(function, values)


def _written_out(how: Any, step: ClosedJaxpr, values: Sequence[Any]) -> list[Any]:
    """Run a loop step by step."""
    fixed, carried = how["num_consts"], how["num_consts"] + how["num_carry"]
    carry, rows = values[fixed:carried], dict[int, Sequence[Any]]()
    for i in range(how["length"])[:: -1 if how["reverse"] else 1]:
        row = [each[i] for each in values[carried:]]
        made = _run(step, [*values[:fixed], *carry, *row])
        carry, rows[i] = made[: how["num_carry"]], made[how["num_carry"] :]
    return [*carry, *(jnp.stack(each) for each in zip(*map(rows.get, sorted(rows)), strict=True))]


def marks_in(jaxpr: Any) -> list[str]:
    """List the layers that a function marks, also in functions that it runs."""
    found = [eqn.params["name"] for eqn in inside(jaxpr) if eqn.primitive is mark_p]
    return list(dict.fromkeys(found))


def _runs_layers(eqn: Any) -> bool:
    return any(marks_in(part.jaxpr) for part in inner(eqn))


def variables(atoms: Iterable[Any]) -> list[Any]:
    """List variables once each, without the literals among them."""
    return list(dict.fromkeys(atom for atom in atoms if not isinstance(atom, Literal)))


@dataclass(frozen=True)
class Graph:
    """A flat trace of a model.

    Parameters
    ----------
    closed : ClosedJaxpr
        Takes the parameters, then the inputs; returns the arrays among the outputs.
    given : tuple of str
        Paths of the inputs.
    outputs : tuple of str
        Paths of the outputs.
    skeleton : nest
        What the model returns, with the outputs' numbers in place of them.
    """

    closed: ClosedJaxpr
    given: tuple[str, ...]
    outputs: tuple[str, ...]
    skeleton: Any = field(repr=False)

    @property
    def eqns(self) -> list[Any]:
        """The operations in order."""
        return self.closed.jaxpr.eqns

    @cached_property
    def makers(self) -> dict[Any, Any]:
        """The operation that makes each variable."""
        return {made: eqn for eqn in self.eqns for made in eqn.outvars}

    @cached_property
    def ends(self) -> dict[str, Any]:
        """What the model returns, by path."""
        return dict(zip(self.outputs, self.closed.jaxpr.outvars, strict=True))

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """The inputs' variables by path."""
        return dict(zip(self.given, self.closed.jaxpr.invars[-len(self.given) :], strict=True))

    @cached_property
    def calls(self) -> dict[str, dict[str, list[Any]]]:
        """The marks of each layer: for each array that it returns, by path, one a call."""
        found: dict[str, dict[str, list[Any]]] = {}
        for eqn in self.eqns:
            if eqn.primitive is mark_p:
                leaves = found.setdefault(eqn.params["name"], {})
                leaves.setdefault(eqn.params["leaf"], []).append(eqn)
        return found

    @cached_property
    def hidden(self) -> dict[str, str]:
        """What hides layers that run, by their names."""
        return {
            name: _kind(eqn)
            for eqn in self.eqns
            for part in inner(eqn)
            for name in marks_in(part.jaxpr)
        }

    @cached_property
    def users(self) -> dict[Any, list[Any]]:
        """The operations that use each variable."""
        found: dict[Any, list[Any]] = {}
        for eqn in self.eqns:
            for variable in variables(eqn.invars):
                found.setdefault(variable, []).append(eqn)
        return found

    def maker(self, variable: Any) -> Any:
        """Return the operation that makes a variable; None where none does."""
        return None if isinstance(variable, Literal) else self.makers.get(variable)

    def back(self, variable: Any, over: Iterable[str]) -> Any:
        """Go back from a variable over operations of one argument and these names."""
        while (eqn := self.maker(variable)) is not None and eqn.primitive.name in over:
            variable = eqn.invars[0]
        return variable

    def after(self, starts: Iterable[Any]) -> set[Any]:
        """Collect the variables that are made of others, these included."""
        found = set(starts)
        for eqn in self.eqns:
            if not found.isdisjoint(variables(eqn.invars)):
                found.update(eqn.outvars)
        return found


def is_floating(variable: Any) -> bool:
    """Tell whether a variable or a literal is a floating array."""
    return bool(jnp.issubdtype(variable.aval.dtype, jnp.floating))


def _kind(eqn: Any) -> str:
    kind = eqn.primitive.name.removesuffix("_call")
    return f"a scan of {eqn.params['length']} steps" if kind == "scan" else f"a {kind}"
