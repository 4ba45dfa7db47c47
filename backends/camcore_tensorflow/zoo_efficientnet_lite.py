"""EfficientNet-Lite for Keras: the same network that PyTorch users know, weight for weight."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import layers

from camcore._shared.efficientnet_lite import EPSILON, HEAD, SIZES, STEM, Block, blocks
from camcore.adapter import Array


def efficientnet_lite(name: str = "efficientnet_lite0", classes: int = 1000) -> keras.Model:
    """Build the network with random weights.

    Parameters
    ----------
    name : {"efficientnet_lite0", "efficientnet_lite2"}
        Which size of it.
    classes : int
        Number of logits.

    Returns
    -------
    keras.Model
        Takes photographs, ``(B, 224, 224, 3)`` or ``(B, 260, 260, 3)``, as ``(x - 127) / 128`` of
        their pixels, and gives logits, ``(B, classes)``.
    """
    network = SIZES[name]
    inputs = keras.Input((network.side, network.side, 3), name="image")
    x = _convolution(inputs, "stem", STEM, kernel=3, stride=2)
    for block in blocks(network):
        x = _block(x, block)
    x = _convolution(x, "head", HEAD)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x), name=name)


def load_torch_state(model: keras.Model, tensors: Iterable[Array]) -> None:
    """Fill the network from a PyTorch state dict.

    Parameters
    ----------
    model : keras.Model
        From `efficientnet_lite`.
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
        raise ValueError("The state dict holds more tensors than the network has.")


def _block(x: Any, block: Block) -> Any:
    """Expand, filter each channel in space, project; add the input where shapes allow."""
    given, name = x, block.name
    if block.expansion != 1:
        x = _convolution(x, f"{name}_expand", block.expansion * block.given)
    x = layers.DepthwiseConv2D(
        block.kernel, block.stride, padding="same", use_bias=False, name=f"{name}_depthwise"
    )(x)
    x = _rectified(x, f"{name}_depthwise")
    x = layers.Conv2D(block.channels, 1, use_bias=False, name=f"{name}_project")(x)
    x = layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_project_bn")(x)
    return layers.Add(name=f"{name}_add")([given, x]) if block.adds else x


def _convolution(x: Any, name: str, channels: int, kernel: int = 1, stride: int = 1) -> Any:
    x = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False, name=name)(x)
    return _rectified(x, name)


def _rectified(x: Any, name: str) -> Any:
    x = layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x)
