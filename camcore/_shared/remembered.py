"""Keeping what was found out about a model for as long as the model lives."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, TypeVar

T = TypeVar("T")


def remembered(store: MutableMapping[Any, T], model: object, empty: T) -> T:
    """Look up what is kept about a model in a weak-keyed `store`; `empty` where nothing is yet.

    What nothing can refer to weakly, such as a dict, has nothing kept about it.
    """
    try:
        return store.setdefault(model, empty)
    except TypeError:
        return empty
