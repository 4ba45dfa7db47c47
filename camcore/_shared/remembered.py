"""Keeping what was found out about a model for as long as the model lives."""

from __future__ import annotations

import weakref
from collections.abc import MutableMapping
from typing import Any, TypeVar

T = TypeVar("T")


class _Key:
    """Stands for a model that has no hash, or that another may equal."""


_keys: dict[int, _Key] = {}


def remembered(store: MutableMapping[Any, T], model: object, empty: T) -> T:
    """Look up what is kept about a model in a weak-keyed `store`; `empty` where nothing is yet.

    A model is told from others by identity. What nothing can refer to weakly, such as a dict,
    has nothing kept about it.
    """
    try:
        is_plain = type(model).__hash__ is object.__hash__
        return store.setdefault(model if is_plain else _key_of(model), empty)
    except TypeError:
        return empty


def _key_of(model: object) -> _Key:
    """Return what stands for a model, which goes when the model goes."""
    if (key := _keys.get(id(model))) is None:
        weakref.finalize(model, _keys.pop, id(model), None)
        key = _keys.setdefault(id(model), _Key())
    return key
