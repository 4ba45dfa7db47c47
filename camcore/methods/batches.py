"""Alterations are scored a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeAlias, TypeVar

from camcore.errors import MethodError
from camcore.trace import Array

T = TypeVar("T")

ScoreImages: TypeAlias = Callable[[int, Array], Array]
"""Of a sample, N alterations of its input ``(N, C, *S)``, the scores ``(N,)``."""

Resume: TypeAlias = Callable[[int], AbstractContextManager[Callable[[Array], Array]]]
"""Of a sample, a context that scores N alterations of its activations ``(N, C, *S)``."""


def batches(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """The items, `size` at a time."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def at_least_one(**options: int) -> None:
    """Refuse options below 1.

    Raises
    ------
    MethodError
        Names the option.
    """
    for name, value in options.items():
        if value < 1:
            raise MethodError(f"{name}={value}; it must be at least 1.")
