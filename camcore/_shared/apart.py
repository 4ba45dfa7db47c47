"""Changes to objects and classes that other people use, which only one thread sees."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any, TypeAlias

from camcore._shared.reads import note

Override: TypeAlias = Callable[[Any, str, Any], None]

# Held while functions of a class are swapped, by one thread at a time.
swapping = threading.RLock()


@contextmanager
def swapped(owner: type, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Give a class another function, for this thread alone; its first argument is the usual one."""
    usual, is_own, here = getattr(owner, name), name in vars(owner), threading.get_ident()

    def either(*args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() == here:
            return function(usual, *args, **kwargs)
        return usual(*args, **kwargs)

    with swapping:
        setattr(owner, name, either)
        try:
            yield
        finally:
            setattr(owner, name, usual) if is_own else delattr(owner, name)


@contextmanager
def attributes_apart(
    objects: Iterable[Any], owner: type, copies: Callable[[Any], bool]
) -> Iterator[Override]:
    """Let this thread read and write copies of objects' attributes, so that none is put back.

    What is read is noted; see `camcore._shared.reads`.

    Parameters
    ----------
    objects : iterable of object
        They have a ``__dict__``.
    owner : type
        The class that they have in common.
    copies : callable
        Tells whether a list, set or dict that an object holds is copied too.

    Yields
    ------
    override : callable
        ``override(object, name, value)`` gives an attribute another value, also where the
        object's class answers for it.
    """
    containers: dict[int, Any] = {}

    def copied(value: Any) -> Any:
        if not (isinstance(value, (list, dict, set)) and copies(value)):
            return value
        return containers.setdefault(id(value), copy(value))

    attributes = {id(x): {name: copied(value) for name, value in vars(x).items()} for x in objects}
    overridden: dict[int, dict[str, Any]] = {}

    def is_managed(thing: Any, name: str) -> bool:
        """Tell whether the object's class answers for the attribute, as a property does."""
        return hasattr(getattr(type(thing), name, None), "__set__")

    def get(usual: Any, thing: Any, name: str) -> Any:
        note(thing, name)
        own = attributes.get(id(thing))
        if own is None:
            return usual(thing, name)
        if name in overridden.get(id(thing), ()):
            return overridden[id(thing)][name]
        if name == "__dict__":
            return own
        return own[name] if name in own and not is_managed(thing, name) else usual(thing, name)

    def put(usual: Any, thing: Any, name: str, value: Any) -> None:
        if id(thing) not in attributes or is_managed(thing, name):
            usual(thing, name, value)
        else:
            attributes[id(thing)][name] = value

    def remove(usual: Any, thing: Any, name: str) -> None:
        if name in attributes.get(id(thing), ()):
            del attributes[id(thing)][name]
        else:
            usual(thing, name)

    def override(thing: Any, name: str, value: Any) -> None:
        overridden.setdefault(id(thing), {})[name] = value

    with (
        swapped(owner, "__getattribute__", get),
        swapped(owner, "__setattr__", put),
        swapped(owner, "__delattr__", remove),
    ):
        yield override
