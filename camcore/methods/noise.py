"""Noise on inputs, drawn in NumPy so that every framework sees the same, and Smooth Grad-CAM++."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from camcore._shared.finite import without_overflow
from camcore._shared.progress import track
from camcore.adapter import Array
from camcore.errors import MethodError
from camcore.methods.arrays import (
    at_least_one,
    floating,
    per_channel,
    ratio,
    shaped,
    sum_space,
    weighted,
)
from camcore.methods.table import register
from camcore.postprocess import relu


def noisy_inputs(
    images: Array,
    samples: int,
    sigma: float,
    seed: int,
    *,
    of_range: bool = True,
    label: str = "",
    progress: bool | None = False,
) -> Iterable[Array]:
    """Draw the images with Gaussian noise, `samples` times, each as it is asked for.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input.
    samples : int
        How many draws.
    sigma : float
        Standard deviation of the noise.
    seed : int
        Of the noise. Every sample of the batch has the same noise, so that a batch
        gives what its samples give one by one.
    of_range : bool
        Whether `sigma` is a share of each image's range, or in the units of the input.
    label, progress
        Name of a progress bar, and whether to show it; see `camcore._shared.progress.track`.

    Returns
    -------
    iterable of (B, C, *S) array

    Raises
    ------
    MethodError
        An option is out of range.
    """
    at_least_one(samples=samples)
    check_sigma(sigma)
    images = floating(images, "images")
    ranges = np.ptp(images.reshape(len(images), -1), axis=1)
    without_overflow(ranges, "The range of the images")
    spread = sigma * (ranges if of_range else np.ones_like(ranges))

    def drawn(draw: int) -> Array:
        noise = np.random.default_rng([seed, draw]).normal(size=images.shape[1:])
        noisy: Array = images + spread.reshape(-1, *[1] * (images.ndim - 1)) * noise
        return without_overflow(noisy.astype(images.dtype), "Noise on the images")

    return map(drawn, track(range(samples), label, progress))


def check_sigma(sigma: float) -> None:
    """Refuse a standard deviation that is negative or not finite.

    Raises
    ------
    MethodError
        Says what was given.
    """
    if not 0 <= sigma < np.inf:
        raise MethodError(f"sigma={sigma}; it must be finite and at least 0.")


@register(
    "smoothgradcampp",
    "Smooth Grad-CAM++",
    ("activations", "images", "rerun"),
    "1 + samples",
    "Omeiza et al., arXiv:1908.01224",
)
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
    """Compute Smooth Grad-CAM++: Grad-CAM++ with g, g² and g³ averaged over noisy inputs.

    w = Σ_s α · relu(ḡ), α = mean(g²) / (2 mean(g²) + Σ_s(A) · mean(g³)).

    Grad-CAM++ differentiates e^y, whose factor e^y scales a map as a whole and cancels. Over
    noisy inputs it varies, and would weight each by e^y: the averages here are of the bare
    powers, as torchcam's are. No code of the authors could be had to decide.

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
    label = "Smooth Grad-CAM++"
    for noisy in noisy_inputs(images, samples, sigma, seed, label=label, progress=progress):
        gradients = shaped(rerun(noisy)[1], activations.shape, "Gradients at noisy inputs")
        gradients = gradients.astype(np.float64)
        powers += np.stack([gradients, gradients**2, gradients**3]) / samples
    total = per_channel(sum_space(activations), activations)
    alpha = ratio(powers[1], 2 * powers[1] + total * powers[2])
    weights = sum_space(alpha * relu(powers[0]))
    return weighted(weights.astype(activations.dtype), activations)
