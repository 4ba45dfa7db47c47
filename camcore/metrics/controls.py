"""Maps that know nothing of the model, which every table of metrics must contain.

A metric that does not tell a method's maps from these says nothing about the method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import numpy as np

from camcore._shared.finite import finite, without_overflow
from camcore.adapter import Array
from camcore.errors import InputError
from camcore.methods.activation import random_map
from camcore.methods.arrays import at_least_one, floating, ratio
from camcore.metrics.agreement import Floats
from camcore.postprocess import normalise
from camcore.resize import resize


@dataclass(frozen=True)
class Control:
    """A row of `CONTROLS`.

    Parameters
    ----------
    name : str
        What tables and the command line call it.
    label : str
        What is shown.
    made_of : {"images", "maps"}
        What the function takes.
    function : callable
        From images ``(B, C, *S)``, or maps ``(B, *S)``, to maps ``(B, *S)`` in [0, 1].
    """

    name: str
    label: str
    made_of: Literal["images", "maps"]
    function: Callable[[Array], Floats]


def random_maps(images: Array, *, seed: int = 0, grid: int = 7) -> Floats:
    """Draw uniform noise at low resolution, enlarged to the images' size.

    Parameters
    ----------
    images : (B, C, *S) array
        Only their shape is used.
    seed : int
        Of the noise. The same seed gives the same map, whatever the sample, batch or framework.
    grid : int
        Numbers drawn along each axis, or as many as it is long; enlarged linearly.

    Returns
    -------
    (B, *S) float64 array
        In [0, 1); the same map for every sample.

    Raises
    ------
    InputError
        Images are not ``(B, C, *S)``.
    MethodError
        `grid` is below 1.
    """
    images = floating(images, "images")
    at_least_one(grid=grid)
    size = images.shape[2:]
    coarse = np.zeros((len(images), 1, *(min(grid, side) for side in size)))
    maps: Floats = resize(random_map(coarse, seed=seed), size, leading=1)
    return maps


def ones_maps(images: Array) -> Floats:
    """Mark every position but the first corner, as Fake-CAM does.

    Parameters
    ----------
    images : (B, C, *S) array
        Only their shape is used.

    Returns
    -------
    (B, *S) float64 array
        1 everywhere, 0 at the first position.

    Raises
    ------
    InputError
        Images are not ``(B, C, *S)``.

    References
    ----------
    Poppi et al., "Revisiting The Evaluation of Class Activation Mapping for Explainability: A
    Novel Metric and Experimental Analysis", CVPR Workshops 2021, sec. 3.
    """
    images = floating(images, "images")
    maps = np.ones((len(images), *images.shape[2:]))
    maps.reshape(len(maps), -1)[:, 0] = 0
    return maps


def centre_maps(images: Array, *, spread: float = 0.25) -> Floats:
    """Mark the middle by a Gaussian.

    Parameters
    ----------
    images : (B, C, *S) array
        Only their shape is used.
    spread : float
        Standard deviation along each axis, as a share of its length.

    Returns
    -------
    (B, *S) float64 array
        In (0, 1]; the same map for every sample.

    Raises
    ------
    InputError
        Images are not ``(B, C, *S)``, or `spread` is not a positive number.
    """
    images = floating(images, "images")
    if not 0 < spread < np.inf:
        raise InputError(f"spread={spread}; pass a positive share of the sides, such as 0.25.")
    size = images.shape[2:]
    grid = np.meshgrid(*((np.arange(n) - (n - 1) / 2) / (spread * n) for n in size), indexing="ij")
    squares = np.sum(np.square(grid), axis=0)
    one = np.exp((squares.min() - squares) / 2)
    return np.repeat(one[None], len(images), axis=0)


def edge_maps(images: Array) -> Floats:
    """Mark edges by Sobel's operator on the mean of the channels.

    Parameters
    ----------
    images : (B, C, *S) array
        In any range; beyond the border they continue as they end.

    Returns
    -------
    (B, *S) float64 array
        Magnitude of the gradient, each map divided by its largest value; zeros of an image
        without edges.

    Raises
    ------
    InputError
        Images are not ``(B, C, *S)``, or not finite.
    """
    values = finite(floating(images, "images"), "Images").astype(np.float64)
    # Scaled first, so that squares neither vanish nor overflow; the result has no scale.
    largest = np.abs(values).max(axis=tuple(range(1, values.ndim)), keepdims=True)
    grey = ratio(values, np.broadcast_to(largest, values.shape)).mean(axis=1)
    axes = range(1, grey.ndim)
    squares = np.zeros(grey.shape)
    for along in axes:
        slope = grey
        for axis in axes:
            slope = _sobel(slope, axis, derive=axis == along)
        squares += slope**2
    edges: Floats = normalise(np.sqrt(squares))
    return edges


def reversed_maps(maps: Array) -> Floats:
    """Turn maps around, so that what was most important is least: max + min - M.

    Parameters
    ----------
    maps : (B, *S) array
        In any range, which they keep.

    Returns
    -------
    (B, *S) float64 array

    Raises
    ------
    InputError
        Maps are not ``(B, *S)``, or not finite.
    """
    maps = np.asarray(maps)
    if maps.ndim < 2 or not maps.size:
        raise InputError(f"Maps of shape {maps.shape} cannot be reversed; pass (B, *S).")
    values = finite(maps, "Maps").astype(np.float64)
    axes = tuple(range(1, values.ndim))
    ends = values.max(axis=axes, keepdims=True) + values.min(axis=axes, keepdims=True)
    turned: Floats = without_overflow(ends - values, "Reversing maps")
    return turned


CONTROLS: Final[Mapping[str, Control]] = MappingProxyType(
    {
        control.name: control
        for control in (
            Control("random", "Random 7 x 7", "images", random_maps),
            Control("ones", "Ones (Fake-CAM)", "images", ones_maps),
            Control("centre", "Centre Gaussian", "images", centre_maps),
            Control("edges", "Edges (Sobel)", "images", edge_maps),
            Control("reversed", "Reversed", "maps", reversed_maps),
        )
    }
)
"""The controls by name."""


def _sobel(values: Floats, axis: int, *, derive: bool) -> Floats:
    """Take the central difference along an axis, or smooth it by 1/4, 1/2, 1/4."""
    width = [(int(at == axis), int(at == axis)) for at in range(values.ndim)]
    padded = np.moveaxis(np.pad(values, width, mode="edge"), axis, 0)
    before, at, after = padded[:-2], padded[1:-1], padded[2:]
    found = (after - before) / 2 if derive else (before + 2 * at + after) / 4
    return np.moveaxis(found, 0, axis)
