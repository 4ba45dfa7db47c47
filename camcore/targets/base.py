"""What a target is, and sums of targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from numbers import Real
from typing import Any

import numpy as np

from camcore._shared.finite import finite, without_overflow
from camcore.adapter import Array, Channels
from camcore.errors import MethodError, TargetError
from camcore.targets.scale import Scale


@dataclass(frozen=True)
class Scored:
    """A target's answer for one batch of outputs.

    Parameters
    ----------
    scores : (B,) array
        The explained score of each sample.
    cotangent : array, shape of the outputs; or mapping of str to array
        Derivative of each sample's score with respect to its outputs; by path where the
        target reads every output, those left out counting as zero.
    classes : (B,) int array or None
        The explained class of each sample, where the target is about one class.
    """

    scores: Array
    cotangent: Any
    classes: Array | None = None


class Target(ABC):
    """A differentiable score of a model's outputs.

    Targets add, subtract, negate and scale: ``Class(281) - 0.5 * Class(282)``.
    """

    linear: bool = False
    """Whether the score is linear in the outputs once its choices are made."""

    every_output: bool = False
    """Whether the target reads all of the model's outputs, by path, and not one of them."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Let every target refuse outputs that are not finite, and scores that overflow."""
        super().__init_subclass__(**options)
        if "__call__" in vars(cls):
            setattr(cls, "__call__", _checked(vars(cls)["__call__"]))  # noqa: B010

    @abstractmethod
    def __call__(self, outputs: Any) -> Scored:
        """Score a batch.

        Parameters
        ----------
        outputs : (B, ...) array, or mapping of str to array
            The explained output, ``(B, K)`` of class scores; logits where the model's
            final activation could be left off. All outputs by path for a target that reads
            `every_output`.

        Returns
        -------
        Scored

        Raises
        ------
        TargetError
            The target does not fit these outputs, they are not finite, or the score overflows.
        """

    def cotangent_along(self, outputs: Array, direction: Array) -> Array:
        """Differentiate the cotangent along a direction: the score's Hessian, times it.

        Parameters
        ----------
        outputs, direction : (B, ...) array
            The explained output, and a change of it.

        Returns
        -------
        (B, ...) array
            Zeros where the score is linear in the outputs.

        Raises
        ------
        MethodError
            The target's second derivative is not known.
        """
        if self.linear:
            return np.zeros_like(direction)
        raise MethodError(
            "ShapleyCAM needs a target that is linear in the outputs, such as a class or a "
            "contrast, the probability or log-probability of a class, or a sum of these; got "
            f"{self!r}."
        )

    def settled(self, outputs: Any, sample: int | None = None) -> Target:
        """Settle the target's choices, such as the predicted class, by these outputs.

        Parameters
        ----------
        outputs : (B, ...) array, or mapping of str to array
            Outputs of the unaltered batch.
        sample : int or None
            With a sample, the target is for any number of alterations of it;
            without, for batches like this one.

        Returns
        -------
        Target
            For altered inputs.
        """
        return self

    def laid_out(self, channels: Channels) -> Target:
        """Fit the target to a framework that has channels first or last, where it matters.

        Parameters
        ----------
        channels : {"first", "last"}
            The framework's convention; the target's own setting comes first.

        Returns
        -------
        Target
        """
        return self

    def on_scale(self, scale: Scale) -> Target:
        """Fit the target to what the numbers of its output are, where it matters.

        Parameters
        ----------
        scale : Scale
            Of the explained output; one that the target has comes first.

        Returns
        -------
        Target
        """
        return self

    def of_classes(self, count: int) -> Target:
        """Fit the target to the number of classes that the model's head says, where it matters.

        Parameters
        ----------
        count : int
            How many; what the target says itself comes first.

        Returns
        -------
        Target
        """
        return self

    def __add__(self, other: Target) -> Target:
        if not isinstance(other, Target):
            return NotImplemented
        return Combination((1.0, self), (1.0, other))

    def __sub__(self, other: Target) -> Target:
        if not isinstance(other, Target):
            return NotImplemented
        return Combination((1.0, self), (-1.0, other))

    def __mul__(self, factor: float) -> Target:
        if not isinstance(factor, Real):
            return NotImplemented
        return Combination((float(factor), self))

    __rmul__ = __mul__

    def __neg__(self) -> Target:
        return Combination((-1.0, self))


def _checked(call: Callable[[Any, Any], Scored]) -> Callable[[Any, Any], Scored]:
    @wraps(call)
    def checked(self: Any, outputs: Any) -> Scored:
        if not isinstance(outputs, Mapping) and not np.size(outputs):
            raise TargetError(f"Outputs of shape {np.shape(outputs)} have nothing to score.")
        for path, leaf in _leaves(outputs):
            finite(leaf, f"Values of the output {path!r}" if path else "Outputs", TargetError)
        scored = call(self, outputs)
        for _, values in (("", np.asarray(scored.scores)), *_leaves(scored.cotangent)):
            without_overflow(values, f"{self!r}", TargetError)
        return scored

    return checked


def _leaves(values: Any) -> list[tuple[str, Array]]:
    """List an array, or a mapping of arrays, by path."""
    leaves = values if isinstance(values, Mapping) else {"": values}
    return [(path, np.asarray(leaf)) for path, leaf in leaves.items()]


class Nothing(Target):
    """No score at all, for methods that look at activations alone; outputs may be anything."""

    every_output = True

    def __repr__(self) -> str:
        return "Nothing()"

    def __call__(self, outputs: Any) -> Scored:
        """Score 0, with no cotangent."""
        first = next(iter(outputs.values()))
        return Scored(np.zeros(len(first), first.dtype), {})


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
        self.linear = all(target.linear for _, target in self.terms)
        self.every_output = self.terms[0][1].every_output
        if any(target.every_output != self.every_output for _, target in self.terms):
            raise TargetError(
                f"{self!r} adds targets of one output to targets of all outputs; explain them "
                "apart: camcore.targets.Each(...)."
            )

    def __repr__(self) -> str:
        return " + ".join(f"{factor:g}*{target!r}" for factor, target in self.terms)

    def __call__(self, outputs: Any) -> Scored:
        """Add up the scores and cotangents of the terms, weighted."""
        scored = [target(outputs) for _, target in self.terms]
        factors = [factor for factor, _ in self.terms]
        return Scored(
            _weighted(factors, [s.scores for s in scored]),
            _weighted(factors, [s.cotangent for s in scored]),
            scored[0].classes if len(scored) == 1 else None,
        )

    def cotangent_along(self, outputs: Array, direction: Array) -> Array:
        """Add up the Hessian products of the terms, weighted."""
        products = [target.cotangent_along(outputs, direction) for _, target in self.terms]
        summed: Array = _weighted([factor for factor, _ in self.terms], products)
        return summed

    def settled(self, outputs: Any, sample: int | None = None) -> Target:
        """Settle every term."""
        return Combination(*((f, target.settled(outputs, sample)) for f, target in self.terms))

    def laid_out(self, channels: Channels) -> Target:
        """Fit every term to where the framework has channels."""
        return Combination(*((f, target.laid_out(channels)) for f, target in self.terms))

    def on_scale(self, scale: Scale) -> Target:
        """Fit every term to what the numbers of the output are."""
        return Combination(*((f, target.on_scale(scale)) for f, target in self.terms))

    def of_classes(self, count: int) -> Target:
        """Fit every term to the number of classes."""
        return Combination(*((f, target.of_classes(count)) for f, target in self.terms))


def _weighted(factors: list[float], parts: list[Any]) -> Any:
    """Add up arrays, weighted, or mappings of arrays path by path."""
    if isinstance(parts[0], Mapping):
        return {
            path: _weighted(
                [factor for factor, part in zip(factors, parts, strict=True) if path in part],
                [part[path] for part in parts if path in part],
            )
            for path in dict.fromkeys(path for part in parts for path in part)
        }
    return np.sum([p.dtype.type(f) * p for f, p in zip(factors, parts, strict=True)], axis=0)
