"""Writing the pull-back of a file, from its outputs to its layers, by the rules."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import NodeProto

from camcore.adapter import Array, Leaves, Rectifier
from camcore.errors import GradientError

from .graph import Graph, reads
from .rules import RULES, STOPS
from .sessions import Runtime
from .sizes import Sizes
from .tape import Operation, Tape, Value

_RESHAPES = {"Flatten", "Reshape", "Squeeze", "Unsqueeze"}


@dataclass(frozen=True)
class Question:
    """What gradients are asked for.

    Parameters
    ----------
    ends : mapping of str to str
        The tensors that scores are read from, by the path of the output.
    layers : sequence of str
        The tensors that gradients are taken at.
    samples, repeats : int
        How many samples there are, and how many cotangents of each are pulled back at once.
    rectifier : {"guided", "deconvolution"} or None
        The rule for pulling back through rectifiers.
    """

    ends: Mapping[str, str]
    layers: Sequence[str]
    samples: int
    repeats: int
    rectifier: Rectifier | None


class PullBack:
    """A session that pulls cotangents of the outputs back to layers.

    Parameters
    ----------
    graph, sizes, question
        What is pulled back, and where to.
    runtime : Runtime
        Where it is run.

    Attributes
    ----------
    saved : list of str
        Tensors of the forward pass that it reads.
    places : mapping of str to str
        Names for where maxima are taken from, by the output of each max pooling.
    reached : mapping of str to set of str
        The outputs that depend on each layer.
    refused : mapping of str to GradientError
        Outputs that cannot be pulled back, and why.
    """

    def __init__(self, graph: Graph, sizes: Sizes, question: Question, runtime: Runtime) -> None:
        self._graph, self._sizes, self._question = graph, sizes, question
        floating = {t for t, dtype in sizes.dtypes.items() if is_floating(dtype)}
        self._between = graph.after(question.layers, (floating | graph.quantised) - _stopped(graph))
        ends = {p: t for p, t in question.ends.items() if t in self._between}
        self.refused = {} if self._tried(ends) is None else self._each_tried(ends)
        ends = {p: t for p, t in ends.items() if p not in self.refused}
        model = self._write(ends)
        above = {path: graph.before([tensor]) & self._between for path, tensor in ends.items()}
        self.reached = {t: {p for p in above if t in above[p]} for t in question.layers}
        self._session = runtime.session(model) if ends else None

    @property
    def saved(self) -> list[str]:
        """List what of the forward pass it reads."""
        return [one.name for one in self._tape.inputs if not one.name.startswith("@of:")]

    @property
    def places(self) -> Mapping[str, str]:
        """Names for where maxima were taken from."""
        return self._tape.places

    @property
    def repeatable(self) -> bool:
        """Tell whether several cotangents of a sample may stand one behind the other.

        All that is on the way has its samples one behind the other along one axis, and every
        node keeps what is before them and how many rows each has.
        """
        sizes, graph = self._sizes, self._graph
        read = [one for one in self.saved if one not in self.places.values()]
        on_way = {t for node in self._used for t in (*node.input, *node.output)}
        on_way = {t for t in on_way & self._between if t in sizes.few}
        along = all(sizes.doubled(t) is not None for t in [*on_way, *read])
        return (
            sizes.grows
            and along
            and graph.data.issuperset(read)
            and all(map(self._keeps_samples, self._used))
        )

    def _keeps_samples(self, node: NodeProto) -> bool:
        sizes, found = self._sizes, set()
        for tensor in (*node.input, *node.output):
            axis = sizes.doubled(tensor) if tensor in sizes.few else None
            if axis is not None:
                shape = sizes.few[tensor]
                before = math.prod(shape[:axis])
                found.add(before if node.op_type in _RESHAPES else shape[axis])
        return len(found) < 2

    def __call__(self, cotangents: Leaves, kept: Mapping[str, Any]) -> dict[str, Array]:
        """Pull back cotangents, and give the gradient at each layer's tensor.

        Parameters
        ----------
        cotangents : mapping of str to array
            By the path of the output; for every one that depends on a layer.
        kept : mapping of str to OrtValue
            What the forward pass left of `saved`.
        """
        tape, question = self._tape, self._question
        found: dict[str, Array] = {}
        if self._session is not None:
            feed = {name: kept[name] for name in self.saved}
            for path, tensor in self._ends.items():
                array = np.ascontiguousarray(cotangents[path], tape.dtype)
                array = array.reshape(tape.shape(tensor))
                feed[f"@of:{path}"] = onnxruntime.OrtValue.ortvalue_from_numpy(array)
            values = self._session(feed).values()
            found = {t: v.numpy() for t, v in zip(self._layers, values, strict=True)}
        zeros = {t: np.zeros(tape.shape(t), tape.dtype) for t in question.layers if t not in found}
        return found | zeros

    def several(
        self, cotangents: Sequence[Leaves], kept: Mapping[str, Any]
    ) -> list[dict[str, Array]]:
        """Pull back the cotangents of as many seeds as it repeats samples, all at once."""
        joined = {
            path: np.concatenate(
                [self._shaped(one[path], tensor) for one in cotangents], self._sizes.doubled(tensor)
            )
            for path, tensor in self._ends.items()
        }
        parts = {
            tensor: np.split(array, len(cotangents), self._sizes.doubled(tensor) or 0)
            for tensor, array in self(joined, kept).items()
        }
        return [{t: each[k] for t, each in parts.items()} for k in range(len(cotangents))]

    def _shaped(self, cotangent: Array, tensor: str) -> Array:
        """Give an output's cotangent the shape that the output has before its activation."""
        return cotangent.reshape(self._sizes.shape(tensor, self._question.samples))

    def _tried(self, ends: Mapping[str, str]) -> GradientError | None:
        """Write the pull-back from some of the outputs, and say why not where that fails."""
        try:
            self._write(ends)
        except GradientError as error:
            return error
        return None

    def _each_tried(self, ends: Mapping[str, str]) -> dict[str, GradientError]:
        tried = {path: self._tried({path: tensor}) for path, tensor in ends.items()}
        return {path: error for path, error in tried.items() if error is not None}

    def _write(self, ends: Mapping[str, str]) -> onnx.ModelProto:
        """Write the pull-back from some of the outputs."""
        graph, question = self._graph, self._question
        double = any(
            self._sizes.dtypes[t] == np.float64 for t in [*ends.values(), *question.layers]
        )
        args = graph, self._sizes, question.samples, question.repeats
        self._tape = tape = Tape(*args, double=double)
        self._ends = ends
        self._used: list[NodeProto] = []
        waiting: dict[str, list[Value]] = defaultdict(list)
        for path, tensor in ends.items():
            waiting[tensor].append(tape.cotangent(tensor, f"@of:{path}"))
        for node in reversed(graph.nodes):
            for k, tensor in enumerate(node.output):
                if tensor in waiting and not self._between.isdisjoint(reads(node)):
                    self._through(node, k, _added(waiting, tensor), waiting)
        self._layers = list(dict.fromkeys(t for t in question.layers if t in waiting))
        return tape.model([tape("Identity", _added(waiting, t)) for t in self._layers])

    def _through(
        self, node: NodeProto, k: int, cotangent: Value, waiting: dict[str, list[Value]]
    ) -> None:
        """Pull a cotangent back through one node."""
        self._used.append(node)
        if node.op_type not in RULES or node.domain not in ("", "ai.onnx"):
            raise _no_gradient(node)
        graph, op = self._graph, Operation(self._tape, node, k)
        if free := graph.unsized.intersection((*node.input, *node.output)):
            makers = [n for n in graph.nodes if graph.unsized.intersection(n.output)]
            first = next(n for n in makers if free & graph.after(n.output))
            raise _no_gradient(first, "the shape of what it returns depends on the inputs' values")
        try:
            rule = self._question.rectifier if is_rectifier(op) else None
            if rule is not None:
                cotangent = self._tape("Relu", cotangent)
            for i, tensor in enumerate(node.input):
                if tensor in self._between:
                    whole = rule == "deconvolution" and i == 0
                    pulled = cotangent if whole else RULES[node.op_type](op, cotangent, i)
                    waiting[tensor].append(pulled)
        except GradientError as error:
            raise _no_gradient(node, str(error)) from error


def _no_gradient(node: NodeProto, why: str = "") -> GradientError:
    """Make the error for a node that cotangents cannot be pulled back through."""
    return GradientError(
        f"Operator {node.op_type} ({node.name or node.output[0]}) has no gradient here"
        f"{': ' if why else ''}{why}. Choose a method that needs none (method='eigencam', "
        f"'scorecam' or 'ablationcam'){'' if why else ', or a layer behind it'}."
    )


def is_rectifier(op: Operation) -> bool:
    """Tell whether a node is a ReLU, or cuts off below zero as ReLU6 does."""
    if op.kind == "Clip":
        lower = op.known(1, "min")
        return lower is not None and float(lower) == 0
    return op.kind == "Relu"


def is_floating(dtype: np.dtype[Any]) -> bool:
    """Tell whether numbers are floating, bfloat16 included."""
    return dtype.kind == "f" or dtype.name == "bfloat16"


def _stopped(graph: Graph) -> set[str]:
    """List the tensors that have no slope anywhere."""
    return {name for node in graph.nodes if node.op_type in STOPS for name in node.output}


def _added(waiting: dict[str, list[Value]], tensor: str) -> Value:
    """Add up the cotangents that came to a tensor, once."""
    several = waiting[tensor]
    if len(several) > 1:
        waiting[tensor] = [several[0].tape("Sum", *several)]
    return waiting[tensor][0]
