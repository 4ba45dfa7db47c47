"""Methods that follow the score's gradient along a path of a layer's activations.

A is the layer's output and g(A') the gradient of the score at A', were it what the layer
returned. ``gradients_from(sample)`` is a context in which altered activations of one sample are
scored and differentiated, without running again what comes before the layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TypeAlias

import numpy as np

from camcore._shared.progress import track
from camcore.adapter import Array
from camcore.methods.arrays import at_least_one, batches, floating, shaped, sum_channels
from camcore.methods.table import register
from camcore.postprocess import relu

GradientsFrom: TypeAlias = Callable[
    [int], AbstractContextManager[Callable[[Array], tuple[Array, Array]]]
]
"""From a sample to a context that gives the scores ``(N,)`` and gradients ``(N, C, *S)`` of N
alterations of its activations ``(N, C, *S)``."""


@register(
    "layerig",
    "Layer Integrated Gradients",
    ("activations", "gradients_from"),
    "1 + steps x (what follows the layer + backward)",
    "Sundararajan et al., ICML 2017",
)
def layer_integrated_gradients(
    activations: Array,
    gradients_from: GradientsFrom,
    *,
    steps: int = 50,
    baseline: float = 0.0,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Array:
    """Compute Layer Integrated Gradients: Σ_c (A − A₀)_c · ∫ g_c(A₀ + t(A − A₀)) dt, t in [0, 1].

    The integral is Gauss-Legendre's quadrature: exact where g is a polynomial of degree
    2 · steps − 1 along the path. Where what follows the layer is affine, the map from a baseline
    of 0 is HiResCAM's.

    Parameters
    ----------
    activations : (B, C, *S) array
        The layer's output A.
    gradients_from : callable
        Context that scores and differentiates altered activations of one sample.
    steps : int
        Nodes of the quadrature.
    baseline : float
        Every value of A₀, in the units of the layer.
    batch_size : int
        How many places on the path are run at once.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *S) array
        Signed map in units of the score; it sums to y(A) − y(A₀) as steps grow.

    Raises
    ------
    InputError, MethodError
        The arrays do not fit, or an option is out of range.

    References
    ----------
    Sundararajan et al., "Axiomatic Attribution for Deep Networks", ICML 2017, eq. 1, with the
    layer's output for the input.
    """
    activations = floating(activations, "activations")
    start = np.full_like(activations, baseline)
    return integrated_from(activations, start, gradients_from, steps, batch_size, progress)


def integrated_from(
    activations: Array,
    start: Array,
    gradients_from: GradientsFrom,
    steps: int,
    batch_size: int,
    progress: bool | None,
) -> Array:
    """Integrate gradients from `start` to the activations, both ``(B, C, *S)``: ``(B, *S)``."""
    at_least_one(steps=steps, batch_size=batch_size)
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    average = np.zeros(activations.shape)
    about = (gradients_from, batch_size, "Layer integrated gradients", progress)
    for sample, part, _, gradients in _along(activations, start, (nodes + 1) / 2, *about):
        average[sample] += np.tensordot(weights[part] / 2, gradients, 1)
    return sum_channels(((activations - start) * average).astype(activations.dtype))


@register(
    "dix",
    "DIX",
    ("activations", "gradients_from"),
    "1 + (steps + 1) x (what follows the layer + backward)",
    "Barkan et al., CIKM 2023",
    fusion="product",
)
def dix(
    activations: Array,
    gradients_from: GradientsFrom,
    *,
    steps: int = 10,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Array:
    """Compute DIX: Σ_c mean_t relu(g_c(A_t)) · relu(A_t)_c with A_t = m + t(A − m), m = min_c A_c.

    The path leads from the least channel of each position to the layer's output. Maps of several
    layers are multiplied.

    Parameters
    ----------
    activations : (B, C, *S) array
        The layer's output A.
    gradients_from : callable
        Context that scores and differentiates altered activations of one sample.
    steps : int
        Even steps from t = 0 to t = 1; the gradient is taken at both ends of each.
    batch_size : int
        How many places on the path are run at once.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *S) array
        Map without negative values.

    Raises
    ------
    InputError, MethodError
        The arrays do not fit, or an option is out of range.

    Notes
    -----
    As in the authors' code for CNNs, which differs in three things. It sums over t, on which no
    shown map depends. For the last layer it takes the minimum along an axis of one entry, so that
    m, and with it every A_t, is A; over channels, as here, for the layers before. And it
    multiplies several layers channel by channel, and adds the last layer's channels.

    References
    ----------
    Barkan et al., "Deep Integrated Explanations", CIKM 2023, and the authors' code.
    """
    activations = floating(activations, "activations")
    at_least_one(steps=steps, batch_size=batch_size)
    least = np.broadcast_to(activations.min(axis=1, keepdims=True), activations.shape)
    total = np.zeros(activations.shape)
    places = np.linspace(0, 1, steps + 1)
    about = (gradients_from, batch_size, "DIX", progress)
    for sample, _, points, gradients in _along(activations, least, places, *about):
        total[sample] += (relu(gradients) * relu(points)).sum(axis=0, dtype=np.float64)
    return sum_channels((total / len(places)).astype(activations.dtype))


def _along(
    activations: Array,
    start: Array,
    places: Array,
    gradients_from: GradientsFrom,
    batch_size: int,
    label: str,
    progress: bool | None,
) -> Iterator[tuple[int, slice, Array, Array]]:
    """Take gradients at places in [0, 1] on the straight path to each sample's activations.

    Yields
    ------
    sample : int
        Whose activations.
    part : slice
        Which of the places, at most `batch_size`.
    points, gradients : (N, C, *S) array
        The activations there, and the score's gradients.
    """
    difference = activations - start
    along = places.astype(activations.dtype).reshape(-1, *[1] * (activations.ndim - 1))
    parts = [slice(run[0], run[-1] + 1) for run in batches(range(len(places)), batch_size)]
    for sample in range(len(activations)):
        with gradients_from(sample) as at:
            for part in track(parts, label, progress):
                points = start[sample] + along[part] * difference[sample]
                _, gradients = at(points)
                yield (
                    sample,
                    part,
                    points,
                    shaped(gradients, points.shape, "Gradients at altered activations"),
                )
