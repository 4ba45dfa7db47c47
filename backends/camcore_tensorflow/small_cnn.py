"""The small convolutional network that studies train, in Keras."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from camcore.adapter import Array

__all__ = ["train"]

# Keras adds it before it corrects Adam's moments, PyTorch after; so small, it is one.
EPSILON = 1e-12


def train(
    parameters: Mapping[str, Sequence[Array]],
    batches: Iterable[tuple[Array, Array]],
    *,
    rate: float = 1e-3,
) -> Any:
    """Train two convolutions, each rectified and pooled, and two linear layers.

    Parameters
    ----------
    parameters : mapping of str to sequence of array
        Kernel and bias to begin with, of ``"conv1"`` and ``"conv2"``, ``(O, C, K, K)`` with K
        odd, and of ``"fc1"`` and ``"fc2"``, ``(O, C)``; their sizes are the network's.
    batches : iterable of ((N, C, H, W) float32 array, (N,) array)
        Images and their classes, in the order in which they are learnt. None leave the network
        as it begins.
    rate : float
        Adam's learning rate.

    Returns
    -------
    keras.Model
        From images ``(N, H, W, C)`` to logits ``(N, K)``. Its layers are ``conv1``, ``relu1``,
        ``pool1``, ``conv2``, ``relu2``, ``pool2``, ``channels_first``, ``flatten``, ``fc1``,
        ``relu3`` and ``fc2``; that before ``flatten`` gives ``fc1`` the order that it has in
        PyTorch.
    """
    network = _built(parameters)
    network.compile(
        optimizer=keras.optimizers.Adam(rate, epsilon=EPSILON),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    for images, labels in batches:
        network.train_on_batch(np.moveaxis(images, 1, -1), labels)
    return network


def _built(parameters: Mapping[str, Sequence[Array]]) -> Any:
    kernels = {name: kernel.shape for name, (kernel, _) in parameters.items()}
    channels = kernels["conv1"][1]
    # After both poolings a side is a quarter; the images are squares.
    side = 4 * round((kernels["fc1"][1] / kernels["conv2"][0]) ** 0.5)
    layers: list[Any] = [keras.Input((side, side, channels))]
    for at in "12":
        out, _, window, _ = kernels[f"conv{at}"]
        layers.append(keras.layers.Conv2D(out, window, padding="same", name=f"conv{at}"))
        layers.append(keras.layers.ReLU(name=f"relu{at}"))
        layers.append(keras.layers.MaxPooling2D(2, name=f"pool{at}"))
    layers.append(keras.layers.Permute((3, 1, 2), name="channels_first"))
    layers.append(keras.layers.Flatten(name="flatten"))
    layers.append(keras.layers.Dense(kernels["fc1"][0], name="fc1"))
    layers.append(keras.layers.ReLU(name="relu3"))
    layers.append(keras.layers.Dense(kernels["fc2"][0], name="fc2"))
    network = keras.Sequential(layers)
    for name, (kernel, bias) in parameters.items():
        # Kernels are (O, C, *K) here and (*K, C, O) in Keras.
        network.get_layer(name).set_weights([np.moveaxis(kernel, (0, 1), (-1, -2)), bias])
    return network
