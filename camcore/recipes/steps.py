"""The steps from a signed map to the shown one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from camcore import postprocess
from camcore.adapter import Array
from camcore.postprocess import Scale
from camcore.resize import Interpolation, resize


class Step(Protocol):
    """One step from the signed map towards the shown one."""

    def __call__(self, maps: Array, size: tuple[int, ...]) -> Array:
        """Apply to maps ``(B, *S)``; `size` is the spatial size they are to have."""


@dataclass(frozen=True)
class Relu:
    """Keep what is positive."""

    def __call__(self, maps: Array, size: tuple[int, ...]) -> Array:
        """Apply to maps ``(B, *S)``."""
        return postprocess.relu(maps)

    def __str__(self) -> str:
        return "ReLU"


@dataclass(frozen=True)
class Normalise:
    """Scale each map by its own extremes; see `camcore.postprocess.normalise`."""

    scale: Scale = "max"
    eps: float = 0.0
    outliers: float = 0.0

    def __call__(self, maps: Array, size: tuple[int, ...]) -> Array:
        """Apply to maps ``(B, *S)``."""
        return postprocess.normalise(maps, self.scale, eps=self.eps, outliers=self.outliers)

    def __str__(self) -> str:
        return postprocess.scaling(self.scale, self.eps, self.outliers)


@dataclass(frozen=True)
class Stretch:
    """Map each map's own minimum to `low` and its maximum to `high`.

    A map that is constant is multiplied by `low` instead, as MONAI's ``ScaleIntensity``
    does, so that a map of zeros stays one.
    """

    low: float = 1.0
    high: float = 0.0

    def __call__(self, maps: Array, size: tuple[int, ...]) -> Array:
        """Apply to maps ``(B, *S)``."""
        axes = tuple(range(1, maps.ndim))
        low, high = maps.min(axis=axes, keepdims=True), maps.max(axis=axes, keepdims=True)
        unit = postprocess.normalise(maps, "min_max")
        stretched: Array = np.where(
            low == high, maps * self.low, unit * (self.high - self.low) + self.low
        ).astype(maps.dtype)
        return stretched

    def __str__(self) -> str:
        if (self.low, self.high) == (1, 0):
            return "1 - (x - min) / (max - min)"
        return f"{self.low:g} .. {self.high:g} from min .. max"


@dataclass(frozen=True)
class Tanh:
    """The hyperbolic tangent of `gain` times the map, which brings layers to one scale."""

    gain: float = 2.0

    def __call__(self, maps: Array, size: tuple[int, ...]) -> Array:
        """Apply to maps ``(B, *S)``."""
        squashed: Array = np.tanh(maps.dtype.type(self.gain) * maps)
        return squashed

    def __str__(self) -> str:
        return f"tanh({self.gain:g} x)"


@dataclass(frozen=True)
class Levels:
    """Cut a map in [0, 1] down to whole multiples of 1 / count, as a picture of bytes does."""

    count: int = 255

    def __call__(self, maps: Array, size: tuple[int, ...]) -> Array:
        """Apply to maps ``(B, *S)``."""
        levels: Array = np.floor(maps * self.count) / maps.dtype.type(self.count)
        return levels

    def __str__(self) -> str:
        return f"floor({self.count} x) / {self.count}"


@dataclass(frozen=True)
class Resize:
    """Bring the map to the size asked for: the input's, or that of the largest layer.

    Parameters
    ----------
    interpolation : Interpolation
        How.
    volumes : Interpolation or None
        How in three dimensions, where it is otherwise there.
    """

    interpolation: Interpolation = field(default_factory=Interpolation)
    volumes: Interpolation | None = None

    def __call__(self, maps: Array, size: tuple[int, ...]) -> Array:
        """Apply to maps ``(B, *S)``; left alone where `size` has another rank."""
        if len(size) != maps.ndim - 1:
            return maps
        own = self.volumes if self.volumes is not None and len(size) == 3 else self.interpolation
        return resize(maps, size, own)

    def __str__(self) -> str:
        volumes = f" (volumes {self.volumes})" if self.volumes else ""
        return f"resize, {self.interpolation}{volumes}"


def apply(steps: Sequence[Step], maps: Array, size: tuple[int, ...]) -> Array:
    """Apply the steps to maps ``(B, *S)``, one after the other."""
    for step in steps:
        maps = step(maps, size)
    return maps


def described(steps: Sequence[Step]) -> str:
    """Describe the steps in one line."""
    return " -> ".join(map(str, steps)) or "as it is"
