"""Read what a model takes back into pictures, whatever scaled the photographs' pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from camcore.adapter import Array

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

_BLOCKS = 28
"""Into how many blocks a side pictures are cut, whose means are compared: the means of what was
scaled down by other filters are the same."""

_LEVELS = 4.0
"""How far means may be off, of 255 levels in the root mean square."""

_SIMPLER = 1.1
"""How much farther off channels may be one by one than all together, to be taken so."""


@dataclass(frozen=True, eq=False)
class ReadBack:
    """Reads images ``(C, H, W)`` of a model back into pictures.

    Parameters
    ----------
    weights : (3, C) array
        What red, green and blue have of each channel, in levels from 0 to 255.
    offset : (3,) array
        What is added.
    known : bool
        Whether these are the photographs' own colours; else each channel is stretched over the
        range that it has.
    """

    weights: Floats
    offset: Floats
    known: bool

    @classmethod
    def of(cls, images: Sequence[Array], views: Sequence[Picture | None]) -> ReadBack:
        """Find how pixels were scaled, by images and pictures of the same.

        Parameters
        ----------
        images : sequence of (C, H, W) arrays
            What the model takes.
        views : sequence of (H, W, 3) uint8 arrays, or None
            What each is of, as a person sees it; None where that is not known.

        Returns
        -------
        ReadBack
        """
        pairs = [(a, b) for a, b in zip(images, views, strict=True) if b is not None]
        if pairs:
            scaled = np.concatenate([_means(np.moveaxis(a, 0, -1)) for a, _ in pairs])
            seen = np.concatenate([_means(b) for _, b in pairs])
            found = _fitted(scaled, seen) if np.ptp(seen) > _LEVELS else None
            if found is not None:
                return cls(*found, True)
        return cls(*_stretched(images), False)

    def __call__(self, image: Array) -> Picture:
        """Read an image ``(C, H, W)`` back into a picture ``(H, W, 3)``, cut to its range."""
        levels = np.moveaxis(image, 0, -1).astype(np.float64) @ self.weights.T + self.offset
        picture: Picture = np.rint(np.clip(levels, 0, 255)).astype(np.uint8)
        return picture


def _means(picture: Array) -> Floats:
    """Average blocks of a picture ``(H, W, C)``, ``(N, C)``."""
    rows, columns = (
        np.linspace(0, side, min(side, _BLOCKS) + 1).astype(int)[:-1] for side in picture.shape[:2]
    )
    sums = np.add.reduceat(np.add.reduceat(picture.astype(np.float64), rows, 0), columns, 1)
    ends = [np.diff([*at, side]) for at, side in zip((rows, columns), picture.shape, strict=False)]
    means: Floats = sums / (ends[0][:, None] * ends[1])[..., None]
    return means.reshape(-1, picture.shape[2])


def _fitted(scaled: Floats, seen: Floats) -> tuple[Floats, Floats] | None:
    """Fit levels ``(N, 3)`` to channels ``(N, C)``: one by one if that will do, else all together.

    A channel of its own for each colour is known better than a mixture of all, where photographs
    have few colours.
    """
    count = scaled.shape[1]
    orders = [(0, 1, 2), (2, 1, 0)] if count == 3 else [(0, 0, 0)] if count == 1 else []
    together = _least_squares(scaled, seen)
    for order in orders:
        weights, offset = np.zeros((3, count)), np.zeros(3)
        for colour, channel in enumerate(order):
            slope, (offset[colour],) = _least_squares(
                scaled[:, channel, None], seen[:, colour, None]
            )
            weights[colour, channel] = slope[0, 0]
        found = weights, offset
        if _off(scaled, seen, found) <= max(_SIMPLER * _off(scaled, seen, together), 0.5):
            together = found
            break
    return together if _off(scaled, seen, together) <= _LEVELS else None


def _least_squares(scaled: Floats, seen: Floats) -> tuple[Floats, Floats]:
    middle, centre = scaled.mean(axis=0), seen.mean(axis=0)
    slopes = np.linalg.lstsq(scaled - middle, seen - centre, rcond=1e-6)[0].T
    return slopes, centre - slopes @ middle


def _off(scaled: Floats, seen: Floats, found: tuple[Floats, Floats]) -> float:
    return float(np.sqrt(np.mean(np.square(scaled @ found[0].T + found[1] - seen))))


def _stretched(images: Sequence[Array]) -> tuple[Floats, Floats]:
    """Stretch each of three channels over its range, or the mean of others in grey."""
    count = images[0].shape[0]
    mixing = np.eye(3) if count == 3 else np.full((3, count), 1 / count)
    mixed = np.concatenate([mixing @ image.reshape(count, -1) for image in images], axis=1)
    low, high = mixed.min(axis=1), mixed.max(axis=1)
    scale = 255 / np.where(high > low, high - low, 1)
    return mixing * scale[:, None], -low * scale
