"""Conversion of what a user gives as ``target=``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from camcore.adapter import Array, NativeScore
from camcore.errors import TargetError
from camcore.targets.base import Target
from camcore.targets.classes import Class


class Each:
    """Several targets of the same images, explained from one pass, one result each.

    Parameters
    ----------
    *targets : Target, int, sequence of int, or callable
        Whatever ``target=`` takes.
    """

    def __init__(self, *targets: TargetLike) -> None:
        if not targets:
            raise TargetError("Each() names no target; give at least one.")
        self.targets = tuple(as_target(target) for target in targets)


def top(count: int) -> Each:
    """Target each sample's `count` highest classes, best first.

    Parameters
    ----------
    count : int
        How many, at least one.

    Returns
    -------
    Each
        One result for each rank.
    """
    return Each(*(Class(rank=rank) for rank in range(count)))


TargetLike: TypeAlias = (
    "Target | NativeScore | Callable[[Any], Any] | int | Sequence[int] | Array | None"
)


def as_target(target: TargetLike) -> Target | NativeScore:
    """Read what a user gives as ``target=``.

    Parameters
    ----------
    target : None, int, sequence of int, Target, or callable
        None is the predicted class, an int a class, a sequence one class for
        each sample, and a plain callable takes the framework's own outputs and
        returns one score per sample.

    Returns
    -------
    Target or NativeScore

    Raises
    ------
    TargetError
        It is none of these.
    """
    if isinstance(target, (Target, NativeScore)):
        return target
    if isinstance(target, (bool, str, type, Each)):
        raise TargetError(
            f"A target is a class index, one for each sample, a Target or a callable; "
            f"got {target!r}."
        )
    if callable(target):
        return NativeScore(target)
    return Class(target)
