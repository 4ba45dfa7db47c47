"""Recipro-CAM: each position of a layer counts by the score that it gives alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from camcore._shared.progress import track
from camcore.adapter import Array
from camcore.methods.arrays import Resume, at_least_one, batches, floating, shaped
from camcore.methods.table import described, register


@register(
    "reciprocam",
    "Recipro-CAM",
    ("activations", "resume"),
    "1 + positions x what follows the layer",
    "Byun and Lee, CVPR Workshops 2024",
)
@described("y(A · m_s) at each position s, m_s keeping s alone and all its channels")
def reciprocam(
    activations: Array,
    resume: Resume,
    *,
    smooth: bool = False,
    batch_size: int = 64,
    progress: bool | None = None,
) -> Array:
    """Compute Recipro-CAM: y(A · m_s) at each position s, m_s keeping s alone and all its channels.

    At a transformer's tokens the masks are over patches, and the class token and whatever
    else is no patch stay as they are; with ``smooth=True`` that is ViT-Recipro-CAM.

    Parameters
    ----------
    activations : (B, C, *S) array
        The layer's output.
    resume : callable
        Context that scores altered activations of one sample.
    smooth : bool
        Whether m_s keeps a half of s along each axis and a quarter of its neighbours, in two
        dimensions [[1, 2, 1], [2, 4, 2], [1, 2, 1]] / 16. Beyond an edge there is nothing; an
        axis of one position is left as it is.
    batch_size : int
        How many masked activations are scored at once.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *S) array
        Scores as they are, so that what the layer adds is in their differences. Under
        average pooling over N positions and a linear head, CAM / N + b, b the head's bias.

    Raises
    ------
    InputError, MethodError
        The arrays do not fit, or an option is out of range.

    References
    ----------
    Byun and Lee, "ReciproCAM: Lightweight Gradient-free Class Activation Map for Post-hoc
    Explanations", CVPR Workshops 2024, arXiv:2209.14074; Byun and Lee,
    "ViT-ReciproCAM: Gradient and Attention-Free Visual Explanations for Vision
    Transformer", arXiv:2310.02588. The smooth mask is the latter's; the authors' code for
    CNNs spreads the activations at s over its neighbours instead.
    """
    activations = floating(activations, "activations")
    at_least_one(batch_size=batch_size)
    size = activations.shape[2:]
    places = range(math.prod(size))
    scores = np.zeros((len(activations), len(places)), activations.dtype)
    for sample, activation in enumerate(activations):
        with resume(sample) as score:
            for batch in track(batches(places, batch_size), "Recipro-CAM", progress):
                masks = _masks(batch, size, smooth).astype(activations.dtype)
                scores[sample, batch] = shaped(
                    score(activation * masks[:, None]),
                    (len(batch),),
                    "Scores of masked activations",
                )
    return scores.reshape(len(activations), *size)


def _masks(places: Sequence[int], size: tuple[int, ...], smooth: bool) -> Array:
    """Make the masks ``(N, *size)`` that keep each of N places: a product over the axes."""
    masks = np.ones(len(places))
    for length, at in zip(size, np.unravel_index(places, size), strict=True):
        kept = np.eye(length)
        if smooth and length > 1:
            kept = kept / 2 + np.eye(length, k=1) / 4 + np.eye(length, k=-1) / 4
        along = kept[at].reshape(len(places), *[1] * (masks.ndim - 1), length)
        masks = masks[..., None] * along
    return masks
