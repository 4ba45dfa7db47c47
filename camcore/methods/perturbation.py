"""Methods that alter the input or the activations and look at the score.

They take no gradient. ``score_images(sample, images)`` gives the scores ``(N,)``
of N alterations ``(N, C, *S)`` of one sample's input; ``resume(sample)`` is a
context in which altered activations are scored without running again what comes
before the layer. Alterations are made and scored a few at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, Literal, TypeAlias

import numpy as np

from camcore._shared.progress import track
from camcore.adapter import Array
from camcore.errors import MethodError
from camcore.methods.arrays import (
    Resume,
    ScoreImages,
    at_least_one,
    batches,
    flat,
    floating,
    mean_space,
    one_of,
    ratio,
    shaped,
    weighted,
)
from camcore.methods.table import register
from camcore.resize import LINEAR, resize

Edge: TypeAlias = Literal["shift", "cut"]


@register(
    "ablationcam",
    "Ablation-CAM",
    ("activations", "scores", "resume", "mean_weights"),
    "1, or 1 + channels x what follows the layer",
    "Desai and Ramaswamy, WACV 2020",
)
def ablationcam(
    activations: Array,
    scores: Array,
    resume: Resume,
    mean_weights: Array | None = None,
    *,
    batch_size: int = 64,
    progress: bool | None = None,
) -> Array:
    """Compute Ablation-CAM: Σ_c w_c · A_c with w = (y − y_c) / y, y_c the score with A_c set to 0.

    A channel that is zero everywhere is not run: its weight is 0. Where the score is affine in the
    channels' means, as behind global average pooling and one linear layer, nothing is run: without
    a channel the score falls by its mean times what the score gains by that.

    Parameters
    ----------
    activations : (B, C, *S) array
        The layer's output.
    scores : (B,) array
        The scores y.
    resume : callable
        Context that scores altered activations of one sample.
    mean_weights : (B, C) array, optional
        What the score gains by the mean of each channel, where it is affine in these.
    batch_size : int
        How many ablations are scored at once.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

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
    at_least_one(batch_size=batch_size)
    scores = shaped(scores, (len(activations),), "scores")
    if mean_weights is not None:
        gains = shaped(mean_weights, activations.shape[:2], "mean_weights")
        drops = gains * mean_space(activations)
        return _by_drops(drops, scores, activations)
    drops = np.zeros(activations.shape[:2], np.float64)
    for sample, activation in enumerate(activations):
        live = np.flatnonzero(flat(activation[None])[0].any(axis=1))
        # One buffer serves every batch: a channel is taken out and put back.
        altered = np.repeat(activation[None], min(batch_size, max(len(live), 1)), axis=0)
        with resume(sample) as score:
            for batch in track(batches(list(live), batch_size), "Ablation-CAM", progress):
                rows = np.arange(len(batch))
                altered[rows, batch] = 0
                without = shaped(
                    score(altered[: len(batch)]), rows.shape, "Scores of altered activations"
                )
                altered[rows, batch] = activation[batch]
                drops[sample, batch] = scores[sample] - without
    return _by_drops(drops, scores, activations)


def _by_drops(drops: Array, scores: Array, activations: Array) -> Array:
    """Weight channels by how far the score falls without each, over the score."""
    weights = ratio(drops, np.broadcast_to(scores[:, None].astype(np.float64), drops.shape))
    return weighted(weights.astype(activations.dtype), activations)


@register(
    "occlusion",
    "Occlusion",
    ("images", "scores", "score_images"),
    "1 + windows",
    "Zeiler and Fergus, ECCV 2014",
    level="input",
)
def occlusion(
    images: Array,
    scores: Array,
    score_images: ScoreImages,
    *,
    window: int = 15,
    stride: int = 8,
    baseline: float = 0.0,
    edge: Edge = "shift",
    batch_size: int = 32,
    progress: bool | None = None,
) -> Array:
    """Compute Occlusion: how far the score falls when a window over a position is blanked.

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
    baseline : float
        What the window is filled with, in the units of the input.
    edge : {"shift", "cut"}
        Whether the last window of an axis is moved back to end at its end, or cut short.
    batch_size : int
        How many blanked images are scored at once.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

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
    at_least_one(window=window, stride=stride, batch_size=batch_size)
    one_of(Edge, edge=edge)
    scores = shaped(scores, (len(images),), "scores")
    places = list(_windows(images.shape[2:], window, stride, edge))
    covered = np.zeros(images.shape[2:])
    for place in places:
        covered[place] += 1
    falls = np.zeros((len(images), *images.shape[2:]))
    without = blanked_scores(images, places, score_images, baseline, batch_size, progress)
    for sample, place, score in without:
        falls[sample][place] += scores[sample] - score
    return (falls / np.maximum(covered, 1)).astype(images.dtype)


def blanked_scores(
    images: Array,
    places: Sequence[tuple[slice, ...]],
    score_images: ScoreImages,
    baseline: float,
    batch_size: int,
    progress: bool | None,
) -> Iterator[tuple[int, tuple[slice, ...], Any]]:
    """Score every image with each of its places filled with `baseline`, `batch_size` at once.

    Yields
    ------
    sample, place, score
    """
    for sample, image in enumerate(images):
        for batch in track(batches(places, batch_size), "Occlusion", progress):
            blanked = np.repeat(image[None], len(batch), axis=0)
            for altered, place in zip(np.moveaxis(blanked, 1, -1), batch, strict=True):
                altered[place] = baseline
            scores = shaped(
                score_images(sample, blanked), (len(batch),), "Scores of altered images"
            )
            for place, score in zip(batch, scores, strict=True):
                yield sample, place, score


@register(
    "rise",
    "RISE",
    ("images", "score_images"),
    "1 + masks",
    "Petsiuk et al., BMVC 2018",
    level="input",
)
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
    """Compute RISE: Σ_i score(x · M_i) · M_i / (N · p) over random masks M_i.

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
        Show a progress bar; see `camcore._shared.progress.track`.

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
    at_least_one(masks=masks, cells=cells, batch_size=batch_size)
    if not 0 < keep <= 1:
        raise MethodError(f"keep={keep}; the probability of keeping a cell is in (0, 1].")
    size = images.shape[2:]
    rng = np.random.default_rng(seed)
    total = np.zeros((len(images), *size))
    for count in track([len(b) for b in batches(range(masks), batch_size)], "RISE", progress):
        drawn = np.stack([_rise_mask(rng, size, cells, keep) for _ in range(count)])
        drawn = drawn.astype(images.dtype)
        for sample, image in enumerate(images):
            masked = image * drawn[:, None]
            scores = shaped(score_images(sample, masked), (count,), "Scores of altered images")
            total[sample] += np.tensordot(scores, drawn, 1)
    return (total / (masks * keep)).astype(images.dtype)


def _windows(
    size: tuple[int, ...], window: int, stride: int, edge: str
) -> Iterator[tuple[slice, ...]]:
    """List the windows of an input, row by row."""
    starts = []
    for length in size:
        last = max(length - window, 0)
        own = range(0, last, stride)
        starts.append([*own, last if edge == "shift" else len(own) * stride])
    for corner in product(*starts):
        yield tuple(slice(start, start + window) for start in corner)


def _rise_mask(rng: np.random.Generator, size: tuple[int, ...], cells: int, keep: float) -> Array:
    """Draw one mask: a grid of cells, kept at random, enlarged and shifted."""
    cell = [-(-length // cells) for length in size]
    grid = (rng.random([cells] * len(size)) < keep).astype(np.float64)
    large = resize(grid[None], tuple((cells + 1) * side for side in cell), LINEAR)[0]
    shift = [int(rng.integers(side)) for side in cell]
    mask: Array = large[tuple(slice(s, s + length) for s, length in zip(shift, size, strict=True))]
    return mask
