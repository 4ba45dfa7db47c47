"""Which layers run and what they return, traced but not computed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from .attention import Spans
from .cache import compiled
from .capture import first_floating, intercepted, walk
from .inputs import Signature
from .nest import flatten

Seen = tuple[weakref.ref[Any], tuple[int, ...], int, bool, bool]
"""A layer, the shape it returned, how often it ran, whether it returned the model's output,
and whether it attends."""


def survey(model: Any, signature: Signature, tensors: Sequence[tf.Tensor]) -> list[Seen]:
    """Follow one sample through the model.

    Parameters
    ----------
    model : keras.Model
        The model, built.
    signature : Signature
        That of the sample.
    tensors : sequence of tensor
        The sample, a batch of one; only read where a shape depends on values.

    Returns
    -------
    list of Seen
        Every layer that returned a floating tensor, by when its last call finished.
    """
    last: dict[int, tuple[Any, tf.Tensor]] = {}
    calls: dict[int, int] = {}
    spans, attending = Spans(), set[int]()
    final: list[bool] = []

    def around(layer: Any, call: Callable[[], Any]) -> Any:
        with spans.of(layer):
            output = call()
        if (tensor := first_floating(output)) is not None:
            last.pop(id(layer), None)
            last[id(layer)] = layer, tensor
            calls[id(layer)] = calls.get(id(layer), 0) + 1
        return output

    def body(*sample: tf.Tensor) -> list[tf.Tensor]:
        with intercepted(model, [layer for _, layer in walk(model)], around):
            returned = flatten(signature.call(model, sample)).values()
        attending.update(spans.attending())
        final.extend(any(tensor is leaf for leaf in returned) for _, tensor in last.values())
        return [tf.shape(tensor) for _, tensor in last.values()]

    shapes = compiled(body, signature.specs)
    static = [tensor.shape for _, tensor in last.values()]
    if not all(shape.is_fully_defined() for shape in static):
        static = [tf.TensorShape(shape) for shape in shapes(*tensors)]
    return [
        (weakref.ref(layer), tuple(shape), calls[key], is_output, key in attending)
        for (key, (layer, _)), shape, is_output in zip(last.items(), static, final, strict=True)
    ]
