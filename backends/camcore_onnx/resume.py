"""Running a file from a layer on, as a file of its own.

What does not come after the layer but is used by what does is computed once, for one sample,
and repeated.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import NodeProto, ValueInfoProto, helper

from camcore.adapter import (
    Array,
    LayerName,
    Leaves,
    Outputs,
    Seed,
    check_cotangents,
    not_between,
    replays,
    unreached,
)
from camcore.errors import InputError, LayerError

from . import inputs as inputs_of
from .backward import PullBack, Question, is_floating
from .forward import CUTS, Program, Request, shown
from .graph import Graph, reads
from .inputs import Given
from .logits import End
from .model import Model
from .sizes import Feed, Sizes


def head(
    model: Model, inputs: Any, layer: str, *, logits: bool, later: str | None = None
) -> Replay:
    """Run one sample, and return what runs it from a layer on.

    Gradients are those there, or at what a later one returns.

    Raises
    ------
    LayerError
        There is no such layer, or going on from it does not give the file's outputs.
    GradientError
        The later one is not made of it.
    InputError
        There is more than one sample.
    """
    given = inputs_of.prepare(model.graph, inputs)
    if given.samples != 1:
        raise InputError(
            f"Resuming takes one sample; the input holds {given.samples}. Give inputs[i : i + 1]."
        )
    parsed = LayerName.among(layer, model.layers)
    if parsed.is_input or parsed.is_attention:
        raise LayerError(f"A model goes on from what a layer returns, not from {layer!r}.")
    tensor, sizes = model.tensor(layer, given), model.sizes(given)
    source = tensor if later is None else model.tensor(later, given)
    if later is not None and source not in {tensor, *model.graph.after([tensor])}:
        raise not_between(layer, later)
    shapes = given.shapes(1)

    def suffix(from_inputs: bool) -> Suffix:
        question = "resume", tensor, source, logits, from_inputs
        how = {"logits": logits, "from_inputs": from_inputs}
        return model.fetch(question, shapes, lambda: Suffix(model, sizes, tensor, source, **how))

    causes = []
    # What lies beside may not repeat with the samples: then it is computed anew, from the inputs.
    for from_inputs in (False, True):
        try:
            found = Replay(suffix(from_inputs), given, layer)
            if found.is_faithful():
                return found
        except Exception as error:  # shapes that do not fit together: ONNX Runtime raises any
            causes.append(error)
    raise LayerError(
        f"Running the model from layer {layer!r} on does not reproduce its outputs: it mixes the "
        "samples of a batch, or has a number of them written into it. Choose a later layer."
    ) from next(iter(causes), None)


class Suffix:
    """What comes after a layer, as a file of its own.

    Parameters
    ----------
    model : Model
        The file.
    sizes : Sizes
        Of its tensors.
    cut : str
        What the layer returns.
    source : str
        What gradients are taken at: that, or what is made of it.
    logits : bool
        Whether outputs are taken before their final activation.
    from_inputs : bool
        Whether what the layer has no part in is computed anew for every alteration.
    """

    def __init__(
        self,
        model: Model,
        sizes: Sizes,
        cut: str,
        source: str,
        *,
        logits: bool,
        from_inputs: bool,
    ) -> None:
        self.sizes, self.cut, self.source, self.graph = sizes, cut, source, model.graph
        ends = Program(model, sizes, Request({}, logits), sizes.samples).ends
        self.ends: Mapping[str, End] = ends
        scores = [end.tensor for end in ends.values()]
        self._nodes, self.beside = _parts(model.graph, cut, scores, from_inputs)
        wanted = Request({tensor: tensor for tensor in [cut, *self.beside]}, logits)
        self.before = Program(model, sizes, wanted, sizes.samples)
        made = [tensor for tensor in dict.fromkeys(scores) if tensor not in wanted.layers]
        self.runtime = model.runtime
        self._session = self.runtime.session(self.written(made)) if made else None
        self.back = functools.lru_cache(maxsize=4)(self._pull_back)

    def __call__(self, altered: Array, times: int, beside: Feed) -> dict[str, Array]:
        """Give the outputs for so many alterations of one sample."""
        given = self.given(altered, times, beside)
        if self._session is not None:
            given |= self._session(given)
        return shown(self.ends, given, self.sizes, times)

    def given(self, altered: Array, times: int, beside: Feed) -> dict[str, Array]:
        """List what it takes of so many alterations, by the tensors' names."""
        every = {t: self._repeated(t, a, times) for t, a in beside.items()}
        return {t: np.ascontiguousarray(a) for t, a in {self.cut: altered, **every}.items()}

    def _pull_back(self, times: int) -> Back:
        return Back(self, times)

    def _repeated(self, tensor: str, array: Array, times: int) -> Array:
        axis = self.sizes.axis(tensor)
        repeats = axis is not None and self.sizes.grows
        return np.concatenate([array] * times, axis or 0) if repeats else array

    def written(
        self, made: Sequence[str], places: Mapping[str, str] | None = None
    ) -> onnx.ModelProto:
        """Write it as a file that returns these tensors, and the places of maxima; see `Graph`."""
        graph, sizes, kind = self.graph, self.sizes, helper.np_dtype_to_tensor_dtype
        read = {name for node in self._nodes for name in reads(node)}
        given = [
            helper.make_tensor_value_info(t, kind(sizes.dtypes[t]), [None] * len(sizes.few[t]))
            for t in dict.fromkeys([self.cut, *self.beside])
        ]
        constants = [graph.initializers[name] for name in sorted(read & graph.initializers.keys())]
        outputs = [ValueInfoProto(name=name) for name in made]
        after = helper.make_graph(self._nodes, "after", given, outputs, constants)
        for node in after.node:
            if node.output and (name := (places or {}).get(node.output[0])):
                node.output[:] = [node.output[0], name]
        opsets, version = graph.proto.opset_import, graph.proto.ir_version
        return helper.make_model(after, opset_imports=opsets, ir_version=version)


class Back:
    """What comes after a layer and back again, for a number of samples.

    Parameters
    ----------
    suffix : Suffix
        What comes after the layer.
    samples : int
        How many alterations there are.
    """

    def __init__(self, suffix: Suffix, samples: int) -> None:
        self._suffix, self._samples = suffix, samples
        dtypes = suffix.sizes.dtypes
        self._scores = {
            p: e.tensor for p, e in suffix.ends.items() if is_floating(dtypes[e.tensor])
        }
        question = Question(self._scores, [suffix.source], samples, 1, rectifier=None)
        self._back = PullBack(suffix.graph, suffix.sizes, question, suffix.runtime)
        wanted = [*(end.tensor for end in suffix.ends.values()), *self._back.saved]
        given = {suffix.cut, *suffix.beside}
        made = [tensor for tensor in dict.fromkeys(wanted) if tensor not in given]
        file = suffix.written(made, self._back.places)
        self._session = suffix.runtime.session(file) if made else None

    def __call__(self, altered: Array, beside: Feed, seed: Seed, asked: int, layer: str) -> Array:
        """Pull a seed's cotangents back to the first of the alterations, as many as are asked.

        Raises
        ------
        GradientError
            The score does not depend on the layer, or an operator between has no gradient.
        """
        suffix, back = self._suffix, self._back
        before, samples = suffix.before, self._samples
        arrays = suffix.given(altered, samples, beside)
        kept = {n: onnxruntime.OrtValue.ortvalue_from_numpy(a) for n, a in arrays.items()}
        if self._session is not None:
            kept |= self._session(kept)
        ends = {end.tensor: kept[end.tensor].numpy() for end in suffix.ends.values()}
        whole = shown(suffix.ends, ends, suffix.sizes, samples)
        leaves = {p: leaf[:asked] if leaf.ndim else leaf for p, leaf in whole.items()}
        cotangents = seed(Outputs(leaves, before.activation, before.applied))
        check_cotangents(cotangents, leaves)
        for path in cotangents:
            if path in back.refused:
                raise back.refused[path]
        if back.reached[suffix.source].isdisjoint(cotangents):
            raise unreached(layer, before.activation, *CUTS)
        weights = {path: np.zeros_like(whole[path]) for path in self._scores}
        for path, cotangent in cotangents.items():
            weights[path][: len(leaves[path])] = cotangent
        return back(weights, kept)[suffix.source]


class Replay:
    """One sample, gone on with from a layer as often as asked.

    Parameters
    ----------
    suffix : Suffix
        What comes after the layer.
    given : Given
        The sample.
    layer : str
        The layer's name.
    """

    def __init__(self, suffix: Suffix, given: Given, layer: str) -> None:
        self._suffix, self._layer = suffix, layer
        sizes = suffix.sizes
        kept = suffix.before.forward(given.rows(0, 1, sizes.samples))
        self._beside = {tensor: kept[tensor].numpy() for tensor in suffix.beside}
        self._plain = suffix.before.outputs(kept)
        own, axis = kept[suffix.cut].numpy(), sizes.axis(suffix.cut)
        self._axis = axis or 0
        self._own = (
            own.take(range(own.shape[axis] // sizes.samples), axis) if axis is not None else own
        )

    def __call__(self, activations: Array) -> Leaves:
        """Give the outputs for altered activations, as many at once as the file takes."""
        altered, times = self._altered(activations)
        if self._suffix.sizes.grows:
            return self._suffix(altered, times, self._beside)
        found: dict[str, list[Array]] = {}
        for part, asked in self._parts(altered, times):
            leaves = self._suffix(part, self._suffix.sizes.samples, self._beside)
            for path, leaf in leaves.items():
                found.setdefault(path, []).append(leaf[:asked] if leaf.ndim else leaf)
        return {p: np.concatenate(a) if a[0].ndim else a[0] for p, a in found.items()}

    def gradients(self, activations: Array, seed: Seed) -> Array:
        """Pull a seed's cotangents of those outputs back to the altered activations.

        Or to what a later layer makes of them, where that was asked for.
        """
        altered, times = self._altered(activations)
        suffix = self._suffix
        if suffix.sizes.grows:
            return suffix.back(times)(altered, self._beside, seed, times, self._layer)
        back = suffix.back(suffix.sizes.samples)
        axis = suffix.sizes.axis(suffix.source) or 0
        found = []
        for part, asked in self._parts(altered, times):
            gradients = back(part, self._beside, seed, asked, self._layer)
            rows = gradients.shape[axis] // suffix.sizes.samples
            found.append(gradients.take(range(asked * rows), axis))
        return np.concatenate(found, axis)

    def _altered(self, activations: Array) -> tuple[Array, int]:
        """Read altered activations, and count them.

        Raises
        ------
        InputError
            The layer returns another shape.
        """
        axis = self._axis
        rows = self._own.shape[axis]
        times, rest = divmod(np.shape(activations)[axis], rows)
        fits = [*self._own.shape]
        fits[axis] *= times
        if rest or not times or list(np.shape(activations)) != fits:
            raise InputError(
                f"Layer {self._layer!r} returns {self._own.shape} for one sample; activations of "
                f"shape {np.shape(activations)} cannot stand in for it."
            )
        return np.asarray(activations, self._own.dtype), times

    def _parts(self, altered: Array, times: int) -> Iterator[tuple[Array, int]]:
        """Yield as many at a time as the file takes, and how many of them are new."""
        samples, rows = self._suffix.sizes.samples, self._own.shape[self._axis]
        for start in range(0, times, samples):
            # What is left over is altered with the last one again, to fill the batch.
            taken = np.minimum(np.arange(start, start + samples), times - 1)
            places = (taken[:, None] * rows + np.arange(rows)).ravel()
            yield altered.take(places, self._axis), min(samples, times - start)

    def is_faithful(self) -> bool:
        """Tell whether the sample's own activations, twice over, give its outputs twice over."""
        plain = {path: leaf[:1] if leaf.ndim else leaf for path, leaf in self._plain.items()}
        twice = np.concatenate([self._own] * 2, self._axis)
        return replays(self(twice), plain, float(np.finfo(self._own.dtype).eps))


def _parts(
    graph: Graph, cut: str, scores: Sequence[str], from_inputs: bool
) -> tuple[list[NodeProto], list[str]]:
    """List the nodes that make the scores after a cut, and the tensors beside it that they use."""
    behind = graph.after([cut])
    kept: dict[int, NodeProto] = {}
    beside: dict[str, None] = {}
    waiting = [score for score in scores if score != cut]
    while waiting:
        tensor = waiting.pop()
        node = graph.maker.get(tensor)
        is_beside = tensor in graph.data and tensor not in behind
        if tensor in graph.inputs or (is_beside and not from_inputs):
            beside[tensor] = None
        elif node is not None and id(node) not in kept:
            kept[id(node)] = node
            waiting += [name for name in reads(node) if name and name != cut]
    return [node for node in graph.nodes if id(node) in kept], list(beside)
