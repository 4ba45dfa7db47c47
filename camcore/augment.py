"""Alter views of the input, and bring their maps back to the input's frame.

Averaging a method over views steadies its map (test-time augmentation). At each place the
average is over the views that show it, each with its own weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Protocol, runtime_checkable

import numpy as np

from camcore.adapter import Array
from camcore.errors import InputError
from camcore.resize import along_axes, resize


class Augmentation(Protocol):
    """One altered view of the input."""

    def view(self, images: Array) -> Array:
        """Alter images ``(B, C, *S)``."""

    def undo(self, maps: Array, size: tuple[int, ...]) -> Array:
        """Bring maps ``(B, *S)`` of the view back to the input's frame, at `size`.

        Linear in the maps. A map of ones comes back as the share of each place that the view
        shows, which is what its part of the average is divided by.
        """


@runtime_checkable
class Weighted(Protocol):
    """A view that counts by its score."""

    def weight(self, scores: Array, whole: Array) -> Array:
        """Weigh the view ``(B,)`` by its scores ``(B,)`` and those of the input itself.

        The input's own weight is 1, as is that of views that do not say it.
        """


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


@dataclass(frozen=True)
class Crop:
    """Enlarge a part of the input to the size of the whole; it counts by its score.

    Parameters
    ----------
    scale : float
        How many times the part fits along each spatial axis; above 1.
    corner : tuple of float
        Where the part lies along each spatial axis, from 0, at the start, to 1, at the end.
    """

    scale: float
    corner: tuple[float, ...]

    def __post_init__(self) -> None:
        if not 1 < self.scale < np.inf:
            raise InputError(
                f"Crop(scale={self.scale}) is no part of the input; pass a number above 1."
            )
        if not self.corner or not all(0 <= at <= 1 for at in self.corner):
            raise InputError(
                f"Crop(corner={self.corner}) does not lie in the input; pass a number from 0 to 1 "
                "for each spatial axis."
            )

    def view(self, images: Array) -> Array:
        """Cut the part out of images ``(B, C, *S)`` enlarged linearly, at their own size."""
        size = images.shape[2:]
        self._check(len(size))
        large = tuple(round(n * self.scale) for n in size)
        starts = [round(at * (m - n)) for at, m, n in zip(self.corner, large, size, strict=True)]
        part = [slice(start, start + n) for start, n in zip(starts, size, strict=True)]
        enlarged = resize(images, large, leading=2)
        return enlarged[(slice(None), slice(None), *part)]

    def undo(self, maps: Array, size: tuple[int, ...]) -> Array:
        """Lay maps ``(B, *S)`` where the part is, zero elsewhere.

        A place that holds several of the map's, or parts of them, has their mean by area.
        """
        self._check(len(size))
        shares = []
        for at, n, own in zip(self.corner, size, maps.shape[1:], strict=True):
            start = at * (1 - 1 / self.scale)
            edges = (start + np.arange(own + 1) / (own * self.scale)) * n
            places = np.arange(n)[:, None]
            shared = np.minimum(edges[1:], places + 1) - np.maximum(edges[:-1], places)
            shares.append(np.maximum(shared, 0).astype(maps.dtype).T)
        return along_axes(maps, shares, leading=1)

    def weight(self, scores: Array, whole: Array) -> Array:
        """Weigh by what of the input's own score the part has, 0 where its score is negative.

        Raises
        ------
        InputError
            The input's own score is not positive, so that shares of it mean nothing.
        """
        if not np.all(whole > 0):
            raise InputError(
                "Crops count by their score as a share of the input's own, which is "
                f"{float(np.min(whole)):g}. Explain a probability, as in "
                "target=camcore.targets.Probability(c), or a class of positive score."
            )
        share: Array = np.maximum(scores, 0) / whole
        return share

    def _check(self, rank: int) -> None:
        if len(self.corner) != rank:
            raise InputError(
                f"Crop(corner={self.corner}) has {len(self.corner)} numbers for {rank} spatial "
                "axes; pass one for each."
            )


def crops(
    scales: Sequence[float] = (1.5, 2.0), step: float = 0.5, rank: int = 2
) -> tuple[Crop, ...]:
    """List the windows that slide over the input enlarged to each of the scales (SESS).

    With ``augment=crops()`` maps of the input and of its parts are averaged, each by its score,
    at every place over those that show it.

    Parameters
    ----------
    scales : sequence of float
        How many times the input is enlarged.
    step : float
        How far a window moves at most, as a share of its side.
    rank : int
        Number of spatial axes.

    Returns
    -------
    tuple of Crop
        For each scale, windows evenly spaced from edge to edge.

    Raises
    ------
    InputError
        A scale is not above 1, the step is not in (0, 1], or there is no axis.

    References
    ----------
    Tursun et al., "SESS: Saliency Enhancing with Scaling and Sliding", ECCV 2022. There maps
    are scaled to [0, 1] before they are weighted by the softmax, summed, and divided by how
    many are positive at a place; parts of low score are left out, and the result is blurred.
    Here signed maps are averaged by their weights, so that a part of low score hardly counts.
    """
    if not 0 < step <= 1:
        raise InputError(f"step={step}; a share of the window's side, above 0 and at most 1.")
    if not isinstance(rank, (int, np.integer)) or rank < 1:
        raise InputError(f"rank={rank!r}; the number of spatial axes, at least 1.")
    found = []
    for scale in scales:
        count = 1 + int(np.ceil(round((scale - 1) / step, 9))) if 1 < scale < np.inf else 1
        along = np.linspace(0, 1, count).tolist()
        found += [Crop(scale, corner) for corner in product(along, repeat=rank)]
    return tuple(found)


FLIPS_AND_SCALES: tuple[Augmentation, ...] = (Flip(), Multiply(0.9), Multiply(1.1))
"""A mirror image, and a tenth less and a tenth more brightness."""
