"""Walk nests: tuples, lists, mappings, named tuples and dataclasses of arrays, by dotted path.

``{"a": x, "b": (y, z)}`` has the leaves ``a``, ``b.0`` and ``b.1``; the path of a lone
array is ``""``. What is no container is a leaf, ``None`` included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import fields, is_dataclass
from typing import Any, TypeAlias

import numpy as np

from camcore.errors import InputError

IsLeaf: TypeAlias = Callable[[str, Any], bool]
"""Whether the container at a path counts as one leaf."""


def lists_images(part: Any) -> bool:
    """Tell whether a part of a nest is a list of images (arrays of three axes)."""
    return isinstance(part, list) and bool(part) and all(len(shape_of(i)) == 3 for i in part)


def inner_images(path: str, part: Any) -> bool:
    """Tell whether a part below the outermost is a list of images, which counts as one array.

    Detectors take a batch so. The outermost list never is one: there it means several inputs.
    """
    return bool(path) and lists_images(part)


def flatten(nest: Any, path: str = "", is_leaf: IsLeaf | None = None) -> Iterator[tuple[str, Any]]:
    """Yield each leaf of a nest with its path, in order."""
    parts = None if is_leaf is not None and is_leaf(path, nest) else _parts(nest)
    if parts is None:
        yield path, nest
        return
    for key, part in parts.items():
        yield from flatten(part, _below(path, key), is_leaf)


def map_leaves(
    nest: Any, function: Callable[[str, Any], Any], path: str = "", is_leaf: IsLeaf | None = None
) -> Any:
    """Replace each leaf by ``function(path, leaf)``; containers are copied, never written to."""
    if (is_leaf is not None and is_leaf(path, nest)) or _parts(nest) is None:
        return function(path, nest)
    return map_parts(nest, lambda key, part: map_leaves(part, function, _below(path, key), is_leaf))


def map_parts(nest: Any, function: Callable[[Any, Any], Any]) -> Any:
    """Replace each part of the outermost container by ``function(key, part)``."""
    parts = _parts(nest) or {}
    changed = {key: function(key, part) for key, part in parts.items()}
    if all(changed[key] is part for key, part in parts.items()):
        return nest
    return _rebuilt(nest, changed)


def fill(nest: Any, leaves: Iterator[Any]) -> Any:
    """Replace the leaves of a nest, taken in the order of `flatten`; ``None`` stays ``None``."""
    return map_leaves(nest, lambda _, leaf: None if leaf is None else next(leaves))


def put(nest: Any, path: str, value: Any) -> Any:
    """Replace the leaf at `path` by `value`."""
    return map_leaves(nest, lambda at, old: value if at == path else old)


def path_of(nest: Any, leaf: Any) -> str | None:
    """Find the path of a leaf of a nest, by identity; None where it is not in it."""
    return next((path for path, other in flatten(nest) if other is leaf), None)


def shape_of(leaf: Any) -> tuple[int, ...]:
    """Read the shape of an array or tensor, whatever its framework."""
    return tuple(int(n) for n in getattr(leaf, "shape", None) or np.shape(leaf))


def batch_of(samples: Sequence[Any]) -> Any:
    """Join batches into one, which is made of NumPy arrays.

    Parameters
    ----------
    samples : sequence of array, tensor, or nest of these
        Batches of the same structure; tensors are on the processor, without gradients.

    Raises
    ------
    InputError
        Their arrays differ in shape, batch axis aside.
    """
    rows = [dict(flatten(sample)) for sample in samples]

    def join(path: str, leaf: Any) -> Any:
        if not shape_of(leaf):
            return leaf
        arrays = [np.asarray(row[path]) for row in rows]
        shapes = sorted({array.shape[1:] for array in arrays})
        if len(shapes) > 1:
            raise InputError(
                f"Samples of the shapes {', '.join(map(str, shapes))} cannot be one batch. "
                "Scale them to one size, or pass them one by one."
            )
        return np.concatenate(arrays)

    return map_leaves(samples[0], join)


def _below(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def _parts(nest: Any) -> dict[Any, Any] | None:
    """List the parts of a container by key or index; None for what is no container."""
    if isinstance(nest, Mapping):
        return dict(nest.items())
    if isinstance(nest, tuple) and hasattr(nest, "_asdict"):
        return dict(nest._asdict())
    if isinstance(nest, (list, tuple)):
        return dict(enumerate(nest))
    if is_dataclass(nest) and not isinstance(nest, type):
        return {field.name: getattr(nest, field.name) for field in fields(nest)}
    return None


def _rebuilt(nest: Any, parts: dict[Any, Any]) -> Any:
    if isinstance(nest, tuple) and hasattr(nest, "_replace"):
        return nest._replace(**parts)
    if isinstance(nest, (list, tuple)):
        return type(nest)(parts.values())
    if isinstance(nest, Mapping) and not hasattr(nest, "__setitem__"):
        return type(nest)(parts)  # type: ignore[call-arg]
    twin = copy(nest)
    for key, part in parts.items():
        if isinstance(nest, Mapping):
            twin[key] = part
        else:
            # A frozen dataclass is written to before anybody else holds the copy.
            object.__setattr__(twin, key, part)
    return twin
