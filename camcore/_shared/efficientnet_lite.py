"""EfficientNet-Lite, layer by layer, as every framework's demonstration builds it.

It is MobileNetV2's inverted residuals at EfficientNet's sizes, without squeeze-and-excitation
and with ReLU6, ending in global average pooling and one dense layer (Tan & Le, "EfficientNet:
Rethinking Model Scaling for Convolutional Neural Networks", 2019).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from types import MappingProxyType
from typing import Final

SIZE: Final = 224
"""Side of the square that it takes, in pixels."""

STEM: Final = 32
"""Channels of the first convolution, 3×3 with stride 2."""

HEAD: Final = 1280
"""Channels of the last one, 1×1."""

EPSILON: Final = 1e-3
"""What batch normalisations add to the variance."""

_STAGES: Final = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Repeats, kernel, stride of the first repeat, expansion and channels."""


@dataclass(frozen=True)
class Scaled:
    """A size of the network.

    Parameters
    ----------
    side : int
        Of the square that it takes, in pixels.
    width, depth : float
        How many times Lite0's channels, and blocks of its inner stages.
    """

    side: int
    width: float
    depth: float


LITE0: Final = Scaled(SIZE, 1.0, 1.0)

SIZES: Final = MappingProxyType(
    {"efficientnet_lite0": LITE0, "efficientnet_lite2": Scaled(260, 1.1, 1.2)}
)
"""The sizes whose weights packages bring, by name."""


@dataclass(frozen=True)
class Block:
    """One inverted residual.

    Parameters
    ----------
    name : str
        What its layers' names begin with.
    kernel, stride : int
        Of the convolution in space, each channel by itself.
    expansion : int
        How many times the channels are multiplied first.
    given, channels : int
        Channels of what it takes and gives.
    """

    name: str
    kernel: int
    stride: int
    expansion: int
    given: int
    channels: int

    @property
    def adds(self) -> bool:
        """Whether what it takes is added to what it gives."""
        return self.stride == 1 and self.given == self.channels


def blocks(network: Scaled = LITE0) -> Iterator[Block]:
    """Describe the blocks between stem and head, in order."""
    given = STEM
    for stage, (repeats, kernel, stride, expansion, plain) in enumerate(_STAGES, start=1):
        channels = int(network.width * plain + 4) // 8 * 8
        inner = 1 < stage < len(_STAGES)
        for repeat in range(ceil(network.depth * repeats) if inner else repeats):
            name = f"block{stage}{'abcde'[repeat]}"
            yield Block(name, kernel, 1 if repeat else stride, expansion, given, channels)
            given = channels
