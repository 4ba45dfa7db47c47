"""Running a model from a layer on: its trace is cut there, and the rest mapped over alterations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from camcore.adapter import Array, LayerName, Leaves, replays
from camcore.errors import InputError, LayerError

from .graph import Graph, apply, evaluate, variables
from .logits import Ends
from .program import to_numpy

Head = Callable[[Array], Leaves]


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
    """

    def __init__(self, name: str, graph: Graph, cut: Any, logits: bool) -> None:
        self._name, self._graph, self._cut = name, graph, cut
        self._ends = Ends(graph, logits)
        after = graph.after([cut]) - {cut}
        jaxpr = graph.closed.jaxpr
        self._follows = [eqn for eqn in jaxpr.eqns if not after.isdisjoint(eqn.outvars)]
        used = variables([*(v for e in self._follows for v in e.invars), *self._ends.variables])
        self._beside = [v for v in used if v not in after and v is not cut]
        self._before = jax.jit(self._run_before)
        self._after = jax.jit(jax.vmap(self._run_after, in_axes=(0, None)))

    def start(self, leaves: Sequence[jax.Array]) -> Head:
        """Run one sample up to the layer, and return what runs it from there on.

        Raises
        ------
        LayerError
            Going on from what the layer returned does not give the model's outputs.
        """
        own, beside, plain = self._before(leaves)
        shape, dtype = own.shape, own.dtype
        # One sample is one row, or several in a row where its parts were folded into the batch.
        axis = shape.index(1) if 1 in shape else 0

        def head(activations: Array) -> Leaves:
            given = np.shape(activations)
            if (
                len(given) != len(shape)
                or given[axis] % shape[axis]
                or given[:axis] + given[axis + 1 :] != shape[:axis] + shape[axis + 1 :]
            ):
                raise InputError(
                    f"Layer {self._name!r} returns {shape}; activations of shape {given} cannot "
                    "stand in for it."
                )
            rows = jnp.moveaxis(jnp.asarray(activations, dtype), axis, 0)
            rows = rows.reshape(-1, shape[axis], *rows.shape[1:])
            return self._by_path(self._after(jnp.moveaxis(rows, 1, axis + 1), beside))

        twice = np.concatenate([to_numpy(own)] * 2, axis)
        outputs = dict(zip(self._graph.outputs, map(to_numpy, plain), strict=True))
        if not replays(head(twice), outputs, float(jnp.finfo(dtype).eps)):
            raise LayerError(
                f"Running the model from layer {self._name!r} on does not reproduce its outputs. "
                "Choose a later layer."
            )
        return head

    def _run_before(self, leaves: Sequence[jax.Array]) -> Any:
        closed = self._graph.closed
        values = evaluate(closed.jaxpr, closed.consts, leaves, apply)
        return values[self._cut], [values[v] for v in self._beside], self._ends.read(values)

    def _run_after(self, own: jax.Array, beside: Sequence[jax.Array]) -> list[jax.Array]:
        jaxpr = self._graph.closed.jaxpr.replace(
            constvars=[], invars=[self._cut, *self._beside], eqns=self._follows
        )
        return self._ends.read(evaluate(jaxpr, (), [own, *beside], apply))

    def _by_path(self, arrays: Sequence[jax.Array]) -> dict[str, Array]:
        """Give each alteration its row; what has no row for a sample is the same for all."""
        made = map(to_numpy, arrays)
        return {
            path: a.reshape(-1, *a.shape[2:]) if a.ndim > 1 and a.shape[1] == 1 else a[0]
            for path, a in zip(self._graph.outputs, made, strict=True)
        }
