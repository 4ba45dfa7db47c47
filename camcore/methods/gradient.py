"""Methods that weight activations by their gradients, each one equation.

A is the layer's activations, g the gradient of the score with respect to them.
Every function takes ``(B, C, *S)`` arrays of any spatial rank and returns the
signed map ``(B, *S)``: no ReLU, no normalisation, no resizing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from camcore._shared.progress import track
from camcore.adapter import Array
from camcore.errors import InputError, MethodError
from camcore.methods.arrays import (
    floating,
    mean_space,
    paired,
    per_channel,
    ratio,
    sum_channels,
    sum_space,
    weighted,
)
from camcore.methods.noise import noisy_inputs
from camcore.postprocess import relu


def cam(activations: Array, class_weights: Array) -> Array:
    """CAM: Σ_c W_kc · A_c.

    Parameters
    ----------
    activations : (B, C, *S) array
        Output of the layer that global average pooling and the head follow.
    class_weights : (B, C) array
        The linear head's weights for each sample's class.

    Returns
    -------
    (B, *S) array
        Signed map. Its mean over space is the class's logit less its bias.

    Raises
    ------
    InputError
        The shapes do not fit.

    References
    ----------
    Zhou et al., "Learning Deep Features for Discriminative Localization",
    CVPR 2016, eq. 2.
    """
    activations = floating(activations, "activations")
    class_weights = np.asarray(class_weights, dtype=activations.dtype)
    if class_weights.shape != activations.shape[:2]:
        raise InputError(
            f"class_weights must be (batch, channels) = {activations.shape[:2]}; "
            f"got {class_weights.shape}."
        )
    return weighted(class_weights, activations)


def gradcam(activations: Array, gradients: Array) -> Array:
    """Grad-CAM: Σ_c mean_s(g_c) · A_c.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.

    Returns
    -------
    (B, *S) array
        Signed map; the paper shows its positive part.

    Raises
    ------
    InputError
        The shapes do not fit.

    References
    ----------
    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via
    Gradient-based Localization", ICCV 2017, eq. 1 and 2.
    """
    activations, gradients = paired(activations, gradients)
    return weighted(mean_space(gradients), activations)


def gradcampp(activations: Array, gradients: Array) -> Array:
    """Grad-CAM++: Σ_c w_c · A_c with w = Σ_s α · relu(g), α = g² / (2g² + Σ_s(A) · g³).

    α is 0 where g is 0 or the denominator vanishes. It is evaluated as
    1 / (2 + Σ_s(A) · g), the same number without powers that underflow. The
    positive factor exp(y) that the paper's derivation carries is left out, since
    it scales the whole map.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.

    Returns
    -------
    (B, *S) array
        Signed map.

    Raises
    ------
    InputError
        The shapes do not fit.

    References
    ----------
    Chattopadhay et al., "Grad-CAM++: Generalized Gradient-based Visual
    Explanations for Deep Convolutional Networks", WACV 2018, eq. 5 and 19.
    """
    activations, gradients = paired(activations, gradients)
    total = per_channel(sum_space(activations), activations)
    # A negative g has relu(g) = 0, so leaving it out here changes nothing.
    positive = relu(gradients)
    return weighted(sum_space(ratio(positive, 2 + total * positive)), activations)


def xgradcam(activations: Array, gradients: Array) -> Array:
    """XGrad-CAM: Σ_c w_c · A_c with w = Σ_s(g · A) / Σ_s(A), 0 where Σ_s(A) = 0.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.

    Returns
    -------
    (B, *S) array
        Signed map; it sums to Σ g · A where no channel sums to zero.

    Raises
    ------
    InputError
        The shapes do not fit.

    References
    ----------
    Fu et al., "Axiom-based Grad-CAM: Towards Accurate Visualization and
    Explanation of CNNs", BMVC 2020.
    """
    activations, gradients = paired(activations, gradients)
    weights = ratio(sum_space(gradients * activations), sum_space(activations))
    return weighted(weights, activations)


def hirescam(activations: Array, gradients: Array) -> Array:
    """HiResCAM: Σ_c g_c · A_c.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.

    Returns
    -------
    (B, *S) array
        Signed map; under a linear head it sums to the score less its bias.

    Raises
    ------
    InputError
        The shapes do not fit.

    References
    ----------
    Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations
    of convolutional neural networks", arXiv:2011.08891.
    """
    activations, gradients = paired(activations, gradients)
    return sum_channels(gradients * activations)


def elementwise_gradcam(activations: Array, gradients: Array) -> Array:
    """Element-wise Grad-CAM: Σ_c relu(g_c · A_c).

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.

    Returns
    -------
    (B, *S) array
        Map without negative values.

    Raises
    ------
    InputError
        The shapes do not fit.

    References
    ----------
    ``GradCAMElementWise`` of pytorch-grad-cam, which gives no paper for it.
    """
    activations, gradients = paired(activations, gradients)
    return sum_channels(relu(gradients * activations))


def layercam(activations: Array, gradients: Array) -> Array:
    """LayerCAM: Σ_c relu(g_c) · A_c.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.

    Returns
    -------
    (B, *S) array
        Signed map; without negative values where A has none.

    Raises
    ------
    InputError
        The shapes do not fit.

    References
    ----------
    Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for
    Localization", IEEE TIP 2021, eq. 6 and 7.
    """
    activations, gradients = paired(activations, gradients)
    return sum_channels(relu(gradients) * activations)


def shapleycam(activations: Array, gradients: Array, hessian_products: Array) -> Array:
    """ShapleyCAM: Σ_c mean_s(g_c − ½ (H·A)_c) · A_c, H the score's Hessian in A.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.
    hessian_products : (B, C, *S) array
        H·A.

    Returns
    -------
    (B, *S) array
        Signed map; Grad-CAM where the score is piecewise linear in A.

    Raises
    ------
    InputError
        The shapes do not fit.

    References
    ----------
    Cai, "CAMs as Shapley Value-based Explainers", arXiv:2501.06261.
    """
    activations, gradients = paired(activations, gradients)
    _, hessian_products = paired(activations, hessian_products)
    return weighted(mean_space(gradients - hessian_products / 2), activations)


def segxrescam(
    activations: Array,
    gradients: Array,
    *,
    window: int = 2,
    pool: Literal["max", "mean"] = "max",
) -> Array:
    """Seg-XRes-CAM: Σ_c up(pool(g_c)) · A_c.

    Gradients are pooled over windows and spread back over them, between Grad-CAM
    (mean over one window as large as the map) and HiResCAM (windows of 1).

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.
    window : int
        Side of the windows; the last one of an axis may be cut short.
    pool : {"max", "mean"}
        How a window's gradients are pooled.

    Returns
    -------
    (B, *S) array
        Signed map.

    Raises
    ------
    InputError, MethodError
        The shapes do not fit, or an option is out of range.

    References
    ----------
    Hasany et al., "Seg-XRes-CAM: Explaining Spatially Local Regions in Image
    Segmentation", CVPR Workshops 2023.
    """
    activations, gradients = paired(activations, gradients)
    if window < 1 or pool not in ("max", "mean"):
        raise MethodError(
            f"window={window}, pool={pool!r}; a positive integer and 'max' or 'mean' are expected."
        )
    pooled = gradients
    for axis in range(2, gradients.ndim):
        starts = np.arange(0, gradients.shape[axis], window)
        lengths = np.diff([*starts, gradients.shape[axis]])
        reduce = np.maximum.reduceat if pool == "max" else np.add.reduceat
        pooled = reduce(pooled, starts, axis=axis)
        if pool == "mean":
            pooled = pooled / lengths.reshape([-1 if i == axis else 1 for i in range(pooled.ndim)])
        pooled = np.repeat(pooled, lengths, axis=axis)
    return sum_channels(pooled.astype(activations.dtype) * activations)


def smooth_gradcampp(
    activations: Array,
    images: Array,
    rerun: Callable[[Array], tuple[Array, Array]],
    *,
    samples: int = 4,
    sigma: float = 0.3,
    seed: int = 0,
    progress: bool | None = None,
) -> Array:
    """Smooth Grad-CAM++: Grad-CAM++ with g, g² and g³ averaged over noisy inputs.

    w = Σ_s α · relu(ḡ), α = mean(g²) / (2 mean(g²) + Σ_s(A) · mean(g³)).

    Parameters
    ----------
    activations : (B, C, *S) array
        The layer's output for the input without noise.
    images : (B, C, *S) array
        The model's input.
    rerun : callable
        The layer's activations and gradients at other inputs.
    samples : int
        How many noisy inputs.
    sigma : float
        Standard deviation of the noise, as a share of each image's range.
    seed : int
        Of the noise; the same seed gives the same map in every framework.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *S) array
        Signed map; with ``sigma=0`` it is Grad-CAM++.

    Raises
    ------
    InputError, MethodError
        The shapes do not fit, or an option is out of range.

    References
    ----------
    Omeiza et al., "Smooth Grad-CAM++: An Enhanced Inference Level Visualization
    Technique for Deep Convolutional Neural Network Models", arXiv:1908.01224.
    """
    activations = floating(activations, "activations")
    powers = np.zeros((3, *activations.shape))
    draws = noisy_inputs(floating(images, "images"), samples, sigma, seed)
    for noisy in track(draws, "Smooth Grad-CAM++", progress):
        gradients = rerun(noisy())[1].astype(np.float64)
        powers += np.stack([gradients, gradients**2, gradients**3]) / samples
    total = per_channel(sum_space(activations), activations)
    alpha = ratio(powers[1], 2 * powers[1] + total * powers[2])
    weights = sum_space(alpha * relu(powers[0]))
    return weighted(weights.astype(activations.dtype), activations)
