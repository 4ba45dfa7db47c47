"""Alter views of the input, and bring their maps back to the input's frame.

Averaging a method over views steadies its map (test-time augmentation).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from camcore.adapter import Array
from camcore.errors import InputError
from camcore.resize import resize


class Augmentation(Protocol):
    """One altered view of the input."""

    def view(self, images: Array) -> Array:
        """Alter images ``(B, C, *S)``."""

    def undo(self, maps: Array, size: tuple[int, ...]) -> Array:
        """Bring maps ``(B, *S)`` of the view back to the input's frame, at `size`."""


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
            raise InputError(
                f"Flip(axis={self.axis}) counts from the start; count from the end, as -1 or -2."
            )

    def view(self, images: Array) -> Array:
        """Mirror images ``(B, C, *S)``."""
        if -self.axis > images.ndim - 2:
            raise InputError(
                f"Flip(axis={self.axis}) does not fit images with {images.ndim - 2} spatial axes; "
                f"choose from -1 to {2 - images.ndim}."
            )
        return np.flip(images, self.axis)

    def undo(self, maps: Array, size: tuple[int, ...]) -> Array:
        """Mirror maps ``(B, *S)`` back."""
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
        """Multiply images ``(B, C, *S)`` by the factor."""
        scaled: Array = images * images.dtype.type(self.factor)
        return scaled

    def undo(self, maps: Array, size: tuple[int, ...]) -> Array:
        """Return the maps as they are: values were scaled, not positions."""
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
            raise InputError(f"Zoom(factor={self.factor}) leaves nothing; pass a positive number.")

    def view(self, images: Array) -> Array:
        """Resize images ``(B, C, *S)`` by the factor, interpolating linearly."""
        size = tuple(max(1, round(n * self.factor)) for n in images.shape[2:])
        return resize(images, size, leading=2)

    def undo(self, maps: Array, size: tuple[int, ...]) -> Array:
        """Resize maps ``(B, *S)`` to the size that they have without the view."""
        return resize(maps, size, leading=1)


FLIPS_AND_SCALES: tuple[Augmentation, ...] = (Flip(), Multiply(0.9), Multiply(1.1))
"""A mirror image, and a tenth less and a tenth more brightness."""
