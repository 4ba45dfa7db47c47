"""Finding the activation a model ends in, by walking the graph back from an output."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

_ACTIVATIONS = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid"}
_RESHAPES = {"Reshape", "Squeeze", "ExpandDims"}
_PASSIVE = {"Identity", "Cast", "EnsureShape", *_RESHAPES}
_RESIZES = {"ResizeBilinear", "ResizeBicubic", "ResizeNearestNeighbor"}
SHOWING = {*_ACTIVATIONS, *_PASSIVE, *_RESIZES, "Transpose"}
"""Operations that show again what they are given, at most on another scale."""


def before_activation(output: tf.Tensor) -> tuple[tf.Tensor, str] | None:
    """Take an output before its final softmax, log-softmax or sigmoid.

    Parameters
    ----------
    output : tensor
        A tensor of the graph being traced.

    Returns
    -------
    logits : tensor
        What the activation was applied to, with the shape and dtype of `output`.
    activation : str
        ``"softmax"``, ``"log_softmax"`` or ``"sigmoid"``. None in place of the two
        where the output does not end in one of them, elementwise or along one axis.
    """
    tensor, reshaped = output, False
    while tensor.op.type in _PASSIVE and tensor.op.inputs[0].dtype.is_floating:
        reshaped |= tensor.op.type in _RESHAPES
        tensor = tensor.op.inputs[0]
    moved = _along_inner_axis(tensor)
    operation = moved or tensor.op
    name = _ACTIVATIONS.get(operation.type)
    if name is None:
        return None
    logits = operation.inputs[0].op.inputs[0] if moved else operation.inputs[0]
    if reshaped:
        classes = output.shape[-1] if output.shape.rank else None
        if name != "sigmoid" and (moved or classes is None or classes != logits.shape[-1]):
            return None
        logits = tf.reshape(logits, tf.shape(output))
        logits.set_shape(output.shape)
    return tf.cast(logits, output.dtype), name


def _along_inner_axis(tensor: tf.Tensor) -> tf.Operation | None:
    """Return the softmax between two transposes that undo each other: one along an inner axis."""
    outer = tensor.op
    if outer.type != "Transpose" or outer.inputs[0].op.type not in ("Softmax", "LogSoftmax"):
        return None
    softmax = outer.inputs[0].op
    inner = softmax.inputs[0].op
    if inner.type != "Transpose":
        return None
    try:
        with tf.compat.v1.Session(graph=tensor.graph) as session:
            there, back = session.run([inner.inputs[1], outer.inputs[1]])
    except tf.errors.InvalidArgumentError:
        return None  # The axes depend on the model's inputs, for which the session has no values.
    return softmax if np.array_equal(there[back], np.arange(back.size)) else None
