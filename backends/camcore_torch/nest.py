"""Tensors in nests: tuples, lists, mappings, named tuples and dataclasses, by dotted path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import fields, is_dataclass
from typing import Any

import torch


def flatten(nest: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield whatever is no container, each with its path; a lone value's path is ``""``."""
    parts = _parts(nest)
    if parts is None:
        yield path, nest
        return
    for key, part in parts.items():
        yield from flatten(part, f"{path}.{key}" if path else str(key))


def transform(nest: Any, function: Callable[[str, Any], Any], path: str = "") -> Any:
    """Replace each value by ``function(path, value)``; containers are copied, not written to."""
    if _parts(nest) is None:
        return function(path, nest)
    return map_parts(
        nest, lambda key, part: transform(part, function, f"{path}.{key}" if path else str(key))
    )


def map_parts(nest: Any, function: Callable[[Any, Any], Any]) -> Any:
    """Replace each part of the outermost container by ``function(key, part)``."""
    parts = _parts(nest) or {}
    changed = {key: function(key, part) for key, part in parts.items()}
    if all(changed[key] is part for key, part in parts.items()):
        return nest
    return _rebuilt(nest, changed)


def put(nest: Any, path: str, value: Any) -> Any:
    """Nest with `value` at `path`."""
    return transform(nest, lambda at, old: value if at == path else old)


def at(nest: Any, path: str) -> Any:
    """What is at `path`, a container or a value; None where nothing is."""
    step, _, rest = path.partition(".")
    for key, part in (_parts(nest) or {}).items():
        if str(key) == step:
            return at(part, rest) if rest else part
    return None


def floating(nest: Any) -> dict[str, torch.Tensor]:
    """Floating tensors of the nest by path, and quantised ones, which stand for such."""
    return {
        path: leaf
        for path, leaf in flatten(nest)
        if isinstance(leaf, torch.Tensor) and (leaf.is_floating_point() or leaf.is_quantized)
    }


def first_floating(nest: Any) -> tuple[str, torch.Tensor] | None:
    """First floating tensor of the nest and its path."""
    return next(iter(floating(nest).items()), None)


def _parts(nest: Any) -> dict[Any, Any] | None:
    if isinstance(nest, Mapping):
        return dict(nest.items())
    if isinstance(nest, tuple) and hasattr(nest, "_asdict"):
        return dict(nest._asdict())
    if isinstance(nest, (list, tuple)) and not isinstance(nest, torch.Size):
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
