"""Weights that several libraries make of gradients otherwise than the papers do.

A is the layer's activations, g the gradient of the score with respect to them, both
``(B, C, *S)``; every function returns the signed map ``(B, *S)``. Powers and epsilons
are taken in the arrays' own precision, as the libraries do.
"""

from __future__ import annotations

import numpy as np

from camcore.adapter import Array
from camcore.methods.arrays import paired, per_channel, sum_space, weighted
from camcore.methods.table import described
from camcore.postprocess import relu


@described("Σ_c w_c · A_c with w = Σ_s α · relu(g), α = g² / (2g² + Σ_s(g³ · A) + ε)")
def gradcampp_product(activations: Array, gradients: Array, *, eps: float = 1e-7) -> Array:
    """Weight channels as Grad-CAM++ does, with the sum over g³ · A in the denominator of α.

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


@described(
    "Σ_c w_c · A_c with w = Σ_s α · relu(g), α = g² / (2g² + Σ_s(A) · g³ + ε), 0 where g = 0"
)
def gradcampp_sum(activations: Array, gradients: Array, *, eps: float = 1e-6) -> Array:
    """Weight channels as Grad-CAM++ does, with an ε in the denominator of α.

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
    ``GradCAMPlusPlus`` of pytorch-grad-cam, which the authors of RefineCAM use.
    """
    activations, gradients = paired(activations, gradients)
    square = gradients**2
    total = per_channel(sum_space(activations), activations)
    alpha = square / (2 * square + total * (square * gradients) + gradients.dtype.type(eps))
    return weighted(sum_space(relu(gradients) * np.where(gradients != 0, alpha, 0)), activations)


@described("Σ_c w_c · A_c with w = Σ_s (α / Σ_s α) · relu(e^y · g), α = g² / (2g² + Σ_s(A) · g³)")
def gradcampp_normalised(activations: Array, gradients: Array, scores: Array) -> Array:
    """Weight channels as Grad-CAM++ does, with α scaled to sum to one over space.

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


@described("Σ_c w_c · A_c with w = Σ_s(g · A) / (Σ_s(A) + ε)")
def xgradcam_eps(activations: Array, gradients: Array, *, eps: float = 1e-7) -> Array:
    """Weight channels as XGrad-CAM does, with an ε in the denominator.

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
