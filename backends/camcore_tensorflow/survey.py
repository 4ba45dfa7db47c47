"""Which layers run and what they return, traced but not computed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from camcore.outputs import score_paths

from .attention import LayerSpans
from .capture import first_floating, intercepted, walk
from .compile import compiled
from .inputs import Signature
from .logits import shown_by
from .nest import flatten


@dataclass(frozen=True)
class LayerSeen:
    """What a layer did; see `camcore.adapter.LayerRecord`."""

    layer: weakref.ref[Any]
    shape: tuple[int, ...]
    calls: int
    is_output: bool
    attention: tuple[int, ...] | None
    repeats: weakref.ref[Any] | None
    several: bool


def survey(model: Any, signature: Signature, tensors: Sequence[tf.Tensor]) -> list[LayerSeen]:
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
    list of LayerSeen
        Every layer that returned a floating tensor, by when its last call finished.
    """
    last: dict[int, tuple[Any, tf.Tensor]] = {}
    first: dict[int, tuple[Any, tf.Tensor]] = {}
    calls: dict[int, int] = {}
    attention: dict[int, tf.Tensor] = {}
    spans, shown, several = LayerSpans(), set[int](), set[int]()

    def around(layer: Any, call: Callable[[], Any]) -> Any:
        with spans.of(layer):
            output = call()
        if (tensor := first_floating(output)) is not None:
            last.pop(id(layer), None)
            last[id(layer)] = layer, tensor
            first.setdefault(id(tensor), (layer, tensor))
            calls[id(layer)] = calls.get(id(layer), 0) + 1
            (several.add if _count_floating(output) > 1 else several.discard)(id(layer))
        return output

    def body(*sample: tf.Tensor) -> list[tf.Tensor]:
        with intercepted(model, [layer for _, layer in walk(model)], around):
            returned = flatten(signature.call(model, sample))
        attention.update(spans.attending())
        scores = score_paths({path: leaf.shape.rank for path, leaf in returned.items()})
        shown.update(id(tensor) for path in scores for tensor in shown_by(returned[path]))
        return [tf.shape(tensor) for tensor in surveyed()]

    def surveyed() -> list[tf.Tensor]:
        return [*(tensor for _, tensor in last.values()), *attention.values()]

    def maker(tensor: tf.Tensor) -> Any:
        return first[id(tensor)][0]

    shapes = compiled(body, signature.specs)
    static = [tensor.shape for tensor in surveyed()]
    if not all(shape.is_fully_defined() for shape in static):
        static = [tf.TensorShape(shape) for shape in shapes(*tensors)]
    sizes = [tuple(shape) for shape in static]
    attended = dict(zip(attention, sizes[len(last) :], strict=True))
    return [
        LayerSeen(
            weakref.ref(layer),
            size,
            calls[key],
            id(tensor) in shown,
            attended.get(key),
            None if maker(tensor) is layer else weakref.ref(maker(tensor)),
            key in several,
        )
        for (key, (layer, tensor)), size in zip(last.items(), sizes, strict=False)
    ]


def _count_floating(output: Any) -> int:
    leaves = flatten(output).values()
    return sum(isinstance(leaf, tf.Tensor) and leaf.dtype.is_floating for leaf in leaves)
