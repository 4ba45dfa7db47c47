"""Score-CAM and its variants: each channel masks the image, and the score is its weight.

How a channel becomes a mask, and a score a weight, is a `Masking`; libraries differ in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from camcore._shared.finite import without_overflow
from camcore._shared.progress import track
from camcore.adapter import Array
from camcore.methods.arrays import (
    ScoreImages,
    at_least_one,
    batches,
    mean_space,
    paired,
    same_batch,
    shaped,
    weighted,
)
from camcore.methods.noise import check_sigma
from camcore.methods.table import described, register
from camcore.postprocess import Scale, normalise, scaling
from camcore.resize import LINEAR, Interpolation, resize
from camcore.targets import softmax

ScoreMasks: TypeAlias = Callable[[int, Array, Array], Array]
"""From a sample, channels ``(N,)`` and their masks ``(N, *S)`` in [0, 1] to scores ``(N,)``."""


@dataclass(frozen=True)
class Masking:
    """How channels become masks, and the scores under them weights.

    Parameters
    ----------
    interpolation : Interpolation
        How a channel is brought to the input's size.
    scaled : {"after", "before", "never"}
        Whether it is scaled after it is enlarged, before, or not.
    eps : float
        Added to that divisor.
    constant : bool
        Whether a channel that is constant over space, whose mask is zero everywhere,
        is scored like the others; else its weight is 0.
    weights : {"softmax", "score"}
        The softmax of the scores over channels, or the scores themselves.
    unscored : {"nothing", "zero"}
        Whether channels left unscored have the weight 0, or what a score of 0 gives: with the
        softmax, more than others whose score is negative.
    outliers : float
        Percent of a channel's positions at each of its ends that are cut off.
    scale : {"min_max", "max", "shifted"}
        How it is scaled to [0, 1]; see `camcore.postprocess.normalise`.
    """

    interpolation: Interpolation = LINEAR
    scaled: Literal["after", "before", "never"] = "after"
    eps: float = 0.0
    constant: bool = False
    weights: Literal["softmax", "score"] = "softmax"
    unscored: Literal["nothing", "zero"] = "nothing"
    outliers: float = 0.0
    scale: Scale = "min_max"

    def masks(self, channels: Array, size: tuple[int, ...]) -> Array:
        """Turn channels ``(N, *S)`` into masks ``(N, *size)``."""
        if self.scaled == "before":
            return self._resized(self._unit(channels), size)
        resized = self._resized(channels, size)
        return resized if self.scaled == "never" else self._unit(resized)

    def _unit(self, maps: Array) -> Array:
        """Scale maps ``(N, *S)`` to [0, 1]."""
        return normalise(maps, self.scale, eps=self.eps, outliers=self.outliers)

    def _resized(self, maps: Array, size: tuple[int, ...]) -> Array:
        return resize(maps, size, self.interpolation, leading=1)

    def scored_channels(
        self, activation: Array, limit: int | None = None, importance: Array | None = None
    ) -> Array:
        """Choose the channels to score: at most `limit`, those of largest importance.

        Parameters
        ----------
        activation : (C, *S) array
            One sample's activations.
        limit : int, optional
            How many at the most; left out, all.
        importance : (C,) array, optional
            Left out, a channel's variance over space.

        Returns
        -------
        (N,) int array
            Their indices, ascending.
        """
        positions = activation.reshape(len(activation), -1)
        varies = np.ptp(positions, axis=1) > 0
        chosen = np.arange(len(activation)) if self.constant else np.flatnonzero(varies)
        if limit is not None and limit < len(chosen):
            order = positions.var(axis=1) if importance is None else importance
            chosen = np.sort(chosen[np.argsort(-order[chosen], kind="stable")[:limit]])
        return chosen

    def weigh(self, scores: Array, chosen: Array | None = None, channels: int = 0) -> Array:
        """Turn scores ``(N,)`` into weights: of these channels, or of all where some are chosen.

        Parameters
        ----------
        scores : (N,) array
            Of the channels that were scored.
        chosen : (N,) int array, optional
            Which of all the channels they are.
        channels : int
            How many there are in all.

        Returns
        -------
        (N,) or (channels,) array
        """
        if chosen is None:
            return softmax(scores) if self.weights == "softmax" else scores
        whole = np.zeros(channels, np.float64)
        if self.unscored == "zero":
            whole[chosen] = scores
            return self.weigh(whole)
        whole[chosen] = self.weigh(scores)
        return whole

    def __str__(self) -> str:
        scale = scaling(self.scale, self.eps, self.outliers)
        steps = [f"resize, {self.interpolation}"]
        if self.scaled != "never":
            steps.insert(0 if self.scaled == "before" else 1, scale)
        order = " -> ".join(steps)
        constant = ", constant channels too" if self.constant else ""
        unscored = ", of 0 where not scored" if self.unscored == "zero" else ""
        return f"{order}{constant}; w = {self.weights}{unscored}"


PAPER: Final = Masking()

_NEEDS: Final = ("activations", "images", "score_images")


@register("scorecam", "Score-CAM", _NEEDS, "1 + channels", "Wang et al., CVPR Workshops 2020")
@described("Σ_c w_c · A_c with w = softmax_c(score(x · mask_c)), mask_c the scaled A_c")
def scorecam(
    activations: Array,
    images: Array,
    score_images: ScoreImages,
    *,
    channels: int | None = None,
    masking: Masking = PAPER,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Array:
    """Compute Score-CAM: Σ_c w_c · A_c, w = softmax_c(score(x · mask_c)), mask_c the scaled A_c.

    A channel that is constant over space makes no mask; it is not run and its
    weight is 0. A baseline's score would cancel in the softmax and is left out.

    Parameters
    ----------
    activations : (B, C, *S) array
        The layer's output.
    images : (B, C, *S) array
        The model's input.
    score_images : callable
        Scores of altered inputs.
    channels : int, optional
        How many channels to score, those of largest variance over space (Faster Score-CAM).
    masking : Masking
        How channels become masks, and scores weights.
    batch_size : int
        How many masked images are scored at once.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *S) array
        Signed map.

    Raises
    ------
    InputError, MethodError
        The arrays do not fit, or an option is out of range.

    References
    ----------
    Wang et al., "Score-CAM: Score-Weighted Visual Explanations for Convolutional
    Neural Networks", CVPR Workshops 2020, eq. 4 and algorithm 1. Faster Score-CAM:
    github.com/tabayashi0117/Score-CAM.
    """

    def scores(sample: int, _: Array, masks: Array) -> Array:
        return score_images(sample, images[sample] * masks[:, None])

    return score_weighted(
        activations, images, scores, "Score-CAM", batch_size, progress, masking, channels
    )


register(
    "fasterscorecam",
    "Faster Score-CAM",
    _NEEDS,
    "1 + 10",
    "github.com/tabayashi0117/Score-CAM",
    options={"channels": 10},
)(scorecam)


@register(
    "gscorecam",
    "gScoreCAM",
    ("activations", "gradients", "images", "score_images"),
    "1 + 300",
    "Chen et al., ACCV 2022",
    additive=False,
)
@described("Score-CAM of the 300 channels with the largest mean_s(g)")
def gscorecam(
    activations: Array,
    gradients: Array,
    images: Array,
    score_images: ScoreImages,
    *,
    channels: int = 300,
    masking: Masking = PAPER,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Array:
    """Compute gScoreCAM: Score-CAM of the channels with the largest mean_s(g).

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.
    images : (B, C, *S) array
        The model's input.
    score_images : callable
        Scores of altered inputs.
    channels : int
        How many channels to score.
    masking, batch_size, progress
        As in `scorecam`.

    Returns
    -------
    (B, *S) array
        Signed map; with as many channels as there are it is Score-CAM.

    Raises
    ------
    InputError, MethodError
        The arrays do not fit, or an option is out of range.

    References
    ----------
    Chen et al., "gScoreCAM: What Objects Is CLIP Looking At?", ACCV 2022. In the authors'
    code the channels left out enter the softmax with a score of 0; recipe ``authors`` has it,
    by ``Masking(unscored="zero")``.
    """
    activations, gradients = paired(activations, gradients)

    def scores(sample: int, _: Array, masks: Array) -> Array:
        return score_images(sample, images[sample] * masks[:, None])

    about = (batch_size, progress, masking, channels, mean_space(gradients))
    return score_weighted(activations, images, scores, "gScoreCAM", *about)


@register("sscam", "SS-CAM", _NEEDS, "1 + channels x samples", "Wang et al., arXiv:2006.14255")
def sscam(
    activations: Array,
    images: Array,
    score_images: ScoreImages,
    *,
    samples: int = 35,
    sigma: float = 2.0,
    seed: int = 0,
    channels: int | None = None,
    masking: Masking = PAPER,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Array:
    """Compute SS-CAM: Score-CAM whose scores are averaged over noise added to the scaled masks.

    This is torchcam's reading of the paper's first variant, whose text could not be had here.
    Code that is probably the authors' adds noise to the enlarged channel as it is, with the
    standard deviation (2 / range)², so 4 for a range of 1 and 0.04 for one of 10, masks the
    image with the sum unscaled, and weights channels by probabilities without a softmax over
    them: recipe ``authors``. The paper's second variant, noise on the masked image, is in
    neither.

    Parameters
    ----------
    activations : (B, C, *S) array
        The layer's output.
    images : (B, C, *S) array
        The model's input.
    score_images : callable
        Scores of altered inputs.
    samples : int
        Draws of noise for each channel.
    sigma : float
        Standard deviation of the noise, in units of the mask's range [0, 1].
    seed : int
        Of the noise; the same seed gives the same map in every framework.
    channels, masking, batch_size, progress
        As in `scorecam`.

    Returns
    -------
    (B, *S) array
        Signed map; with ``sigma=0`` it is Score-CAM.

    Raises
    ------
    InputError, MethodError
        The arrays do not fit, or an option is out of range.

    References
    ----------
    Wang et al., "SS-CAM: Smoothed Score-CAM for Sharper Visual Feature
    Localization", arXiv:2006.14255, the first of its two variants (smoothing of the mask).
    """
    at_least_one(samples=samples, batch_size=batch_size)
    check_sigma(sigma)

    def scores(sample: int, numbers: Array, masks: Array) -> Array:
        sigmas = np.full(len(masks), sigma)
        total = np.zeros(len(masks))
        for noisy in noisy_masks(masks, numbers, sigmas, samples, seed):
            answer = score_images(sample, images[sample] * noisy[:, None])
            total += shaped(answer, total.shape, "Scores of altered images")
        return total / samples

    return score_weighted(
        activations, images, scores, "SS-CAM", batch_size, progress, masking, channels
    )


def noisy_masks(
    masks: Array, numbers: Array, sigmas: Array, samples: int, seed: int
) -> Iterator[Array]:
    """Add Gaussian noise to masks ``(N, *S)``, `samples` times.

    A channel, by its number, has its own stream, so that neither the batch size nor the other
    images of the batch change its noise.
    """
    streams = [np.random.default_rng([seed, channel]) for channel in numbers]
    for _ in range(samples):
        drawn = (
            rng.normal(scale=sigma, size=masks.shape[1:])
            for rng, sigma in zip(streams, sigmas, strict=True)
        )
        yield masks + without_overflow(np.stack([*drawn]).astype(masks.dtype), "SS-CAM's noise")


@register("iscam", "IS-CAM", _NEEDS, "1 + channels x steps", "Naidu et al., arXiv:2010.03023")
@described("Score-CAM whose scores are averaged over the mask's strength i/N, i = 1 … N")
def iscam(
    activations: Array,
    images: Array,
    score_images: ScoreImages,
    *,
    steps: int = 10,
    channels: int | None = None,
    masking: Masking = PAPER,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Array:
    """Compute IS-CAM: Score-CAM, its scores averaged over the mask's strength i/N, i = 1 … N.

    The average over i/N is the integral over the mask's strength from 0 to 1 as a sum, which the
    method is named for. The paper's algorithm could not be had here, nor code of its authors.
    torchcam, and two programs that are independent of it, add the strengths up instead,
    Σ_{j≤i} j/N, the last of them about N/2: which of the two the paper says is open. Recipe
    ``torchcam`` has the other.

    Parameters
    ----------
    activations : (B, C, *S) array
        The layer's output.
    images : (B, C, *S) array
        The model's input.
    score_images : callable
        Scores of altered inputs.
    steps : int
        N.
    channels, masking, batch_size, progress
        As in `scorecam`.

    Returns
    -------
    (B, *S) array
        Signed map; with ``steps=1`` it is Score-CAM.

    Raises
    ------
    InputError, MethodError
        The arrays do not fit, or an option is out of range.

    References
    ----------
    Naidu et al., "IS-CAM: Integrated Score-CAM for axiomatic-based explanations",
    arXiv:2010.03023.
    """
    at_least_one(steps=steps, batch_size=batch_size)

    def scores(sample: int, _: Array, masks: Array) -> Array:
        total = np.zeros(len(masks))
        for step in range(1, steps + 1):
            strength = masks.dtype.type(step / steps)
            answer = score_images(sample, images[sample] * (strength * masks)[:, None])
            total += shaped(answer, total.shape, "Scores of altered images")
        return total / steps

    return score_weighted(
        activations, images, scores, "IS-CAM", batch_size, progress, masking, channels
    )


def score_weighted(
    activations: Array,
    images: Array,
    score: ScoreMasks,
    label: str,
    batch_size: int,
    progress: bool | None,
    masking: Masking,
    channels: int | None = None,
    importance: Array | None = None,
) -> Array:
    """Weight channels by what `score` gives under their masks: Σ_c w_c · A_c.

    At most `channels` of them are scored, those of largest `importance`, ``(B, C)``.
    """
    activations, images = same_batch(activations, images)
    at_least_one(batch_size=batch_size, channels=1 if channels is None else channels)
    weights = np.zeros(activations.shape[:2], np.float64)
    for sample, activation in enumerate(activations):
        by = None if importance is None else importance[sample]
        chosen = masking.scored_channels(activation, channels, by)
        scores = np.zeros(len(chosen))
        for at in track(batches(range(len(chosen)), batch_size), label, progress):
            part = np.asarray(at)
            masks = masking.masks(activation[chosen[part]], images.shape[2:]).astype(images.dtype)
            scores[part] = shaped(
                score(sample, chosen[part], masks), part.shape, "Scores of altered images"
            )
        if len(chosen):
            weights[sample] = masking.weigh(scores, chosen, len(activation))
    return weighted(weights.astype(activations.dtype), activations)
