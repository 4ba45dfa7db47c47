"""Running a model from a layer on, by cutting its graph there.

One trace serves both halves. Whatever does not come after the layer but is used by
what does (a residual around it) is computed once, for one sample, and repeated.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from camcore.adapter import Array, Leaves
from camcore.errors import InputError, LayerError

from .capture import Capture
from .compile import traced
from .forward import chosen, edge, forward, output_leaves
from .inputs import Signature

Head = Callable[[Array], Leaves]


class Replay:
    """A model in two halves, before and after a layer.

    Parameters
    ----------
    model : keras.Model
        The model; not kept.
    target : Capture
        The layer to cut at.
    logits : bool
        Whether to take outputs before a final activation.
    signature : Signature
        That of one sample.
    """

    def __init__(self, model: Any, target: Capture, logits: bool, signature: Signature) -> None:
        name, kept = target.name, (weakref.ref(model), weakref.ref(target.layer))
        cuts: list[Any] = []

        def body(*tensors: tf.Tensor) -> list[tf.Tensor]:
            # The two halves hold on to this function, so it may not hold on to the model.
            model, layer = (reference() for reference in kept)
            only = Capture(name, layer)
            outputs, (cuts[:],) = forward(model, signature, tensors, [only])
            chosen(only, cuts)
            leaves, _ = output_leaves(outputs, logits)
            self._paths = list(leaves)
            return list(map(edge, leaves.values()))

        whole = traced(lambda: tf.compat.v1.wrap_function(body, signature.sized(None).specs))
        if len(cuts) > 1:
            raise LayerError(
                f"Layer {name!r} runs {len(cuts)} times in one pass, so there is no one "
                "place to go on from. Choose a layer that runs once."
            )
        cut, inputs = cuts.pop(), whole.inputs[: len(signature.specs)]
        beside = _beside(cut, whole.outputs)
        self._name, self._shape, self._dtype = name, cut.shape, cut.dtype
        self._before = whole.prune(inputs, [cut, beside, whole.outputs])
        self._after = whole.prune([cut, *beside], whole.outputs)
        self._after_inputs = whole.prune([cut, *inputs], whole.outputs)

    def start(self, signature: Signature, tensors: Sequence[tf.Tensor]) -> Head:
        """Run one sample up to the layer, and return what runs it from there on.

        Raises
        ------
        LayerError
            Going on from what the layer returned does not give the model's outputs.
        """
        cut, beside, outputs = self._before(*tensors)
        twice = np.concatenate([edge(cut).numpy()] * 2)
        # What lies beside may not repeat with the samples (a size read off the batch of one,
        # a batch axis that is not the first): then it is computed anew, from repeated inputs.
        ways = [
            (self._after, beside, [True] * len(beside)),
            (self._after_inputs, tensors, [*map(signature.batched, tensors)]),
        ]
        for function, sample, repeats in ways:
            head = self._head(function, sample, repeats)
            try:
                replayed = head(twice)
            except tf.errors.OpError:
                continue
            if all(map(_repeats, replayed.values(), outputs)):
                return head
        raise LayerError(
            f"Running the model from layer {self._name!r} on does not reproduce its outputs: it "
            "mixes the samples of a batch or draws at random. Choose a later layer."
        )

    def _head(self, function: Any, sample: Sequence[tf.Tensor], repeats: Sequence[bool]) -> Head:
        repeated: dict[int, list[tf.Tensor]] = {}

        def head(activations: Array) -> dict[str, Array]:
            shape = np.shape(activations)
            if not self._shape.is_compatible_with(shape):
                raise InputError(
                    f"Layer {self._name!r} returns {self._shape}; activations of shape {shape} "
                    "cannot stand in for it."
                )
            if shape[0] not in repeated:
                repeated.clear()
                repeated[shape[0]] = [
                    _tile(tensor, shape[0]) if repeat else tensor
                    for tensor, repeat in zip(sample, repeats, strict=True)
                ]
            outputs = function(tf.cast(activations, self._dtype), *repeated[shape[0]])
            leaves = [leaf.numpy() for leaf in outputs]
            return dict(zip(self._paths, leaves, strict=True))

        return head


def _tile(tensor: tf.Tensor, times: int) -> tf.Tensor:
    return tf.tile(tensor, [times] + [1] * (tensor.shape.rank - 1))


def _beside(cut: tf.Tensor, outputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Return the tensors of whole samples that what follows the cut uses besides the cut."""
    after, todo = set(), [cut]
    while todo:
        for operation in todo.pop().consumers():
            if operation not in after:
                after.add(operation)
                todo.extend(operation.outputs)
    beside: list[tf.Tensor] = []
    seen, todo = {cut.ref()}, list(outputs)
    while todo:
        tensor = todo.pop()
        if tensor.ref() in seen:
            continue
        seen.add(tensor.ref())
        whole = tensor.dtype.is_floating and tensor.shape.rank and tensor.shape[0] is None
        if whole and tensor.op not in after:
            beside.append(tensor)
        else:
            todo.extend(tensor.op.inputs)
    return beside


def _repeats(replayed: Array, output: tf.Tensor) -> bool:
    """Whether two equal samples gave `output`, that of one, twice."""
    once = output.numpy()
    if not np.issubdtype(once.dtype, np.floating) or not once.ndim:
        return True
    expected = np.concatenate([once, once])
    near = np.sqrt(np.finfo(once.dtype).eps) * max(1e-30, np.abs(once).max(initial=0))
    return replayed.shape == expected.shape and np.allclose(
        replayed, expected, rtol=0, atol=near, equal_nan=True
    )
