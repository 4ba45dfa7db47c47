"""Attributions at the model's input, and what combines them with a layer's map.

x is the model's input and g the gradient of the score with respect to it, both
``(B, C, *S)``; the channels of an image are joined as each docstring says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import numpy as np

from camcore._shared.progress import track
from camcore.adapter import Array
from camcore.methods.arrays import (
    at_least_one,
    floating,
    over_images,
    paired,
    per_channel,
    shaped,
    sum_channels,
)
from camcore.methods.channels import joins_channels, kept
from camcore.methods.gradient import gradcam
from camcore.methods.noise import noisy_inputs
from camcore.methods.table import BOTH, described, register
from camcore.postprocess import relu

ImageGradients: TypeAlias = Callable[[Array], Array]
"""Of a batch in place of the input, ``(B, C, *S)``, the target's gradients there."""


@register(
    "saliency",
    "Saliency",
    ("image_gradients",),
    "1 + backward",
    "Simonyan et al., ICLR Workshops 2014",
    level="input",
)
@joins_channels
def saliency(image_gradients: Array, *, signed: bool = False) -> Array:
    """Compute Saliency: max_c |g_c|.

    Parameters
    ----------
    image_gradients : (B, C, *S) array
        The score's gradient at the input.
    signed : bool
        Give Σ_c g_c, as sanity checks compare gradients with their signs [2]_.

    Returns
    -------
    (B, *S) array
        Map without negative values unless `signed`, at the input's size.

    Raises
    ------
    InputError
        The array is not ``(B, C, *S)``.

    References
    ----------
    .. [1] Simonyan et al., "Deep Inside Convolutional Networks: Visualising Image
       Classification Models and Saliency Maps", ICLR Workshops 2014, sec. 3.1.
    .. [2] Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018.
    """
    image_gradients = floating(image_gradients, "image_gradients")
    if signed:
        return sum_channels(kept(image_gradients))
    largest: Array = kept(np.abs(image_gradients)).max(axis=1)
    return largest


@register(
    "gradienttimesinput",
    "Gradient x Input",
    ("images", "image_gradients"),
    "1 + backward",
    "Shrikumar et al., arXiv:1605.01713",
    level="input",
)
@joins_channels
def gradient_times_input(images: Array, image_gradients: Array) -> Array:
    """Compute Gradient × input: Σ_c x_c · g_c.

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
    images, image_gradients = paired(images, image_gradients, ("images", "image_gradients"))
    return sum_channels(kept(images * image_gradients))


@register(
    "smoothgrad",
    "SmoothGrad",
    ("images", "gradients_at"),
    "1 + samples x (1 + backward)",
    "Smilkov et al., arXiv:1706.03825",
    level="input",
)
@joins_channels
def smoothgrad(
    images: Array,
    gradients_at: ImageGradients,
    *,
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    signed: bool = False,
    progress: bool | None = None,
) -> Array:
    """Compute SmoothGrad: max_c |mean of g_c over noisy inputs|.

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
    signed : bool
        Give Σ_c of the mean, with its signs; see `saliency`.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *S) array
        Map without negative values unless `signed`, at the input's size.

    Raises
    ------
    InputError, MethodError
        The array is not ``(B, C, *S)``, or an option is out of range.

    References
    ----------
    Smilkov et al., "SmoothGrad: removing noise by adding noise", arXiv:1706.03825.
    """
    images = floating(images, "images")
    noisy = noisy_inputs(images, samples, sigma, seed, label="SmoothGrad", progress=progress)
    total = np.zeros(images.shape)
    for at in noisy:
        total += shaped(gradients_at(at), images.shape, "Gradients at other inputs")
    return saliency((total / samples).astype(images.dtype), signed=signed)


@register(
    "smoothgradsq",
    "SmoothGrad-Squared",
    ("images", "gradients_at"),
    "1 + samples x (1 + backward)",
    "Hooker et al., NeurIPS 2019",
    level="input",
)
@joins_channels
def smoothgrad_squared(
    images: Array,
    gradients_at: ImageGradients,
    *,
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    progress: bool | None = None,
) -> Array:
    """Compute SmoothGrad-Squared: max_c of the mean of g_c² over noisy inputs.

    Channel by channel it is SmoothGrad's mean, squared, and VarGrad's variance together.

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
        Of the noise; the same seed gives the same map in every framework, and the noise of
        SmoothGrad and VarGrad.
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
    Hooker et al., "A Benchmark for Interpretability Methods in Deep Neural Networks",
    NeurIPS 2019, sec. 3.2.
    """
    images = floating(images, "images")
    label = "SmoothGrad-Squared"
    noisy = noisy_inputs(images, samples, sigma, seed, label=label, progress=progress)
    found = mean_square(noisy, gradients_at, images).astype(images.dtype)
    largest: Array = kept(found).max(axis=1)
    return largest


@register(
    "vargrad",
    "VarGrad",
    ("images", "gradients_at"),
    "1 + samples x (1 + backward)",
    "Adebayo et al., NeurIPS 2018",
    level="input",
)
@joins_channels
def vargrad(
    images: Array,
    gradients_at: ImageGradients,
    *,
    samples: int = 25,
    sigma: float = 0.15,
    seed: int = 0,
    progress: bool | None = None,
) -> Array:
    """Compute VarGrad: max_c of the variance of g_c over noisy inputs.

    The variance is that of the draws, Σ (g − ḡ)² / samples: 0 of one draw, and where the score
    is linear in the input.

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
    Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018, appendix.
    """
    images = floating(images, "images")
    noisy = noisy_inputs(images, samples, sigma, seed, label="VarGrad", progress=progress)
    found = variance(noisy, gradients_at, images).astype(images.dtype)
    largest: Array = kept(found).max(axis=1)
    return largest


def mean_square(noisy: Iterable[Array], gradients_at: ImageGradients, images: Array) -> Array:
    """Average g² over noisy inputs, in float64 of the images' shape."""
    total, draws = np.zeros(images.shape), 0
    for at in noisy:
        gradients = shaped(gradients_at(at), images.shape, "Gradients at other inputs")
        total += gradients.astype(np.float64) ** 2
        draws += 1
    return total / draws


def variance(noisy: Iterable[Array], gradients_at: ImageGradients, images: Array) -> Array:
    """Compute the variance of g over noisy inputs, in float64 of the images' shape."""
    # By Welford's updates: mean squares less squared means cancel where g hardly varies.
    mean, total, draws = np.zeros(images.shape), np.zeros(images.shape), 0
    for at in noisy:
        gradients = shaped(gradients_at(at), images.shape, "Gradients at other inputs")
        draws += 1
        away = gradients - mean
        mean += away / draws
        total += away * (gradients - mean)
    return total / draws


@register(
    "integratedgradients",
    "Integrated Gradients",
    ("images", "gradients_at"),
    "1 + steps x (1 + backward)",
    "Sundararajan et al., ICML 2017",
    level="input",
)
@joins_channels
def integrated_gradients(
    images: Array,
    gradients_at: ImageGradients,
    *,
    steps: int = 50,
    baseline: float = 0.0,
    progress: bool | None = None,
) -> Array:
    """Compute Integrated gradients: Σ_c (x − x₀)_c · ∫ g_c(x₀ + t (x − x₀)) dt, t from 0 to 1.

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
    at_least_one(steps=steps)
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    difference, average = average_on_path(
        images, gradients_at, (nodes + 1) / 2, weights / 2, baseline, progress
    )
    return sum_channels(kept((difference * average).astype(images.dtype)))


def average_on_path(
    images: Array,
    gradients_at: ImageGradients,
    places: Array,
    weights: Array,
    baseline: float | Array,
    progress: bool | None,
    label: str = "Integrated gradients",
) -> tuple[Array, Array]:
    """Average gradients over places in [0, 1] on the straight path from `baseline` to `images`.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input x.
    gradients_at : callable
        The target's gradients at other inputs.
    places, weights : (N,) array
        Where on the path, 0 at its start, and how much each place counts.
    baseline : float or (B, 1, ..., 1) array
        Every value of the path's start x₀, or of each sample's.
    progress, label
        Whether to show a progress bar, and its name; see `camcore._shared.progress.track`.

    Returns
    -------
    difference, average : (B, C, *S) array
        x − x₀, and the weighted sum of the gradients in float64.
    """
    start = np.asarray(baseline, images.dtype)
    difference = images - start
    average = np.zeros(images.shape)
    steps = list(zip(places, weights, strict=True))
    for place, weight in track(steps, label, progress):
        at = start + images.dtype.type(place) * difference
        average += weight * shaped(gradients_at(at), images.shape, "Gradients at other inputs")
    return difference, average


@register(
    "guidedbackprop",
    "Guided Backpropagation",
    ("guided_gradients",),
    "2 + backward",
    "Springenberg et al., ICLR Workshops 2015",
    level="input",
)
@described("Guided backpropagation: max_c |g_c|, with only positive gradients past each rectifier")
@joins_channels
def guided_backprop(guided_gradients: Array, *, signed: bool = False) -> Array:
    """Compute Guided backpropagation: max_c |g_c|, only positive gradients passing rectifiers.

    Parameters
    ----------
    guided_gradients : (B, C, *S) array
        The score's gradient at the input under the guided rule.
    signed : bool
        Give Σ_c g_c; see `saliency`.

    Returns
    -------
    (B, *S) array
        Map without negative values unless `signed`, at the input's size.

    Raises
    ------
    InputError
        The array is not ``(B, C, *S)``.

    References
    ----------
    Springenberg et al., "Striving for Simplicity: The All Convolutional Net",
    ICLR Workshops 2015, sec. 3.4.
    """
    return saliency(floating(guided_gradients, "guided_gradients"), signed=signed)


@register(
    "deconvnet",
    "DeconvNet",
    ("deconvolved_gradients",),
    "2 + backward",
    "Zeiler and Fergus, ECCV 2014",
    level="input",
)
@described("DeconvNet: max_c |g_c|, with relu(g) past each rectifier, whatever its input")
@joins_channels
def deconvnet(deconvolved_gradients: Array, *, signed: bool = False) -> Array:
    """Compute DeconvNet: max_c |g_c|, with relu(g) past each rectifier, whatever its input.

    Max pooling is inverted by the places of the maxima and a convolution by its transpose, as
    their gradients are; only rectifiers are pulled back through otherwise, by rectifying what
    comes back. Guided backpropagation is 0 besides where the rectifier's input is not positive.

    Parameters
    ----------
    deconvolved_gradients : (B, C, *S) array
        The score's gradient at the input under the deconvolution rule.
    signed : bool
        Give Σ_c g_c; see `saliency`.

    Returns
    -------
    (B, *S) array
        Map without negative values unless `signed`, at the input's size.

    Raises
    ------
    InputError
        The array is not ``(B, C, *S)``.

    References
    ----------
    Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014,
    sec. 2.1; as a rule for gradients, Springenberg et al., ICLR Workshops 2015, fig. 1.
    """
    return saliency(floating(deconvolved_gradients, "deconvolved_gradients"), signed=signed)


@register(
    "guidedgradcam",
    "Guided Grad-CAM",
    (*BOTH, "guided_gradients"),
    "2 + backward",
    "Selvaraju et al., ICCV 2017",
)
def guided_gradcam(
    activations: Array, gradients: Array, guided_gradients: Array, *, signed: bool = False
) -> Array:
    """Compute Guided Grad-CAM: guided backpropagation × the enlarged positive part of Grad-CAM.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        A layer's output and the score's gradient there.
    guided_gradients : (B, C, *S) array
        The score's gradient at the input under the guided rule.
    signed : bool
        Give guided backpropagation with its signs; see `saliency`.

    Returns
    -------
    (B, *S) array
        Map without negative values unless `signed`, at the input's size.

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
    guided_gradients = floating(guided_gradients, "guided_gradients")
    guided = guided_backprop(guided_gradients, signed=signed)
    return guided * over_images(coarse, guided_gradients)


@register(
    "fullgrad",
    "FullGrad",
    ("images", "image_gradients", "bias_terms"),
    "2 + backward",
    "Srinivas and Fleuret, NeurIPS 2019",
    level="input",
)
@described("Σ ψ(x·g) + Σ_layers Σ_c ψ(b_c · g_c), ψ the enlarged (|x| − min) / (max − min + ε)")
def fullgrad(
    images: Array, image_gradients: Array, bias_terms: Sequence[Array], *, eps: float = 0.0
) -> Array:
    """Compute FullGrad: Σ ψ(x·g) + Σ_layers Σ_c ψ(b_c · g_c), ψ the scaled absolute value.

    ψ takes the absolute value of each channel's map, scales it to [0, 1] by its own
    minimum and maximum, and interpolates it to the input's size.

    Parameters
    ----------
    images, image_gradients : (B, C, *S) array
        The model's input and the score's gradient there.
    bias_terms : sequence of (B, C, *S) array
        For each layer that adds a bias, b · ∂y/∂b at every position; those without
        spatial extent, ``(B, C)``, are passed over, as in the authors' code.
    eps : float
        ε, which outweighs the terms of layers where they are smaller than it. Where it is 0,
        channels that are constant over space count as 0.

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
    images, image_gradients = paired(images, image_gradients, ("images", "image_gradients"))
    size = images.shape[2:]
    total = np.zeros((len(images), *size), images.dtype)
    for term in [images * image_gradients, *bias_terms]:
        if term.ndim < 3:
            continue
        term = np.abs(floating(term, "bias_terms"))
        axes = tuple(range(2, term.ndim))
        shifted = term - term.min(axis=axes, keepdims=True)
        spread = shifted.max(axis=axes) + term.dtype.type(eps)
        scale = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 0)
        # Interpolation is linear, so the channels may be summed before it.
        total += over_images(sum_channels(shifted * per_channel(scale, term)), images)
    return total
