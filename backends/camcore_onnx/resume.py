"""Running a file from a layer on, as a file of its own.

What does not come after the layer but is used by what does is computed once, for one sample,
and repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, ValueInfoProto, helper

from camcore.adapter import Array, LayerName, Leaves, replays
from camcore.errors import InputError, LayerError

from . import inputs as inputs_of
from .ends import End
from .graph import Graph, reads
from .inputs import Given
from .model import Model
from .passes import Program, Request
from .sizes import Feed, Sizes

Head = Callable[[Array], Leaves]


def head(model: Model, inputs: Any, layer: str, *, logits: bool) -> Head:
    """Run one sample, and return what runs it from a layer on.

    Raises
    ------
    LayerError
        There is no such layer, or going on from it does not give the file's outputs.
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

    def make() -> Replay:
        return Replay(model, sizes, tensor, layer, logits=logits)

    replay: Replay = model.fetch(("resume", tensor, logits), given.shapes(1), make)
    return replay.start(given)


class Replay:
    """A file in two parts, before and after a layer.

    Parameters
    ----------
    model : Model
        The file.
    sizes : Sizes
        Of its tensors.
    cut : str
        What the layer returns.
    name : str
        What it was asked by.
    logits : bool
        Whether outputs are taken before their final activation.
    """

    def __init__(self, model: Model, sizes: Sizes, cut: str, name: str, *, logits: bool) -> None:
        self._sizes, self._cut, self._name = sizes, cut, name
        whole = Program(model, sizes, Request({}, logits), sizes.samples)
        self._ends: Mapping[str, End] = whole.ends
        scores = [end.tensor for end in self._ends.values()]
        self._nodes, self._beside = _parts(model.graph, cut, scores)
        self._before = Program(
            model, sizes, Request({t: t for t in [cut, *self._beside]}, logits), sizes.samples
        )
        self._scores = [t for t in dict.fromkeys(scores) if t not in (cut, *self._beside)]
        self._session = model.runtime.session(self._suffix(model.graph)) if self._scores else None

    def start(self, given: Given) -> Head:
        """Run one sample, and return what runs it from the layer on.

        Raises
        ------
        LayerError
            Going on from what the layer returned does not give the file's outputs.
        """
        sizes = self._sizes
        kept = self._before.forward(given.rows(0, 1, sizes.samples))
        beside = {t: kept[t].numpy() for t in self._beside}
        own, plain = kept[self._cut].numpy(), self._before.outputs(kept)
        plain = {path: leaf[:1] if leaf.ndim else leaf for path, leaf in plain.items()}
        axis = sizes.axis(self._cut)
        one = own if axis is None else own.take(range(own.shape[axis] // sizes.samples), axis)

        def run(activations: Array) -> Leaves:
            batch = axis or 0
            times, rest = divmod(np.shape(activations)[batch], one.shape[batch])
            fits = [*one.shape]
            fits[batch] *= times
            if rest or not times or list(np.shape(activations)) != fits:
                raise InputError(
                    f"Layer {self._name!r} returns {one.shape} for one sample; activations of "
                    f"shape {np.shape(activations)} cannot stand in for it."
                )
            return self._run(np.asarray(activations, own.dtype), times, batch, beside)

        try:
            faithful = replays(
                run(np.concatenate([one, one], axis or 0)), plain, float(np.finfo(own.dtype).eps)
            )
            cause = None
        except Exception as error:  # shapes that do not fit together: ONNX Runtime raises any
            faithful, cause = False, error
        if not faithful:
            raise LayerError(
                f"Running the model from layer {self._name!r} on does not reproduce its outputs: "
                "it mixes the samples of a batch, or has a number of them written into it. Choose "
                "a later layer."
            ) from cause
        return run

    def _run(self, altered: Array, times: int, axis: int, beside: Feed) -> Leaves:
        """Run alterations, as many at once as the file takes."""
        sizes = self._sizes
        at_once = times if sizes.grows else sizes.samples
        rows = altered.shape[axis] // times
        found: dict[str, list[Array]] = {path: [] for path in self._ends}
        for start in range(0, times, at_once):
            part = altered.take(range(start * rows, min(start + at_once, times) * rows), axis)
            count = part.shape[axis] // rows
            if count < at_once:
                part = np.concatenate(
                    [part] + [part.take(range(rows), axis)] * (at_once - count), axis
                )
            for path, leaf in self._outputs(part, at_once, beside).items():
                found[path].append(leaf[:count] if leaf.ndim and not sizes.grows else leaf)
        return {
            path: np.concatenate(leaves) if leaves[0].ndim else leaves[0]
            for path, leaves in found.items()
        }

    def _outputs(self, altered: Array, times: int, beside: Feed) -> Leaves:
        sizes = self._sizes
        given = {self._cut: altered, **{t: self._repeated(t, a, times) for t, a in beside.items()}}
        if self._session is not None:
            taken = {one.name for one in self._session.get_inputs()}
            feed = {name: np.ascontiguousarray(a) for name, a in given.items() if name in taken}
            found = self._session.run(self._scores, feed)
            given |= dict(zip(self._scores, found, strict=True))
        leaves = {}
        for path, end in self._ends.items():
            array = given[end.tensor]
            array = array.astype(np.float32) if array.dtype == np.float16 else array
            leaves[path] = array.reshape(sizes.shape(end.output, times)) if sizes.grows else array
        return leaves

    def _repeated(self, tensor: str, array: Array, times: int) -> Array:
        axis = self._sizes.axis(tensor)
        if axis is None or not self._sizes.grows:
            return array
        return np.concatenate([array] * times, axis)

    def _suffix(self, graph: Graph) -> onnx.ModelProto:
        """Write what comes after the layer as a file of its own."""
        read = {name for node in self._nodes for name in reads(node)}
        kind = helper.np_dtype_to_tensor_dtype
        sizes = self._sizes
        given = [
            helper.make_tensor_value_info(t, kind(sizes.dtypes[t]), [None] * len(sizes.few[t]))
            for t in dict.fromkeys([self._cut, *self._beside])
        ]
        constants = [graph.initializers[name] for name in sorted(read & graph.initializers.keys())]
        outputs = [ValueInfoProto(name=name) for name in self._scores]
        made = helper.make_graph(self._nodes, "after", given, outputs, constants)
        return helper.make_model(
            made, opset_imports=graph.proto.opset_import, ir_version=graph.proto.ir_version
        )


def _parts(graph: Graph, cut: str, scores: Sequence[str]) -> tuple[list[NodeProto], list[str]]:
    """List the nodes that make the scores after a cut, and the tensors beside it that they use."""
    behind = graph.after([cut])
    kept: dict[int, NodeProto] = {}
    beside: dict[str, None] = {}
    waiting = [score for score in scores if score != cut]
    while waiting:
        tensor = waiting.pop()
        node = graph.maker.get(tensor)
        if tensor in graph.data and tensor not in behind:
            beside[tensor] = None
        elif node is not None and id(node) not in kept:
            kept[id(node)] = node
            waiting += [name for name in reads(node) if name and name != cut]
    return [node for node in graph.nodes if id(node) in kept], list(beside)
