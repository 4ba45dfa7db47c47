"""What a model's own weights say: its classifier, and what its layers add."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from camcore.adapter import Array, Bias, LayerName

from .capture import edge
from .layers import keras_of, walk

_CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D")
_TRANSPOSED = ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
_SEPARATED = ("DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D")
_BIASED = ("Dense", "EinsumDense", *_CONVOLUTIONS, *_TRANSPOSED, *_SEPARATED)
_SHIFTED = ("LayerNormalization", "GroupNormalization")


def linear_layers(model: Any) -> dict[int, Literal["linear", "pointwise"]]:
    """Find dense layers and convolutions by their ids, and tell which are of one place."""
    linear = _kinds(model, "Dense", *_CONVOLUTIONS)
    others = _kinds(model, *_TRANSPOSED, *_SEPARATED)
    found: dict[int, Literal["linear", "pointwise"]] = {}
    for _, layer in walk(model):
        if isinstance(layer, (*linear, *others)):
            found[id(layer)] = "linear"
        if isinstance(layer, linear) and not isinstance(layer, others) and layer.built:
            kernel = layer.kernel.shape
            if set(kernel[:-2]) <= {1} and getattr(layer, "groups", 1) == 1:
                found[id(layer)] = "pointwise"
    return found


def classifier(model: Any) -> tuple[Array, Array] | None:
    """Read weights ``(K, C)`` and bias ``(K,)`` of the last dense layer or 1x1 convolution."""
    kinds = linear_layers(model)
    for _, layer in reversed(list(walk(model))):
        if kinds.get(id(layer)) == "pointwise":
            kernel = array(layer.kernel)
            weights = kernel.reshape(kernel.shape[-2:]).T
            bias = np.zeros(len(weights), weights.dtype)
            return weights, bias if layer.bias is None else array(layer.bias)
    return None


def biases(model: Any) -> Iterator[Bias]:
    """Yield the built layers that add one number a channel or normalise by running statistics."""
    biased, shifted = _kinds(model, *_BIASED), _kinds(model, *_SHIFTED)
    normalising = _kinds(model, "BatchNormalization")
    for path, layer in walk(model):
        if not layer.built:
            continue
        if isinstance(layer, normalising):
            mean = array(layer.moving_mean)
            yield Bias.of_batch_norm(
                path,
                mean=mean,
                variance=array(layer.moving_variance),
                gamma=None if layer.gamma is None else array(layer.gamma),
                beta=None if layer.beta is None else array(layer.beta),
                epsilon=mean.dtype.type(layer.epsilon),
            )
            continue
        added = layer.bias if isinstance(layer, biased) else None
        added = layer.beta if isinstance(layer, shifted) else added
        if added is not None and len(added.shape) == 1:
            yield Bias(str(LayerName(path, "linear")) if _activates(layer) else path, array(added))


def array(variable: Any) -> Array:
    """Return a variable's value; half precision as float32."""
    return edge(tf.convert_to_tensor(variable)).numpy()


def _activates(layer: Any) -> bool:
    activation = getattr(layer, "activation", None)
    return activation is not None and getattr(activation, "__name__", "") != "linear"


def _kinds(model: Any, *names: str) -> tuple[Any, ...]:
    known = keras_of(model).layers
    return tuple(getattr(known, name) for name in names if hasattr(known, name))
