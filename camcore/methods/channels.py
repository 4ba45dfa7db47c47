"""Keep what a map at the model's input is joined from: the attribution of each channel.

A method marked by `joins_channels` passes what it joins through `kept` just before. Its map is
what it was; what it joined is there for whoever made the map within `keeping`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from camcore.adapter import Array

Function = TypeVar("Function", bound=Callable[..., Any])

_kept: ContextVar[list[Array] | None] = ContextVar("_kept", default=None)
_joining: list[Callable[..., Any]] = []


def joins_channels(function: Function) -> Function:
    """Mark a method whose map is nothing but the join of what it passes through `kept`."""
    _joining.append(function)
    return function


def is_joined(function: Callable[..., Any]) -> bool:
    """Tell whether a method's function is marked by `joins_channels`."""
    return inspect.unwrap(function) in _joining


def kept(attributions: Array) -> Array:
    """Keep attributions ``(B, C, *S)`` that are about to be joined, and pass them on."""
    keeping_now = _kept.get()
    if keeping_now is not None:
        keeping_now.append(attributions)
    return attributions


@contextmanager
def keeping() -> Iterator[list[Array]]:
    """Collect what methods pass through `kept`, while the context lasts."""
    found: list[Array] = []
    token = _kept.set(found)
    try:
        yield found
    finally:
        _kept.reset(token)
