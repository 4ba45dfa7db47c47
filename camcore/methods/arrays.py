"""The few array operations that the methods' equations are written in.

``Σ_s`` runs over all spatial axes, ``Σ_c`` over channels. Sums are matrix
products, so that they run in BLAS on contiguous and channels-last arrays alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeAlias, TypeVar, get_args

import numpy as np

from camcore._shared.finite import finite, without_overflow
from camcore.adapter import Array
from camcore.errors import InputError, MethodError
from camcore.resize import LINEAR, Interpolation, resize


def paired(
    values: Array, slopes: Array, names: tuple[str, str] = ("activations", "gradients")
) -> tuple[Array, Array]:
    """Read values and their gradients as floating arrays of one shape ``(B, C, *S)``."""
    values, slopes = floating(values, names[0]), floating(slopes, names[1])
    if values.shape != slopes.shape:
        raise InputError(
            f"{names[0]} {values.shape} and {names[1]} {slopes.shape} differ in shape; both are "
            "(B, C, *S) at one place of the model."
        )
    return values, slopes


def floating(array: Array, name: str) -> Array:
    """Read `array` as floating ``(B, C, *S)``; half precision and integers become float32."""
    array = np.asarray(array)
    if array.ndim < 3 or 0 in array.shape:
        raise InputError(
            f"{name} must be (batch, channels, *spatial), none of them empty; got {array.shape}."
        )
    if array.dtype in (np.float32, np.float64):
        return array
    if not (np.issubdtype(array.dtype, np.number) and np.isrealobj(array)):
        raise InputError(f"{name} must be real numbers; got dtype {array.dtype}.")
    return array.astype(np.float32)


def shaped(values: Array, shape: tuple[int, ...], name: str) -> Array:
    """Read finite, floating numbers of the given shape, such as what a callable answered.

    Raises
    ------
    InputError
        They are something else.
    """
    values = np.asarray(values)
    if values.shape != shape:
        raise InputError(f"{name} must be of shape {shape}; got {values.shape}.")
    finite(values, name)
    return values if values.dtype.kind == "f" else values.astype(np.float64)


def same_batch(activations: Array, images: Array) -> tuple[Array, Array]:
    """Read a layer's activations and the model's input, both ``(B, C, *S)`` of one rank."""
    activations, images = floating(activations, "activations"), floating(images, "images")
    if len(activations) != len(images) or activations.ndim != images.ndim:
        raise InputError(
            f"activations {activations.shape} and images {images.shape} are not of one batch, or "
            "have another number of spatial axes."
        )
    return activations, images


def over_images(maps: Array, images: Array, interpolation: Interpolation = LINEAR) -> Array:
    """Bring a layer's maps ``(B, *S)`` to the size of what is given for images, ``(B, C, *T)``.

    Raises
    ------
    InputError
        They are not of one batch, or have another number of spatial axes.
    """
    if len(maps) != len(images) or maps.ndim != images.ndim - 1:
        raise InputError(
            f"Maps of a layer {maps.shape} and images {images.shape} are not of one batch, or have "
            "another number of spatial axes, so the ones do not lie over the others."
        )
    return resize(maps, images.shape[2:], interpolation, leading=1)


def flat(array: Array) -> Array:
    """Flatten space, ``(B, C, *S)`` to ``(B, C, N)``, without a copy for the usual layouts."""
    return array.reshape(*array.shape[:2], -1)


def sum_space(array: Array) -> Array:
    """Sum over space, Σ_s: ``(B, C, *S)`` to ``(B, C)``."""
    positions = flat(array)
    total: Array = positions @ np.ones(positions.shape[2], positions.dtype)
    return total


def mean_space(array: Array) -> Array:
    """Average over space, mean_s: ``(B, C, *S)`` to ``(B, C)``."""
    mean: Array = sum_space(array) / array.dtype.type(flat(array).shape[2])
    return mean


def sum_channels(array: Array) -> Array:
    """Sum over channels, Σ_c: ``(B, C, *S)`` to ``(B, *S)``."""
    return weighted(np.ones(array.shape[:2], array.dtype), array)


def weighted(weights: Array, activations: Array) -> Array:
    """Weight and sum channels, Σ_c w_c · A_c: ``(B, C)`` and ``(B, C, *S)`` to ``(B, *S)``."""
    maps = weights[:, None, :] @ flat(activations)
    result: Array = maps.reshape(len(activations), *activations.shape[2:])
    return result


def per_channel(weights: Array, like: Array) -> Array:
    """Append the spatial axes of `like` to ``(B, C)``, to broadcast against it."""
    return weights.reshape(weights.shape + (1,) * (like.ndim - 2))


def per_sample(values: Array, like: Array) -> Array:
    """Append channel and spatial axes of `like` to ``(B,)``, to broadcast against it."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def ratio(numerator: Array, denominator: Array) -> Array:
    """Divide `numerator` by `denominator`, 0 where the denominator is 0.

    Raises
    ------
    InputError
        The denominator has overflown, so that quotients would vanish without a word.
    """
    without_overflow(denominator, "A divisor")
    quotient: Array = np.divide(
        numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0
    )
    return quotient


T = TypeVar("T")

ScoreImages: TypeAlias = Callable[[int, Array], Array]
"""From a sample and N alterations of its input ``(N, C, *S)`` to their scores ``(N,)``."""

Resume: TypeAlias = Callable[[int], AbstractContextManager[Callable[[Array], Array]]]
"""From a sample to a context that scores N alterations of its activations ``(N, C, *S)``."""


def batches(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Split the items into runs of `size`, the last of them what is left."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def one_of(choices: object, **options: str) -> None:
    """Refuse options that are not among the choices of a literal type.

    Raises
    ------
    MethodError
        One is not; says which there are.
    """
    *others, last = map(repr, get_args(choices))
    for name, value in options.items():
        if value not in get_args(choices):
            raise MethodError(f"{name}={value!r}; expected {', '.join(others)} or {last}.")


def at_least_one(**options: int) -> None:
    """Refuse options that are no whole numbers, or below 1.

    Raises
    ------
    MethodError
        Names the option.
    """
    for name, value in options.items():
        if not isinstance(value, (int, np.integer)):
            raise MethodError(f"{name}={value!r}; it must be a whole number.")
        if value < 1:
            raise MethodError(f"{name}={value}; it must be at least 1.")
