"""A JAX model, seen through the verbs of `camcore.adapter.Adapter`."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from camcore._shared.programs import Opening, Programs, Shapes
from camcore._shared.remembered import remembered
from camcore.adapter import (
    Array,
    Bias,
    Channels,
    Layer,
    LayerName,
    LayerRecord,
    LayerTrace,
    Leaves,
    NativeScore,
    Parameters,
    Rectifier,
    SecondOrder,
    Seed,
    Trace,
    check_parameters,
    not_between,
    not_offered,
)
from camcore.layers.layout import shape_of_one
from camcore.nest import flatten, map_leaves

from . import graph as graphs
from . import weights
from .between import Between
from .graph import Graph
from .inputs import Inputs, image_shape
from .models import Model
from .places import find
from .program import Pass, Program, to_numpy
from .resume import Head, Replay, check_runs_once
from .survey import layout, records

T = TypeVar("T")


@dataclass
class Kept:
    """What is kept for as long as a model lives; nothing of it leads to the model."""

    programs: Programs = field(default_factory=Programs)
    found: dict[str, Any] = field(default_factory=dict)
    traces: int = 0


_kept: weakref.WeakKeyDictionary[Any, Kept] = weakref.WeakKeyDictionary()


class JaxAdapter:
    """A model of a library on JAX, or a function, and the verbs that camcore asks for.

    The model is traced once for inputs of each size, and what is compiled is shared by all its
    adapters.

    Parameters
    ----------
    model : object
        The user's model.
    kind : type of Model
        What brings it to JAX.
    """

    takes_images = False
    compiles = True

    def __init__(self, model: Any, kind: type[Model]) -> None:
        self._kept = remembered(_kept, model, Kept())
        self._model = kind(model, self._kept.found)

    @property
    def traces(self) -> int:
        """How often the model was traced, by all its adapters."""
        return self._kept.traces

    @property
    def input_channels(self) -> Channels:
        """As the model's library has them."""
        return self._model.channels

    @property
    def input_shape(self) -> tuple[int | None, ...] | None:
        """What the first convolution takes, of libraries whose convolutions say it."""
        return image_shape(self._model.layers(), self.input_channels)

    def layers(self) -> Sequence[Layer]:
        """List every layer; of Linen and Haiku, those without weights are known once they ran."""
        return list(self._model.layers())

    def survey(self, inputs: Any) -> Sequence[LayerRecord]:
        """Survey the layers that run; nothing is computed.

        A model that does not take a single sample is surveyed on the whole batch.
        """
        given, static, parameters = self._read(inputs)
        try:
            graph = self._graph(given.first, static, parameters)
            return records(graph, self.layers(), self.input_channels)
        except (TypeError, ValueError):
            if given.batch == 1:
                raise
            graph = self._graph(given, static, parameters)
            found = records(graph, self.layers(), self.input_channels)
            return [replace(r, shape=shape_of_one(r.shape, given.batch)) for r in found]

    def run(
        self,
        inputs: Any,
        layers: Sequence[str] = (),
        seeds: Sequence[Seed | NativeScore] = (),
        *,
        logits: bool = True,
        second_order: SecondOrder = False,
        rectifier: Rectifier | None = None,
        optional: Sequence[str] = (),
    ) -> Trace:
        """Run one compiled pass, ask the seeds, and run one compiled pull-back a seed."""
        given, static, parameters = self._read(inputs)
        graph = self._graph(given, static, parameters)
        how = logits, second_order, rectifier

        def make() -> tuple[Program, dict[str, LayerName]]:
            kinds = self._kinds()
            places = {name: find(name, graph, kinds) for name in layers}
            return Program(graph, places, *how), {n: LayerName.among(n, kinds) for n in layers}

        asked = "run", *how, tuple(layers)
        program, names = self._compiled(asked, (given, static, parameters), make)
        done = program([*jax.tree.leaves(parameters), *given.leaves.values()], seeds, optional)
        traced = {name: self._layer(name, parsed, graph, done) for name, parsed in names.items()}
        return Trace(
            {path: to_numpy(leaf) for path, leaf in given.leaves.items()},
            self.input_channels,
            done.outputs,
            program.activation,
            traced,
            tuple(done.scores),
            program.applied,
        )

    @contextmanager
    def resume(self, inputs: Any, layer: str, *, logits: bool = True) -> Iterator[Head]:
        """Run one sample up to `layer`, then as often as asked from there on."""
        yield self._resume(inputs, layer, logits)

    @contextmanager
    def gradients_from(
        self, inputs: Any, layer: str, *, logits: bool = True
    ) -> Iterator[Callable[[Array, Seed], Array]]:
        """Run one sample up to `layer`, then from there on and back again."""
        yield self._resume(inputs, layer, logits).gradients

    @contextmanager
    def gradients_beyond(
        self, inputs: Any, layer: str, later: str, *, logits: bool = True
    ) -> Iterator[Callable[[Array, Seed], Array]]:
        """Run one sample up to `layer`, then from there on and back to a later one."""
        yield self._resume(inputs, layer, logits, later).gradients

    def gradients_between(self, inputs: Any, pulls: Mapping[str, tuple[str, Array]]) -> Leaves:
        """Run one compiled pass, and pull what is given at some layers back to earlier ones."""
        given, static, parameters = self._read(inputs)
        graph = self._graph(given, static, parameters)
        pairs = {name: later for name, (later, _) in pulls.items()}

        def make() -> Between:
            kinds = self._kinds()
            places = {name: find(name, graph, kinds) for name in (*pairs, *pairs.values())}
            return Between(graph, places, pairs)

        asked = "between", *pairs.items()
        between = self._compiled(asked, (given, static, parameters), make)
        cotangents = {name: cotangent for name, (_, cotangent) in pulls.items()}
        found = between([*jax.tree.leaves(parameters), *given.leaves.values()], cotangents)
        kinds = self._kinds()
        return {
            name: array.reshape(array.shape[-4:])
            if LayerName.among(name, kinds).is_attention
            else array
            for name, array in found.items()
        }

    def _resume(self, inputs: Any, layer: str, logits: bool, later: str | None = None) -> Head:
        """Run one sample up to `layer`, with gradients there or at a later one."""
        given, static, parameters = self._read(inputs)
        one = given.first
        graph = self._graph(one, static, parameters)

        def make() -> Replay:
            kinds = self._kinds()
            cut = find(layer, graph, kinds)
            check_runs_once(layer, graph, LayerName.among(layer, kinds))
            if later is None:
                return Replay(layer, graph, cut, logits)
            source = find(later, graph, kinds)
            if source not in graph.after([cut]):
                raise not_between(layer, later)
            attends = LayerName.among(later, kinds).is_attention
            return Replay(layer, graph, cut, logits, source, attends=attends)

        replay = self._compiled(("resume", layer, logits, later), (one, static, parameters), make)
        return replay.start([*jax.tree.leaves(parameters), *one.leaves.values()])

    def classifier(self) -> tuple[Array, Array] | None:
        """Read kernel and bias of the last linear layer or 1x1 convolution."""
        return weights.classifier(self._model.weights() or {})

    def biases(self) -> Sequence[Bias]:
        """List what linear layers, convolutions and normalisations add.

        Raises
        ------
        MethodError
            The model is a function, whose marks do not say which parameters are whose.
        """
        held = self._model.weights()
        if held is None:
            raise not_offered(self, "biases")
        return list(weights.biases(held))

    def parameters(self) -> Parameters:
        """Copy what modules have of their own.

        Raises
        ------
        NotOfferedError
            The model is a function, or of Keras.
        """
        held = self._model.held()
        if held is None:
            raise not_offered(self, "parameters of functions and of Keras models")
        return {name: [to_numpy(array).copy() for array in own] for name, own in held.items()}

    def with_parameters(self, parameters: Parameters) -> Any:
        """Make a model like the user's, with these in place of its modules' own."""
        check_parameters(parameters, self.parameters())
        twin = self._model.holding(parameters)
        # What is compiled takes parameters as arguments, so it serves the copy too.
        kept = remembered(_kept, twin, Kept(self._kept.programs))
        if "seen" in self._kept.found:  # the layers that only a run tells of
            kept.found["seen"] = dict(self._kept.found["seen"])
        return twin

    def _layer(self, name: str, parsed: LayerName, graph: Graph, done: Pass) -> LayerTrace:
        leaves = graph.calls.get(parsed.path, {})
        shapes = {leaf: eqns[-1].outvars[0].aval.shape for leaf, eqns in leaves.items()}

        def of(arrays: Mapping[str, Array]) -> Array:
            array = arrays[name]
            return array.reshape(array.shape[-4:]) if parsed.is_attention else array

        return LayerTrace(
            of(done.activations),
            tuple(map(of, done.pulled)),
            layout(done.activations[name].ndim, self.input_channels),
            tuple(map(of, done.products)),
            max(map(len, leaves.values()), default=1),
            shapes if len(shapes) > 1 else {},
            tangents=done.tangents.get(name, {}),
        )

    def _kinds(self) -> dict[str, str]:
        return {layer.name: layer.kind for layer in self.layers()}

    def _read(self, inputs: Any) -> tuple[Inputs, Hashable, Any]:
        """Prepare the inputs, and take the model apart."""
        static, held = self._model.split()
        parameters = jax.tree.map(lambda a: a if hasattr(a, "dtype") else jnp.asarray(a), held)
        dtypes = (leaf.dtype for leaf in jax.tree.leaves(parameters))
        floating = next((d for d in dtypes if jnp.issubdtype(d, jnp.floating)), jnp.float32)
        return Inputs.read(inputs, floating), static, parameters

    def _graph(self, given: Inputs, static: Hashable, parameters: Any) -> Graph:
        """Trace the model for inputs of this size, or take the trace made before."""
        leaves, tree = jax.tree.flatten(parameters)
        arrays = [*leaves, *given.leaves.values()]

        def trace() -> Graph:
            self._kept.traces += 1
            shown: list[Any] = []

            def whole(*arrays: Any) -> list[Any]:
                held = jax.tree.unflatten(tree, arrays[: len(leaves)])
                made = self._model.call(static, held, given.nest(arrays[len(leaves) :]))
                ends = {p: leaf for p, leaf in flatten(made) if hasattr(leaf, "dtype")}
                places = {path: i for i, path in enumerate(ends)}
                shown[:] = ends, map_leaves(made, lambda path, _: places.get(path))
                return list(ends.values())

            closed = jax.make_jaxpr(whole)(
                *(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arrays)
            )
            paths, skeleton = shown
            return Graph(graphs.flatten(closed), tuple(given.leaves), tuple(paths), skeleton)

        return self._compiled("trace", (given, static, parameters), trace)

    def _compiled(
        self, verb: Hashable, about: tuple[Inputs, Hashable, Any], make: Callable[[], T]
    ) -> T:
        """Make what a verb asks for, or take what was made before for the same sizes."""
        given, static, parameters = about
        held = tuple((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(parameters))
        dtypes = tuple(leaf.dtype for leaf in given.leaves.values())
        shapes = tuple(leaf.shape for leaf in given.leaves.values())
        ranks = tuple(map(len, shapes))
        question = verb, static, held, repr(given.skeleton), dtypes, ranks

        def attempt(sizes: Shapes, opening: Opening | None) -> T | None:
            return make() if opening is None else None  # JAX traces for sizes that it knows

        made: T = self._kept.programs.fetch(question, shapes, attempt)
        return made
