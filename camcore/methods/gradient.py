"""Methods that weight activations by their gradients, each one equation.

A is the layer's activations, g the gradient of the score with respect to them.
Every function takes ``(B, C, *S)`` arrays of any spatial rank and returns the
signed map ``(B, *S)``: no ReLU, no normalisation, no resizing.
"""

from __future__ import annotations

import numpy as np

from camcore.errors import InputError
from camcore.methods.arrays import (
    floating,
    mean_space,
    paired,
    per_channel,
    ratio,
    relu,
    sum_channels,
    sum_space,
    weighted,
)
from camcore.trace import Array


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
