"""Alterations of the input or the activations that libraries make otherwise than the papers."""

from __future__ import annotations

from itertools import product

import numpy as np

from camcore._shared.progress import track
from camcore.adapter import Array
from camcore.errors import MethodError
from camcore.methods.arrays import Resume, ScoreImages, at_least_one, batches, floating, weighted
from camcore.methods.masking import PAPER, Masking, score_weighted


def iscam_cumulative(
    activations: Array,
    images: Array,
    score_images: ScoreImages,
    *,
    steps: int = 10,
    masking: Masking = PAPER,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Array:
    """IS-CAM with strengths that add up: (1 + 2 + … + i) / N, the last of them (N + 1) / 2.

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
    masking, batch_size, progress
        As in `camcore.methods.scorecam`.

    Returns
    -------
    (B, *S) array
        Signed map.

    References
    ----------
    ``ISCAM`` of torchcam: ``coeff += (sidx + 1) / num_samples``.
    """
    at_least_one(steps=steps, batch_size=batch_size)
    strengths = np.cumsum(np.arange(1, steps + 1) / steps)

    def scores(sample: int, live: Array, masks: Array) -> Array:
        masked = images[sample] * masks[:, None]
        each = [score_images(sample, masked.dtype.type(s) * masked) for s in strengths]
        mean: Array = np.mean(each, axis=0)
        return mean

    return score_weighted(
        activations,
        images,
        scores,
        masking=masking,
        batch_size=batch_size,
        progress=progress,
        label="IS-CAM",
    )


def ablationcam_sinking(
    activations: Array,
    scores: Array,
    resume: Resume,
    *,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Array:
    """Σ_c w_c · A_c with w = (y − y_c) / y, y_c the score with A_c = 0, or far below min(A).

    A channel is set to 0 where the sample's smallest activation is 0. Elsewhere the first
    channel of each `batch_size` is set to min(A) − 1e7, the next to a further 1e7 below,
    and so on, since each looks for the minimum after the one before it was altered.

    Parameters
    ----------
    activations : (B, C, *S) array
        The layer's output.
    scores : (B,) array
        The scores y.
    resume : callable
        Context that scores altered activations of one sample.
    batch_size : int
        How many ablations are scored at once; where activations are negative, the map
        depends on it.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *S) array
        Signed map.

    References
    ----------
    ``AblationCAM`` and ``AblationLayer`` of pytorch-grad-cam.
    """
    activations = floating(activations, "activations")
    at_least_one(batch_size=batch_size)
    weights = np.zeros(activations.shape[:2], np.float32)
    for sample, activation in enumerate(activations):
        with resume(sample) as score:
            channels = batches(range(len(activation)), batch_size)
            for batch in track(channels, "Ablation-CAM", progress):
                altered = np.repeat(activation[None], len(batch), axis=0)
                lowest = activation.min()
                for row, channel in enumerate(batch):
                    lowest = lowest - activation.dtype.type(1e7) if lowest != 0 else lowest
                    altered[row, channel] = lowest
                weights[sample, batch] = scores[sample] - score(altered)
        weights[sample] /= scores[sample]
    return weighted(weights.astype(activations.dtype), activations)


def patches(
    images: Array,
    score_images: ScoreImages,
    *,
    window: int = 20,
    baseline: float = 127.5,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Array:
    """1 − y_blanked for each square of a grid, one value for each.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input.
    score_images : callable
        Scores of altered inputs.
    window : int
        Side of the squares; the last of an axis may be cut short.
    baseline : float
        What a square is filled with, in the units of the input.
    batch_size : int
        How many blanked images are scored at once.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *G) array
        Map of the size of the grid.

    Raises
    ------
    MethodError
        An option is out of range.

    References
    ----------
    ``OcclusionSensitivity`` of tf-explain, which takes y for a probability.
    """
    images = floating(images, "images")
    at_least_one(window=window, batch_size=batch_size)
    size = images.shape[2:]
    if min(size) < window:
        raise MethodError(f"window={window} is larger than the input, {size}.")
    grid = tuple(-(-length // window) for length in size)
    places = list(product(*map(range, grid)))
    maps = np.zeros((len(images), *grid))
    for sample, image in enumerate(images):
        for batch in track(batches(places, batch_size), "Occlusion", progress):
            blanked = np.repeat(image[None], len(batch), axis=0)
            for altered, place in zip(np.moveaxis(blanked, 1, -1), batch, strict=True):
                square = tuple(slice(at * window, (at + 1) * window) for at in place)
                altered[square] = baseline
            for place, score in zip(batch, score_images(sample, blanked), strict=True):
                maps[sample][place] = 1 - score
    return maps.astype(images.dtype)
