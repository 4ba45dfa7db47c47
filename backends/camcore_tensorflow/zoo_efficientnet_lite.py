"""EfficientNet-Lite0 for Keras: the same network that PyTorch users know, weight for weight.

It is MobileNetV2's inverted residuals at EfficientNet's sizes, without squeeze-and-excitation
and with ReLU6, ending in global average pooling and one dense layer (Tan & Le, "EfficientNet:
Rethinking Model Scaling for Convolutional Neural Networks", 2019).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import layers

from camcore.adapter import Array

_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Repeats, kernel, stride of the first repeat, expansion and channels."""


def efficientnet_lite0(classes: int = 1000) -> keras.Model:
    """Build the network with random weights.

    Parameters
    ----------
    classes : int
        Number of logits.

    Returns
    -------
    keras.Model
        Takes photographs, ``(B, 224, 224, 3)``, as ``(x - 127) / 128`` of their pixels, and
        gives logits, ``(B, classes)``.
    """
    inputs = keras.Input((224, 224, 3), name="image")
    x = _convolution(inputs, "stem", 32, kernel=3, stride=2)
    for stage, (repeats, kernel, stride, expansion, channels) in enumerate(_STAGES, start=1):
        for repeat in range(repeats):
            name = f"block{stage}{'abcd'[repeat]}"
            x = _block(x, name, kernel, 1 if repeat else stride, expansion, channels)
    x = _convolution(x, "head", 1280)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x), name="efficientnet_lite0")


def load_torch_state(model: keras.Model, tensors: Iterable[Array]) -> None:
    """Fill the network from a PyTorch state dict.

    Parameters
    ----------
    model : keras.Model
        From `efficientnet_lite0`.
    tensors : iterable of array
        The state dict's values in its order, whatever implementation named them.

    Raises
    ------
    ValueError
        There are too few or too many, or one does not fit.
    """
    left = iter([tensor for tensor in tensors if np.ndim(tensor)])
    for layer in model.layers:
        if isinstance(layer, layers.Dense):
            layer.set_weights([next(left).T, next(left)])
        elif isinstance(layer, layers.DepthwiseConv2D):
            layer.set_weights([next(left).transpose(2, 3, 0, 1)])
        elif isinstance(layer, layers.Conv2D):
            layer.set_weights([next(left).transpose(2, 3, 1, 0)])
        elif isinstance(layer, layers.BatchNormalization):
            layer.set_weights([next(left) for _ in range(4)])
    if next(left, None) is not None:
        raise ValueError("The state dict holds more tensors than EfficientNet-Lite0 has.")


def _block(x: Any, name: str, kernel: int, stride: int, expansion: int, channels: int) -> Any:
    """Expand, filter each channel in space, project; add the input where shapes allow."""
    given = x
    if expansion != 1:
        x = _convolution(x, f"{name}_expand", expansion * x.shape[-1])
    x = layers.DepthwiseConv2D(
        kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise"
    )(x)
    x = _rectified(x, f"{name}_depthwise")
    x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project")(x)
    x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_project_bn")(x)
    return layers.Add(name=f"{name}_add")([given, x]) if x.shape == given.shape else x


def _convolution(x: Any, name: str, channels: int, kernel: int = 1, stride: int = 1) -> Any:
    x = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False, name=name)(x)
    return _rectified(x, name)


def _rectified(x: Any, name: str) -> Any:
    x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x)
