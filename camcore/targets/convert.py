"""Conversion of what a user gives as ``target=``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from camcore.adapter import Array, NativeScore
from camcore.errors import TargetError
from camcore.targets.base import Target
from camcore.targets.classes import Class, LogProbability, Probability
from camcore.targets.dense import Segmentation
from camcore.targets.names import class_index


class Each:
    """Several targets of the same images, explained from one pass, one result each.

    Parameters
    ----------
    *targets : Target, int, sequence of int, str, or callable
        Whatever ``target=`` takes.
    """

    def __init__(self, *targets: TargetLike) -> None:
        if not targets:
            raise TargetError("Each() names no target; give at least one.")
        self.targets = tuple(one if is_named(one) else as_target(one) for one in targets)


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
    if not isinstance(count, (int, np.integer)):
        raise TargetError(f"top({count!r}): expected how many classes, a whole number.")
    return Each(*(Class(rank=rank) for rank in range(count)))


Names: TypeAlias = str | Sequence[str]
TargetLike: TypeAlias = (
    Target | NativeScore | Callable[[Any], Any] | int | Sequence[int] | Names | Array | None
)


def is_named(target: object) -> bool:
    """Tell whether a target is a class by name, or a name for each sample."""
    if isinstance(target, (list, tuple)):
        return bool(target) and all(isinstance(one, str) for one in target)
    return isinstance(target, str)


def as_target(target: TargetLike, names: Sequence[str] | None = None) -> Target | NativeScore:
    """Read what a user gives as ``target=``.

    Parameters
    ----------
    target : None, int, str, sequence of int or str, Target, or callable
        None is the predicted class, an int a class or a str its name, a sequence one class for
        each sample, and a plain callable takes the framework's own outputs and
        returns one score per sample. Class targets of pytorch-grad-cam are read, too, and a list
        of them as one for each sample.
    names : sequence of str, optional
        Names of the model's classes.

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
    if isinstance(target, str):
        return Class(class_index(names, target))
    if is_named(target):
        named: Any = target
        return Class([class_index(names, one) for one in named])
    if (foreign := _of_peer(target)) is not None:
        return foreign
    if isinstance(target, (bool, type, Each)):
        raise TargetError(
            f"A target is a class index or name, one for each sample, a Target or a callable; "
            f"got {target!r}."
        )
    if callable(target):
        _check_takes_outputs(target)
        return NativeScore(target)
    indices: Any = target
    return Class(indices)


def _check_takes_outputs(function: Callable[..., Any]) -> None:
    """Refuse a function that cannot be called with the model's outputs alone."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # some that are written in C say nothing of themselves
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise TargetError(
            f"The target's function takes {signature}, and is called with the model's outputs "
            "alone. Give one of one argument that returns one score per sample, (B,)."
        ) from error


def _of_peer(target: Any) -> Target | None:
    """Read the targets of pytorch-grad-cam, whose wrappers would run a model one by one.

    Raises
    ------
    TargetError
        It is one that has no counterpart by name; or there are several kinds of them.
    """
    ones = list(target) if isinstance(target, (list, tuple)) else [target]
    if not ones or not all(type(one).__module__.startswith("pytorch_grad_cam.") for one in ones):
        return None
    kinds = {type(one).__name__ for one in ones}
    kind = next(iter(kinds))
    if len(kinds) == 1 and kind in _OF_CATEGORY:
        return _OF_CATEGORY[kind]([int(one.category) for one in ones])
    if kinds == {"SemanticSegmentationTarget"} and len(ones) == 1:
        mask = ones[0].mask
        return Segmentation(int(ones[0].category), np.asarray(getattr(mask, "cpu", lambda: mask)()))
    raise TargetError(
        f"target= holds {', '.join(sorted(kinds))} of pytorch-grad-cam. Say it in camcore's words: "
        "a class index, one for each sample, or one of camcore.targets: Probability, "
        "Segmentation(class, mask), Similarity(embedding), Box(of_class=..., overlapping=...), or "
        "a function of the model's outputs."
    )


_OF_CATEGORY: Mapping[str, Callable[[list[int]], Target]] = {
    "ClassifierOutputReST": lambda classes: Class(classes) + LogProbability(classes),
    "ClassifierOutputTarget": Class,
    "ClassifierOutputSoftmaxTarget": Probability,
}
"""What the targets of pytorch-grad-cam that have a category are here."""
