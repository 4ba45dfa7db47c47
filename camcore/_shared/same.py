"""Keys of functions by what they compute, so that one written anew at each call is known again."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from hashlib import sha256
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, TypeAlias

import numpy as np

Other: TypeAlias = Callable[[Any], Hashable]

_PLAIN = (type(None), type(...), bool, int, float, complex, str, bytes)
_INSTALLED = ("site-packages", "dist-packages")


class HasStateError(Exception):
    """An object may change without becoming another."""


def refuse(value: Any) -> Hashable:
    """Give an object with state of its own no key."""
    raise HasStateError(type(value).__name__)


def identity_key(thing: Any) -> Hashable:
    """Make a key that keeps nothing alive and never equals that of a later object."""
    if isinstance(thing, MethodType):
        # A bound method may be made anew each time it is looked up.
        return identity_key(thing.__self__), identity_key(thing.__func__)
    try:
        # A method of the reference is told apart by identity, also where the object has no hash.
        return weakref.ref(thing).__call__
    except TypeError:
        return thing  # type: ignore[no-any-return]


def function_key(function: Any, other: Other = refuse) -> Hashable:
    """Make a key from a function's code, defaults, closure and the globals that it uses.

    Parameters
    ----------
    function : callable
        Functions with equal keys compute the same.
    other : callable
        Makes the key of an object that is neither a plain value, an array, a container, a
        function nor part of an installed package.

    Returns
    -------
    hashable or None
        None where `other` refuses an object: it may change unseen.
    """
    try:
        return _key(function, (), other)
    except HasStateError:
        return None


def _key(value: Any, within: tuple[Any, ...], other: Other) -> Hashable:
    """Make the key of a value that is part of the values `within`."""
    if any(value is outer for outer in within):
        return "itself", [value is outer for outer in within].index(True)

    def key(part: Any) -> Hashable:
        return _key(part, (*within, value), other)

    kind = type(value)
    if kind in _PLAIN:
        return kind, repr(value)  # tells 0.0 from -0.0 and nan from nan
    if hasattr(value, "numpy") and not hasattr(value, "assign"):
        return kind, key(value.numpy())  # a tensor, which is constant where it is no variable
    if isinstance(value, (np.ndarray, np.generic)) and not value.dtype.hasobject:
        return value.dtype.str, value.shape, sha256(value.tobytes()).digest()
    if kind in (tuple, list):
        return kind, tuple(map(key, value))
    if kind in (set, frozenset):
        return kind, frozenset(map(key, value))
    if kind is dict:
        return kind, tuple((key(name), key(part)) for name, part in value.items())
    if is_installed(value):
        return id(value), str(value)
    if isinstance(value, MethodType):
        return key(value.__func__), key(value.__self__)
    if isinstance(value, partial):
        return key(value.func), key(value.args), key(value.keywords)
    if isinstance(value, FunctionType):
        code, held = value.__code__, value.__globals__
        used = [held[name] for name in sorted(set(_names(code)) & held.keys())]
        used += [cell.cell_contents for cell in value.__closure__ or ()]
        parts = value.__defaults__, value.__kwdefaults__, vars(value)
        return code, *map(key, parts), *(key(_read(code, part)) for part in used)
    return other(value)


def _read(code: CodeType, value: Any) -> Any:
    """Find what code may read of a value: of a module of the user's own, what it names."""
    if not isinstance(value, ModuleType) or is_installed(value):
        return value
    return {name: vars(value)[name] for name in sorted(set(_names(code)) & vars(value).keys())}


def _names(code: CodeType) -> Iterator[str]:
    """Yield the names of globals and attributes in code, also in functions inside it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def is_installed(value: Any) -> bool:
    """Tell whether a module, class or function belongs to an installed package or to Python."""
    if isinstance(value, ModuleType):
        name: str = value.__name__
    elif isinstance(getattr(value, "__self__", None), (type(None), ModuleType)) and isinstance(
        value, (type, FunctionType, BuiltinFunctionType, np.ufunc)
    ):
        name = getattr(value, "__module__", None) or "builtins"
    else:
        return False
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    is_python = name.partition(".")[0] in sys.stdlib_module_names and name != "__main__"
    return is_python or any(part in file for part in _INSTALLED)
