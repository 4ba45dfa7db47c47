"""The graph of a saved model with its variables as constants, whose operations are its layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from camcore.adapter import Channels
from camcore.errors import InputError, LayerError

from .capture import Calls, Capture, Leaves, floating_leaves, reachable

_PASSIVE = {"Identity", "IdentityN", "Cast", "EnsureShape", "Placeholder"}
_FORMATS = {"NCHW": "channels_first", "NCDHW": "channels_first"}


@dataclass(frozen=True)
class Operation:
    """An operation of a frozen graph, or a scope of operations, as a layer.

    Parameters
    ----------
    tensor : str
        The name of its output; of a scope, the output of its last operation.
    kind : str
        The type of that operation.
    data_format : str or None
        ``"channels_first"`` or ``"channels_last"``, where the operation says.
    """

    tensor: str
    kind: str
    data_format: str | None


class FrozenGraph:
    """The graph of a saved model's function, its variables constants of it.

    Parameters
    ----------
    function : tf.ConcreteFunction
        The function.
    """

    variable_dtype = "float32"

    def __init__(self, function: Any) -> None:
        frozen = convert_variables_to_constants_v2(function)
        self._definition = frozen.graph.as_graph_def()
        self._placeholders = [tensor.name for tensor in frozen.inputs]
        names = [str(spec.name) for spec in tf.nest.flatten(function.structured_input_signature)]
        specs = [tf.TensorSpec(t.shape, t.dtype) for t in frozen.inputs]
        self._names, self.specs = names, specs
        self.input = specs[0] if len(specs) == 1 else dict(zip(names, specs, strict=True))
        self._outputs = tf.nest.pack_sequence_as(
            function.structured_outputs, [tensor.name for tensor in frozen.outputs]
        )
        if isinstance(self._outputs, Mapping) and len(self._outputs) == 1:
            (self._outputs,) = self._outputs.values()
        self.layers: Mapping[str, Operation] = dict(_layers(frozen.graph, self._placeholders))
        said = (layer.data_format for layer in self.layers.values())
        first = next(filter(None, said), "") == "channels_first"
        self.input_channels: Channels = "first" if first else "last"

    def reader(self, constant: str) -> Any:
        """Find the first operation that reads a constant for more than to pass it on, or None."""
        passed = {constant}
        for node in self._definition.node:  # constants stand first, then what reads them
            given = {name.partition(":")[0] for name in node.input if name[:1] != "^"}
            if given & passed:
                if node.op not in _PASSIVE:
                    return node
                passed.add(node.name)
        return None

    def call(self, tensors: Sequence[tf.Tensor], wanted: Sequence[str]) -> tuple[Any, list[Any]]:
        """Put the graph into the one that is traced: what it returns, and tensors of it."""
        if len(tensors) != len(self._placeholders):
            raise InputError(
                f"The saved model takes {len(self._placeholders)} arrays "
                f"({', '.join(self._names)}); got {len(tensors)}."
            )
        given = dict(zip(self._placeholders, tensors, strict=True))
        outputs = tf.nest.flatten(self._outputs)
        found = tf.graph_util.import_graph_def(
            self._definition, input_map=given, return_elements=[*wanted, *outputs], name=""
        )
        return tf.nest.pack_sequence_as(self._outputs, found[len(wanted) :]), found[: len(wanted)]

    def forward(
        self, tensors: Sequence[tf.Tensor], captures: Sequence[Capture]
    ) -> tuple[Any, list[Calls], list[Leaves]]:
        """Trace it as `camcore_tensorflow.forward.forward` traces a Keras model."""
        for capture in captures:
            if capture.name.part and not capture.name.is_input:
                raise LayerError(
                    f"Layer {str(capture.name)!r} is an operation, which has no part "
                    f"{capture.name.part!r}. Choose another operation."
                )
        wanted = [capture.layer.tensor for capture in captures if capture.layer is not None]
        tensors = [tf.identity(tensor) for tensor in tensors]
        outputs, found = self.call(tensors, wanted)
        taken, floating = iter(found), list(floating_leaves(tensors).values())
        calls: list[Calls] = []
        for capture in captures:
            name = capture.name
            if capture.layer is not None:
                calls.append([next(taken)])
            elif name.input_path:
                named = dict(zip(self._names, tensors, strict=True))
                calls.append([named[name.input_path]] if name.input_path in named else [])
            else:
                deep = [tensor for tensor in floating if (tensor.shape.rank or 0) > 2]
                calls.append([*deep, *floating][:1])
        return outputs, calls, [{} for _ in captures]


def _layers(graph: tf.Graph, inputs: Sequence[str]) -> Iterator[tuple[str, Operation]]:
    """Yield each operation that depends on an input, then the scopes that end with it."""
    given = [graph.get_tensor_by_name(name).op for name in inputs]
    fed = reachable(given, lambda op: [user for t in op.outputs for user in t.consumers()])
    kept = {
        op.name: Operation(op.outputs[0].name, op.type, _data_format(op))
        for op in graph.get_operations()
        if id(op) in fed and op.type not in _PASSIVE and op.outputs and _is_map(op.outputs[0])
    }
    around = _common_scope(list(kept))
    last = {scope: name for name in kept for scope in _scopes(name) if len(scope) >= len(around)}
    for name, operation in kept.items():
        yield name.removeprefix(around), operation
        for scope in _scopes(name):  # the innermost first
            if last.get(scope) == name and scope not in kept and scope + "/" != around:
                yield scope.removeprefix(around), operation


def _is_map(tensor: tf.Tensor) -> bool:
    return tensor.dtype.is_floating and (tensor.shape.rank is None or tensor.shape.rank > 1)


def _data_format(operation: tf.Operation) -> str | None:
    if "data_format" not in operation.node_def.attr:
        return None
    said = operation.get_attr("data_format").decode()
    return _FORMATS.get(said, "channels_last")


def _scopes(name: str) -> list[str]:
    """List the scopes that an operation is in, the innermost first."""
    steps = name.split("/")[:-1]
    return ["/".join(steps[:n]) for n in range(len(steps), 0, -1)]


def _common_scope(names: Sequence[str]) -> str:
    """Give the scope that all operations are in, with a slash at its end; or nothing."""
    outer = [name.split("/")[:-1] for name in names]
    common = []
    for steps in zip(*outer, strict=False):
        if len(set(steps)) > 1:
            break
        common.append(steps[0] + "/")
    return "".join(common)
