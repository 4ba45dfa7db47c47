"""Alter images as curves are traced: for the network to be fed, and again for people to see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore._shared.finite import finite
from camcore.adapter import Array
from camcore.errors import InputError
from camcore.metrics.imputation import Baseline, LinearImputer, baseline_of
from camcore.metrics.ranking import Ties, order_of
from camcore.metrics.scoring import checked

Way: TypeAlias = Literal["deletion", "insertion"]

BASELINES: Final[Mapping[Way, Baseline]] = MappingProxyType({"deletion": 0.0, "insertion": "blur"})
"""What deleted positions become, and what inserted ones are put into, with the authors."""

Feed: TypeAlias = Callable[[Array, Array, Array], Iterator[Array]]
"""From an image ``(C, *S)``, its map ``(*S)`` and fractions ``(P,)`` to the P images, altered so
far, that are scored there."""


def curve_images(
    image: Array,
    heat: Array,
    fractions: Array,
    *,
    way: Way,
    baseline: Baseline,
    ties: Ties = "first",
    seed: int = 0,
) -> Iterator[Array]:
    """Make the images again that a curve of `deletion` or `insertion` was traced with.

    Parameters
    ----------
    image : (C, *S) array
        The model's input.
    heat : (*S) array
        Its map.
    fractions : (P,) array
        The curve's.
    way : {"deletion", "insertion"}
        Which of the two.
    baseline, ties, seed
        What the curve was traced with.

    Yields
    ------
    (C, *S) array
        At each fraction in turn, an array of its own.
    """
    images, maps = checked(image[None], heat[None])
    bare = baseline_of(images, baseline)
    start, end = (images, bare) if way == "deletion" else (bare, images)
    order = order_of(maps, ties, seed=seed)
    counts = np.rint(np.asarray(fractions) * order.shape[1]).astype(np.int64)
    for _, altered in on_the_way(start, end, order, counts.tolist()):
        yield altered.copy()


def road_images(
    image: Array,
    heat: Array,
    fractions: Array,
    *,
    least: bool,
    noise: npt.ArrayLike = 0.01,
    ties: Ties = "first",
    seed: int = 0,
) -> Iterator[Array]:
    """Make the images again that `road` scored.

    Parameters
    ----------
    image : (C, *S) array
        The model's input.
    heat : (*S) array
        Its map.
    fractions : (K,) array
        All shares that were removed, in their order, on which the noise depends.
    least : bool
        Whether the least relevant positions are removed.
    noise, ties, seed
        What `road` was called with.

    Yields
    ------
    (C, *S) array
        At each share in turn, an array of its own.
    """
    images, maps = checked(image[None], heat[None])
    order = order_of(maps, ties, least=least, seed=seed)
    counts = counts_of(fractions, order.shape[1])
    for _, altered in filled_in(images, order, counts, spread_of(noise, images), seed):
        yield altered


def on_the_way(
    start: Array, end: Array, order: npt.NDArray[np.int64], counts: Sequence[int]
) -> Iterator[tuple[int, Array]]:
    """Alter each sample from `start` towards `end`; the array is altered further in place."""
    for sample in range(len(order)):
        image = np.array(start[sample])
        flat, ending = (one.reshape(len(one), -1) for one in (image, end[sample]))
        done = 0
        for count in counts:
            now = order[sample, done:count]
            flat[:, now] = ending[:, now]
            yield sample, image
            done = count


def filled_in(
    images: Array,
    order: npt.NDArray[np.int64],
    counts: Sequence[int],
    spread: Array,
    seed: int,
) -> Iterator[tuple[int, Array]]:
    """Remove so many positions of each sample, and fill them in from their neighbours."""
    size = images.shape[2:]
    for sample, image in enumerate(images):
        # Afresh for each, so that an image's noise does not depend on those before it.
        draws = np.random.default_rng(seed)
        for count in counts:
            removed = np.zeros(order.shape[1], bool)
            removed[order[sample, :count]] = True
            noise = spread * draws.standard_normal(image.shape).astype(image.dtype)
            yield sample, LinearImputer(removed.reshape(size))(image, noise)


def counts_of(shares: Array, positions: int) -> list[int]:
    """Count how many positions each share is: at least one, and not all."""
    return [min(max(1, round(float(share) * positions)), positions - 1) for share in shares]


def spread_of(noise: npt.ArrayLike, images: Array) -> Array:
    """Bring the noise's standard deviation to ``(C, 1, ..)``."""
    spread = finite(np.asarray(noise, dtype=images.dtype), "The noise's standard deviation")
    if spread.shape not in ((), (images.shape[1],)) or (spread < 0).any():
        raise InputError(
            f"noise={noise!r}; expected a number that is not negative, or one for each of "
            f"{images.shape[1]} channels."
        )
    return spread.reshape(spread.shape + (1,) * (images.ndim - 2))
