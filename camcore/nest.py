"""Inputs as people give them: an array, or tuples, lists and dicts of arrays.

A list of images (arrays of three axes) inside such a nest is a batch, as detectors take it;
it counts as one array.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from camcore.adapter import Array, Channels, Leaves
from camcore.errors import InputError


class Images:
    """A list of images, as one array."""

    def __init__(self, images: list[Any]) -> None:
        sizes = list(dict.fromkeys(shape_of(image) for image in images))
        if len(sizes) > 1:
            raise InputError(
                f"The images of one batch have shapes {', '.join(map(str, sizes))}; their maps "
                "would not be one array. Bring them to one size, or explain them one by one."
            )
        self.shape = (len(images), *sizes[0])


def leaves(nest: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Arrays and tensors of a nest with their dotted paths; a lone one's path is ``""``."""
    if path and _lists_images(nest):
        yield path, Images(nest)
        return
    if isinstance(nest, Mapping):
        parts = list(nest.items())
    elif isinstance(nest, (list, tuple)) and any(not np.isscalar(part) for part in nest):
        parts = list(enumerate(nest))
    else:
        yield path, nest
        return
    for key, part in parts:
        yield from leaves(part, f"{path}.{key}" if path else str(key))


def of_scores(ranks: Mapping[str, int | None]) -> set[str]:
    """Which of a model's outputs scores are read from, as far as names and shapes tell.

    Parameters
    ----------
    ranks : mapping of str to (int or None)
        Number of axes of each output, by path; None where it is not known.

    Returns
    -------
    set of str
        ``"logits"`` where there is one. Else all, but features that are returned beside
        class scores are none: of outputs with and without spatial extent, those without.
    """
    if "logits" in ranks:
        return {"logits"}
    flat = {path for path, rank in ranks.items() if rank is not None and rank < 3}
    return flat or set(ranks)


def spatial_leaf(nest: Any) -> str | None:
    """Path of the first array with spatial extent (three axes or more), or None."""
    return next((path for path, leaf in leaves(nest) if len(shape_of(leaf)) >= 3), None)


def spatial_size(nest: Any, channels: Channels) -> tuple[int, ...]:
    """Spatial size of the first array that has one; empty where none has."""
    for _, leaf in leaves(nest):
        shape = shape_of(leaf)
        if len(shape) >= 3:
            return shape[2:] if channels == "first" else shape[1:-1]
    return ()


def shape_of(leaf: Any) -> tuple[int, ...]:
    """Shape of an array or tensor, whatever its framework."""
    return tuple(int(n) for n in getattr(leaf, "shape", None) or np.shape(leaf))


def altered(nest: Any, arrays: Leaves, path: str, array: Array, sample: int | None) -> Any:
    """The nest with one array put in place of the leaf at `path`.

    Parameters
    ----------
    nest : array, tensor, or nest of these
        Inputs of a batch.
    arrays : mapping of str to array
        The same by path, as NumPy has them.
    path : str
        Which leaf to replace.
    array : (N, ...) array
        What to put there.
    sample : int or None
        With a sample, `array` holds N alterations of it, and the other leaves are
        repeated to match; without, `array` is the whole batch.
    """

    def rebuild(part: Any, here: str) -> Any:
        if here == path and not isinstance(part, (Mapping, list, tuple)):
            return array
        if here and _lists_images(part):
            if here == path:
                return list(array)
            return part if sample is None else part[sample : sample + 1] * len(array)
        if isinstance(part, Mapping):
            return {k: rebuild(v, f"{here}.{k}" if here else str(k)) for k, v in part.items()}
        if isinstance(part, (list, tuple)):
            return _like(
                part, [rebuild(v, f"{here}.{i}" if here else str(i)) for i, v in enumerate(part)]
            )
        if sample is None or here not in arrays or not arrays[here].ndim:
            return part
        return np.repeat(arrays[here][sample : sample + 1], len(array), axis=0)

    return rebuild(nest, "")


def sample_of(nest: Any, sample: int, *, inside: bool = False) -> Any:
    """One sample of a batch, batch axis kept."""
    if inside and _lists_images(nest):
        return nest[sample : sample + 1]
    if isinstance(nest, Mapping):
        return {key: sample_of(part, sample, inside=True) for key, part in nest.items()}
    if isinstance(nest, (list, tuple)):
        return _like(nest, [sample_of(part, sample, inside=True) for part in nest])
    return nest[sample : sample + 1] if shape_of(nest) else nest


def batch_of(samples: Sequence[Any]) -> Any:
    """Batches joined into one, which is made of NumPy arrays.

    Parameters
    ----------
    samples : sequence of array, tensor, or nest of these
        Batches of the same structure; tensors are on the processor, without gradients.

    Raises
    ------
    InputError
        Their arrays differ in shape, batch axis aside.
    """
    first = samples[0]
    if isinstance(first, Mapping):
        return {key: batch_of([one[key] for one in samples]) for key in first}
    if isinstance(first, (list, tuple)):
        return _like(first, [batch_of(parts) for parts in zip(*samples, strict=True)])
    if not shape_of(first):
        return first
    arrays = [np.asarray(one) for one in samples]
    if len({array.shape[1:] for array in arrays}) > 1:
        shapes = sorted({array.shape[1:] for array in arrays})
        raise InputError(
            f"samples of the shapes {', '.join(map(str, shapes))} cannot be one batch; "
            "scale them to one size, or pass them one by one"
        )
    return np.concatenate(arrays)


def _lists_images(nest: Any) -> bool:
    return isinstance(nest, list) and bool(nest) and all(len(shape_of(i)) == 3 for i in nest)


def _like(nest: Any, parts: list[Any]) -> Any:
    """A list, tuple or named tuple of other parts."""
    return type(nest)(*parts) if hasattr(nest, "_fields") else type(nest)(parts)
