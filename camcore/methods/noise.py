"""Noise on inputs, drawn in NumPy so that every framework sees the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from camcore.adapter import Array
from camcore.errors import MethodError
from camcore.methods.arrays import at_least_one


def noisy_inputs(
    images: Array, samples: int, sigma: float, seed: int, *, of_range: bool = True
) -> list[Callable[[], Array]]:
    """Draws of the images with Gaussian noise, each made when it is called.

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

    Raises
    ------
    MethodError
        An option is out of range.
    """
    at_least_one(samples=samples)
    check_sigma(sigma)
    ranges = np.ptp(images.reshape(len(images), -1), axis=1)
    spread = sigma * (ranges if of_range else np.ones_like(ranges))

    def drawn(draw: int) -> Array:
        noise = np.random.default_rng([seed, draw]).normal(size=images.shape[1:])
        noisy: Array = images + spread.reshape(-1, *[1] * (images.ndim - 1)) * noise
        return noisy.astype(images.dtype)

    return [partial(drawn, draw) for draw in range(samples)]


def check_sigma(sigma: float) -> None:
    """Refuse a standard deviation that is negative or not finite.

    Raises
    ------
    MethodError
        Says what was given.
    """
    if not 0 <= sigma < np.inf:
        raise MethodError(f"sigma={sigma}; it must be finite and at least 0.")
