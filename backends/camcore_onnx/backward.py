"""Writing the pull-back of a file, from its outputs to its layers, by the rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto

from camcore.adapter import Array
from camcore.errors import GradientError

from .graph import Graph, reads
from .rules import RULES, STOPS
from .sessions import Runtime
from .sizes import Sizes
from .tape import Operation, Tape, Value

_OTHERWISE = (
    "Choose a method that needs no gradients (method='eigencam', 'scorecam' or 'ablationcam'), or "
    "a layer behind it."
)


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
    guided : bool
        Whether rectifiers let only positive gradients past.
    """

    ends: Mapping[str, str]
    layers: Sequence[str]
    samples: int
    repeats: int
    guided: bool


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
        self._between = graph.after(question.layers, floating - _stopped(graph))
        self.refused: dict[str, GradientError] = {}
        ends = {p: t for p, t in question.ends.items() if t in self._between}
        try:
            model = self._write(ends)
        except GradientError:
            for path, tensor in ends.items():
                try:
                    self._write({path: tensor})
                except GradientError as error:
                    self.refused[path] = error
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

        All that is on the way has its samples along the first axis, and no node but those
        that only reshape puts more or fewer rows of a sample there.
        """
        sizes, graph = self._sizes, self._graph
        read = [one for one in self.saved if one not in self.places.values()]
        on_way = {t for node in self._used for t in (*node.input, *node.output)}
        on_way = {t for t in on_way & self._between if t in sizes.few}
        varies = all(sizes.leads(t) for t in [*on_way, *read]) and graph.data.issuperset(read)
        return varies and sizes.grows and all(map(self._keeps_rows, self._used))

    def _keeps_rows(self, node: NodeProto) -> bool:
        if node.op_type in ("Flatten", "Reshape", "Squeeze", "Unsqueeze"):
            return True
        sizes = self._sizes
        of_samples = [t for t in (*node.input, *node.output) if t in sizes.few and sizes.leads(t)]
        return len({sizes.few[tensor][0] for tensor in of_samples}) < 2

    def __call__(self, cotangents: Mapping[str, Array], kept: Mapping[str, Any]) -> list[Array]:
        """Pull back cotangents, by the output's path, and list the gradients layer by layer.

        Parameters
        ----------
        cotangents : mapping of str to array
            For every output that depends on a layer.
        kept : mapping of str to OrtValue
            What the forward pass left of `saved`.
        """
        import onnxruntime

        question, sizes = self._question, self._sizes
        found: dict[str, Array] = {}
        if self._session is not None:
            tape = self._tape
            feed = {name: kept[name] for name in self.saved}
            for path in self._ends:
                array = np.ascontiguousarray(cotangents[path], tape.dtype)
                array = array.reshape(tape.shape(self._ends[path]))
                feed[f"@of:{path}"] = onnxruntime.OrtValue.ortvalue_from_numpy(array)
            values = self._session.run_with_ort_values(None, feed)
            found = {t: v.numpy() for t, v in zip(self._layers, values, strict=True)}
        rows = question.samples * question.repeats
        return [
            found[t] if t in found else np.zeros(sizes.shape(t, rows), np.float32)
            for t in question.layers
        ]

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
        label = f"{node.op_type} ({node.name or node.output[0]})"
        if node.op_type not in RULES or node.domain not in ("", "ai.onnx"):
            raise GradientError(f"Operator {label} has no gradient here. {_OTHERWISE}")
        op = Operation(self._tape, node, k)
        try:
            if self._question.guided and is_rectifier(op):
                cotangent = self._tape("Relu", cotangent)
            if self._graph.unsized.intersection((*node.input, *node.output)):
                raise op.refuse("shapes around it depend on the inputs' values")
            for i, tensor in enumerate(node.input):
                if tensor in self._between:
                    waiting[tensor].append(RULES[node.op_type](op, cotangent, i))
        except GradientError as error:
            raise GradientError(
                f"Operator {label} has no gradient here: {error}. {_OTHERWISE}"
            ) from error


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
