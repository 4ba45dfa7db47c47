"""Plain convolutional classifiers."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from architectures.row import Architecture


def images(batch: int, *, size: tuple[int, int] = (64, 64), channels: str = "first") -> Any:
    """Noise, as an array."""
    shape = (batch, 3, *size) if channels == "first" else (batch, *size, 3)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def torch_images(batch: int, size: tuple[int, int] = (64, 64)) -> Any:
    """Noise, as a tensor."""
    import torch

    return torch.from_numpy(images(batch, size=size))


def torchvision(name: str, **options: Any) -> Any:
    """A torchvision classifier of ten classes."""
    import torch
    import torchvision

    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None, num_classes=10, **options).eval()


def application(name: str) -> Any:
    """A Keras application of ten classes that returns logits."""
    import keras

    keras.utils.set_random_seed(0)
    make = getattr(keras.applications, name)
    return make(weights=None, classes=10, classifier_activation=None, input_shape=(64, 64, 3))


def channels_last_to_first(activations: Any) -> Any:
    """``(B, H, W, C)`` to ``(B, C, H, W)``, in either framework."""
    return np.moveaxis(np.asarray(activations), -1, 1)


ARCHITECTURES = [
    *(
        Architecture(
            name=f"torchvision {name}",
            framework="torch",
            make=partial(torchvision, name),
            inputs=torch_images,
            layer=layer,
            score=lambda outputs: outputs[:, 3],
            target=3,
            needs=("torchvision",),
        )
        for name, layer in {
            "resnet18": "layer4",
            "mobilenet_v2": "features",
            "efficientnet_b0": "features",
            "densenet121": "features@activated",
            "convnext_tiny": "features",
        }.items()
    ),
    *(
        Architecture(
            name=f"Keras {name}",
            framework="keras",
            make=partial(application, name),
            inputs=partial(images, channels="last"),
            layer=layer,
            score=lambda outputs: outputs[:, 3],
            target=3,
            arrange=channels_last_to_first,
        )
        for name, layer in {"ResNet50": "conv5_block3_out", "MobileNetV2": "out_relu"}.items()
    ),
]
