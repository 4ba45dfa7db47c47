"""What of the input each call of a layer sees: found by altering parts of the input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np

from camcore.adapter import Array

Calls: TypeAlias = Callable[[Array], Sequence[Array]]
"""From an input to what each call of a layer returns for it; each asks for a forward pass."""

STRIPS = 8
"""A strip at either end of an axis is one of so many parts of it."""


def order_of_frames(calls: Calls, images: Array, axis: int) -> tuple[int, ...] | None:
    """Find the call that sees each position of an axis, such as each frame of a video.

    Frames are altered in groups, those whose number has a binary digit of 0 and those where
    it is 1: a call that sees one frame alone changes with one of the two, for each digit, and
    so reads out the frame's number.

    Parameters
    ----------
    calls : callable
        The layer; it is asked ``1 + 2 ceil(log2 N)`` times for N frames.
    images : array
        The input.
    axis : int
        The axis of the frames.

    Returns
    -------
    tuple of int or None
        For each frame the index of the last call that sees it; None where a call sees several
        or none, or frames are not seen alike.
    """
    count = images.shape[axis]
    plain = calls(images)
    frames = [0] * len(plain)
    for digit in range((count - 1).bit_length()):
        group = np.arange(count) >> digit & 1
        seen = [
            [not same(*pair) for pair in zip(found, plain, strict=True)]
            for found in (calls(altered(images, axis, group == value)) for value in (0, 1))
        ]
        for call, (zero, one) in enumerate(zip(*seen, strict=True)):
            if zero == one:
                return None
            frames[call] |= one << digit
    if sorted(frames) != sorted([*range(count)] * (len(plain) // count)):
        return None
    last = {frame: call for call, frame in enumerate(frames)}
    return tuple(last[frame] for frame in range(count))


def last_sees_a_part(calls: Calls, images: Array, axes: Sequence[int]) -> bool:
    """Tell whether the last call sees only a part of an input whose rest other calls see.

    Parameters
    ----------
    calls : callable
        The layer; it is asked twice, and twice for each axis.
    images : array
        The input.
    axes : sequence of int
        Its spatial axes.

    Returns
    -------
    bool
        False where the last call sees nothing of the input.
    """
    plain = calls(images)

    def changed(axis: int, where: Array) -> list[bool]:
        found = calls(altered(images, axis, where))
        return [not same(*pair) for pair in zip(found, plain, strict=True)]

    if same(calls(altered(images))[-1], plain[-1]):
        return False
    strips = (changed(axis, where) for axis in axes for where in _strips(images.shape[axis]))
    return any(any(others) and not last for *others, last in strips)


def _strips(length: int) -> Iterator[Array]:
    """Yield a mask of either end of an axis."""
    width, places = max(1, length // STRIPS), np.arange(length)
    yield places < width
    yield places >= length - width


def altered(images: Array, axis: int = 0, where: Array | None = None) -> Array:
    """Put noise of an input's own range in its place, or at some positions of an axis."""
    rng = np.random.default_rng(0)
    low, high = images.min(), images.max()
    noise = rng.uniform(low, high if high > low else low + 1, images.shape)
    if np.issubdtype(images.dtype, np.integer):
        noise = noise.round()
    mask = np.ones(images.shape[axis], bool) if where is None else where
    mask = mask.reshape([-1 if i == axis else 1 for i in range(images.ndim)])
    return np.where(mask, noise.astype(images.dtype), images)


def same(one: Array, other: Array) -> bool:
    """Tell whether two outputs of a layer are the same but for rounding."""
    near = 1e-5 * np.nanmax(np.abs(other), initial=0)
    return one.shape == other.shape and np.allclose(one, other, rtol=0, atol=near, equal_nan=True)
