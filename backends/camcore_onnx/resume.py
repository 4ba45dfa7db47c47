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
from .forward import Program, Request, shown
from .graph import Graph, reads
from .inputs import Given
from .logits import End
from .model import Model
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
    shapes = given.shapes(1)

    def suffix(from_inputs: bool) -> Suffix:
        question = "resume", tensor, logits, from_inputs
        how = {"logits": logits, "from_inputs": from_inputs}
        return model.fetch(question, shapes, lambda: Suffix(model, sizes, tensor, **how))

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
    logits : bool
        Whether outputs are taken before their final activation.
    from_inputs : bool
        Whether what the layer has no part in is computed anew for every alteration.
    """

    def __init__(
        self, model: Model, sizes: Sizes, cut: str, *, logits: bool, from_inputs: bool
    ) -> None:
        self.sizes, self.cut = sizes, cut
        ends = Program(model, sizes, Request({}, logits), sizes.samples).ends
        self._ends: Mapping[str, End] = ends
        scores = [end.tensor for end in ends.values()]
        self._nodes, self.beside = _parts(model.graph, cut, scores, from_inputs)
        wanted = Request({tensor: tensor for tensor in [cut, *self.beside]}, logits)
        self.before = Program(model, sizes, wanted, sizes.samples)
        made = [tensor for tensor in dict.fromkeys(scores) if tensor not in wanted.layers]
        self._session = model.runtime.session(self._written(model.graph, made)) if made else None

    def __call__(self, altered: Array, times: int, beside: Feed) -> dict[str, Array]:
        """Give the outputs for so many alterations of one sample."""
        given = {self.cut: altered, **{t: self._repeated(t, a, times) for t, a in beside.items()}}
        if self._session is not None:
            given |= self._session({name: np.ascontiguousarray(a) for name, a in given.items()})
        return shown(self._ends, given, self.sizes, times)

    def _repeated(self, tensor: str, array: Array, times: int) -> Array:
        axis = self.sizes.axis(tensor)
        repeats = axis is not None and self.sizes.grows
        return np.concatenate([array] * times, axis or 0) if repeats else array

    def _written(self, graph: Graph, made: Sequence[str]) -> onnx.ModelProto:
        sizes, kind = self.sizes, helper.np_dtype_to_tensor_dtype
        read = {name for node in self._nodes for name in reads(node)}
        given = [
            helper.make_tensor_value_info(t, kind(sizes.dtypes[t]), [None] * len(sizes.few[t]))
            for t in dict.fromkeys([self.cut, *self.beside])
        ]
        constants = [graph.initializers[name] for name in sorted(read & graph.initializers.keys())]
        outputs = [ValueInfoProto(name=name) for name in made]
        after = helper.make_graph(self._nodes, "after", given, outputs, constants)
        opsets, version = graph.proto.opset_import, graph.proto.ir_version
        return helper.make_model(after, opset_imports=opsets, ir_version=version)


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
        axis, sizes = self._axis, self._suffix.sizes
        rows = self._own.shape[axis]
        times, rest = divmod(np.shape(activations)[axis], rows)
        fits = [*self._own.shape]
        fits[axis] *= times
        if rest or not times or list(np.shape(activations)) != fits:
            raise InputError(
                f"Layer {self._layer!r} returns {self._own.shape} for one sample; activations of "
                f"shape {np.shape(activations)} cannot stand in for it."
            )
        altered = np.asarray(activations, self._own.dtype)
        if sizes.grows:
            return self._suffix(altered, times, self._beside)
        found: dict[str, list[Array]] = {}
        for start in range(0, times, sizes.samples):
            # What is left over is altered with the last one again, to fill the batch.
            taken = np.minimum(np.arange(start, start + sizes.samples), times - 1)
            places = (taken[:, None] * rows + np.arange(rows)).ravel()
            leaves = self._suffix(altered.take(places, axis), sizes.samples, self._beside)
            for path, leaf in leaves.items():
                found.setdefault(path, []).append(leaf[: times - start] if leaf.ndim else leaf)
        return {p: np.concatenate(a) if a[0].ndim else a[0] for p, a in found.items()}

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
