"""Rows of the speed table in JAX: networks of Flax."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import nnx
from timing import Case, Run, explained

from camcore.targets import top
from camcore_jax.zoo_efficientnet_lite import EfficientNetLite0

STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
"""Channels within a block, blocks, and the stride of the first, of ResNet-50."""


def cases() -> Iterator[Case]:
    """List every row."""
    for batch in (1, 8):
        yield Case(
            f"JAX ResNet-50, Grad-CAM, batch {batch}", 1.10, partial(gradcam, ResNet50, batch)
        )
    yield Case("JAX ResNet-50, five classes", 1.15, five)
    yield Case(
        "JAX EfficientNet-Lite0, Grad-CAM, batch 1", 1.10, partial(gradcam, EfficientNetLite0, 1)
    )
    yield Case("JAX ResNet-50, Ablation-CAM, 2048 channels", 12, ablation, rounds=5)


class Convolution(nnx.Module):
    """A convolution and its batch normalisation."""

    def __init__(self, given: int, channels: int, kernel: int, stride: int, rngs: Any) -> None:
        how = {"strides": stride, "use_bias": False, "rngs": rngs}
        self.conv = nnx.Conv(given, channels, (kernel, kernel), **how)
        self.norm = nnx.BatchNorm(channels, use_running_average=True, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolve and normalise."""
        return self.norm(self.conv(x))


class Bottleneck(nnx.Module):
    """A residual block of three convolutions."""

    def __init__(self, given: int, channels: int, stride: int, rngs: Any) -> None:
        out = 4 * channels
        self.narrow = Convolution(given, channels, 1, 1, rngs)
        self.space = Convolution(channels, channels, 3, stride, rngs)
        self.wide = Convolution(channels, out, 1, 1, rngs)
        changes = given != out or stride > 1
        self.beside = Convolution(given, out, 1, stride, rngs) if changes else None

    def __call__(self, x: jax.Array) -> jax.Array:
        """Add what the convolutions make of the input to it."""
        y = self.wide(nnx.relu(self.space(nnx.relu(self.narrow(x)))))
        return nnx.relu(y + (x if self.beside is None else self.beside(x)))


class ResNet50(nnx.Module):
    """ResNet-50 with random weights."""

    def __init__(self) -> None:
        rngs, given = nnx.Rngs(0), 64
        self.stem = Convolution(3, 64, 7, 2, rngs)
        blocks = []
        for channels, count, stride in STAGES:
            for i in range(count):
                blocks.append(Bottleneck(given, channels, 1 if i else stride, rngs))
                given = 4 * channels
        self.blocks = nnx.List(blocks)
        self.fc = nnx.Linear(given, 1000, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Score the classes."""
        x = nnx.max_pool(nnx.relu(self.stem(x)), (3, 3), (2, 2), "SAME")
        for block in self.blocks:
            x = block(x)
        return self.fc(x.mean((1, 2)))


def model_and_images(make: Any, batch: int) -> tuple[Any, np.ndarray]:
    """Make a model with random weights and a batch of noise."""
    images = np.random.default_rng(0).normal(size=(batch, 224, 224, 3)).astype(np.float32)
    return make(), images


def forward(model: Any, images: np.ndarray) -> Run:
    """Run the compiled forward pass, its state split off beforehand."""
    definition, state = nnx.split(model)
    compiled = jax.jit(lambda state, x: nnx.merge(definition, state)(x))
    return lambda: np.asarray(compiled(state, images))


def gradcam(make: Any, batch: int) -> tuple[Run, dict[str, Run]]:
    """Explain the predicted class by Grad-CAM."""
    model, images = model_and_images(make, batch)
    return explained(model, images, forward(model, images))


def five() -> tuple[Run, dict[str, Run]]:
    """Explain five classes of one image."""
    model, images = model_and_images(ResNet50, 1)
    return explained(model, images, forward(model, images), top(5))


def ablation() -> tuple[Run, dict[str, Run]]:
    """Ablate all 2,048 channels of the last block."""
    model, images = model_and_images(ResNet50, 1)
    passes = forward(model, images)
    return explained(model, images, passes, method="ablationcam", progress=False)
