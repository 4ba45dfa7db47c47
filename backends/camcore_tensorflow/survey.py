"""Which layers run and what they return, traced but not computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from camcore.adapter import Layer, LayerRecord
from camcore.nest import flatten
from camcore.outputs import score_paths

from .attention import LayerSpans
from .capture import floating_tensors
from .compile import compiled
from .inputs import Signature
from .layers import channels, input_channels, own_channels, walk
from .logits import shown_by
from .preserve import patch_call, preserved


@dataclass
class LayerSeen:
    """A layer that ran, what it returned in its last call, and the attention it computes."""

    layer: Any
    tensor: tf.Tensor
    calls: int
    several: bool
    attention: tf.Tensor | None = None


class _Watch:
    """What is seen of the layers while the model is traced."""

    def __init__(self, model: Any, signature: Signature, sample: Sequence[tf.Tensor]) -> None:
        self.first: dict[Any, Any] = {}
        self._seen: dict[int, LayerSeen] = {}
        self._spans = LayerSpans()
        with preserved(model) as layers:
            for layer in layers:
                patch_call(layer, self._around)
            outputs = {p: t for p, t in flatten(signature.call(model, sample)) if tf.is_tensor(t)}
        for layer, tensor in self._spans.attending().items():
            if layer in self._seen:
                self._seen[layer].attention = tensor
        scores = score_paths({path: tensor.shape.rank for path, tensor in outputs.items()})
        self.shown = {t.ref() for path in scores for t in shown_by(outputs[path])}
        self.layers = list(self._seen.values())

    def _around(self, layer: Any, call: Any, *args: Any, **kwargs: Any) -> Any:
        output = self._spans.call(layer, call, *args, **kwargs)
        if floating := floating_tensors(output):
            before = self._seen.pop(id(layer), None)
            calls = before.calls + 1 if before else 1
            self._seen[id(layer)] = LayerSeen(layer, floating[0], calls, len(floating) > 1)
            self.first.setdefault(floating[0].ref(), layer)
        return output

    def tensors(self) -> list[tf.Tensor]:
        """List what the layers returned, and what they attended to."""
        attention = (seen.attention for seen in self.layers if seen.attention is not None)
        return [*(seen.tensor for seen in self.layers), *attention]


def survey(model: Any, signature: Signature, tensors: Sequence[tf.Tensor]) -> list[LayerRecord]:
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
    list of LayerRecord
        Every layer that returned a floating tensor, by when its last call finished. Their
        native layers are left out, so that no record keeps the model alive.
    """
    watched: list[_Watch] = []

    def body(*sample: tf.Tensor) -> list[tf.Tensor]:
        watched[:] = [_Watch(model, signature, sample)]
        return list(map(tf.shape, watched[0].tensors()))

    shapes = compiled(body, signature.specs)
    (watch,) = watched
    sizes = [tensor.shape for tensor in watch.tensors()]
    if not all(shape.is_fully_defined() for shape in sizes):
        sizes = list(map(tf.TensorShape, shapes(*tensors)))
    named = zip(watch.tensors(), map(tuple, sizes), strict=True)
    shape_of = {tensor.ref(): shape for tensor, shape in named}
    paths, images = {id(layer): path for path, layer in walk(model)}, input_channels(model)

    def record(seen: LayerSeen) -> LayerRecord:
        shape, maker = shape_of[seen.tensor.ref()], watch.first[seen.tensor.ref()]
        return LayerRecord(
            Layer(paths[id(seen.layer)], type(seen.layer).__name__, None),
            shape,
            channels(own_channels(seen.layer), len(shape), images),
            seen.calls,
            seen.tensor.ref() in watch.shown,
            None if seen.attention is None else shape_of[seen.attention.ref()],
            None if maker is seen.layer else paths[id(maker)],
            seen.several,
        )

    return list(map(record, watch.layers))
