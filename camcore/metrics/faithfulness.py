"""Measure whether the score follows the map, as the marked positions are removed or put in.

``score_images(sample, images)`` gives the scores ``(N,)`` of N alterations
``(N, C, *S)`` of one sample's input, as `camcore.evidence.Evidence.score_images` does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from camcore._shared.finite import finite, without_overflow
from camcore.adapter import Array
from camcore.errors import InputError
from camcore.methods.arrays import ScoreImages, at_least_one, floating, shaped


@dataclass(frozen=True, eq=False)
class Curve:
    """The score as positions are removed or put in, most important first.

    Parameters
    ----------
    fractions : (P,) array
        Share of positions altered so far, from 0 to 1.
    scores : (B, P) array
        The score there.
    """

    fractions: Array
    scores: Array

    @property
    def auc(self) -> Array:
        """Area under each sample's curve, ``(B,)``, by the trapezoidal rule."""
        widths = np.diff(self.fractions)
        area: Array = ((self.scores[:, 1:] + self.scores[:, :-1]) / 2) @ widths
        return area


def deletion(
    images: Array,
    maps: Array,
    score_images: ScoreImages,
    *,
    baseline: Array | float = 0.0,
    steps: int = 50,
    batch_size: int = 32,
) -> Curve:
    """Trace the score while positions are set to the baseline, most important first.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input.
    maps : (B, *S) array
        Importance of each position; among equal ones the earlier goes first.
    score_images : callable
        Scores of altered inputs.
    baseline : (B, C, *S) array or float
        What deleted positions become.
    steps : int
        How many equal steps there are until everything is deleted.
    batch_size : int
        How many altered images are scored at once.

    Returns
    -------
    Curve
        Begins at the score of the image and ends at that of the baseline; the
        smaller its area, the better.

    Raises
    ------
    InputError
        The arrays do not fit, a map is not finite, or `steps` is out of range.
    MethodError
        `batch_size` is below 1.

    References
    ----------
    Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of Black-box
    Models", BMVC 2018, sec. 4.2.
    """
    start, end = _image_and_baseline(images, maps, baseline, steps)
    return _curve(start, end, maps, score_images, steps, batch_size)


def insertion(
    images: Array,
    maps: Array,
    score_images: ScoreImages,
    *,
    baseline: Array | float = 0.0,
    steps: int = 50,
    batch_size: int = 32,
) -> Curve:
    """Trace the score while positions are put into the baseline, most important first.

    Parameters
    ----------
    images, maps, score_images, baseline, steps, batch_size
        As in `deletion`; the authors insert into a blurred image.

    Returns
    -------
    Curve
        Begins at the score of the baseline and ends at that of the image; the
        larger its area, the better.

    Raises
    ------
    InputError
        The arrays do not fit, a map is not finite, or `steps` is out of range.
    MethodError
        `batch_size` is below 1.

    References
    ----------
    Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of Black-box
    Models", BMVC 2018, sec. 4.2.
    """
    end, start = _image_and_baseline(images, maps, baseline, steps)
    return _curve(start, end, maps, score_images, steps, batch_size)


def masked_scores(images: Array, maps: Array, score_images: ScoreImages) -> Array:
    """Score images whose every position is multiplied by its map.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input.
    maps : (B, *S) array
        In [0, 1].
    score_images : callable
        Scores of altered inputs.

    Returns
    -------
    (B,) array

    Raises
    ------
    InputError
        The arrays do not fit, or a map is not finite.
    """
    images = _checked(images, maps)
    masked = images * maps[:, None].astype(images.dtype)
    scores = [
        shaped(score_images(i, one[None]), (1,), "Scores of altered images")
        for i, one in enumerate(masked)
    ]
    return np.concatenate(scores)


def average_drop(scores: Array, masked: Array) -> float:
    """Compute the average drop, 100/N · Σ max(0, Y − O) / Y; smaller is better.

    Parameters
    ----------
    scores : (N,) array
        Y, the positive scores (probabilities) of the images.
    masked : (N,) array
        O, those of the images under their maps.

    Returns
    -------
    float
        In percent, from 0 to 100 where the masked scores are not negative.

    Raises
    ------
    InputError
        The shapes differ, or a score is not positive.

    References
    ----------
    Chattopadhay et al., "Grad-CAM++: Generalized Gradient-based Visual
    Explanations for Deep Convolutional Networks", WACV 2018, sec. 5.1.
    """
    scores, masked = _pair(scores, masked)
    if np.any(scores <= 0):
        raise InputError(
            f"The smallest score is {scores.min()}, but the average drop divides by the scores, "
            "so they must be positive. Score probabilities: "
            "target=camcore.targets.Probability()."
        )
    drops = np.maximum(0, scores - masked) / scores
    return float(without_overflow(100 * np.mean(drops), "The average drop"))


def increase_in_confidence(scores: Array, masked: Array) -> float:
    """Compute the increase in confidence, 100 · mean(Y < O); larger is better.

    Parameters
    ----------
    scores, masked : (N,) array
        Y and O, as in `average_drop`.

    Returns
    -------
    float
        In percent.

    Raises
    ------
    InputError
        The shapes differ.

    References
    ----------
    Chattopadhay et al., WACV 2018, sec. 5.1; see `average_drop`.
    """
    scores, masked = _pair(scores, masked)
    return float(100 * np.mean(scores < masked))


def win(masked: Array, other: Array) -> float:
    """Compute the share of images for which one method's maps keep more of the score.

    Parameters
    ----------
    masked, other : (N,) array
        Scores of the images under the maps of the one method and of the other.

    Returns
    -------
    float
        In percent.

    Raises
    ------
    InputError
        The shapes differ.

    References
    ----------
    Chattopadhay et al., WACV 2018, sec. 5.1; see `average_drop`.
    """
    masked, other = _pair(masked, other)
    return float(100 * np.mean(masked > other))


def _curve(
    start: Array, end: Array, maps: Array, score: ScoreImages, steps: int, batch_size: int
) -> Curve:
    """Score images on the way from `start` to `end`, by falling importance of positions."""
    at_least_one(batch_size=batch_size)
    _check_scores_images(score)
    # Integers without a sign cannot be negated.
    importance = maps.reshape(len(maps), -1).astype(np.float64)
    counts = np.round(np.linspace(0, importance.shape[1], steps + 1)).astype(int)
    ranks = np.argsort(np.argsort(-importance, axis=1, kind="stable"), axis=1)
    ranks = ranks.reshape(len(maps), 1, *maps.shape[1:])
    scores = np.zeros((len(maps), len(counts)))
    for sample in range(len(maps)):
        for first in range(0, len(counts), batch_size):
            part = slice(first, first + batch_size)
            images = [np.where(ranks[sample] < n, end[sample], start[sample]) for n in counts[part]]
            answer = score(sample, np.stack(images))
            scores[sample, part] = shaped(answer, (len(images),), "Scores of altered images")
    return Curve(counts / importance.shape[1], scores)


def _check_scores_images(score: object) -> None:
    """Refuse a model where a function of a sample's index and its images is meant."""
    if not callable(score) or hasattr(score, "parameters") or hasattr(score, "layers"):
        raise InputError(
            f"score_images is a function of a sample's index and of images; got a "
            f"{type(score).__name__}. Give camcore.Explainer(model).evidence(images).score_images."
        )


def _image_and_baseline(
    images: Array, maps: Array, baseline: Array | float, steps: int
) -> tuple[Array, Array]:
    """Check both ends of a curve, and give them one shape."""
    images = _checked(images, maps)
    positions = int(np.prod(maps.shape[1:]))
    if not 1 <= steps <= positions:
        raise InputError(
            f"steps={steps} is out of range; pass 1 to {positions}, the number of positions."
        )
    baseline = finite(np.asarray(baseline, dtype=images.dtype), "A baseline's values")
    if baseline.shape not in ((), images.shape):
        raise InputError(
            f"The baseline has shape {baseline.shape}; pass one number, or an image for each: "
            f"{images.shape}."
        )
    return images, np.broadcast_to(baseline, images.shape)


def _checked(images: Array, maps: Array) -> Array:
    """Check that maps fit the images, and return these as floating numbers."""
    images = finite(floating(images, "images"), "Images")
    if hasattr(maps, "maps"):
        raise InputError("An explanation was given in place of its maps: give explanation.maps.")
    maps = np.asarray(maps)
    if maps.shape != (len(images), *images.shape[2:]):
        raise InputError(
            f"Images of shape {images.shape} and maps of shape {maps.shape} do not fit one "
            "another; pass (B, C, *S) and (B, *S)."
        )
    finite(maps, "Maps")
    return images


def _pair(one: Array, other: Array) -> tuple[Array, Array]:
    one, other = (finite(np.asarray(s), "Scores").astype(np.float64) for s in (one, other))
    if one.ndim != 1 or one.shape != other.shape or not one.size:
        raise InputError(
            f"Scores of shape {one.shape} and {other.shape} cannot be compared; pass two lists of "
            "one length."
        )
    return one, other
