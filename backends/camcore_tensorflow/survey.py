"""Which layers run and what they return, traced but not computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import tensorflow as tf

from camcore.adapter import Layer, LayerRecord
from camcore.nest import flatten
from camcore.outputs import score_paths

from .attention import LayerSpans
from .capture import floating_tensors
from .compile import compiled
from .inputs import Signature
from .layers import channels, input_channels, walk
from .logits import shown_by
from .preserve import apart, patch_call


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
    layers = dict(walk(model))
    paths = {id(layer): path for path, layer in layers.items()}
    seen: dict[int, tuple[LayerRecord, list[tf.Tensor]]] = {}
    shown: set[Any] = set()

    def body(*sample: tf.Tensor) -> list[list[tf.Tensor]]:
        seen.clear()
        spans, first = LayerSpans(), dict[Any, str]()

        def around(layer: Any, call: Any, *args: Any, **kwargs: Any) -> Any:
            output = spans.call(layer, call, *args, **kwargs)
            if floating := floating_tensors(output):
                named = Layer(paths[id(layer)], type(layer).__name__, None)
                before, _ = seen.pop(id(layer), (LayerRecord(named, (), None, 0), []))
                maker = first.setdefault(floating[0].ref(), named.name)
                record = replace(
                    before,
                    calls=before.calls + 1,
                    several=len(floating) > 1,
                    repeats=None if maker == named.name else maker,
                )
                seen[id(layer)] = record, floating[:1]
            return output

        with apart(model) as patch:
            for layer in layers.values():
                patch_call(patch, layer, around)
            outputs = {p: t for p, t in flatten(signature.call(model, sample)) if tf.is_tensor(t)}
        for key, tensor in spans.attending().items():
            if key in seen:
                seen[key][1].append(tensor)
        scores = score_paths({path: tensor.shape.rank for path, tensor in outputs.items()})
        shown.update(tensor.ref() for path in scores for tensor in shown_by(outputs[path]))
        return [list(map(tf.shape, tensors)) for _, tensors in seen.values()]

    function = compiled(body, signature.specs)
    shapes: Any = [[tensor.shape for tensor in tensors] for _, tensors in seen.values()]
    if not all(shape.is_fully_defined() for each in shapes for shape in each):
        shapes = function(*tensors)
    images, records = input_channels(model), []
    for (record, (output, *_)), each in zip(seen.values(), shapes, strict=True):
        shape, attention = [tuple(map(int, size)) for size in [*each, ()][:2]]
        own = getattr(layers[record.layer.name], "data_format", None)
        found = replace(
            record,
            shape=shape,
            channels=channels(own, len(shape), images),
            is_output=output.ref() in shown,
            attention=attention or None,
        )
        records.append(found)
    return records
