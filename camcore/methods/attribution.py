"""Attributions at the model's input, and what combines them with a layer's map.

x is the model's input and g the gradient of the score with respect to it, both
``(B, C, *S)``; the channels of an image are joined as each docstring says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from camcore._shared.progress import track
from camcore.adapter import Array
from camcore.errors import MethodError
from camcore.methods.arrays import floating, paired, per_channel, sum_channels
from camcore.methods.gradient import gradcam
from camcore.methods.noise import noisy_inputs
from camcore.postprocess import relu
from camcore.resize import Interpolation, resize

ImageGradients: TypeAlias = Callable[[Array], Array]
"""Of a batch in place of the input, ``(B, C, *S)``, the target's gradients there."""


def saliency(image_gradients: Array) -> Array:
    """Saliency: max_c |g_c|.

    Parameters
    ----------
    image_gradients : (B, C, *S) array
        The score's gradient at the input.

    Returns
    -------
    (B, *S) array
        Map without negative values, at the input's size.

    Raises
    ------
    InputError
        The array is not ``(B, C, *S)``.

    References
    ----------
    Simonyan et al., "Deep Inside Convolutional Networks: Visualising Image
    Classification Models and Saliency Maps", ICLR Workshops 2014, sec. 3.1.
    """
    largest: Array = np.abs(floating(image_gradients, "image_gradients")).max(axis=1)
    return largest


def gradient_times_input(images: Array, image_gradients: Array) -> Array:
    """Gradient × input: Σ_c x_c · g_c.

    Parameters
    ----------
    images, image_gradients : (B, C, *S) array
        The model's input and the score's gradient there.

    Returns
    -------
    (B, *S) array
        Signed map, at the input's size.

    Raises
    ------
    InputError
        The shapes do not fit.

    References
    ----------
    Shrikumar et al., "Not Just a Black Box: Learning Important Features Through
    Propagating Activation Differences", arXiv:1605.01713.
    """
    images, image_gradients = paired(images, image_gradients)
    return sum_channels(images * image_gradients)


def smoothgrad(
    images: Array,
    gradients_at: ImageGradients,
    *,
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    progress: bool | None = None,
) -> Array:
    """SmoothGrad: max_c |mean of g_c over noisy inputs|.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input.
    gradients_at : callable
        The target's gradients at other inputs.
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
        Map without negative values, at the input's size.

    Raises
    ------
    InputError, MethodError
        The array is not ``(B, C, *S)``, or an option is out of range.

    References
    ----------
    Smilkov et al., "SmoothGrad: removing noise by adding noise", arXiv:1706.03825.
    """
    images = floating(images, "images")
    total = np.zeros(images.shape)
    for noisy in track(noisy_inputs(images, samples, sigma, seed), "SmoothGrad", progress):
        total += gradients_at(noisy())
    return saliency((total / samples).astype(images.dtype))


def integrated_gradients(
    images: Array,
    gradients_at: ImageGradients,
    *,
    steps: int = 50,
    baseline: float = 0.0,
    progress: bool | None = None,
) -> Array:
    """Integrated gradients: Σ_c (x − x₀)_c · ∫ g_c(x₀ + t (x − x₀)) dt, t from 0 to 1.

    The integral is taken by Gauss-Legendre quadrature, exact for polynomials of
    degree 2·steps − 1.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input x.
    gradients_at : callable
        The target's gradients at other inputs.
    steps : int
        Nodes of the quadrature.
    baseline : float
        Every value of x₀, in the units of the input.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *S) array
        Signed map at the input's size; it sums to y(x) − y(x₀) as steps grow.

    Raises
    ------
    InputError, MethodError
        The array is not ``(B, C, *S)``, or an option is out of range.

    References
    ----------
    Sundararajan et al., "Axiomatic Attribution for Deep Networks", ICML 2017, eq. 1.
    """
    images = floating(images, "images")
    if steps < 1:
        raise MethodError(f"steps={steps}; it must be at least 1.")
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    difference = images - images.dtype.type(baseline)
    total = np.zeros(images.shape)
    at = list(zip((nodes + 1) / 2, weights / 2, strict=True))
    for t, weight in track(at, "Integrated gradients", progress):
        total += weight * gradients_at(
            images.dtype.type(baseline) + images.dtype.type(t) * difference
        )
    return sum_channels((difference * total).astype(images.dtype))


def guided_backprop(guided_gradients: Array) -> Array:
    """Guided backpropagation: max_c |g_c|, with only positive gradients past each rectifier.

    Parameters
    ----------
    guided_gradients : (B, C, *S) array
        The score's gradient at the input under the guided rule.

    Returns
    -------
    (B, *S) array
        Map without negative values, at the input's size.

    Raises
    ------
    InputError
        The array is not ``(B, C, *S)``.

    References
    ----------
    Springenberg et al., "Striving for Simplicity: The All Convolutional Net",
    ICLR Workshops 2015, sec. 3.4.
    """
    return saliency(guided_gradients)


def guided_gradcam(activations: Array, gradients: Array, guided_gradients: Array) -> Array:
    """Guided Grad-CAM: guided backpropagation × the enlarged positive part of Grad-CAM.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        A layer's output and the score's gradient there.
    guided_gradients : (B, C, *S) array
        The score's gradient at the input under the guided rule.

    Returns
    -------
    (B, *S) array
        Map without negative values, at the input's size.

    Raises
    ------
    InputError
        The shapes do not fit.

    References
    ----------
    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via
    Gradient-based Localization", ICCV 2017, sec. 3.1.
    """
    coarse = relu(gradcam(activations, gradients))
    size = floating(guided_gradients, "guided_gradients").shape[2:]
    return guided_backprop(guided_gradients) * resize(coarse, size, Interpolation())


def fullgrad(images: Array, image_gradients: Array, bias_terms: Sequence[Array]) -> Array:
    """FullGrad: Σ ψ(x·g) + Σ_layers Σ_c ψ(b_c · g_c), ψ the enlarged, scaled absolute value.

    ψ takes the absolute value of each channel's map, scales it to [0, 1] by its own
    minimum and maximum, and interpolates it to the input's size.

    Parameters
    ----------
    images, image_gradients : (B, C, *S) array
        The model's input and the score's gradient there.
    bias_terms : sequence of (B, C, *S) array
        For each layer that adds a bias, b · ∂y/∂b at every position; those without
        spatial extent are passed over, as in the authors' code.

    Returns
    -------
    (B, *S) array
        Map without negative values, at the input's size.

    Raises
    ------
    InputError
        The shapes do not fit.

    References
    ----------
    Srinivas and Fleuret, "Full-Gradient Representation for Neural Network
    Visualization", NeurIPS 2019, eq. 7; post-processing as in the authors' code.
    """
    images, image_gradients = paired(images, image_gradients)
    size = images.shape[2:]
    total = _post_processed(images * image_gradients, size)
    for term in bias_terms:
        if term.ndim == images.ndim:
            total = total + _post_processed(term, size)
    return total


def _post_processed(terms: Array, size: tuple[int, ...]) -> Array:
    terms = np.abs(terms)
    axes = tuple(range(2, terms.ndim))
    low = terms.min(axis=axes, keepdims=True)
    spread = terms.max(axis=axes) - low.reshape(terms.shape[:2])
    scale = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 0)
    # Interpolation is linear, so the channels may be summed before it.
    return resize(sum_channels((terms - low) * per_channel(scale, terms)), size, Interpolation())
