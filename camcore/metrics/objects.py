"""Read the boxes of objects, and say which pixels of the model's input lie in them.

Boxes are ``left, top, right, bottom``: the edges of the object, in pixels, counted from the upper
left corner of the first one, so that a box of one pixel is ``0, 0, 1, 1``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError
from camcore.metrics.arrays import Bools, Floats
from camcore.photos.crop import Crop

Boxes: TypeAlias = npt.ArrayLike | Sequence[npt.ArrayLike]
"""Boxes of each sample's objects, ``(n, 4)`` or, of one, ``(4,)``."""

Pixels: TypeAlias = npt.NDArray[np.int64]
"""First and last pixels in boxes, ``left, top, right, bottom``, ``(n, 4)``."""


def read_boxes(
    boxes: npt.ArrayLike, size: tuple[int, int], name: str, over: str = "an input"
) -> Floats:
    """Read the boxes of one sample.

    Parameters
    ----------
    boxes : (n, 4) or (4,) array
        Edges of one object or more.
    size : (int, int)
        Height and width of what they lie over.
    name : str
        The sample, as errors call it.
    over : str
        What they lie over, as errors call it.

    Returns
    -------
    (n, 4) float64 array
        Ends that overshoot by less than a pixel, as rounding leaves them, are cut off.

    Raises
    ------
    InputError
        There is none, one has no area or does not lie on what is explained, or these are no boxes.
    """
    try:
        array = np.asarray(boxes, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The boxes of {name} are no list of numbers: {boxes!r:.80}. Give left, top, right, "
            "bottom of each object."
        ) from error
    if array.size == 0:
        raise InputError(
            f"{name} has no box. Give left, top, right, bottom of one object or more, or leave "
            "the sample out."
        )
    array = array[None] if array.ndim == 1 else array
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(
            f"The boxes of {name} have shape {array.shape}; expected (n, 4): left, top, right, "
            "bottom of each object."
        )
    height, width = size
    sides = np.array([width, height] * 2)
    for box in array:
        left, top, right, bottom = box
        if not (right > left and bottom > top):
            raise InputError(
                f"A box of {name} has no area: {_shown(box)}. Give left, top, right, bottom, with "
                "right beyond left and bottom beyond top."
            )
        if not np.all((box > -1) & (box < sides + 1)):
            raise InputError(
                f"A box of {name} leaves {over} of {width} by {height} pixels: {_shown(box)}. "
                "Give left, top, right, bottom in pixels of that."
            )
    inside: Floats = np.clip(array, 0, sides)
    return inside


def pixels_in(boxes: Floats, size: tuple[int, int]) -> Pixels:
    """Find the first and the last pixels whose centres lie in boxes.

    Parameters
    ----------
    boxes : (n, 4) array
        Edges, which may lie beyond what is looked at.
    size : (int, int)
        Height and width of what is looked at, in pixels.

    Returns
    -------
    (m, 4) int64 array
        ``left, top, right, bottom``, as `camcore.metrics.max_box_accuracy` takes them; boxes in
        which no pixel's centre lies are left out.
    """
    height, width = size
    first = np.maximum(np.ceil(boxes[:, :2] - 0.5), 0)
    last = np.minimum(np.ceil(boxes[:, 2:] - 0.5) - 1, [width - 1, height - 1])
    pixels: Pixels = np.concatenate([first, last], axis=1).astype(np.int64)
    kept: Pixels = pixels[(last >= first).all(axis=1)]
    return kept


def objects_in(
    boxes: Boxes, size: tuple[int, ...], count: int, crops: Sequence[tuple[Crop | None, str]]
) -> list[Pixels]:
    """Find which pixels of each sample's input lie in the boxes of its objects.

    Parameters
    ----------
    boxes : sequence of (n, 4) or (4,) array
        Of each sample.
    size : tuple of int
        Of the input's spatial axes.
    count : int
        How many samples there are.
    crops : sequence of (Crop or None, str)
        What of each photograph the model sees, and the photograph's name; none where inputs are
        explained that are no photographs, over which boxes then lie.

    Returns
    -------
    list of (n, 4) int64 array
        As `pixels_in` finds them.

    Raises
    ------
    InputError
        As `read_boxes` raises it, or they do not fit the samples.
    """
    given = list(boxes) if isinstance(boxes, Sequence | np.ndarray) else []
    if len(given) != count:
        raise InputError(
            f"Boxes of {len(given)} samples do not fit {count}; pass a list with the boxes (n, 4) "
            "of each, or (B, 4) where each has one."
        )
    if len(size) != 2:
        raise InputError(
            f"Boxes lie over images, and the input is of {size}. Give masks of its size."
        )
    grid = (size[0], size[1])
    if not crops:
        read = [read_boxes(one, grid, f"sample {i}") for i, one in enumerate(given)]
        return [pixels_in(one, grid) for one in read]
    found = []
    for one, (crop, name) in zip(given, crops, strict=True):
        if crop is None:
            raise InputError(
                f"It is not known where in {name} the model looks, so that its boxes cannot be "
                "brought there. Give the model's input in place of photographs, and boxes over it."
            )
        edges = read_boxes(one, (crop.photo_shape[0], crop.photo_shape[1]), name, "a photograph")
        found.append(pixels_in(crop.boxes_to_model(edges), grid))
    return found


def masks_of(objects: Sequence[Pixels], size: tuple[int, ...]) -> Bools:
    """Mark the pixels in each sample's boxes, ``(B, *S)``."""
    masks = np.zeros((len(objects), *size), bool)
    for mask, boxes in zip(masks, objects, strict=True):
        for left, top, right, bottom in boxes:
            mask[top : bottom + 1, left : right + 1] = True
    return masks


def _shown(box: Floats) -> str:
    return ", ".join(f"{edge:g}" for edge in box)
