"""Networks of signals, of video and of volumes."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from architectures.convolutional import channels_last_to_first
from architectures.row import Architecture

KIND = "Signals, video, volumes"


def noise(batch: int, *size: int) -> Any:
    """Samples of this size, as an array."""
    return np.random.default_rng(0).normal(size=(batch, *size)).astype(np.float32)


def torch_noise(batch: int, *size: int) -> Any:
    """Samples of this size, as a tensor."""
    import torch

    return torch.from_numpy(noise(batch, *size))


def torch_heartbeats(batch: int) -> Any:
    """Electrocardiograms ``(B, 2, 250)``, as a tensor."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(heartbeats(batch), -1, 1)))


def heartbeats(batch: int, leads: int = 2, length: int = 250) -> Any:
    """Electrocardiograms ``(B, 250, 2)``: five bumps a beat, and the drift of breathing."""
    rng, time = np.random.default_rng(0), np.linspace(0, 2, length)
    signals = np.empty((batch, length, leads), np.float32)
    bumps = [(-0.2, 0.15, 25), (-0.03, -0.1, 10), (0, 1, 10), (0.03, -0.25, 10), (0.25, 0.3, 40)]
    for i in range(batch):
        beats = np.arange(0.3, 2, 0.6 + 0.2 * rng.random())
        signal = 0.1 * np.sin(2 * np.pi * 0.3 * time + i)
        for offset, height, width in bumps:
            at = (time[:, None] - beats - offset) / (width / 1000)
            signal = signal + height * np.exp(-(at**2) / 2).sum(axis=1)
        strength = 1 - 0.4 * np.arange(leads)
        signals[i] = signal[:, None] * strength + 0.02 * rng.normal(size=(length, leads))
    return signals


def ecg_in_torch() -> Any:
    """Three convolutions over a signal of two leads."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv1d(2, 8, 15, stride=2), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(8, 12, 9), nn.BatchNorm1d(12), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(12, 5),
    ).eval()  # fmt: skip


def ecg_in_keras() -> Any:
    """The same kind of network in Keras."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((250, 2)),
            layers.Conv1D(8, 15, strides=2, name="one"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="rectifier"),
            layers.MaxPooling1D(name="pool"),
            layers.Conv1D(12, 9, activation="relu", name="two"),
            layers.GlobalAveragePooling1D(name="mean"),
            layers.Dense(5, name="fc"),
        ]
    )


def video_in_torch() -> Any:
    """torchvision's R3D-18."""
    import torch
    from torchvision.models.video import r3d_18

    torch.manual_seed(0)
    return r3d_18(weights=None, num_classes=5).eval()


def video_in_keras() -> Any:
    """Separate convolutions over space and over time, as in R(2+1)D."""
    import keras

    keras.utils.set_random_seed(0)
    layers, same = keras.layers, {"padding": "same"}
    return keras.Sequential(
        [
            keras.Input((6, 20, 24, 3)),
            layers.Conv3D(6, (1, 5, 5), strides=(1, 2, 2), name="space", **same),
            layers.Conv3D(8, (3, 1, 1), activation="relu", name="time", **same),
            layers.Conv3D(8, 3, strides=2, activation="relu", name="both", **same),
            layers.GlobalAveragePooling3D(name="mean"),
            layers.Dense(5, name="fc"),
        ]
    )


def monai_densenet() -> Any:
    """MONAI's DenseNet121 of volumes, four channels wide at the start."""
    import torch
    from monai.networks.nets import DenseNet121

    torch.manual_seed(0)
    return DenseNet121(
        spatial_dims=3, in_channels=1, out_channels=5, init_features=8, growth_rate=4
    ).eval()


def brains(batch: int) -> Any:
    """The MNI152 template that ships with nilearn, thinned out, and its mirror image."""
    import torch
    from nilearn.datasets import load_mni152_template

    whole = np.asarray(load_mni152_template(resolution=8).get_fdata(), np.float32)
    pair = np.stack([whole, whole[::-1]])[:batch, None]
    return torch.from_numpy(np.ascontiguousarray(pair))


def volume_net() -> Any:
    """Two convolutions over a volume."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv3d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2),
        nn.Conv3d(6, 8, 3, padding=1), nn.ReLU(inplace=True),
        nn.Flatten(), nn.LazyLinear(5),
    ).eval()  # fmt: skip


def built(make: Any, inputs: Any) -> Any:
    """A model with lazy layers, run once."""
    model = make()
    model(inputs(1))
    return model


def row(name: str, framework: Any, **other: Any) -> Architecture:
    last = {} if framework == "torch" else {"arrange": channels_last_to_first}
    score = {"score": lambda outputs: outputs[:, 3], "target": 3, "kind": KIND}
    return Architecture(name, framework, **(score | last | other))


ARCHITECTURES = [
    row("signal: electrocardiogram", "torch", make=ecg_in_torch,
        inputs=torch_heartbeats, layer="6"),
    row("signal: electrocardiogram, Keras", "keras", make=ecg_in_keras,
        inputs=heartbeats, layer="two"),
    row("video: torchvision r3d_18", "torch", make=video_in_torch,
        inputs=lambda batch: torch_noise(batch, 3, 6, 32, 48), layer="layer4",
        needs=("torchvision",)),
    row("video: Conv3D, Keras", "keras", make=video_in_keras,
        inputs=lambda batch: noise(batch, 6, 20, 24, 3), layer="both"),
    row("volume: MONAI DenseNet121", "torch", make=monai_densenet,
        inputs=lambda batch: torch_noise(batch, 1, 64, 32, 64), layer="class_layers.relu",
        needs=("monai",)),
    row("volume: the MNI152 brain", "torch", make=partial(built, volume_net, brains),
        inputs=brains, layer="4", needs=("nilearn",)),
]  # fmt: skip
