"""Methods that look at activations alone, and the baselines that studies need."""

from __future__ import annotations

from typing import Literal

import numpy as np

from camcore._shared.finite import without_overflow
from camcore.adapter import Array
from camcore.errors import MethodError
from camcore.methods.arrays import flat, floating, mean_space, per_channel, weighted
from camcore.methods.table import register


@register("fem", "FEM", ("activations",), "1", "Fuad et al., IPTA 2020")
def fem(activations: Array, *, reading: Literal["mean", "fraction"] = "mean") -> Array:
    """Compute FEM: Σ_c μ_c · [A_c > μ_c + 2σ_c], or the reading that weights channels by shares.

    The authors' laboratory's code weights the binary map of each channel by the channel's mean,
    as its comments say of the paper. xplique does so too, with ≥ in place of >: a channel that
    is constant over space then adds its value everywhere, and here nothing. pytorch-grad-cam
    weights the channel itself by the share of places above the threshold, which is another map.

    Parameters
    ----------
    activations : (B, C, *S) array
        The layer's output.
    reading : {"mean", "fraction"}
        ``mean``: Σ_c μ_c · [A_c > μ_c + 2σ_c].
        ``fraction``: Σ_c w_c · A_c, w the share of positions above the threshold.

    Returns
    -------
    (B, *S) array
        Signed map.

    Raises
    ------
    InputError, MethodError
        The array is not ``(B, C, *S)``, or `reading` is neither.

    References
    ----------
    Fuad et al., "Features Understanding in 3D CNNs for Actions Recognition in
    Video", IPTA 2020, of which code of LaBRI gives ``mean``; pytorch-grad-cam's ``FEM`` gives
    ``fraction``.
    """
    activations = floating(activations, "activations")
    mean = per_channel(mean_space(activations), activations)
    axes = tuple(range(2, activations.ndim))
    threshold = mean + 2 * activations.std(axis=axes, keepdims=True)
    above = (activations > without_overflow(threshold, "FEM")).astype(activations.dtype)
    if reading == "fraction":
        return weighted(mean_space(above), activations)
    if reading == "mean":
        return weighted(mean_space(activations), above)
    raise MethodError(f"reading={reading!r}; FEM has the readings 'mean' and 'fraction'.")


@register("activations", "Activations", ("activations",), "1", "mean over channels")
def activation_map(activations: Array) -> Array:
    """Average the activations over channels.

    Parameters
    ----------
    activations : (B, C, *S) array
        The layer's output.

    Returns
    -------
    (B, *S) array
        Signed map; it does not depend on the target.

    Raises
    ------
    InputError
        The array is not ``(B, C, *S)``.
    """
    activations = floating(activations, "activations")
    share = np.full(activations.shape[:2], 1 / activations.shape[1], activations.dtype)
    return weighted(share, activations)


@register("random", "Random", ("activations",), "1", "baseline", additive=False)
def random_map(activations: Array, *, seed: int = 0) -> Array:
    """Draw a uniform random map in [0, 1), which a method has to beat.

    Parameters
    ----------
    activations : (B, C, *S) array
        Only its shape is used.
    seed : int
        The same seed gives the same map, whatever the sample, batch or framework.

    Returns
    -------
    (B, *S) array
        The same map for every sample.

    Raises
    ------
    InputError
        The array is not ``(B, C, *S)``.
    """
    activations = floating(activations, "activations")
    drawn = np.random.default_rng(seed).random(flat(activations).shape[2:])
    drawn = drawn.astype(activations.dtype).reshape(activations.shape[2:])
    return np.repeat(drawn[None], len(activations), axis=0)
