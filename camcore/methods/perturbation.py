"""Methods that alter the input or the activations and look at the score.

They take no gradient. ``score_images(sample, images)`` gives the scores ``(N,)``
of N alterations ``(N, C, *S)`` of one sample's input; ``resume(sample)`` is a
context in which altered activations are scored without running again what comes
before the layer. Alterations are made and scored a few at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import product
from typing import TypeAlias, TypeVar

import numpy as np

from camcore.errors import MethodError
from camcore.methods.arrays import flat, floating, ratio, weighted
from camcore.progress import track
from camcore.resize import Interpolation, resize
from camcore.targets import softmax
from camcore.trace import Array

T = TypeVar("T")
ScoreImages: TypeAlias = Callable[[int, Array], Array]
ScoreMasks: TypeAlias = Callable[[int, Array, Array], Array]
"""Of a sample, channels ``(N,)`` and their masks ``(N, *S)`` in [0, 1], the scores ``(N,)``."""
Resume: TypeAlias = Callable[[int], AbstractContextManager[Callable[[Array], Array]]]


def scorecam(
    activations: Array,
    images: Array,
    score_images: ScoreImages,
    *,
    channels: int | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Array:
    """Score-CAM: Σ_c w_c · A_c with w = softmax_c(score(x · mask_c)), mask_c the scaled A_c.

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
        Only the so many channels of largest variance over space (Faster Score-CAM).
    batch_size : int
        How many masked images are scored at once.
    progress : bool, optional
        Show a progress bar; see `camcore.progress.track`.

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
    return _scorecam(
        activations,
        images,
        lambda sample, _, masks: score_images(sample, images[sample] * masks[:, None]),
        channels=channels,
        batch_size=batch_size,
        progress=progress,
        label="Score-CAM",
    )


def sscam(
    activations: Array,
    images: Array,
    score_images: ScoreImages,
    *,
    samples: int = 35,
    sigma: float = 2.0,
    seed: int = 0,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Array:
    """SS-CAM: Score-CAM whose scores are averaged over noise added to the scaled masks.

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
    batch_size, progress
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
    Localization", arXiv:2006.14255, algorithm 1 (smoothing of the mask).
    """
    _at_least_one(samples=samples, batch_size=batch_size)

    def scores(sample: int, live: Array, masks: Array) -> Array:
        # A channel has its own stream, so that neither the batch size nor the
        # other images of the batch change its noise.
        streams = [np.random.default_rng([seed, channel]) for channel in live]
        total = np.zeros(len(masks))
        for _ in range(samples):
            noise = np.stack([rng.normal(scale=sigma, size=masks.shape[1:]) for rng in streams])
            noisy = masks + noise.astype(masks.dtype)
            total += score_images(sample, images[sample] * noisy[:, None])
        return total / samples

    return _scorecam(
        activations, images, scores, batch_size=batch_size, progress=progress, label="SS-CAM"
    )


def iscam(
    activations: Array,
    images: Array,
    score_images: ScoreImages,
    *,
    steps: int = 10,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Array:
    """IS-CAM: Score-CAM whose scores are averaged over the mask's strength i/N, i = 1 … N.

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
    batch_size, progress
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
    arXiv:2010.03023, algorithm 1.
    """
    _at_least_one(steps=steps, batch_size=batch_size)

    def scores(sample: int, live: Array, masks: Array) -> Array:
        total = np.zeros(len(masks))
        for step in range(1, steps + 1):
            strength = masks.dtype.type(step / steps)
            total += score_images(sample, images[sample] * (strength * masks)[:, None])
        return total / steps

    return _scorecam(
        activations, images, scores, batch_size=batch_size, progress=progress, label="IS-CAM"
    )


def ablationcam(
    activations: Array,
    scores: Array,
    resume: Resume,
    *,
    batch_size: int = 64,
    progress: bool | None = None,
) -> Array:
    """Ablation-CAM: Σ_c w_c · A_c with w = (y − y_c) / y, y_c the score with A_c set to 0.

    A channel that is zero everywhere is not run: its weight is 0.

    Parameters
    ----------
    activations : (B, C, *S) array
        The layer's output.
    scores : (B,) array
        The scores y.
    resume : callable
        Context that scores altered activations of one sample.
    batch_size : int
        How many ablations are scored at once.
    progress : bool, optional
        Show a progress bar; see `camcore.progress.track`.

    Returns
    -------
    (B, *S) array
        Signed map; all zeros where y is 0.

    Raises
    ------
    InputError, MethodError
        The arrays do not fit, or an option is out of range.

    References
    ----------
    Desai and Ramaswamy, "Ablation-CAM: Visual Explanations for Deep Convolutional
    Network via Gradient-free Localization", WACV 2020, eq. 1.
    """
    activations = floating(activations, "activations")
    _at_least_one(batch_size=batch_size)
    weights = np.zeros(activations.shape[:2], np.float64)
    for sample, activation in enumerate(activations):
        live = np.flatnonzero(flat(activation[None])[0].any(axis=1))
        # One buffer serves every batch: a channel is taken out and put back.
        altered = np.repeat(activation[None], min(batch_size, max(len(live), 1)), axis=0)
        with resume(sample) as score:
            for batch in track(_batches(list(live), batch_size), "Ablation-CAM", progress):
                rows = np.arange(len(batch))
                altered[rows, batch] = 0
                without = score(altered[: len(batch)])
                altered[rows, batch] = activation[batch]
                weights[sample, batch] = scores[sample] - without
    weights = ratio(weights, np.broadcast_to(scores[:, None].astype(np.float64), weights.shape))
    return weighted(weights.astype(activations.dtype), activations)


def occlusion(
    images: Array,
    scores: Array,
    score_images: ScoreImages,
    *,
    window: int = 15,
    stride: int = 8,
    baseline: float = 0.0,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Array:
    """Occlusion: how far the score falls when a window over a position is blanked.

    Each position's value is the mean of y − y_blanked over the windows that cover it.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input.
    scores : (B,) array
        The scores y.
    score_images : callable
        Scores of altered inputs.
    window, stride : int
        Side of the window and its step along each spatial axis, in input positions.
        The last window of an axis ends at its end.
    baseline : float
        What the window is filled with, in the units of the input.
    batch_size : int
        How many blanked images are scored at once.
    progress : bool, optional
        Show a progress bar; see `camcore.progress.track`.

    Returns
    -------
    (B, *S) array
        Signed map at the input's own size.

    Raises
    ------
    InputError, MethodError
        The arrays do not fit, or an option is out of range.

    References
    ----------
    Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks",
    ECCV 2014, sec. 4.2.
    """
    images = floating(images, "images")
    _at_least_one(window=window, stride=stride, batch_size=batch_size)
    places = list(_windows(images.shape[2:], window, stride))
    covered = np.zeros(images.shape[2:])
    for place in places:
        covered[place] += 1
    falls = np.zeros((len(images), *images.shape[2:]))
    for sample, image in enumerate(images):
        for batch in track(_batches(places, batch_size), "Occlusion", progress):
            blanked = np.repeat(image[None], len(batch), axis=0)
            for row, place in enumerate(batch):
                blanked[(row, slice(None), *place)] = baseline
            for place, score in zip(batch, score_images(sample, blanked), strict=True):
                falls[(sample, *place)] += scores[sample] - score
    return (falls / np.maximum(covered, 1)).astype(images.dtype)


def rise(
    images: Array,
    score_images: ScoreImages,
    *,
    masks: int = 4000,
    cells: int = 7,
    keep: float = 0.5,
    seed: int = 0,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Array:
    """RISE: Σ_i score(x · M_i) · M_i / (N · p) over random masks M_i.

    A mask is a grid of cells, each kept with probability p, interpolated to the
    input and shifted by up to one cell.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input.
    score_images : callable
        Scores of altered inputs.
    masks : int
        N.
    cells : int
        Grid cells along each spatial axis.
    keep : float
        p.
    seed : int
        Of the masks; the same seed gives the same map in every framework.
    batch_size : int
        How many masked images are scored at once.
    progress : bool, optional
        Show a progress bar; see `camcore.progress.track`.

    Returns
    -------
    (B, *S) array
        Map at the input's own size, in units of the score.

    Raises
    ------
    InputError, MethodError
        The arrays do not fit, or an option is out of range.

    References
    ----------
    Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of Black-box
    Models", BMVC 2018, eq. 6.
    """
    images = floating(images, "images")
    _at_least_one(masks=masks, cells=cells, batch_size=batch_size)
    if not 0 < keep <= 1:
        raise MethodError(f"keep={keep}; the probability of keeping a cell is in (0, 1].")
    size = images.shape[2:]
    rng = np.random.default_rng(seed)
    total = np.zeros((len(images), *size))
    for count in track([len(b) for b in _batches(range(masks), batch_size)], "RISE", progress):
        drawn = np.stack([_rise_mask(rng, size, cells, keep) for _ in range(count)])
        drawn = drawn.astype(images.dtype)
        for sample, image in enumerate(images):
            scores = score_images(sample, image * drawn[:, None])
            total[sample] += np.tensordot(scores, drawn, 1)
    return (total / (masks * keep)).astype(images.dtype)


def _scorecam(
    activations: Array,
    images: Array,
    score: ScoreMasks,
    *,
    label: str,
    batch_size: int,
    progress: bool | None,
    channels: int | None = None,
) -> Array:
    """Score-CAM, given how a sample's image is scored under the masks of some channels."""
    activations = floating(activations, "activations")
    images = floating(images, "images")
    _at_least_one(batch_size=batch_size, channels=channels or 1)
    weights = np.zeros(activations.shape[:2], np.float64)
    for sample, activation in enumerate(activations):
        live = _live(activation, channels)
        scores = np.zeros(len(live))
        for at in track(_batches(range(len(live)), batch_size), label, progress):
            part = np.asarray(at)
            masks = _masks(activation[live[part]], images.shape[2:]).astype(images.dtype)
            scores[part] = score(sample, live[part], masks)
        if len(live):
            weights[sample, live] = softmax(scores)
    return weighted(weights.astype(activations.dtype), activations)


def _live(activation: Array, most: int | None) -> Array:
    """Channels of ``(C, *S)`` that vary over space; only the `most` that vary most."""
    positions = activation.reshape(len(activation), -1)
    live = np.flatnonzero(np.ptp(positions, axis=1) > 0)
    if most is not None and most < len(live):
        variance = positions[live].var(axis=1)
        live = np.sort(live[np.argsort(-variance, kind="stable")[:most]])
    return live


def _masks(channels: Array, size: tuple[int, ...]) -> Array:
    """Channels ``(N, *S)`` brought to the input's size and scaled to [0, 1]."""
    masks = resize(channels, size, Interpolation())
    axes = tuple(range(1, masks.ndim))
    low = masks.min(axis=axes, keepdims=True)
    return ratio(
        masks - low, np.broadcast_to(masks.max(axis=axes, keepdims=True) - low, masks.shape)
    )


def _windows(size: tuple[int, ...], window: int, stride: int) -> Iterator[tuple[slice, ...]]:
    starts = []
    for length in size:
        last = max(length - window, 0)
        starts.append(sorted({*range(0, last, stride), last}))
    for corner in product(*starts):
        yield tuple(slice(start, start + window) for start in corner)


def _rise_mask(rng: np.random.Generator, size: tuple[int, ...], cells: int, keep: float) -> Array:
    cell = [-(-length // cells) for length in size]
    grid = (rng.random([cells] * len(size)) < keep).astype(np.float64)
    large = resize(grid[None], tuple((cells + 1) * side for side in cell), Interpolation())[0]
    shift = [int(rng.integers(side)) for side in cell]
    return large[tuple(slice(s, s + length) for s, length in zip(shift, size, strict=True))]


def _batches(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _at_least_one(**options: int) -> None:
    for name, value in options.items():
        if value < 1:
            raise MethodError(f"{name}={value}; it must be at least 1.")
