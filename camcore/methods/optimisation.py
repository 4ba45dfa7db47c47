"""Opti-CAM: the weights of channels are found by gradient ascent of the score under their mask."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from camcore._shared.progress import track
from camcore.adapter import Array
from camcore.errors import MethodError
from camcore.methods.arrays import ScoreImages, flat, same_batch, shaped, weighted
from camcore.methods.table import described, register
from camcore.postprocess import normalise
from camcore.resize import along_axes, resize
from camcore.targets import softmax

_DECAY = (0.9, 0.999)
_EPS = 1e-8
"""Adam's own, as frameworks have them."""


@register(
    "opticam",
    "Opti-CAM",
    ("activations", "images", "gradients_at", "score_images"),
    "1 + steps x (2 + backward)",
    "Zhang et al., CVIU 2024",
    additive=False,
)
@described(
    "Σ_c softmax(u)_c · A_c with u = argmax y(x · mask(u)), mask(u) the map scaled from 0 to 1"
)
def opticam(
    activations: Array,
    images: Array,
    gradients_at: Callable[[Array], Array],
    score_images: ScoreImages,
    *,
    steps: int = 100,
    rate: float = 0.1,
    progress: bool | None = None,
) -> Array:
    """Compute Opti-CAM: Σ_c softmax(u)_c · A_c, with the u that raises the score under its mask.

    u starts at 0 and takes steps of Adam. Of all that it comes by, the u of the highest score
    is taken, the start among them.

    Parameters
    ----------
    activations : (B, C, *S) array
        The layer's output.
    images : (B, C, *S) array
        The model's input.
    gradients_at : callable
        The score's gradients at other inputs.
    score_images : callable
        Scores of altered inputs.
    steps : int
        How many steps of Adam; 0 leaves u at 0.
    rate : float
        Adam's step size.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *S) array
        A mean of channels, weighted; with ``steps=0`` their plain mean.

    Raises
    ------
    InputError, MethodError
        The arrays do not fit, or an option is out of range.

    References
    ----------
    Zhang et al., "Opti-CAM: Optimizing saliency maps for interpretability", Computer Vision
    and Image Understanding, 2024, arXiv:2301.07002. The mask is the map enlarged linearly and
    scaled by (x − min) / (max − min), the objective the explained score.
    """
    activations, images = same_batch(activations, images)
    if not isinstance(steps, (int, np.integer)) or steps < 0:
        raise MethodError(f"steps={steps!r}; it must be a whole number of at least 0.")
    if not 0 < rate < np.inf:
        raise MethodError(f"rate={rate}; it must be finite and positive.")
    features = activations.astype(np.float64)
    u = np.zeros(features.shape[:2])
    best, highest = u.copy(), np.full(len(u), -np.inf)
    means = np.zeros((2, *u.shape))
    for step in track(range(1, steps + 1), "Opti-CAM", progress):
        maps, masked = _masked(u, features, images)
        highest = _kept(best, u, highest, masked, score_images)
        slopes = shaped(gradients_at(masked), images.shape, "Gradients at masked images")
        by_mask = (slopes.astype(np.float64) * images).sum(axis=1)
        ascent = _pulled_back(by_mask, maps, u, features)
        for i, (decay, moment) in enumerate(zip(_DECAY, (ascent, ascent**2), strict=True)):
            means[i] = decay * means[i] + (1 - decay) * moment
        first, second = (
            mean / (1 - decay**step) for mean, decay in zip(means, _DECAY, strict=True)
        )
        u = u + rate * first / (np.sqrt(second) + _EPS)
    if steps:
        _kept(best, u, highest, _masked(u, features, images)[1], score_images)
    return weighted(softmax(best).astype(activations.dtype), activations)


def _masked(u: Array, features: Array, images: Array) -> tuple[Array, Array]:
    """Make the maps ``(B, *S)`` of weights softmax(u), and the images under their masks."""
    maps = weighted(softmax(u), features)
    masks = normalise(resize(maps, images.shape[2:], leading=1), "min_max")
    return maps, (images * masks[:, None]).astype(images.dtype)


def _kept(best: Array, u: Array, highest: Array, masked: Array, score_images: ScoreImages) -> Array:
    """Keep in `best` the u of each sample whose score is the highest so far; return the scores."""
    scores = np.array(
        [
            shaped(score_images(sample, image[None]), (1,), "Scores of masked images")[0]
            for sample, image in enumerate(masked)
        ],
        np.float64,
    )
    better = scores > highest
    best[better] = u[better]
    result: Array = np.where(better, scores, highest)
    return result


def _pulled_back(by_mask: Array, maps: Array, u: Array, features: Array) -> Array:
    """Pull the score's gradient at the masks, ``(B, *T)``, back to u.

    A mask is (L − min) / (max − min) of L, the map enlarged. Where the minimum or the maximum
    is at several places, as where a border repeats its outermost value, they share its gradient.
    """
    size = by_mask.shape[1:]
    along = [resize(np.eye(n), (m,), leading=1) for n, m in zip(maps.shape[1:], size, strict=True)]
    large = along_axes(maps, along, leading=1)
    axes = tuple(range(1, large.ndim))
    low, high = (f(axis=axes, keepdims=True) for f in (large.min, large.max))
    spread = np.where(high > low, high - low, 1)
    masks = (large - low) / spread
    slope = np.where(high > low, by_mask, 0) / spread
    for at, share in ((low, (slope * (masks - 1))), (high, -slope * masks)):
        ends = large == at
        slope = slope + ends * (
            share.sum(axis=axes, keepdims=True) / ends.sum(axis=axes, keepdims=True)
        )
    small = along_axes(slope, [matrix.T for matrix in along], leading=1)
    by_weight = np.einsum("bcn,bn->bc", flat(features), small.reshape(len(small), -1))
    w = softmax(u)
    pulled: Array = w * (by_weight - (w * by_weight).sum(axis=1, keepdims=True))
    return pulled
