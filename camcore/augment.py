"""Altered views of the input, and how a map of one is brought back to the input's frame.

Averaging a method over views steadies its map (test-time augmentation).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from camcore.adapter import Array
from camcore.errors import InputError
from camcore.resize import Interpolation, resize


class Augmentation(Protocol):
    """One view of the input."""

    def view(self, images: Array) -> Array:
        """Alter images ``(B, C, *S)``."""

    def undo(self, maps: Array, size: tuple[int, ...]) -> Array:
        """Bring maps ``(B, *S)`` of the view back to the input's frame, at the given size."""


@dataclass(frozen=True)
class Flip:
    """Mirror along one spatial axis.

    Parameters
    ----------
    axis : int
        Spatial axis, counted from the end (-1 is left to right in an image).
    """

    axis: int = -1

    def __post_init__(self) -> None:
        if self.axis >= 0:
            raise InputError(f"Flip(axis={self.axis}); count the axis from the end, as -1 or -2.")

    def view(self, images: Array) -> Array:
        """Mirrored images."""
        if -self.axis > images.ndim - 2:
            raise InputError(f"Flip(axis={self.axis}) on images with {images.ndim - 2} axes.")
        return np.flip(images, self.axis)

    def undo(self, maps: Array, size: tuple[int, ...]) -> Array:
        """Mirrored back."""
        return np.flip(maps, self.axis)


@dataclass(frozen=True)
class Multiply:
    """Scale the input's values, such as a photograph's brightness.

    Parameters
    ----------
    factor : float
        What every value is multiplied by.
    """

    factor: float

    def view(self, images: Array) -> Array:
        """Images times the factor."""
        scaled: Array = images * images.dtype.type(self.factor)
        return scaled

    def undo(self, maps: Array, size: tuple[int, ...]) -> Array:
        """The maps: values were scaled, not places."""
        return maps


@dataclass(frozen=True)
class Zoom:
    """Enlarge or shrink the input; the model must take inputs of other sizes.

    Parameters
    ----------
    factor : float
        What every spatial length is multiplied by.
    """

    factor: float

    def __post_init__(self) -> None:
        if not self.factor > 0:
            raise InputError(f"Zoom(factor={self.factor}); a positive number is expected.")

    def view(self, images: Array) -> Array:
        """Images at the new size, interpolated linearly."""
        size = tuple(max(1, round(n * self.factor)) for n in images.shape[2:])
        return resize(images, size, Interpolation())

    def undo(self, maps: Array, size: tuple[int, ...]) -> Array:
        """Maps at the size they have without the view."""
        return resize(maps, size, Interpolation())


FLIPS_AND_SCALES: tuple[Augmentation, ...] = (Flip(), Multiply(0.9), Multiply(1.1))
"""A mirror image, and a tenth less and more brightness."""
