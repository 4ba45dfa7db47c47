"""Running a model from a layer on, by cutting its graph there.

One trace serves both halves. Whatever does not come after the layer but is used by
what does (a residual around it) is computed once, for one sample, and repeated.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from ml_dtypes import finfo

from camcore.adapter import Array, Leaves, replays
from camcore.errors import InputError, LayerError

from .capture import Capture, edge, reachable
from .compile import on_copies, traced
from .forward import forward, output_leaves
from .inputs import Signature
from .preserve import uninterrupted

Head = Callable[[Array], Leaves]


class Replay:
    """A model in two halves, before and after a layer.

    Parameters
    ----------
    model : keras.Model
        The model; not kept.
    capture : Capture
        The layer to cut at; not kept.
    logits : bool
        Whether to take outputs before a final activation.
    signature : Signature
        That of one sample.
    """

    def __init__(self, model: Any, capture: Capture, logits: bool, signature: Signature) -> None:
        name, kept = capture.name, (weakref.ref(model), weakref.ref(capture.layer))
        self._name = str(name)
        cuts: list[tf.Tensor] = []

        def body(*tensors: tf.Tensor) -> list[tf.Tensor]:
            # The two halves hold on to this function, so it may not hold on to the model.
            model, layer = (reference() for reference in kept)
            only = Capture(name, layer)
            outputs, (calls,), (returned,) = forward(model, signature, tensors, [only])
            cuts[:] = [only.choose(calls, returned)]
            if len(calls) > 1:
                raise LayerError(
                    f"Layer {self._name!r} runs {len(calls)} times in one pass, so there is no one "
                    "place to go on from. Choose a layer that runs once."
                )
            leaves, *_ = output_leaves(outputs, logits)
            self._paths = list(leaves)
            return list(map(edge, leaves.values()))

        whole = traced(lambda: tf.compat.v1.wrap_function(body, signature.sized(None).specs))
        cut, inputs = cuts.pop(), whole.inputs[: len(signature.specs)]
        beside = _beside(cut, whole.outputs, inputs)
        self._shape, self._dtype = cut.shape, cut.dtype
        self._axis, self._beside_axes = _batch_axis(cut) or 0, list(map(_batch_axis, beside))
        self._before = on_copies(whole.prune(inputs, [cut, beside, whole.outputs]))
        self._after = on_copies(whole.prune([cut, *beside], whole.outputs))
        self._after_inputs = on_copies(whole.prune([cut, *inputs], whole.outputs))

    def start(self, signature: Signature, tensors: Sequence[tf.Tensor]) -> Head:
        """Run one sample up to the layer, and return what runs it from there on.

        Raises
        ------
        LayerError
            Going on from what the layer returned does not give the model's outputs.
        """
        cut, beside, outputs = self._before(*tensors)
        twice = np.concatenate([edge(cut).numpy()] * 2, self._axis)
        plain = self._by_path(outputs)
        epsilon = float(finfo(cut.dtype.as_numpy_dtype).eps)  # type: ignore[no-untyped-call]
        # What lies beside may not repeat with the samples (a size read off the batch of one,
        # a batch axis that is not the first): then it is computed anew, from repeated inputs.
        ways = [
            (self._after, beside, self._beside_axes),
            (self._after_inputs, tensors, [0 if signature.batched(t) else None for t in tensors]),
        ]
        cause = None
        for function, sample, repeats in ways:
            head = self._head(function, sample, repeats)
            try:
                if replays(head(twice), plain, epsilon):
                    return head
            except tf.errors.InvalidArgumentError as error:  # shapes that do not fit together
                cause = error
        raise LayerError(
            f"Running the model from layer {self._name!r} on does not reproduce its outputs: it "
            "mixes the samples of a batch or draws at random. Choose a later layer."
        ) from cause

    def _head(self, function: Any, sample: Sequence[tf.Tensor], axes: Sequence[int | None]) -> Head:
        @functools.lru_cache(maxsize=1)
        def repeated(times: int) -> list[tf.Tensor]:
            return [
                tensor if axis is None else tf.concat([tensor] * times, axis)
                for tensor, axis in zip(sample, axes, strict=True)
            ]

        @uninterrupted
        def head(activations: Array) -> Leaves:
            shape = np.shape(activations)
            if not self._shape.is_compatible_with(shape):
                raise InputError(
                    f"Layer {self._name!r} returns {self._shape}; activations of shape {shape} "
                    "cannot stand in for it."
                )
            given = tf.cast(activations, self._dtype)
            return self._by_path(function(given, *repeated(shape[self._axis])))

        return head

    def _by_path(self, outputs: Sequence[tf.Tensor]) -> dict[str, Array]:
        arrays = [tensor.numpy() for tensor in outputs]
        return dict(zip(self._paths, arrays, strict=True))


def _batch_axis(tensor: tf.Tensor) -> int | None:
    """Tell which axis of a tensor carries the batch, whose length is left open."""
    lengths = tensor.shape.as_list() if tensor.shape.rank else []
    return lengths.index(None) if None in lengths else None


def _beside(
    cut: tf.Tensor, outputs: Sequence[tf.Tensor], inputs: Sequence[tf.Tensor]
) -> list[tf.Tensor]:
    """List what follows the cut uses besides it: tensors of whole samples, else inputs."""
    given = set(map(id, inputs))
    after = reachable(cut.consumers(), lambda op: [u for t in op.outputs for u in t.consumers()])

    def is_beside(tensor: tf.Tensor) -> bool:
        whole = tensor.dtype.is_floating and _batch_axis(tensor) is not None
        is_read = whole or id(tensor) in given
        return bool(is_read) and tensor is not cut and id(tensor.op) not in after

    def before(tensor: tf.Tensor) -> Sequence[tf.Tensor]:
        return () if tensor is cut or is_beside(tensor) else tensor.op.inputs

    return list(filter(is_beside, reachable(outputs, before).values()))
