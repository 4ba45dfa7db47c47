"""Measure how much maps change with the input, with their own mask, and with the class.

``explain_images(sample, images)`` gives the maps ``(N, *S)`` of N alterations ``(N, C, *S)`` of
one sample's input, for the target of that sample.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from camcore._shared.finite import without_overflow
from camcore.adapter import Array
from camcore.errors import InputError
from camcore.methods.arrays import at_least_one, batches, ratio, shaped
from camcore.metrics.agreement import Floats, find_similarity, pearson
from camcore.metrics.scoring import checked

ExplainImages: TypeAlias = Callable[[int, Array], Array]
"""From a sample and N alterations of its input ``(N, C, *S)`` to their maps ``(N, *S)``."""


def max_sensitivity(
    images: Array,
    maps: Array,
    explain_images: ExplainImages,
    *,
    radius: float = 0.02,
    draws: int = 10,
    seed: int = 0,
    batch_size: int = 32,
) -> Floats:
    """Measure the largest relative change of maps among noisy inputs; smaller is better.

    The change is ‖Φ(x + δ) − Φ(x)‖ / ‖Φ(x)‖ in the Euclidean norm, where each value of δ is
    uniform in [−radius, radius].

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input.
    maps : (B, *T) array
        Φ(x), as `explain_images` makes them, of any size; signed maps rather than scaled ones.
    explain_images : callable
        Maps of altered inputs.
    radius : float
        Of the ball in the largest norm, in the units of the input.
    draws : int
        How many noisy inputs of each sample.
    seed : int
        Of the noise, which is the same for every sample, so that a batch gives what its samples
        give one by one.
    batch_size : int
        How many noisy inputs are explained at once.

    Returns
    -------
    (B,) float64 array
        0 or more; NaN where a map is zero everywhere.

    Raises
    ------
    InputError
        The arrays do not fit or are not finite, or `radius` is not a positive number.
    MethodError
        `draws` or `batch_size` is below 1.

    References
    ----------
    Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", NeurIPS 2019, eq. 3;
    relative to the map's norm, as in captum's ``sensitivity_max``.
    """
    changes = _changes(images, maps, explain_images, radius, draws, seed, batch_size)
    largest: Floats = changes.max(axis=1)
    return largest


def average_sensitivity(
    images: Array,
    maps: Array,
    explain_images: ExplainImages,
    *,
    radius: float = 0.02,
    draws: int = 10,
    seed: int = 0,
    batch_size: int = 32,
) -> Floats:
    """Measure the mean relative change of maps over noisy inputs; smaller is better.

    Parameters
    ----------
    images, maps, explain_images, radius, draws, seed, batch_size
        As in `max_sensitivity`.

    Returns
    -------
    (B,) float64 array
        0 or more, at most that of `max_sensitivity`; NaN where a map is zero everywhere.

    Raises
    ------
    InputError
        The arrays do not fit or are not finite, or `radius` is not a positive number.
    MethodError
        `draws` or `batch_size` is below 1.

    References
    ----------
    Bhatt et al., "Evaluating and Aggregating Feature-based Model Explanations", IJCAI 2020,
    sec. 3; the change as in `max_sensitivity`.
    """
    changes = _changes(images, maps, explain_images, radius, draws, seed, batch_size)
    mean: Floats = changes.mean(axis=1)
    return mean


def coherency(maps: npt.ArrayLike, maps_of_masked: npt.ArrayLike) -> Floats:
    """Measure how alike the maps of images and of the same images under their maps are.

    Parameters
    ----------
    maps : (B, *S) array
        M(x).
    maps_of_masked : (B, *S) array
        M(x · M(x)), for the same class.

    Returns
    -------
    (B,) float64 array
        (r + 1) / 2 with Pearson's r, in [0, 1]; larger is better. NaN where a map is constant:
        the authors' code takes 0 there, so count them, ``np.isnan(values).sum()``, before a mean.

    Raises
    ------
    InputError
        The shapes differ, or are not (B, *S).

    References
    ----------
    Poppi et al., "Revisiting The Evaluation of Class Activation Mapping for Explainability: A
    Novel Metric and Experimental Analysis", CVPR Workshops 2021, eq. 4.
    """
    return (pearson(maps, maps_of_masked) + 1) / 2


def random_logit(
    maps: npt.ArrayLike, maps_of_others: npt.ArrayLike, *, similarity: str = "ssim"
) -> Floats:
    """Measure how alike the maps of two classes of the same images are; smaller is better.

    Parameters
    ----------
    maps : (B, *S) array
        For each image's own class.
    maps_of_others : (B, *S) array
        For another class of each image; `other_classes` draws one.
    similarity : str
        One of `camcore.metrics.SIMILARITIES`.

    Returns
    -------
    (B,) float64 array
        1 of a method that does not see the class; NaN where the similarity is not defined.

    Raises
    ------
    InputError
        The shapes differ, are not (B, *S), or the similarity is unknown.
    MissingExtraError
        The similarity needs scikit-image, which is not installed.

    References
    ----------
    Sixt et al., "When Explanations Lie: Why Many Modified BP Attributions Fail", ICML 2020,
    sec. 5, by structural similarity.
    """
    return find_similarity(similarity)(maps, maps_of_others)


def other_classes(classes: npt.ArrayLike, count: int, *, seed: int = 0) -> npt.NDArray[np.int64]:
    """Draw for each sample a class that is not its own, uniformly.

    Parameters
    ----------
    classes : (B,) int array
        Each sample's own class.
    count : int
        How many classes there are, 2 or more.
    seed : int
        Of the draw.

    Returns
    -------
    (B,) int64 array

    Raises
    ------
    InputError
        There are fewer than two classes, or a class is none of them.
    """
    own = np.asarray(classes)
    if own.ndim != 1 or own.dtype.kind not in "iu":
        raise InputError(
            f"Classes of shape {own.shape} and dtype {own.dtype}; pass one whole number a sample."
        )
    if count < 2 or np.any((own < 0) | (own >= count)):
        raise InputError(
            f"Classes {own.tolist()} of count={count}; pass at least 2 classes, numbered from 0 to "
            "count - 1."
        )
    steps = np.random.default_rng(seed).integers(1, count, size=own.shape)
    others: npt.NDArray[np.int64] = (own.astype(np.int64) + steps) % count
    return others


def _changes(
    images: Array,
    maps: Array,
    explain_images: ExplainImages,
    radius: float,
    draws: int,
    seed: int,
    batch_size: int,
) -> Floats:
    """Compute the relative change of each sample's map in each draw, ``(B, draws)``."""
    at_least_one(draws=draws, batch_size=batch_size)
    if not 0 < radius < np.inf:
        raise InputError(f"radius={radius}; pass a positive number, in the units of the input.")
    images, maps = checked(images, maps, any_size=True)
    original = maps.astype(np.float64).reshape(len(maps), -1)
    noise = [
        np.random.default_rng([seed, draw]).uniform(-radius, radius, images.shape[1:])
        for draw in range(draws)
    ]
    # Scaled first, so that squares of tiny or huge values neither vanish nor overflow.
    scale = np.abs(original).max(axis=1)
    gaps = np.zeros((len(maps), draws))
    for sample, image in enumerate(images):
        for part in batches(range(draws), batch_size):
            noisy = np.stack([image + noise[draw] for draw in part]).astype(images.dtype)
            noisy = without_overflow(noisy, "Noise on the images")
            answer = explain_images(sample, noisy)
            answer = shaped(answer, (len(part), *maps.shape[1:]), "Maps of altered images")
            if scale[sample] > 0:
                change = answer.reshape(len(part), -1) - original[sample]
                with np.errstate(over="ignore"):
                    gaps[sample, list(part)] = np.linalg.norm(change / scale[sample], axis=1)
    gaps = without_overflow(gaps, "The change of maps")
    whole = ratio(original, np.broadcast_to(scale[:, None], original.shape))
    norms = np.linalg.norm(whole, axis=1)[:, None]
    relative: Floats = np.divide(gaps, norms, out=np.full_like(gaps, np.nan), where=norms > 0)
    return relative
