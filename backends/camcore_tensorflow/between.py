"""Pulling cotangents back from some layers of a model to earlier ones, compiled."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import tensorflow as tf

from camcore._shared.loss_scale import pairs_in_range
from camcore.adapter import Array, Leaves, check_pulled, not_between

from .backward import has_float16
from .capture import Capture, edge
from .compile import compiled
from .forward import forward
from .inputs import Signature


class Between:
    """One forward pass, and a pull-back for each pair of layers.

    Parameters
    ----------
    model : keras.Model
        The model; not kept, nor are its layers.
    captures : mapping of str to Capture
        What to capture, by the names asked for; not kept.
    pairs : mapping of str to str
        By the name to pull back to, the name of the layer that a cotangent is given at.
    signature : Signature
        Structure, shapes and dtypes of the inputs.

    Raises
    ------
    GradientError
        A later layer does not depend on the earlier one.
    """

    def __init__(
        self,
        model: Any,
        captures: Mapping[str, Capture],
        pairs: Mapping[str, str],
        signature: Signature,
    ) -> None:
        self._pairs, self._has_float16 = dict(pairs), False
        shapes: dict[str, tf.TensorShape] = {}

        def body(cotangents: list[tf.Tensor], *tensors: tf.Tensor) -> Any:
            _, calls, returned = forward(model, signature, tensors, [*captures.values()])
            chosen = map(Capture.choose, captures.values(), calls, returned)
            layers = dict(zip(captures, chosen, strict=True))
            shapes.update({name: layers[later].shape for name, later in pairs.items()})
            pulled = {}
            for given, (name, later) in zip(cotangents, pairs.items(), strict=True):
                end = layers[later]
                weights = tf.ensure_shape(tf.cast(given, end.dtype), end.shape)
                (found,) = tf.gradients(end, layers[name], grad_ys=weights)
                if found is None:
                    raise not_between(name, later)
                pulled[name] = edge(tf.convert_to_tensor(found))
            self._has_float16 = has_float16(tf.compat.v1.get_default_graph())
            return pulled

        specs = [tf.TensorSpec(None, tf.float64)] * len(pairs)
        self._function = compiled(body, [specs, *signature.specs])
        self._shapes = shapes

    def __call__(self, tensors: Mapping[str, tf.Tensor], cotangents: Leaves) -> Leaves:
        """Run once, and pull each cotangent back.

        Raises
        ------
        InputError
            A cotangent has another shape than what the layer returned.
        """
        for name, later in self._pairs.items():
            if not self._shapes[name].is_compatible_with(cotangents[name].shape):
                check_pulled(cotangents[name], later, tuple(self._shapes[name]))
        if not self._has_float16:
            return self._run(tensors, cotangents)
        samples = next(iter(tensors.values())).shape[0]
        return pairs_in_range(partial(self._run, tensors), cotangents, samples, 14)

    def _run(self, tensors: Mapping[str, tf.Tensor], cotangents: Leaves) -> dict[str, Array]:
        given = [tf.constant(cotangents[name], tf.float64) for name in self._pairs]
        found = self._function(*given, *tensors.values())
        return {name: tensor.numpy() for name, tensor in found.items()}
