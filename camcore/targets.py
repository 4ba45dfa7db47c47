"""What is explained: a score per sample and its cotangent in the model's outputs.

A target is a seed, not framework code. Given the outputs it returns the score
and the derivative of that score with respect to the outputs; an adapter only
pulls that derivative back. So each target is written once, in NumPy, and works
in every framework.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias

import numpy as np

from camcore.errors import TargetError
from camcore.trace import Array, NativeScore


@dataclass(frozen=True)
class Scored:
    """A target's answer for one batch of outputs.

    Parameters
    ----------
    scores : (B,) array
        The explained score of each sample.
    cotangent : array, shape of the outputs
        Derivative of each sample's score with respect to its outputs.
    classes : (B,) int array or None
        The explained class of each sample, where the target is about one class.
    """

    scores: Array
    cotangent: Array
    classes: Array | None = None


class Target(ABC):
    """A differentiable score of a model's outputs.

    Targets add, subtract, negate and scale: ``Class(281) - 0.5 * Class(282)``.
    """

    linear: bool = False
    """Whether the score is linear in the outputs once its choices are made."""

    @abstractmethod
    def __call__(self, outputs: Array) -> Scored:
        """Score a batch.

        Parameters
        ----------
        outputs : (B, K) array
            The model's outputs; logits where the model's final activation could
            be left off.

        Returns
        -------
        Scored

        Raises
        ------
        TargetError
            The target does not fit these outputs.
        """

    def settled(self, outputs: Array, sample: int | None = None) -> Target:
        """The target with its choices made from these outputs, for altered inputs.

        Parameters
        ----------
        outputs : (B, K) array
            Outputs of the unaltered batch.
        sample : int or None
            With a sample, the target is for any number of alterations of it;
            without, for batches like this one.

        Returns
        -------
        Target
        """
        return self

    def __add__(self, other: Target) -> Target:
        return Combination((1.0, self), (1.0, other)) if _is_target(other) else NotImplemented

    def __sub__(self, other: Target) -> Target:
        return Combination((1.0, self), (-1.0, other)) if _is_target(other) else NotImplemented

    def __mul__(self, factor: float) -> Target:
        return Combination((float(factor), self)) if isinstance(factor, Real) else NotImplemented

    __rmul__ = __mul__

    def __neg__(self) -> Target:
        return Combination((-1.0, self))


def _is_target(value: object) -> bool:
    return isinstance(value, Target)


class _OfClass(Target):
    """A target about one class: a given one, one per sample, or the predicted one."""

    def __init__(self, index: int | Sequence[int] | Array | None = None, *, rank: int = 0) -> None:
        self.index = None if index is None else _integers(index)
        self.rank = rank
        if index is not None and (self.index is None or self.index.ndim > 1):
            raise TargetError(
                f"A class is an integer, or one integer per sample; got {index!r}. "
                "For soft weights over classes use camcore.targets.Linear."
            )
        if rank < 0 or (rank and index is not None):
            raise TargetError(
                f"A rank counts from 0 and takes the place of a class; got {index!r}, rank={rank}."
            )

    def __repr__(self) -> str:
        if self.index is not None:
            return f"{type(self).__name__}({self.index.tolist()})"
        return f"{type(self).__name__}({f'rank={self.rank}' if self.rank else ''})"

    def classes(self, outputs: Array) -> Array:
        """Class of each sample, shape ``(B,)``, checked against the outputs."""
        batch, count = _batch_of_scores(outputs).shape
        if self.index is None:
            if self.rank >= count:
                raise TargetError(
                    f"The target asks for the class at rank {self.rank}, "
                    f"but the model scores {count} classes."
                )
            order: Array = np.argsort(-outputs, axis=1, kind="stable")[:, self.rank]
            return order
        if self.index.ndim == 1 and len(self.index) != batch:
            raise TargetError(
                f"The target names {len(self.index)} classes for a batch of {batch} samples; "
                "give one class, or one for each sample."
            )
        classes = np.broadcast_to(self.index, (batch,))
        if np.any((classes < 0) | (classes >= count)):
            wrong = classes[(classes < 0) | (classes >= count)][0]
            raise TargetError(
                f"Class {wrong} is out of range: the model scores {count} classes, "
                f"0 to {count - 1}."
            )
        return classes

    def settled(self, outputs: Array, sample: int | None = None) -> Target:
        """The target of the classes that these outputs choose."""
        fixed = copy.copy(self)
        classes = self.classes(outputs)
        fixed.index = classes if sample is None else classes[sample]
        return fixed


class Class(_OfClass):
    """The score of a class, as the model gives it (the logit where it can be had).

    Parameters
    ----------
    index : int, sequence of int, or None
        The class, one for each sample, or None for the predicted class.
    rank : int
        With ``index=None``, explain the class of this rank (0 is the predicted
        class, 1 the runner-up).
    """

    linear = True

    def __call__(self, outputs: Array) -> Scored:
        """Score y_c, cotangent e_c."""
        outputs = _batch_of_scores(outputs)
        classes = self.classes(outputs)
        rows = np.arange(len(outputs))
        return Scored(outputs[rows, classes], _one_hot(outputs, classes), classes)


class Counterfactual(Class):
    """What speaks against a class: the negated score, cotangent −e_c (Selvaraju 2017, sec. 3.2)."""

    def __call__(self, outputs: Array) -> Scored:
        """Score −y_c, cotangent −e_c."""
        scored = super().__call__(outputs)
        return Scored(-scored.scores, -scored.cotangent, scored.classes)


class Probability(_OfClass):
    """The softmax probability p_c of a class, from logits."""

    def __call__(self, outputs: Array) -> Scored:
        """Score p_c, cotangent p_c (e_c − p)."""
        outputs = _batch_of_scores(outputs)
        classes = self.classes(outputs)
        p = softmax(outputs)
        chosen = p[np.arange(len(p)), classes]
        return Scored(chosen, chosen[:, None] * (_one_hot(p, classes) - p), classes)


class LogProbability(_OfClass):
    """The log of the softmax probability of a class, from logits; never saturates."""

    def __call__(self, outputs: Array) -> Scored:
        """Score log p_c, cotangent e_c − p."""
        outputs = _batch_of_scores(outputs)
        classes = self.classes(outputs)
        shifted = outputs - outputs.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        rows = np.arange(len(outputs))
        return Scored(log_p[rows, classes], _one_hot(outputs, classes) - np.exp(log_p), classes)


class Contrast(_OfClass):
    """A class against the classes most like it: y_c − γ · mean(y_d).

    Parameters
    ----------
    index : int, sequence of int, or None
        The class, one for each sample, or None for the predicted class.
    against : int, sequence of int, or None
        The classes to tell it from; None for the `nearest` ones by logit.
    gamma : float
        How strongly to subtract them.
    nearest : int
        How many classes to take where `against` is None.

    References
    ----------
    Zhang et al., "Finer-CAM: Spotting the Difference Reveals Finer Details for
    Visual Explanation", CVPR 2025.
    """

    linear = True

    def __init__(
        self,
        index: int | Sequence[int] | Array | None = None,
        *,
        against: int | Sequence[int] | Array | None = None,
        gamma: float = 0.6,
        nearest: int = 3,
    ) -> None:
        super().__init__(index)
        self.against = None if against is None else _integers(np.atleast_1d(against))
        self.gamma = gamma
        self.nearest = nearest
        if (against is not None and self.against is None) or nearest < 1:
            raise TargetError(
                f"Contrast needs at least one class, an integer, to tell the class from; "
                f"got against={against!r}, nearest={nearest}."
            )

    def __call__(self, outputs: Array) -> Scored:
        """Score y_c − γ mean(y_d), cotangent e_c − γ mean(e_d)."""
        outputs = _batch_of_scores(outputs)
        classes = self.classes(outputs)
        rows = np.arange(len(outputs))
        others = self._others(outputs, classes)
        cotangent = _one_hot(outputs, classes)
        for column in others.T:
            cotangent[rows, column] -= outputs.dtype.type(self.gamma / others.shape[1])
        return Scored((cotangent * outputs).sum(axis=1), cotangent, classes)

    def settled(self, outputs: Array, sample: int | None = None) -> Target:
        """The target of the classes, on both sides, that these outputs choose."""
        fixed = super().settled(outputs, sample)
        assert isinstance(fixed, Contrast)
        others = self._others(outputs, self.classes(outputs))
        fixed.against = others if sample is None else others[sample]
        return fixed

    def _others(self, outputs: Array, classes: Array) -> Array:
        batch, count = outputs.shape
        if self.against is not None:
            if np.any((self.against < 0) | (self.against >= count)):
                raise TargetError(
                    f"Contrast against {self.against.tolist()}, but the model scores "
                    f"{count} classes, 0 to {count - 1}."
                )
            return np.broadcast_to(self.against, (batch, self.against.shape[-1]))
        if self.nearest >= count:
            raise TargetError(
                f"Contrast against the {self.nearest} nearest classes needs more than "
                f"{self.nearest} classes; the model scores {count}. Give fewer: nearest=..."
            )
        distance = np.abs(outputs - outputs[np.arange(batch), classes][:, None])
        distance[np.arange(batch), classes] = np.inf
        nearest: Array = np.argsort(distance, axis=1, kind="stable")[:, : self.nearest]
        return nearest


class Linear(Target):
    """Any linear functional of the outputs: Σ weights · outputs.

    Parameters
    ----------
    weights : array, shape of one sample's outputs or of the batch's
        The functional; it is the cotangent.
    """

    linear = True

    def __init__(self, weights: Any) -> None:
        self.weights = np.asarray(weights)
        if self.weights.dtype.kind not in "biuf" or not np.all(np.isfinite(self.weights)):
            raise TargetError(
                f"Linear weights are finite real numbers; got dtype {self.weights.dtype}"
                + (", with NaN or infinity." if self.weights.dtype.kind == "f" else ".")
            )

    def __repr__(self) -> str:
        return f"Linear(shape={self.weights.shape})"

    def __call__(self, outputs: Array) -> Scored:
        """Score Σ weights · outputs, cotangent weights."""
        if self.weights.shape not in (outputs.shape, outputs.shape[1:]):
            raise TargetError(
                f"Linear weights have shape {self.weights.shape}; the outputs are "
                f"{outputs.shape}, so {outputs.shape[1:]} or {outputs.shape} is expected."
            )
        cotangent = np.array(np.broadcast_to(self.weights, outputs.shape), dtype=outputs.dtype)
        scores = (cotangent * outputs).reshape(len(outputs), -1).sum(axis=1)
        return Scored(scores, cotangent)

    def settled(self, outputs: Array, sample: int | None = None) -> Target:
        """The functional of one sample, where each has its own."""
        own = sample is not None and self.weights.shape == outputs.shape
        return Linear(self.weights[sample]) if own else self


class Combination(Target):
    """A weighted sum of targets; what ``+``, ``-`` and ``*`` on targets make.

    Parameters
    ----------
    *terms : (float, Target)
        Coefficients and targets.
    """

    def __init__(self, *terms: tuple[float, Target]) -> None:
        if not terms:
            raise TargetError("Combination() has no terms; give at least one.")
        # A sum of sums is one sum.
        self.terms: tuple[tuple[float, Target], ...] = tuple(
            (factor * inner, one)
            for factor, target in terms
            for inner, one in (target.terms if isinstance(target, Combination) else [(1.0, target)])
        )

    def __repr__(self) -> str:
        return " + ".join(f"{factor:g}*{target!r}" for factor, target in self.terms)

    def __call__(self, outputs: Array) -> Scored:
        """Score and cotangent are the weighted sums of the terms'."""
        scored = [target(outputs) for _, target in self.terms]
        factors = [outputs.dtype.type(factor) for factor, _ in self.terms]
        return Scored(
            np.sum([f * s.scores for f, s in zip(factors, scored, strict=True)], axis=0),
            np.sum([f * s.cotangent for f, s in zip(factors, scored, strict=True)], axis=0),
            scored[0].classes if len(scored) == 1 else None,
        )

    def settled(self, outputs: Array, sample: int | None = None) -> Target:
        """The sum of the settled terms."""
        return Combination(*((f, target.settled(outputs, sample)) for f, target in self.terms))


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


def softmax(logits: Array) -> Array:
    """Softmax over the last axis, without overflow.

    Parameters
    ----------
    logits : (..., K) array
        Finite, of any size.

    Returns
    -------
    (..., K) array
        In [0, 1], summing to one.
    """
    exp = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: Array = exp / exp.sum(axis=-1, keepdims=True)
    return result


def _integers(value: Any) -> Array | None:
    """The value as a non-empty array of integers, or None where it is none."""
    try:
        array = np.asarray(value)
    except ValueError:  # ragged
        return None
    return array if array.size and np.issubdtype(array.dtype, np.integer) else None


def _batch_of_scores(outputs: Array) -> Array:
    if outputs.ndim == 2:
        return outputs
    raise TargetError(
        f"A class target needs outputs of shape (batch, classes); the model's are "
        f"{outputs.shape}. Use camcore.targets.Linear or a callable for other outputs."
    )


def _one_hot(outputs: Array, classes: Array) -> Array:
    hot = np.zeros_like(outputs)
    hot[np.arange(len(outputs)), classes] = 1
    return hot
