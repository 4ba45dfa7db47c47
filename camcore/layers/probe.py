"""What only a further pass tells of a layer: its batch axis, its rows, and where its tokens lie.

An altered copy of the input changes only its own sample, and most of all the token whose
patch was altered.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from itertools import product

import numpy as np
import numpy.typing as npt

from camcore.adapter import Adapter, Array, Leaves
from camcore.inputs import Inputs
from camcore.layers.dependent import any_score
from camcore.layers.layout import Layout


def batch_axis(adapter: Adapter, inputs: Inputs, layer: str, returned: Array) -> int | None:
    """Find the axis that carries the batch of what a layer returned.

    Parameters
    ----------
    adapter : Adapter
        The model.
    inputs : Inputs
        What it was run on, traced.
    layer : str
        The layer's name.
    returned : array
        What the layer returned for these inputs.

    Returns
    -------
    int or None
        None where nothing moves, or not one axis alone.
    """
    images = inputs.arrays[inputs.image_path()]
    if len(images) == 1:
        twice = adapter.run(inputs.with_images(images.repeat(2, axis=0), 0).native, [layer])
        shape = twice.layers[layer].activations.shape
        axes = [i for i, (a, b) in enumerate(zip(returned.shape, shape, strict=False)) if a != b]
    else:
        altered = np.array(images)
        altered[0] = _far(images[0])
        other = adapter.run(inputs.with_images(altered).native, [layer]).layers[layer].activations
        changes = np.abs(other - returned)
        changed = np.argwhere(changes > changes.max() / 1000)
        axes = [i for i, size in enumerate(returned.shape) if size == len(images)]
        axes = [i for i in axes if len(changed) and not changed[:, i].any()]
    return axes[0] if len(axes) == 1 else None


def frames_first(adapter: Adapter, inputs: Inputs, layer: str, returned: Array) -> bool | None:
    """Tell whether a layer's rows, frames of several samples, are frame by frame.

    Parameters
    ----------
    adapter : Adapter
        The model.
    inputs : Inputs
        What it was run on, traced; several samples.
    layer : str
        The layer's name.
    returned : (B * T, ...) array
        What the layer returned for these inputs.

    Returns
    -------
    bool or None
        False where they are sample by sample; None where an altered sample changes other rows.
    """
    images = inputs.arrays[inputs.image_path()]
    altered = np.array(images)
    altered[0] = _far(images[0])
    other = adapter.run(inputs.with_images(altered).native, [layer]).layers[layer].activations
    changes = np.abs(other - returned).reshape(len(returned), -1).max(axis=1)
    changed = np.flatnonzero(changes > changes.max() / 1000).tolist()
    count = len(returned) // len(images)
    if changed == list(range(count)):
        return False
    return True if changed == list(range(0, len(returned), len(images))) else None


def patches(adapter: Adapter, inputs: Inputs, layer: str, count: int) -> tuple[bool, Layout | None]:
    """Find the grid of a layer's tokens, by altering the corners of the input.

    Parameters
    ----------
    adapter : Adapter
        The model.
    inputs : Inputs
        What to run it on.
    layer : str
        A layer that returns tokens, best before they are mixed.
    count : int
        Number of its tokens.

    Returns
    -------
    bool
        Whether any token changes.
    Layout or None
        None where the tokens that change most do not stand like the corners of a grid.
    """
    plain = adapter.run(inputs.native, [layer])
    inputs, own = inputs.traced(plain), plain.layers[layer].activations
    corners = list(product((False, True), repeat=len(inputs.size)))
    cell = (math.prod(inputs.size) / count) ** (1 / len(inputs.size))
    batch = 1 if own.shape[0] == count != own.shape[1] else 0
    # Half a patch is within one that is not square, a whole one reaches every other of them.
    for side in (max(1, round(cell / 2)), max(1, round(cell))):
        found: list[int] = []
        for altered, slots in _corners(inputs, corners, side):
            other = adapter.run(altered.native, [layer]).layers[layer].activations
            if other.shape != own.shape:
                return True, None
            change = np.moveaxis(other - own, batch, 0)[:slots]
            # What attention has passed on to all tokens alike is not of the patch.
            changes = np.linalg.norm(change - np.median(change, axis=1, keepdims=True), axis=-1)
            found += np.where(changes.any(axis=1), changes.argmax(axis=1), -1).tolist()
        grid = _grid(dict(zip(corners, found, strict=True)), count) if min(found) >= 0 else None
        if grid is not None or max(found) < 0:
            break
    return max(found) >= 0, grid


def read_of(
    adapter: Adapter, inputs: Inputs, attention: str, outputs: Collection[str]
) -> npt.NDArray[np.float64]:
    """Find which queries of a layer's attention outputs depend on.

    Parameters
    ----------
    adapter : Adapter
        The model.
    inputs : Inputs
        What to run it on.
    attention : str
        The layer's, with its ending.
    outputs : collection of str
        Their paths.

    Returns
    -------
    (Q,) array
        Equal weights that sum to 1, of these; of all, where none has a gradient.
    """

    def some_score(leaves: Leaves) -> Leaves:
        return any_score({path: leaf for path, leaf in leaves.items() if path in outputs})

    (gradients,) = adapter.run(inputs.native, [attention], [some_score]).layers[attention].gradients
    read = (gradients != 0).any(axis=(*range(gradients.ndim - 2), -1))
    read |= not read.any()
    weights: npt.NDArray[np.float64] = read / read.sum()
    return weights


def _corners(
    inputs: Inputs, corners: list[tuple[bool, ...]], side: int
) -> Iterator[tuple[Inputs, int]]:
    """Alter one corner in each sample, as many samples at a time as there are."""
    images = inputs.arrays[inputs.image_path()]
    for start in range(0, len(corners), len(images)):
        altered = np.array(images)
        chosen = corners[start : start + len(images)]
        for image, own, corner in zip(altered, images, chosen, strict=False):
            region = [slice(None)] * image.ndim
            for axis, end in zip(inputs.layout.spatial, corner, strict=True):
                region[axis - 1] = slice(-side, None) if end else slice(side)
            image[tuple(region)] = _far(own)[tuple(region)]
        yield inputs.with_images(altered), len(chosen)


def _far(image: Array) -> Array:
    """Move each value to the far end of the image's range."""
    low, high = image.min(), image.max()
    if low == high:
        high = low + image.dtype.type(1)
    far: Array = np.where(image - low < high - image, high, low)
    return far


def _grid(at: dict[tuple[bool, ...], int], count: int) -> Layout | None:
    """Read the grid off the tokens that stand at its corners, the last axis running fastest."""
    rank = len(next(iter(at)))
    origin = at[(False,) * rank]
    lengths: list[int] = []
    for axis in reversed(range(rank)):
        steps = at[tuple(i == axis for i in range(rank))] - origin
        length, rest = divmod(steps, math.prod(lengths))
        if rest or steps < 0:
            return None
        lengths.insert(0, length + 1)
    if not 1 < math.prod(lengths) <= count - origin:
        return None
    for corner, token in at.items():
        ends = [length - 1 if end else 0 for end, length in zip(corner, lengths, strict=True)]
        if token != origin + np.ravel_multi_index(ends, lengths):
            return None
    return Layout("tokens", tuple(lengths), origin)
