"""Input attributions whose channels, integrals or averages several libraries make otherwise.

x is the model's input and g the gradient of the score with respect to it, both
``(B, C, *S)``; every function returns a map ``(B, *S)`` at the input's size. Where a
library returns an array with channels, `join` says how a map is made of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np

from camcore.adapter import Array
from camcore.errors import MethodError
from camcore.methods.arrays import floating, one_of, paired
from camcore.methods.attribution import (
    ImageGradients,
    average_on_path,
    mean_square,
    variance,
)
from camcore.methods.channels import joins_channels, kept
from camcore.methods.noise import noisy_inputs
from camcore.methods.table import described

Join: TypeAlias = Literal["max", "sum", "mean"]
Rule: TypeAlias = Literal["trapezoid", "endpoints"]
Average: TypeAlias = Literal["mean", "mean of magnitudes", "root of squares"]


def joined(array: Array, join: Join) -> Array:
    """Join the channels of ``(B, C, *S)`` into one map ``(B, *S)``.

    Raises
    ------
    MethodError
        `join` is unknown.
    """
    one_of(Join, join=join)
    joins: dict[str, Callable[..., Array]] = {"max": np.max, "sum": np.sum, "mean": np.mean}
    return joins[join](kept(array), axis=1)


@described("|g_c|, its channels joined")
@joins_channels
def joined_saliency(image_gradients: Array, *, join: Join = "sum") -> Array:
    """Join the channels of |g|.

    Parameters
    ----------
    image_gradients : (B, C, *S) array
        The score's gradient at the input.
    join : {"max", "sum", "mean"}
        Over channels.

    Returns
    -------
    (B, *S) array
        Map without negative values.

    References
    ----------
    ``Saliency`` of captum, summed as its ``visualize_image_attr`` does;
    ``VanillaGradients`` of tf-explain.
    """
    return joined(np.abs(floating(image_gradients, "image_gradients")), join)


@described("g_c past guided rectifiers, its channels joined with their signs")
@joins_channels
def joined_gradient(guided_gradients: Array, *, join: Join = "sum") -> Array:
    """Join the channels of the guided gradients, with their signs.

    Parameters
    ----------
    guided_gradients : (B, C, *S) array
        The score's gradient at the input under the guided rule.
    join : {"max", "sum", "mean"}
        Over channels.

    Returns
    -------
    (B, *S) array
        Signed map.

    References
    ----------
    ``GuidedBackprop`` of captum (sum) and of xplique (mean).
    """
    return joined(floating(guided_gradients, "guided_gradients"), join)


@described("g_c past rectifiers by deconvolution, its channels joined with their signs")
@joins_channels
def joined_deconvolution(deconvolved_gradients: Array, *, join: Join = "sum") -> Array:
    """Join the channels of the deconvolved gradients, with their signs.

    Parameters
    ----------
    deconvolved_gradients : (B, C, *S) array
        The score's gradient at the input under the deconvolution rule.
    join : {"max", "sum", "mean"}
        Over channels.

    Returns
    -------
    (B, *S) array
        Signed map.

    References
    ----------
    ``Deconvolution`` of captum (sum), ``DeconvNet`` of xplique (mean).
    """
    return joined(floating(deconvolved_gradients, "deconvolved_gradients"), join)


@described("x_c · g_c, its channels joined")
@joins_channels
def joined_product(
    images: Array, image_gradients: Array, *, join: Join = "sum", magnitude: bool = False
) -> Array:
    """Join the channels of x · g.

    Parameters
    ----------
    images, image_gradients : (B, C, *S) array
        The model's input and the score's gradient there.
    join : {"max", "sum", "mean"}
        Over channels.
    magnitude : bool
        Of the absolute values.

    Returns
    -------
    (B, *S) array
        Signed map.

    References
    ----------
    ``GradientsInputs`` of tf-explain (magnitude), ``GradientInput`` of xplique (mean).
    """
    images, image_gradients = paired(images, image_gradients, ("images", "image_gradients"))
    product = images * image_gradients
    return joined(np.abs(product) if magnitude else product, join)


@described("(x − x₀)_c · average of g_c along the path from x₀ to x, its channels joined")
@joins_channels
def joined_integrated_gradients(
    images: Array,
    gradients_at: ImageGradients,
    *,
    steps: int = 50,
    rule: Rule = "trapezoid",
    times_input: bool = True,
    join: Join = "mean",
    magnitude: bool = False,
    baseline: float = 0.0,
    progress: bool | None = None,
) -> Array:
    """Join the channels of integrated gradients, the integral taken at even steps.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input x.
    gradients_at : callable
        The target's gradients at other inputs.
    steps : int
        Points on the path, both ends among them.
    rule : {"trapezoid", "endpoints"}
        Whether the two ends count half, or as much as the others.
    times_input : bool
        Whether the average is multiplied by x − x₀.
    join : {"max", "sum", "mean"}
        Over channels.
    magnitude : bool
        Of the absolute values.
    baseline : float
        Every value of x₀, in the units of the input.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *S) array
        Signed map, or one without negative values where `magnitude`.

    Raises
    ------
    MethodError
        An option is out of range.

    References
    ----------
    ``IntegratedGradients`` of tf-explain (endpoints, 10 steps, neither multiplied nor
    signed) and of xplique (trapezoid, 50 steps, mean).
    """
    images = floating(images, "images")
    one_of(Rule, rule=rule)
    if steps < 2:
        raise MethodError(f"steps={steps}; a path has at least its 2 ends. Give 2 or more.")
    weights = np.ones(steps)
    if rule == "trapezoid":
        weights[[0, -1]] = 0.5
    weights /= weights.sum()
    difference, average = average_on_path(
        images, gradients_at, np.linspace(0, 1, steps), weights, baseline, progress
    )
    attribution = difference * average if times_input else average
    return joined(np.abs(attribution) if magnitude else attribution, join).astype(images.dtype)


@described("g_c averaged over noisy inputs, its channels joined")
@joins_channels
def joined_smoothgrad(
    images: Array,
    gradients_at: ImageGradients,
    *,
    samples: int = 25,
    sigma: float = 0.15,
    of_range: bool = True,
    average: Average = "mean",
    join: Join = "max",
    magnitude: bool = False,
    seed: int = 0,
    progress: bool | None = None,
) -> Array:
    """Join the channels of gradients averaged over noisy inputs.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input.
    gradients_at : callable
        The target's gradients at other inputs.
    samples : int
        How many noisy inputs, n.
    sigma : float
        Standard deviation of the noise.
    of_range : bool
        Whether `sigma` is a share of each image's range, or in the units of the input.
    average : {"mean", "mean of magnitudes", "root of squares"}
        Σ g / n, Σ |g| / n, or √(Σ g²) / n.
    join : {"max", "sum", "mean"}
        Over channels.
    magnitude : bool
        Of the absolute values.
    seed : int
        Of the noise; the same seed gives the same map in every framework.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *S) array
        Signed map, or one without negative values.

    Raises
    ------
    MethodError
        An option is out of range.

    References
    ----------
    ``Saliency`` of tf-keras-vis (mean of magnitudes), ``SmoothGrad`` of MONAI (root of
    squares), of tf-explain and of xplique.
    """
    images = floating(images, "images")
    one_of(Average, average=average)
    power = 2 if average == "root of squares" else 1

    def gradients(noisy: Array) -> Array:
        found = gradients_at(noisy).astype(np.float64) ** power
        return np.abs(found) if average == "mean of magnitudes" else found

    noisy = noisy_inputs(
        images, samples, sigma, seed, of_range=of_range, label="SmoothGrad", progress=progress
    )
    total = sum(map(gradients, noisy), start=np.zeros(images.shape))
    if average == "root of squares":
        total = np.sqrt(total)
    total /= samples
    return joined(np.abs(total) if magnitude else total, join).astype(images.dtype)


@described("mean of g_c² over noisy inputs, its channels joined")
@joins_channels
def joined_smoothgrad_squared(
    images: Array,
    gradients_at: ImageGradients,
    *,
    samples: int = 50,
    sigma: float = 0.2,
    of_range: bool = False,
    join: Join = "mean",
    seed: int = 0,
    progress: bool | None = None,
) -> Array:
    """Join the channels of squared gradients averaged over noisy inputs.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input.
    gradients_at : callable
        The target's gradients at other inputs.
    samples : int
        How many noisy inputs.
    sigma : float
        Standard deviation of the noise.
    of_range : bool
        Whether `sigma` is a share of each image's range, or in the units of the input.
    join : {"max", "sum", "mean"}
        Over channels.
    seed : int
        Of the noise; the same seed gives the same map in every framework.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *S) array
        Map without negative values.

    Raises
    ------
    MethodError
        An option is out of range.

    References
    ----------
    ``NoiseTunnel`` of captum around ``Saliency``, by ``smoothgrad_sq`` (sum), and
    ``SquareGrad`` of xplique (mean).
    """
    images = floating(images, "images")
    label = "SmoothGrad-Squared"
    noisy = noisy_inputs(
        images, samples, sigma, seed, of_range=of_range, label=label, progress=progress
    )
    return joined(mean_square(noisy, gradients_at, images), join).astype(images.dtype)


@described("variance of g_c over noisy inputs, its channels joined")
@joins_channels
def joined_vargrad(
    images: Array,
    gradients_at: ImageGradients,
    *,
    samples: int = 50,
    sigma: float = 0.2,
    of_range: bool = False,
    unbiased: bool = False,
    join: Join = "mean",
    seed: int = 0,
    progress: bool | None = None,
) -> Array:
    """Join the channels of the gradients' variance over noisy inputs.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input.
    gradients_at : callable
        The target's gradients at other inputs.
    samples : int
        How many noisy inputs, n; 2 or more where `unbiased`.
    sigma : float
        Standard deviation of the noise.
    of_range : bool
        Whether `sigma` is a share of each image's range, or in the units of the input.
    unbiased : bool
        Σ (g − ḡ)² / (n − 1), or / n.
    join : {"max", "sum", "mean"}
        Over channels.
    seed : int
        Of the noise; the same seed gives the same map in every framework.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *S) array
        Map without negative values.

    Raises
    ------
    MethodError
        An option is out of range.

    References
    ----------
    ``NoiseTunnel`` of captum around ``Saliency`` with its signs, by ``vargrad`` (sum), and
    ``VarGrad`` of xplique (unbiased, mean).
    """
    images = floating(images, "images")
    noisy = noisy_inputs(
        images, samples, sigma, seed, of_range=of_range, label="VarGrad", progress=progress
    )
    if unbiased and samples < 2:
        raise MethodError(f"samples={samples}; an unbiased variance needs 2 or more.")
    found = variance(noisy, gradients_at, images)
    if unbiased:
        found *= samples / (samples - 1)
    return joined(found, join).astype(images.dtype)
