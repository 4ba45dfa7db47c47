"""Attention, found in the graph by what it is: a softmax that weighs something in a product.

TensorFlow has no fused kernel that would hide it, so it is there whichever way Keras
or a layer of one's own writes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

_PRODUCTS = {"BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", "MatMul"}
_PASSIVE = {"Cast", "EnsureShape", "Identity", "Reshape", "Transpose"}


class LayerSpans:
    """Which operations of the graph being traced were added by which layer's calls."""

    def __init__(self) -> None:
        self._calls: list[tuple[Any, int, int]] = []

    def call(self, layer: Any, call: Any, *args: Any, **kwargs: Any) -> Any:
        """Run a layer's call, and note the operations that it adds."""
        start = len(_operations())
        output = call(*args, **kwargs)
        self._calls.append((layer, start, len(_operations())))
        return output

    def attention(self) -> Iterator[tuple[list[Any], tf.Tensor]]:
        """Yield what was attended to, in order, with the layers that it belongs to.

        Each is ``(B, heads, queries, keys)``, or has the heads folded into the batch. The first
        layer computes it: the innermost, since that finished first, but a softmax layer.
        """
        for i, operation in enumerate(_operations()):
            tensor = operation.outputs[0] if operation.type == "Softmax" else None
            if tensor is not None and tensor.shape.rank not in (1, 2) and _weighs(tensor):
                around = [layer for layer, start, end in self._calls if start <= i < end]
                yield sorted(around, key=_is_softmax), tensor

    def joins(self) -> Iterator[tuple[Any, int, list[tf.Tensor]]]:
        """Yield the axis and the parts of concatenations, with the layer that finished next."""
        for i, operation in enumerate(_operations()):
            *parts, axis = operation.inputs if operation.type == "ConcatV2" else (None,)
            after = next((layer for layer, _, end in self._calls if end > i), None)
            if parts and after is not None and parts[0].shape.rank == 3:
                yield after, int(tf.get_static_value(axis)), parts


def _is_softmax(layer: Any) -> bool:
    return type(layer).__name__ in ("Softmax", "Activation")


def _operations() -> list[tf.Operation]:
    return tf.compat.v1.get_default_graph().get_operations()


def _weighs(tensor: tf.Tensor) -> bool:
    """Tell whether a product is made of the tensor, as it is or rearranged."""
    return any(
        user.type in _PRODUCTS or (user.type in _PASSIVE and _weighs(user.outputs[0]))
        for user in tensor.consumers()
    )
