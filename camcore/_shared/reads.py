"""What was read of a model's objects while it was traced, and whether it is still the same.

A traced program knows as constants what Python read: numbers, strings, which variable, which
layer. It serves for as long as all of that is as it was.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import repeat
from types import FunctionType
from typing import Any, TypeAlias

import numpy as np

Read: TypeAlias = tuple[Any, str]
"""An object, and the name of an attribute of it that was read."""

_MISSING = object()
_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_SMALL = 4096
"""Arrays of no more bytes are compared by their values, larger ones by identity."""

_noting: ContextVar[dict[tuple[int, str], Read] | None] = ContextVar("noting", default=None)


@contextmanager
def noting() -> Iterator[Callable[[], list[Read]]]:
    """Collect what `note` is told in this context; yields what lists it."""
    found: dict[tuple[int, str], Read] = {}
    token = _noting.set(found)
    try:
        yield lambda: list(found.values())
    finally:
        _noting.reset(token)


def note(thing: Any, name: str) -> None:
    """Note that an attribute is read, also one that the object does not have."""
    if (found := _noting.get()) is not None:
        found.setdefault((id(thing), name), (thing, name))


class Snapshot:
    """Attributes of objects as they are now, none of which is kept alive by this.

    Of lists, dictionaries, small arrays and objects of the user's own that an attribute holds,
    the contents count too; of the user's own classes, what they define.

    Parameters
    ----------
    reads : iterable of Read
        The attributes.
    is_own : callable
        Tells whether a class is the user's own rather than a library's.
    private : bool
        Whether the contents of a library's private lists and dictionaries count too.
    """

    def __init__(
        self, reads: Iterable[Read], is_own: Callable[[type], bool], *, private: bool = False
    ) -> None:
        self._is_own = is_own
        self._gone: list[Any] = []
        self._kept: list[Any] = []
        names: dict[int, tuple[Any, list[str]]] = {}
        for thing, name in reads:
            names.setdefault(id(thing), (thing, []))[1].append(name)
        self._attributes = [
            (self._ref(t), type(t), tuple(n), _ids(t, n)) for t, n in names.values()
        ]
        self._contents: list[tuple[Any, str, Any]] = []
        for (thing, asked), (ref, *_) in zip(names.values(), self._attributes, strict=True):
            for name in asked:
                if (value := vars(thing).get(name)) is None:
                    continue
                self._hold(value)
                visible = private or not name.startswith("_") or is_own(type(thing))
                if visible and (inside := self._inside(value)) is not None:
                    self._contents.append((ref, name, inside))
        kinds = {kind for thing, _ in names.values() for kind in type(thing).__mro__}
        self._classes = [(weakref.ref(k), _defined(k)) for k in kinds if is_own(k)]

    def is_current(self) -> bool:
        """Tell whether everything is as it was."""
        if self._gone:
            return False
        for thing, kind, names, ids in self._attributes:
            held = thing()
            if type(held) is not kind or _ids(held, names) != ids:
                return False
        return all(
            self._inside(vars(thing()).get(name)) == inside
            for thing, name, inside in self._contents
        ) and all(_defined(kind()) == defined for kind, defined in self._classes)

    def _ref(self, thing: Any) -> Any:
        return weakref.ref(thing, self._gone.append)

    def _hold(self, value: Any) -> None:
        """See that the value's id is not another's, as long as this says that it is current."""
        if isinstance(value, _PLAIN) or hasattr(value, "numpy") or isinstance(value, np.ndarray):
            self._kept.append(value)  # nothing of it leads to the model
            return
        try:
            self._kept.append(self._ref(value))
        except TypeError:
            for part in _parts(value):
                self._hold(part)

    def _inside(self, value: Any, depth: int = 2) -> Any:
        """List what a value holds, in a form that can be compared; None where it is one thing."""
        if isinstance(value, np.ndarray) and value.nbytes <= _SMALL:
            return value.tobytes()
        own = self._is_own(type(value)) and not isinstance(value, FunctionType)
        if own and hasattr(value, "__dict__") and not hasattr(value, "_flatten_layers"):
            value = vars(value)
        if not isinstance(value, (list, tuple, set, dict)) or not depth:
            return None
        parts = value.values() if isinstance(value, dict) else value
        inner = [self._inside(part, depth - 1) for part in parts]
        same = [part if isinstance(part, _PLAIN) else id(part) for part in parts]
        return list(value) if isinstance(value, dict) else len(same), same, inner


def _ids(thing: Any, names: Iterable[str]) -> tuple[int, ...]:
    return tuple(map(id, map(vars(thing).get, names, repeat(_MISSING))))


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, (list, tuple, set)) else ()


def _defined(kind: Any) -> list[int]:
    return [] if kind is None else list(map(id, vars(kind).values()))
