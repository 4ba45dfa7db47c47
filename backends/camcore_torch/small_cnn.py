"""The small convolutional network that studies train, in PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from camcore.adapter import Array

__all__ = ["train"]

# Keras adds it before it corrects Adam's moments, PyTorch after; so small, it is one.
EPSILON = 1e-12


def train(
    parameters: Mapping[str, Sequence[Array]],
    batches: Iterable[tuple[Array, Array]],
    *,
    rate: float = 1e-3,
) -> nn.Module:
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
    torch.nn.Module
        In inference mode, from images ``(N, C, H, W)`` to logits ``(N, K)``. Its layers are
        ``conv1``, ``relu1``, ``pool1``, ``conv2``, ``relu2``, ``pool2``, ``flatten``, ``fc1``,
        ``relu3`` and ``fc2``.
    """
    network = _built(parameters)
    optimiser = torch.optim.Adam(network.parameters(), rate, eps=EPSILON)
    loss = nn.CrossEntropyLoss()
    network.train()
    for images, labels in batches:
        optimiser.zero_grad()
        loss(network(torch.from_numpy(images)), torch.from_numpy(labels)).backward()
        optimiser.step()
    return network.eval()


def _built(parameters: Mapping[str, Sequence[Array]]) -> nn.Module:
    kernels = {name: kernel.shape for name, (kernel, _) in parameters.items()}
    layers: dict[str, nn.Module] = {}
    for at in "12":
        out, channels, side, _ = kernels[f"conv{at}"]
        layers[f"conv{at}"] = nn.Conv2d(channels, out, side, padding=side // 2)
        layers[f"relu{at}"] = nn.ReLU()
        layers[f"pool{at}"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    layers["fc1"] = nn.Linear(*kernels["fc1"][::-1])
    layers["relu3"] = nn.ReLU()
    layers["fc2"] = nn.Linear(*kernels["fc2"][::-1])
    network = nn.Sequential()
    for name, layer in layers.items():
        network.add_module(name, layer)
    network.load_state_dict(
        {
            f"{name}.{kind}": torch.from_numpy(np.array(array))
            for name, arrays in parameters.items()
            for kind, array in zip(("weight", "bias"), arrays, strict=True)
        }
    )
    return network
