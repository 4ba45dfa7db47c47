"""Running a model from a layer on: its trace is cut there, and the rest mapped over alterations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from camcore._shared.loss_scale import ScaledCotangents, pulled_in_range
from camcore.adapter import (
    Array,
    LayerName,
    Leaves,
    Outputs,
    Seed,
    check_cotangents,
    replays,
    unreached,
)
from camcore.errors import InputError, LayerError

from .graph import Graph, apply, evaluate, is_floating, variables
from .logits import Ends
from .program import CUTS, has_float16, reached_by, to_numpy


def check_runs_once(name: str, graph: Graph, path: LayerName) -> None:
    """Refuse to go on from what is no one place in a pass.

    Raises
    ------
    LayerError
        The layer runs several times, or a part or call of it is meant.
    """
    if path.is_input or path.part in ("attention", "linear") or path.call is not None:
        raise LayerError(f"A model is resumed from a layer that runs once, not {name!r}.")
    calls = max(map(len, graph.calls.get(path.path, {"": ()}).values()))
    if calls > 1:
        raise LayerError(
            f"Layer {name!r} runs {calls} times in one pass, so there is no one place to go on "
            "from. Choose a layer that runs once."
        )


class Replay:
    """A model in two halves, before and after a layer.

    What follows sees each alteration as a batch of one, as the sample itself was, so whatever
    lies beside the layer needs no repeating.

    Parameters
    ----------
    name : str
        The layer's name.
    graph : Graph
        The model's trace for one sample.
    cut : variable
        What the layer returns.
    logits : bool
        Whether to take outputs before a final activation.
    source : variable or None
        What gradients are taken at, which is made of it; None for what the layer returns.
    attends : bool
        Whether that is attention.
    """

    def __init__(
        self,
        name: str,
        graph: Graph,
        cut: Any,
        logits: bool,
        source: Any = None,
        *,
        attends: bool = False,
    ) -> None:
        self.name, self._graph, self._cut = name, graph, cut
        self._source, self.attends = cut if source is None else source, attends
        self._ends = Ends(graph, logits)
        self.activation, self.applied = self._ends.activation, self._ends.applied
        after = graph.after([cut]) - {cut}
        self.floating = [path for path, end in graph.ends.items() if is_floating(end)]
        self.has_float16 = has_float16(graph)
        jaxpr = graph.closed.jaxpr
        self._follows = [eqn for eqn in jaxpr.eqns if not after.isdisjoint(eqn.outvars)]
        used = variables([*(v for e in self._follows for v in e.invars), *self._ends.variables])
        self._beside = [v for v in used if v not in after and v is not cut]
        self._before = jax.jit(self._run_before)
        self.after = jax.jit(jax.vmap(self._run_after, in_axes=(0, None)))
        self.after_and_back = jax.jit(self._run_after_and_back)
        self.pull = jax.jit(lambda pull, cotangents: pull(cotangents)[0])
        self._reached: set[str] | None = None

    def start(self, leaves: Sequence[jax.Array]) -> Head:
        """Run one sample up to the layer, and return what runs it from there on.

        Raises
        ------
        LayerError
            Going on from what the layer returned does not give the model's outputs.
        """
        own, beside, plain = self._before(leaves)
        head = Head(self, own, beside)
        twice = np.concatenate([to_numpy(own)] * 2, head.axis)
        outputs = dict(zip(self._graph.outputs, map(to_numpy, plain), strict=True))
        if not replays(head(twice), outputs, float(jnp.finfo(own.dtype).eps)):
            raise LayerError(
                f"Running the model from layer {self.name!r} on does not reproduce its outputs. "
                "Choose a later layer."
            )
        return head

    def _run_before(self, leaves: Sequence[jax.Array]) -> Any:
        closed = self._graph.closed
        values = evaluate(closed.jaxpr, closed.consts, leaves, apply)
        return values[self._cut], [values[v] for v in self._beside], self._ends.read(values)

    def _run_after(
        self, own: jax.Array, beside: Sequence[jax.Array], added: jax.Array | None = None
    ) -> list[jax.Array]:
        """Run on from what the layer returns, with something added to what is looked at."""
        jaxpr = self._graph.closed.jaxpr.replace(
            constvars=[], invars=[self._cut, *self._beside], eqns=self._follows
        )

        def moved(variable: Any, value: Any) -> Any:
            return value + added if variable is self._source and added is not None else value

        def rule(eqn: Any, values: Sequence[Any]) -> Sequence[Any]:
            return list(map(moved, eqn.outvars, apply(eqn, values)))

        given = [moved(self._cut, own), *beside]
        return self._ends.read(evaluate(jaxpr, (), given, rule))

    def _run_after_and_back(self, rows: jax.Array, beside: Sequence[jax.Array]) -> Any:
        """Run on from alterations: outputs, and the pull-back of those that are floating.

        It is pulled back to zeros that are added to what is looked at.
        """

        def outputs(added: jax.Array) -> Any:
            made = jax.vmap(self._run_after, in_axes=(0, None, 0))(rows, beside, added)
            by_path = dict(zip(self._graph.outputs, made, strict=True))
            return [by_path[path] for path in self.floating], made

        looked_at = self._source.aval
        zeros = jnp.zeros((len(rows), *looked_at.shape), looked_at.dtype)
        _, pull, made = jax.vjp(outputs, zeros, has_aux=True)
        return made, pull

    def reached(self, pull: Any, outputs: Mapping[str, jax.Array]) -> set[str]:
        """List the outputs that gradients come back to the layer from."""
        if self._reached is None:
            some = reached_by(pull, [outputs[path] for path in self.floating])
            pairs = zip(self.floating, some, strict=True)
            self._reached = {path for path, made in pairs if any(made)}
        return self._reached

    def by_path(self, arrays: Sequence[jax.Array]) -> dict[str, Array]:
        """Give each alteration its row; what has no row for a sample is the same for all."""
        made = map(to_numpy, arrays)
        return {
            path: a.reshape(-1, *a.shape[2:]) if _has_rows(a) else a[0]
            for path, a in zip(self._graph.outputs, made, strict=True)
        }


class Head:
    """A model from a layer on, for one sample.

    Parameters
    ----------
    replay : Replay
        The model, cut there.
    own : array
        What the layer returned for the sample.
    beside : sequence of array
        What else comes before, and is used by what follows.
    """

    def __init__(self, replay: Replay, own: jax.Array, beside: Sequence[jax.Array]) -> None:
        self._replay, self._own, self._beside = replay, own, beside
        # One sample is one row, or several in a row where its parts were folded into the batch.
        self.axis = _axis(own.shape)

    def __call__(self, activations: Array) -> Leaves:
        """Give the outputs for ``(N, ...)`` altered activations."""
        rows = self._rows(activations)
        return self._replay.by_path(self._replay.after(rows, self._beside))

    def gradients(self, activations: Array, seed: Seed) -> Array:
        """Pull a seed's cotangents of those outputs back to the ``(N, ...)`` activations.

        Raises
        ------
        GradientError
            The seed weighs only outputs that the layer has no part in.
        """
        replay, rows = self._replay, self._rows(activations)
        made, pull = replay.after_and_back(rows, self._beside)
        leaves = Outputs(replay.by_path(made), replay.activation, replay.applied)
        cotangents = seed(leaves)
        check_cotangents(cotangents, leaves)
        tensors = dict(zip(leaves, made, strict=True))
        if replay.reached(pull, tensors).isdisjoint(cotangents):
            raise unreached(replay.name, replay.activation, *CUTS)

        def pulled(weights: Leaves) -> dict[str, Array]:
            ends = [_spread(weights.get(p), tensors[p]) for p in replay.floating]
            found = to_numpy(replay.pull(pull, ends))
            return {replay.name: self._joined(found)}

        if not replay.has_float16:
            return pulled(cotangents)[replay.name]
        scaled = ScaledCotangents({path: np.asarray(c) for path, c in cotangents.items()})

        def at(exponent: int) -> list[Leaves]:
            return [scaled.undo(pulled(scaled.at(exponent)), exponent)]

        narrow = any(tensors[path].dtype == jnp.float16 for path in replay.floating)
        (found,) = pulled_in_range(at, len(rows), 14 if narrow else 36)
        return found[replay.name]

    def _rows(self, activations: Array) -> jax.Array:
        """Put alterations ``(N, ...)`` one behind the other, each as the sample itself was.

        Raises
        ------
        InputError
            The layer returns another shape.
        """
        given, shape, axis = np.shape(activations), self._own.shape, self.axis
        if (
            len(given) != len(shape)
            or given[axis] % shape[axis]
            or given[:axis] + given[axis + 1 :] != shape[:axis] + shape[axis + 1 :]
        ):
            raise InputError(
                f"Layer {self._replay.name!r} returns {shape}; activations of shape {given} cannot "
                "stand in for it."
            )
        rows = jnp.moveaxis(jnp.asarray(activations, self._own.dtype), axis, 0)
        rows = rows.reshape(-1, shape[axis], *rows.shape[1:])
        return jnp.moveaxis(rows, 1, axis + 1)

    def _joined(self, rows: Array) -> Array:
        """Undo `_rows`."""
        if self._replay.attends:
            return rows.reshape(-1, *rows.shape[-3:])
        axis = _axis(rows.shape[1:])
        first = np.moveaxis(rows, axis + 1, 1)
        return np.moveaxis(first.reshape(-1, *first.shape[2:]), 0, axis)


def _axis(of_one: tuple[int, ...]) -> int:
    """Tell which axis of what there is of one sample carries the batch."""
    return of_one.index(1) if 1 in of_one else 0


def _has_rows(made: Any) -> bool:
    """Tell whether an output of mapped samples has a row for each."""
    return made.ndim > 1 and made.shape[1] == 1


def _spread(cotangent: Array | None, made: jax.Array) -> jax.Array:
    """Give a cotangent the shape of the mapped output; none is zeros."""
    if cotangent is None:
        return jnp.zeros_like(made)
    given = jnp.asarray(cotangent, made.dtype)
    return given.reshape(made.shape) if _has_rows(made) else jnp.zeros_like(made).at[0].set(given)
