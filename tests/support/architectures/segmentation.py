"""Semantic segmentation: a class everywhere, a class in a region, one pixel."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from architectures.convolutional import channels_last_to_first, images, torch_images
from architectures.row import Architecture
from camcore.targets import Segmentation

KIND = "Segmentation"
SIDE = 64


def segmenter(name: str) -> Any:
    """A torchvision segmentation network of five classes."""
    import torch
    from torchvision.models import segmentation

    torch.manual_seed(0)
    make = getattr(segmentation, name)
    return make(weights=None, weights_backbone=None, num_classes=5, aux_loss=None).eval()


def lraspp() -> Any:
    """torchvision's LR-ASPP on MobileNetV3, five classes."""
    import torch
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    torch.manual_seed(0)
    return lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5).eval()


def keras_unet(activation: str | None = None) -> Any:
    """A U-Net of two levels and three classes."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)

    def block(x: Any, filters: int, name: str) -> Any:
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"{name}_1")(x)
        return layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"{name}_2")(x)

    x = inputs = layers.Input((SIDE, SIDE, 3))
    high = block(x, 4, "down")
    middle = block(layers.MaxPooling2D(name="pool_high")(high), 6, "middle")
    deep = block(layers.MaxPooling2D(name="pool_middle")(middle), 8, "bottleneck")
    x = layers.Conv2DTranspose(6, 2, strides=2, name="up_middle")(deep)
    x = block(layers.Concatenate(name="join_middle")([x, middle]), 6, "up")
    x = layers.UpSampling2D(name="up_high")(x)
    x = block(layers.Concatenate(name="join_high")([x, high]), 4, "top")
    outputs = layers.Conv2D(3, 1, activation=activation, name="classes")(x)
    return keras.Model(inputs, outputs)


def region() -> np.ndarray:
    """A rectangle."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[10:40, 20:50] = True
    return mask


def pixel(row: int, column: int) -> np.ndarray:
    """One place."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[row, column] = True
    return mask


def in_torch(mask: Any = 1.0) -> Any:
    """Score of class 2 in a region."""

    def score(outputs: Any) -> Any:
        import torch

        weights = torch.as_tensor(mask, dtype=torch.float32)
        return (outputs["out"][:, 2] * weights).sum((1, 2))

    return score


def in_keras(mask: Any = 1.0) -> Any:
    """Score of class 2 in a region."""

    def score(outputs: Any) -> Any:
        import tensorflow as tf

        return tf.reduce_sum(outputs[..., 2] * np.asarray(mask, np.float32), (1, 2))

    return score


torchvision_row = partial(
    Architecture,
    framework="torch",
    inputs=torch_images,
    needs=("torchvision",),
    kind=KIND,
    tolerance=2e-5,
)
unet_row = partial(
    Architecture,
    framework="keras",
    make=keras_unet,
    inputs=partial(images, channels="last"),
    layer="top_2",
    arrange=channels_last_to_first,
    kind=KIND,
    tolerance=1e-4,  # sums over thousands of positions
)

ARCHITECTURES = [
    torchvision_row(
        name="torchvision DeepLabV3, a class",
        make=partial(segmenter, "deeplabv3_mobilenet_v3_large"),
        layer="classifier.3",
        score=in_torch(),
        target=Segmentation(2),
    ),
    torchvision_row(
        name="torchvision DeepLabV3, a class in a region",
        make=partial(segmenter, "deeplabv3_mobilenet_v3_large"),
        layer="classifier.3",
        score=in_torch(region()),
        target=Segmentation(2, region()),
    ),
    torchvision_row(
        name="torchvision LR-ASPP, one pixel",
        make=lraspp,
        layer="classifier.cbr",
        score=in_torch(pixel(20, 30)),
        target=Segmentation(2, pixel(20, 30)),
    ),
    torchvision_row(
        name="torchvision FCN, a class",
        make=partial(segmenter, "fcn_resnet50"),
        layer="classifier.2",
        score=in_torch(),
        target=Segmentation(2),
    ),
    unet_row(name="Keras U-Net, a class", score=in_keras(), target=Segmentation(2)),
    unet_row(
        name="Keras U-Net, a class in a region",
        score=in_keras(region()),
        target=Segmentation(2, region()),
    ),
    unet_row(
        name="Keras U-Net, one pixel",
        score=in_keras(pixel(20, 30)),
        target=Segmentation(2, pixel(20, 30)),
    ),
]
