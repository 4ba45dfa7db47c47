"""Pulling back through rectifiers by another rule, put on the operations of a traced graph.

Operations show every spelling alike (layer, activation, ``tf.nn.relu``, a maximum with
zero), and they go with the graph, so there is nothing to take off the model afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from camcore.adapter import Rectifier
from camcore.errors import MethodError

_OWN = {"Relu": tf.raw_ops.ReluGrad, "Relu6": tf.raw_ops.Relu6Grad}


def apply_rule(graph: tf.Graph, rule: Rectifier) -> None:
    """Let only positive gradients pass through the rectifiers that the graph has so far.

    Raises
    ------
    MethodError
        A loop or a function within the graph has rectifiers of its own.
    """
    if hidden := sorted(_hiding(graph)):
        raise MethodError(
            f"Rectifiers inside {', '.join(hidden)} cannot be reached: they are in a loop or a "
            "function of their own. Choose a method that leaves rectifiers as they are: "
            "method='saliency'."
        )
    name = tf.compat.v1.AttrValue(s=f"Camcore_{rule}".encode())
    for operation in graph.get_operations():
        if operation.type in _OWN or (operation.type == "Maximum" and _bounded(operation)):
            operation._set_attr("_gradient_op_type", name)


@tf.RegisterGradient("Camcore_guided")  # type: ignore[untyped-decorator]
def _guided(operation: tf.Operation, gradient: tf.Tensor) -> list[tf.Tensor | None]:
    positive = tf.nn.relu(gradient)
    if own := _OWN.get(operation.type):
        return [own(gradients=positive, features=operation.outputs[0])]
    passed = tf.where(operation.outputs[0] > 0, positive, tf.zeros_like(positive))
    return _to_bounded(operation, passed)


@tf.RegisterGradient("Camcore_deconvolution")  # type: ignore[untyped-decorator]
def _deconvolved(operation: tf.Operation, gradient: tf.Tensor) -> list[tf.Tensor | None]:
    return _to_bounded(operation, tf.nn.relu(gradient))


def _to_bounded(operation: tf.Operation, gradient: tf.Tensor) -> list[tf.Tensor | None]:
    return [None if _is_zero(tensor) else gradient for tensor in operation.inputs]


def _bounded(operation: tf.Operation) -> bool:
    """Tell whether a maximum cuts one of its inputs off at zero."""
    kept = [tensor for tensor in operation.inputs if not _is_zero(tensor)]
    return len(kept) == 1 and kept[0].shape.rank == operation.outputs[0].shape.rank


def _is_zero(tensor: tf.Tensor) -> bool:
    value = tf.get_static_value(tensor)
    return value is not None and not np.any(value)


def _hiding(graph: tf.Graph) -> Iterator[str]:
    """Name the operations that run a function with rectifiers in it."""
    functions = {known.signature.name: known for known in graph.as_graph_def().library.function}

    def rectifies(name: str) -> bool:
        nodes = functions[name].node_def if name in functions else ()
        return any(node.op in _OWN or any(map(rectifies, _run_by(node))) for node in nodes)

    for operation in graph.get_operations():
        if any(map(rectifies, _run_by(operation.node_def))):
            yield operation.name


def _run_by(node: tf.compat.v1.NodeDef) -> list[str]:
    return [value.func.name for value in node.attr.values() if value.func.name]
