"""Attributions that add up gradients along a path from a baseline to the model's input.

x is the input, x₀ the baseline and g(x) the gradient of the score y with respect to it, all
``(B, C, *S)``. `camcore.methods.attribution.integrated_gradients` takes the straight path; here
are other paths, drawn points of many of them, and other weights on the same.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from camcore._shared.finite import finite
from camcore._shared.progress import track
from camcore.adapter import Array
from camcore.errors import InputError, MethodError
from camcore.methods.arrays import (
    ScoreImages,
    at_least_one,
    batches,
    floating,
    one_of,
    per_sample,
    ratio,
    shaped,
    sum_channels,
)
from camcore.methods.attribution import ImageGradients
from camcore.methods.channels import joins_channels, kept
from camcore.methods.noise import noisy_inputs
from camcore.methods.table import described, register
from camcore.resize import along_axes

Places: TypeAlias = Literal["drawn", "even"]


@register(
    "idgi",
    "IDGI",
    ("images", "scores", "gradients_at", "score_images"),
    "1 + steps x (2 + backward)",
    "Yang et al., CVPR 2023",
    level="input",
)
@described("Σ_c Σ_j (y(x_j+1) − y(x_j)) · g_c(x_j)² / Σ g(x_j)², x_j on the path from x₀ to x")
@joins_channels
def idgi(
    images: Array,
    scores: Array,
    gradients_at: ImageGradients,
    score_images: ScoreImages,
    *,
    steps: int = 50,
    baseline: float = 0.0,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Array:
    """Compute IDGI: each step's change of the score, laid out by the squares of the gradient.

    Σ_c Σ_j (y(x_{j+1}) − y(x_j)) · g_c(x_j)² / Σ g(x_j)², x_j = x₀ + j/steps · (x − x₀). What
    changes over a step at whose start the gradient is zero everywhere, where that is 0 / 0, is
    laid out with the next step's.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input x.
    scores : (B,) array
        The scores y(x).
    gradients_at : callable
        The target's gradients at other inputs.
    score_images : callable
        From a sample and alterations of its input ``(N, C, *S)`` to their scores ``(N,)``.
    steps : int
        Into how many pieces the straight path from x₀ to x is cut.
    baseline : float
        Every value of x₀, in the units of the input.
    batch_size : int
        How many points of the path are scored at once.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *S) array
        Signed map at the input's size; it sums to y(x) − y(x₀), whatever the steps.

    Raises
    ------
    InputError, MethodError
        The shapes do not fit, an option is out of range, or the score still changes where its
        gradient is zero everywhere up to the path's end.

    References
    ----------
    Yang et al., "IDGI: A Framework to Eliminate Explanation Noise from Integrated Gradients",
    CVPR 2023, algorithm 1.
    """
    images = floating(images, "images")
    at_least_one(steps=steps, batch_size=batch_size)
    start = images.dtype.type(baseline)
    difference = images - start
    places = (np.arange(steps) / steps).astype(images.dtype)
    values = np.empty((len(images), steps + 1))
    values[:, -1] = shaped(scores, (len(images),), "scores")
    for sample, own in enumerate(difference):
        for part in batches(range(steps), batch_size):
            points = start + per_sample(places[list(part)], images) * own
            found = shaped(score_images(sample, points), (len(part),), "Scores of altered inputs")
            values[sample, list(part)] = found
    changes = np.diff(values, axis=1)
    total, left = np.zeros(images.shape), np.zeros(len(images))
    for step in track(range(steps), "IDGI", progress):
        at = start + places[step] * difference
        gradients = shaped(gradients_at(at), images.shape, "Gradients at other inputs")
        shares = _shares(gradients)
        left += changes[:, step]
        total += per_sample(left, images) * shares
        left[shares.reshape(len(shares), -1).any(axis=1)] = 0
    if left.any():
        sample = int(np.flatnonzero(left)[0])
        raise MethodError(
            f"At the end of the path the score of sample {sample} changes by {left[sample]:.3g}, "
            "and its gradient is zero everywhere, so IDGI has nowhere to lay that. Give another "
            "baseline or more steps, or choose method='integratedgradients'."
        )
    return sum_channels(kept(total.astype(images.dtype)))


def _shares(gradients: Array) -> Array:
    """Share 1 out among each sample's values by their squares; zeros where all are zero."""
    rows = np.abs(gradients.reshape(len(gradients), -1)).astype(np.float64)
    # Squares of what is scaled to 1 neither overflow nor vanish.
    squares = ratio(rows, np.broadcast_to(rows.max(axis=1, keepdims=True), rows.shape)) ** 2
    total = np.broadcast_to(squares.sum(axis=1, keepdims=True), rows.shape)
    return ratio(squares, total).reshape(gradients.shape)


@register(
    "gradientshap",
    "GradientSHAP",
    ("images", "gradients_at"),
    "1 + samples x (1 + backward)",
    "Lundberg and Lee, NeurIPS 2017",
    level="input",
)
@described("Σ_c of the mean of (x′ − x₀)_c · g_c(x₀ + α (x′ − x₀)) over α, x₀ and noise in x′")
@joins_channels
def gradient_shap(
    images: Array,
    gradients_at: ImageGradients,
    *,
    samples: int = 50,
    baseline: float | Array = 0.0,
    sigma: float = 0.0,
    places: Places = "drawn",
    seed: int = 0,
    progress: bool | None = None,
) -> Array:
    """Compute GradientSHAP: the mean of (x′ − x₀) · g(x₀ + α (x′ − x₀)), joined by Σ_c.

    x′ is x, with noise where `sigma` is above 0. Known as expected gradients too [2]_:
    integrated gradients averaged over baselines x₀, the integral and the average taken together,
    at one drawn place α of each drawn path.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input x.
    gradients_at : callable
        The target's gradients at other inputs.
    samples : int
        How many draws.
    baseline : float or (N, C, *S) array
        Every value of x₀; or inputs from which x₀ is drawn, channels first whatever the
        model's own layout. Both in the units of the input.
    sigma : float
        Standard deviation of noise added to x, as a share of each image's range.
    places : {"drawn", "even"}
        Whether α is drawn uniformly from [0, 1], or is (i + 1/2) / samples of the i-th draw.
    seed : int
        Of what is drawn; the same seed gives the same map in every framework. Every sample of
        the batch has the same draws, so that a batch gives what its samples give one by one.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *S) array
        Signed map at the input's size; as samples grow it sums to y(x) less the mean of y(x₀).

    Raises
    ------
    InputError, MethodError
        The shapes do not fit, or an option is out of range.

    References
    ----------
    .. [1] Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions",
       NeurIPS 2017; as the ``GradientExplainer`` of the authors' shap has it.
    .. [2] Erion et al., "Improving performance of deep learning models with axiomatic
       attribution priors and expected gradients", Nature Machine Intelligence 2021, eq. 3.
    """
    images = floating(images, "images")
    one_of(Places, places=places)
    starts = _starts(baseline, images)
    noisy = noisy_inputs(images, samples, sigma, seed, label="GradientSHAP", progress=progress)
    total = np.zeros(images.shape)
    for draw, end in enumerate(noisy):
        rng = np.random.default_rng([seed, draw, 1])  # [seed, draw] is the noise's
        place = rng.random() if places == "drawn" else (draw + 0.5) / samples
        start = starts[rng.integers(len(starts))]
        difference = end - start
        at = start + images.dtype.type(place) * difference
        gradients = shaped(gradients_at(at), images.shape, "Gradients at other inputs")
        total += difference * gradients.astype(np.float64)
    return sum_channels(kept((total / samples).astype(images.dtype)))


def _starts(baseline: float | Array, images: Array) -> Array:
    """Read baselines as ``(N, C, *S)`` of the images' dtype.

    Raises
    ------
    InputError
        They are not of the images' shape.
    """
    given = np.asarray(baseline)
    if given.ndim == 0:
        given = np.full((1, *images.shape[1:]), baseline)
    if given.shape[1:] != images.shape[1:] or not len(given):
        raise InputError(
            f"baseline must be a number or an array (N, {', '.join(map(str, images.shape[1:]))}), "
            f"channels first; got {given.shape}."
        )
    return finite(given, "baseline").astype(images.dtype)


@register(
    "guidedig",
    "Guided IG",
    ("images", "gradients_at"),
    "1 + steps x (1 + backward)",
    "Kapishnikov et al., CVPR 2021",
    level="input",
)
@described("Σ_c ∫ g_c dx_c on the path from x₀ to x that moves where |g| is smallest first")
@joins_channels
def guided_ig(
    images: Array,
    gradients_at: ImageGradients,
    *,
    steps: int = 200,
    fraction: float = 0.25,
    max_dist: float = 0.02,
    baseline: float = 0.0,
    progress: bool | None = None,
) -> Array:
    """Compute Guided IG: Σ_c ∫ g_c dx_c on a path that moves where |g| is smallest first.

    At every step as much of the distance Σ |x − x₀| is gone as on the straight path. Values
    whose gradients are equal up to rounding are moved together.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input x.
    gradients_at : callable
        The target's gradients at other inputs.
    steps : int
        Pieces of the path; the gradient is that at the start of each.
    fraction : float
        Which share of all values is moved at once, those of the smallest gradients first; in
        [0, 1].
    max_dist : float
        How far any value may be from the straight path, as a share of its way, in [0, 1]: with 0
        it is integrated gradients by the rule of left ends, with 1 the path is free.
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
    Kapishnikov et al., "Guided Integrated Gradients: An Adaptive Path Method for Removing
    Noise", CVPR 2021, sec. 4; steps, fraction and distance as in the authors' ``saliency``.
    """
    images = floating(images, "images")
    at_least_one(steps=steps)
    for name, value in (("fraction", fraction), ("max_dist", max_dist)):
        if not 0 <= value <= 1:
            raise MethodError(f"{name}={value}; it must be a share, from 0 to 1.")
    paths = [_GuidedPath(image.ravel(), baseline, fraction, max_dist) for image in images]
    for step in track(range(steps), "Guided IG", progress):
        at = np.stack([path.at for path in paths]).reshape(images.shape).astype(images.dtype)
        gradients = shaped(gradients_at(at), images.shape, "Gradients at other inputs")
        for path, own in zip(paths, gradients, strict=True):
            path.advance(own.ravel().astype(np.float64), (step + 1) / steps)
    total = np.stack([path.attribution for path in paths]).reshape(images.shape)
    return sum_channels(kept(total.astype(images.dtype)))


class _GuidedPath:
    """The path of one image, which moves the values of the smallest gradients first.

    Parameters
    ----------
    end : (N,) array
        The image's values.
    baseline : float
        Every value of the path's start.
    fraction, max_dist : float
        See `guided_ig`.
    """

    def __init__(self, end: Array, baseline: float, fraction: float, max_dist: float) -> None:
        self._end = end.astype(np.float64)
        self._start = np.full_like(self._end, baseline)
        self._way = self._end - self._start
        self._whole = float(np.abs(self._way).sum())
        self._fraction, self._max_dist = fraction, max_dist
        # Gradients that are equal but for rounding, which no two frameworks share, move together.
        self._rounding = 64 * float(np.finfo(end.dtype).eps)
        self.at = self._start.copy()
        self.attribution = np.zeros_like(self._end)

    def advance(self, gradients: Array, share: float) -> None:
        """Move on, until a share of the distance from the start to the end is gone."""
        wanted = self._whole * (1 - share)
        lowest = self._start + max(share - self._max_dist, 0) * self._way
        highest = self._start + min(share + self._max_dist, 1) * self._way
        before = self.at
        tied = self._rounding * float(np.abs(gradients).max())
        # What is further behind the straight path than it may be comes up first.
        behind = np.abs(self.at - self._start) < np.abs(lowest - self._start)
        self.at = np.where(behind, lowest, self.at)
        while True:
            excess = float(np.abs(self._end - self.at).sum()) - wanted
            sizes = np.where(self.at == highest, np.inf, np.abs(gradients))
            if excess <= 1e-9 * self._whole or not np.isfinite(sizes).any():
                break
            largest = np.quantile(sizes, self._fraction, method="lower")
            chosen = np.isfinite(sizes) & (sizes <= largest + tied)
            gain = float(np.abs(highest - self.at)[chosen].sum())
            reach = highest if gain <= excess else self.at + excess / gain * (highest - self.at)
            self.at = np.where(chosen, reach, self.at)
            if gain > excess:
                break
        self.attribution += (self.at - before) * gradients


@register(
    "blurig",
    "Blur IG",
    ("images", "gradients_at"),
    "1 + steps x (1 + backward)",
    "Xu et al., CVPR 2020",
    level="input",
)
@described("Σ_c −∫ g_c(x_σ) · ∂x_σ/∂σ dσ, x_σ the input blurred by σ, from 0 to max_sigma")
@joins_channels
def blur_ig(
    images: Array,
    gradients_at: ImageGradients,
    *,
    steps: int = 100,
    max_sigma: float = 50.0,
    grad_step: float = 0.01,
    progress: bool | None = None,
) -> Array:
    """Compute Blur IG: −Σ_c ∫ g_c(x_σ) · ∂x_σ/∂σ dσ, x_σ the input blurred by σ.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input x.
    gradients_at : callable
        The target's gradients at other inputs.
    steps : int
        Pieces of the path; gradient and slope are those where each is least blurred.
    max_sigma : float
        Standard deviation of the strongest blur, in positions.
    grad_step : float
        Over which change of σ the slope ∂x_σ/∂σ is taken. Below σ = 1/8 the blur leaves an image
        as it is, so that the first piece counts nothing where this is smaller.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *S) array
        Signed map at the input's size; it sums to y(x) less y of the most blurred input as steps
        grow.

    Raises
    ------
    InputError, MethodError
        The array is not ``(B, C, *S)``, or an option is out of range.

    References
    ----------
    Xu et al., "Attribution in Scale and Space", CVPR 2020, eq. 5; the blur, whose edges fade
    into zeros, and the finite differences as in the authors' ``saliency``.
    """
    images = floating(images, "images")
    at_least_one(steps=steps)
    for name, value in (("max_sigma", max_sigma), ("grad_step", grad_step)):
        if not 0 < value < np.inf:
            raise MethodError(f"{name}={value}; it must be finite and above 0.")
    total = np.zeros(images.shape)
    for step in track(range(steps), "Blur IG", progress):
        sigma = step * max_sigma / steps
        at = blurred(images, sigma)
        slope = (blurred(images, sigma + grad_step) - at) / grad_step
        gradients = gradients_at(at.astype(images.dtype))
        total -= slope * shaped(gradients, images.shape, "Gradients at other inputs")
    return sum_channels(kept((total * (max_sigma / steps)).astype(images.dtype)))


def blurred(images: Array, sigma: float) -> Array:
    """Blur each channel by a Gaussian cut off at four deviations, zeros around the image.

    Parameters
    ----------
    images : (B, C, *S) array
        What to blur.
    sigma : float
        Standard deviation in positions; 0 leaves the images as they are.

    Returns
    -------
    (B, C, *S) float64 array
    """
    matrices = [_blur(length, sigma) for length in images.shape[2:]]
    return along_axes(images.astype(np.float64), matrices, leading=2)


def _blur(length: int, sigma: float) -> Array:
    """Make the matrix ``(length, length)`` that blurs one axis."""
    radius = int(4 * sigma + 0.5)
    if not radius:
        return np.eye(length)
    weights = np.exp(-0.5 * (np.arange(radius + 1) / sigma) ** 2)
    weights /= 2 * weights.sum() - weights[0]
    places = np.arange(length)
    apart = np.abs(places[:, None] - places)
    found: Array = np.where(apart <= radius, weights[np.minimum(apart, radius)], 0)
    return found
