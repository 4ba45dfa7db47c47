"""Weights that libraries make of gradients otherwise than the papers do.

A is the layer's activations, g the gradient of the score with respect to them, both
``(B, C, *S)``; every function returns the signed map ``(B, *S)``. Powers and epsilons
are taken in the arrays' own precision, as the libraries do.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from camcore._shared.progress import track
from camcore.adapter import Array
from camcore.methods.arrays import (
    floating,
    mean_space,
    paired,
    per_channel,
    sum_space,
    weighted,
)
from camcore.methods.noise import noisy_inputs
from camcore.postprocess import relu


def gradcam_batch_mean(activations: Array, gradients: Array) -> Array:
    """Σ_c w_c · A_c with w = mean of g over space and over the batch.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.

    Returns
    -------
    (B, *S) array
        Signed map; for a batch of one it is Grad-CAM.

    Raises
    ------
    InputError
        The shapes do not fit.

    References
    ----------
    F. Chollet, "Grad-CAM class activation visualization", keras.io:
    ``tf.reduce_mean(grads, axis=(0, 1, 2))``.
    """
    activations, gradients = paired(activations, gradients)
    weights = mean_space(gradients).mean(axis=0, keepdims=True)
    return weighted(np.repeat(weights, len(activations), axis=0), activations)


def gradcam_guided(activations: Array, gradients: Array) -> Array:
    """Σ_c mean_s([A_c > 0] · relu(g_c)) · A_c.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.

    Returns
    -------
    (B, *S) array
        Signed map.

    References
    ----------
    ``GradCAM`` of tf-explain with its default ``use_guided_grads=True``.
    """
    activations, gradients = paired(activations, gradients)
    return weighted(mean_space(np.where(activations > 0, relu(gradients), 0)), activations)


def gradcampp_sum(activations: Array, gradients: Array, *, eps: float = 1e-6) -> Array:
    """Σ_c w_c · A_c with w = Σ_s α · relu(g), α = g² / (2g² + Σ_s(A) · g³ + ε), 0 where g = 0.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.
    eps : float
        ε. It outweighs 2g² where gradients are below its square root.

    Returns
    -------
    (B, *S) array
        Signed map.

    References
    ----------
    ``GradCAMPlusPlus`` of pytorch-grad-cam.
    """
    activations, gradients = paired(activations, gradients)
    square = gradients**2
    total = per_channel(sum_space(activations), activations)
    alpha = square / (2 * square + total * (square * gradients) + gradients.dtype.type(eps))
    return weighted(sum_space(relu(gradients) * np.where(gradients != 0, alpha, 0)), activations)


def gradcampp_product(activations: Array, gradients: Array, *, eps: float = 1e-7) -> Array:
    """Σ_c w_c · A_c with w = Σ_s α · relu(g), α = g² / (2g² + Σ_s(g³ · A) + ε).

    The sum over space is taken of the product, so that α's denominator can be negative
    and pass through zero; where it is exactly zero it counts as 1.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.
    eps : float
        ε.

    Returns
    -------
    (B, *S) array
        Signed map.

    References
    ----------
    ``GradCAMpp`` of MONAI (ε = 1e-7), and as torchcam documents its own (ε = 1e-8).
    """
    activations, gradients = paired(activations, gradients)
    square = gradients**2
    product = per_channel(sum_space(square * gradients * activations), activations)
    denominator = 2 * square + product
    denominator = np.where(denominator != 0, denominator, 1) + gradients.dtype.type(eps)
    return weighted(sum_space(square / denominator * relu(gradients)), activations)


def gradcampp_cubed(activations: Array, gradients: Array) -> Array:
    """Σ_c w_c · A_c with w = Σ_s relu(g)³: α = g², its denominator lost.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.

    Returns
    -------
    (B, *S) array
        Signed map.

    References
    ----------
    ``GradCAMpp`` of torchcam as shipped: ``alpha[idx][mask].div_(...)`` divides a copy,
    which is then dropped.
    """
    activations, gradients = paired(activations, gradients)
    return weighted(sum_space(gradients**2 * relu(gradients)), activations)


def gradcampp_normalised(activations: Array, gradients: Array, scores: Array) -> Array:
    """Σ_c w_c · A_c with w = Σ_s (α / Σ_s α) · relu(e^y · g), α = g² / (2g² + Σ_s(A) · g³).

    Derivatives are those of e^y, so that each carries a factor e^y, which α cancels.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.
    scores : (B,) array
        The scores y.

    Returns
    -------
    (B, *S) array
        Signed map.

    References
    ----------
    The authors' code, github.com/adityac94/Grad_CAM_plus_plus, which lacks the guard
    for channels whose α sums to zero, and ``GradcamPlusPlus`` of tf-keras-vis.
    """
    activations, gradients = paired(activations, gradients)
    growth = np.exp(scores).astype(gradients.dtype).reshape(-1, *[1] * (gradients.ndim - 1))
    first = growth * gradients
    second = first * gradients
    total = per_channel(sum_space(activations), activations)
    alpha = second / (2 * second + second * gradients * total + (second == 0))
    alpha_total = sum_space(alpha)
    alpha = alpha / per_channel(alpha_total + (alpha_total == 0), alpha)
    return weighted(sum_space(relu(first) * alpha), activations)


def gradcampp_mean(activations: Array, gradients: Array) -> Array:
    """Σ_c w_c · A_c with w = mean_s(α · relu(g)), α = g² / (2g² + mean_s(A) · g³).

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.

    Returns
    -------
    (B, *S) array
        Signed map.

    References
    ----------
    ``GradCAMPP`` of xplique, where a denominator of zero counts as 1e-4.
    """
    activations, gradients = paired(activations, gradients)
    square = gradients**2
    mean = per_channel(mean_space(activations), activations)
    denominator = 2 * square + square * gradients * mean
    denominator = np.where(denominator != 0, denominator, gradients.dtype.type(1e-4))
    return weighted(mean_space(square / denominator * relu(gradients)), activations)


def xgradcam_eps(activations: Array, gradients: Array, *, eps: float = 1e-7) -> Array:
    """Σ_c w_c · A_c with w = Σ_s(g · A) / (Σ_s(A) + ε).

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.
    eps : float
        ε.

    Returns
    -------
    (B, *S) array
        Signed map.

    References
    ----------
    ``XGradCAM`` of pytorch-grad-cam (ε = 1e-7) and of torchcam (ε = 1e-8).
    """
    activations, gradients = paired(activations, gradients)
    total = sum_space(activations) + activations.dtype.type(eps)
    return weighted(sum_space(gradients * activations) / total, activations)


def smooth_gradcampp_last(
    activations: Array,
    images: Array,
    rerun: Callable[[Array], tuple[Array, Array]],
    *,
    samples: int = 4,
    sigma: float = 0.3,
    eps: float = 1e-8,
    seed: int = 0,
    progress: bool | None = None,
) -> Array:
    """Σ_c w_c · A'_c with w = Σ_s α · relu(g'), α = mean(g²) / (2 mean(g²) + Σ_s(mean(g³) · A) + ε).

    A' and g' are those of the last noisy input alone. The noise has an absolute standard
    deviation, in the units of the input.

    Parameters
    ----------
    activations : (B, C, *S) array
        The layer's output for the input without noise, A.
    images : (B, C, *S) array
        The model's input.
    rerun : callable
        The layer's activations and gradients at other inputs.
    samples : int
        How many noisy inputs.
    sigma : float
        Standard deviation of the noise.
    eps : float
        ε.
    seed : int
        Of the noise; the same seed gives the same map in every framework.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *S) array
        Signed map.

    References
    ----------
    ``SmoothGradCAMpp`` of torchcam, whose hooks overwrite the activations at each pass.
    """  # noqa: E501
    activations = floating(activations, "activations")
    square, cube = np.zeros_like(activations), np.zeros_like(activations)
    last, gradients = activations, np.zeros_like(activations)
    draws = noisy_inputs(floating(images, "images"), samples, sigma, seed, of_range=False)
    for noisy in track(draws, "Smooth Grad-CAM++", progress):
        last, gradients = rerun(noisy())
        square += gradients**2
        cube += gradients**3
    square, cube = square / samples, cube / samples
    product = per_channel(sum_space(cube * activations), activations)
    alpha = square / (2 * square + product + activations.dtype.type(eps))
    return weighted(sum_space(alpha * relu(gradients)), last)
