"""Nests: tuples, lists, dicts and dataclasses of tensors, flattened to dotted paths and rebuilt."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any


def flatten(nest: Any) -> dict[str, Any]:
    """Leaves of a nest by path, in order; None counts as nothing, a lone leaf's path is ``""``."""
    return {".".join(path): leaf for path, leaf in _walk(nest, ())}


def rebuild(nest: Any, leaves: Iterator[Any]) -> Any:
    """Give the nest other leaves, taken in the order of `flatten`."""
    if nest is None:
        return None
    if isinstance(nest, Mapping):
        filled = {key: rebuild(value, leaves) for key, value in nest.items()}
        if type(nest) is dict or not isinstance(nest, MutableMapping):
            return filled
        nest = copy.copy(nest)
        nest.update(filled)
        return nest
    if isinstance(nest, tuple) and hasattr(nest, "_fields"):
        return type(nest)(*[rebuild(value, leaves) for value in nest])
    if isinstance(nest, (tuple, list)):
        return type(nest)([rebuild(value, leaves) for value in nest])
    if _is_dataclass(nest):
        fields = dict(_fields(nest))
        return dataclasses.replace(
            nest, **{name: rebuild(value, leaves) for name, value in fields.items()}
        )
    return next(leaves)


def _walk(nest: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if nest is None:
        return
    if isinstance(nest, Mapping):
        children: Any = nest.items()
    elif isinstance(nest, tuple) and hasattr(nest, "_fields"):
        children = zip(nest._fields, nest, strict=True)
    elif isinstance(nest, (tuple, list)):
        children = enumerate(nest)
    elif _is_dataclass(nest):
        children = _fields(nest)
    else:
        yield path, nest
        return
    for step, child in children:
        yield from _walk(child, (*path, str(step)))


def _is_dataclass(nest: Any) -> bool:
    return dataclasses.is_dataclass(nest) and not isinstance(nest, type)


def _fields(nest: Any) -> list[tuple[str, Any]]:
    return [(field.name, getattr(nest, field.name)) for field in dataclasses.fields(nest)]
