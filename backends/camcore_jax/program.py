"""One pass of a model and its pull-backs, compiled from the model's trace."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal

from camcore._shared.loss_scale import ScaledCotangents, pulled_in_range
from camcore.adapter import (
    Array,
    Leaves,
    NativeScore,
    Rectifier,
    SecondOrder,
    Seed,
    SeedRun,
    no_second_derivative,
    unreached,
)
from camcore.errors import TargetError
from camcore.nest import fill

from .graph import Graph, apply, evaluate, is_floating, value_of
from .guided import rule_of
from .logits import Ends

CUTS = ("argmax", "rounding", "stop_gradient")
"""What has no gradient."""

Cotangents = list[jax.Array]
"""Those of the scores' outputs, then those of what the model returns."""


class Pass:
    """What a compiled pass has given, and how cotangents are pulled back through it.

    Parameters
    ----------
    outputs, activations : mapping of str to array
        By path, and by the layers' names.
    pulled : list of mapping of str to array
        For each seed, gradients by the layers' names.
    products : list of mapping of str to array
        The same of Hessian products; empty where there are none.
    scores : tuple of ((B,) array or None)
        For each seed, the scores where it was a `NativeScore`.
    tangents : mapping of str to mapping of str to array
        By the layers' names, the derivative of each floating output along what the layer gives.
    """

    def __init__(self, outputs: Leaves, activations: Leaves) -> None:
        self.outputs, self.activations = outputs, activations
        self.pulled: list[Leaves] = []
        self.products: list[Leaves] = []
        self.scores: list[Array | None] = []
        self.tangents: dict[str, Leaves] = {}


class Program:
    """A pass up to the outputs and one pull-back, both compiled; seeds are asked in between.

    Parameters
    ----------
    graph : Graph
        The model's trace.
    places : mapping of str to variable
        What to look at, by the names asked for.
    logits : bool
        Whether to take outputs before a final activation.
    second_order : bool or "tangents"
        Whether to give Hessian products, and tangents of the outputs.
    rectifier : {"guided", "deconvolution"} or None
        The rule for pulling back through rectifiers.
    """

    def __init__(
        self,
        graph: Graph,
        places: Mapping[str, Any],
        logits: bool,
        second_order: SecondOrder,
        rectifier: Rectifier | None,
    ) -> None:
        self._graph, self._places, self._second_order = graph, places, second_order
        self._rule = rule_of(graph, rectifier) if rectifier else apply
        self._ends = Ends(graph, logits)
        self.activation, self.applied = self._ends.activation, self._ends.applied
        self._floating = [path for path, end in graph.ends.items() if is_floating(end)]
        self._sources = list(dict.fromkeys(places.values()))
        self._forward = jax.jit(self._run)
        self._pull = jax.jit(lambda pull, cotangents: pull(cotangents)[0])
        self._reached: list[set[int]] | None = None
        self._has_float16 = has_float16(graph)

    def __call__(
        self, leaves: Sequence[jax.Array], seeds: Sequence[Seed | NativeScore], optional: Any
    ) -> Pass:
        """Run once, with one pull-back a seed.

        Raises
        ------
        GradientError
            A seed weighs only outputs that a layer has no part in.
        """
        outputs, plain, kept, pull, products, along = self._forward(leaves)
        found = Pass(self._by_path(outputs), self._by_name(kept))
        if along:
            each = [dict(zip(self._floating, map(to_numpy, ends), strict=True)) for ends in along]
            found.tangents = {n: each[self._sources.index(v)] for n, v in self._places.items()}
        if seeds and not self._floating:
            raise TargetError(
                f"No output of the model is floating ({', '.join(self._graph.outputs) or 'none'}), "
                "so no score of it has a gradient. Explain a model that returns scores."
            )
        for cotangents, weighed, scores in self._asked(found.outputs, plain, seeds):
            found.scores.append(scores)
            if self._sources:
                self._check(pull, cotangents, weighed, optional)
                way = self._in_range if self._has_float16 else self._pulled
                gradients, *seconds = way(cotangents, pull, products)
                found.pulled.append(gradients)
                found.products += seconds
        return found

    def _pulled(self, cotangents: Cotangents, pull: Any, products: Sequence[Any]) -> list[Leaves]:
        """Pull cotangents back: gradients, and Hessian products where there are any."""
        seconds = [self._pull(each, cotangents) for each in products]  # each for one layer alone
        pulled = [self._pull(pull, cotangents), *([seconds] if seconds else [])]
        return list(map(self._by_name, pulled))

    def _in_range(self, cotangents: Cotangents, *pulls: Any) -> Sequence[Leaves]:
        """Pull cotangents back at a scale at which float16 loses least."""
        dtypes = [array.dtype for array in cotangents]
        scaled = ScaledCotangents({str(i): to_numpy(a) for i, a in enumerate(cotangents)})

        def at(exponent: int) -> list[Leaves]:
            arrays = map(jnp.asarray, scaled.at(exponent).values(), dtypes)
            return [scaled.undo(one, exponent) for one in self._pulled([*arrays], *pulls)]

        return pulled_in_range(at, len(cotangents[0]), 14 if jnp.float16 in dtypes else 36)

    def _run(self, leaves: Sequence[jax.Array]) -> Any:
        """Run the trace: outputs, those that the model returns, what is looked at, derivatives.

        What is looked at has a zero added; the pull-back is to that, so that no gradient is
        taken before the first of them.
        """
        jaxpr, consts, sources = self._graph.closed.jaxpr, self._graph.closed.consts, self._sources
        given = dict(zip(jaxpr.invars, leaves, strict=True))

        def outputs(added: Mapping[int, jax.Array]) -> Any:
            seen: dict[int, jax.Array] = {}

            def moved(variable: Any, value: Any) -> Any:
                if variable not in sources:
                    return value
                place = sources.index(variable)
                seen[place] = value
                return value + added[place] if place in added else value

            def rule(eqn: Any, values: Sequence[Any]) -> Sequence[Any]:
                made = self._rule(eqn, values)
                return [moved(v, value) for v, value in zip(eqn.outvars, made, strict=True)]

            arguments = [moved(variable, value) for variable, value in given.items()]
            values = evaluate(jaxpr, consts, arguments, rule)
            shown = self._ends.read(values)
            plain = [value_of(v, values) for v in jaxpr.outvars]
            numbers = [*self._only_floating(shown), *self._only_floating(plain)]
            return numbers, (shown, plain, [seen.get(i) for i in range(len(sources))])

        zeros = {i: jnp.zeros(v.aval.shape, v.aval.dtype) for i, v in enumerate(sources)}
        _, pull, (shown, plain, kept) = jax.vjp(outputs, zeros, has_aux=True)
        products, along = [], []
        for i in zeros if self._second_order else ():

            def slope(zero: jax.Array, i: int = i) -> Any:
                return jax.jvp(lambda x: outputs({i: x})[0], (zero,), (kept[i],))[1]

            try:
                tangents, product = jax.vjp(slope, zeros[i])
                products.append(product)
                if self._second_order == "tangents":
                    along.append(tangents[: len(self._floating)])
            except (TypeError, NotImplementedError) as error:  # of functions with own gradients
                name = next(n for n, v in self._places.items() if v is sources[i])
                raise no_second_derivative(name, str(error)) from error
        return shown, plain, kept, pull, products, along

    def _asked(self, outputs: Leaves, plain: Sequence[Any], seeds: Sequence[Any]) -> Any:
        """Yield for each seed its cotangents, which outputs it weighs, and native scores."""
        run = SeedRun(
            [seed for seed in seeds if not isinstance(seed, NativeScore)],
            self.activation,
            self.applied,
        )
        answers = iter(run.ask(outputs) if run.seeds else [])
        if run.error is not None:
            raise run.error
        weighed, ends = iter(run.weighed), self._only_floating(plain)
        zeros = [jnp.zeros(end.shape, end.dtype) for end in ends]
        for seed in seeds:
            if isinstance(seed, NativeScore):
                scores, cotangents, indices = self._native(seed, plain)
                yield [*zeros, *cotangents], {i + len(ends) for i in indices}, scores
                continue
            given = [jnp.asarray(next(answers), end.dtype) for end in ends]
            paths = next(weighed)
            yield [*given, *zeros], {i for i, p in enumerate(self._floating) if p in paths}, None

    def _native(self, seed: NativeScore, plain: Sequence[jax.Array]) -> tuple[Any, Any, set[int]]:
        """Compute a score written in JAX, its cotangents, and which outputs it depends on.

        Raises
        ------
        TargetError
            It is not one floating number a sample.
        """

        def score(ends: Sequence[jax.Array]) -> jax.Array:
            floating, others = iter(ends), zip(self._graph.ends.values(), plain, strict=True)
            given = [next(floating) if is_floating(end) else array for end, array in others]
            returned = seed.function(fill(self._graph.skeleton, iter(given)))
            if returned is None:
                raise TargetError(
                    "The target's function returned None; expected one score per sample."
                )
            scores = jnp.asarray(returned)
            if scores.ndim != 1 or not jnp.issubdtype(scores.dtype, jnp.floating):
                raise TargetError(
                    "A native score must be a floating array of shape (B,), one number a sample; "
                    f"the function returned {scores.dtype.name} of shape {scores.shape}."
                )
            return scores

        def both(ends: Sequence[jax.Array], one: jax.Array) -> Any:
            scores, pull = jax.vjp(score, ends)
            return scores, pull(jnp.full_like(scores, one))[0]

        ends = self._only_floating(plain)
        closed = jax.make_jaxpr(both)(ends, np.float32(1))
        _, *depend = _made_of(closed.jaxpr, closed.jaxpr.invars[-1:])
        scores, *cotangents = jax.core.eval_jaxpr(closed.jaxpr, closed.consts, *ends, np.float32(1))
        return to_numpy(scores), cotangents, {i for i, does in enumerate(depend) if does}

    def _check(
        self, pull: Any, cotangents: Cotangents, weighed: set[int], optional: Collection[str]
    ) -> None:
        """Refuse a seed that weighs only outputs that a layer has no part in."""
        if self._reached is None:
            by_output = reached_by(pull, cotangents)
            self._reached = [
                {j for j, made in enumerate(by_output) if made[i]}
                for i in range(len(self._sources))
            ]
        for name, variable in self._places.items():
            reached = self._reached[self._sources.index(variable)]
            if not weighed & reached and name not in optional:
                raise unreached(name, self.activation, *CUTS)

    def _only_floating(self, arrays: Sequence[Any]) -> list[Any]:
        pairs = zip(self._graph.ends.values(), arrays, strict=True)
        return [array for end, array in pairs if is_floating(end)]

    def _by_path(self, arrays: Sequence[jax.Array]) -> dict[str, Array]:
        return dict(zip(self._graph.outputs, map(to_numpy, arrays), strict=True))

    def _by_name(self, arrays: Any) -> dict[str, Array]:
        made = [to_numpy(arrays[i]) for i in range(len(self._sources))]
        return {name: made[self._sources.index(v)] for name, v in self._places.items()}


def reached_by(pull: Any, cotangents: Cotangents) -> list[list[bool]]:
    """Tell for each cotangent which of the gradients are made of it."""
    closed = jax.make_jaxpr(lambda pull, cotangents: pull(cotangents)[0])(pull, cotangents)
    return [_made_of(closed.jaxpr, [v]) for v in closed.jaxpr.invars[-len(cotangents) :]]


def has_float16(graph: Graph) -> bool:
    """Tell whether anything in a trace is float16, whose range gradients may leave."""
    made = (variable.aval for eqn in graph.eqns for variable in eqn.outvars)
    return any(getattr(aval, "dtype", None) == jnp.float16 for aval in made)


def to_numpy(array: Any) -> Array:
    """Hand over an array; half precision as float32."""
    is_half = array.dtype.itemsize < 4 and jnp.issubdtype(array.dtype, jnp.floating)
    made: Array = np.asarray(array, np.float32 if is_half else None)
    return made


def _made_of(jaxpr: Any, starts: Sequence[Any]) -> list[bool]:
    """Tell which results of a function are made of these variables."""
    found = Graph(ClosedJaxpr(jaxpr, ()), (), (), None).after(starts)
    return [not isinstance(v, Literal) and v in found for v in jaxpr.outvars]
