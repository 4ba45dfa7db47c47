"""What a target is, and sums of targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Real

import numpy as np

from camcore.errors import TargetError
from camcore.trace import Array, Channels


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
        outputs : (B, ...) array
            The model's outputs, ``(B, K)`` of class scores; logits where the model's
            final activation could be left off.

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
        outputs : (B, ...) array
            Outputs of the unaltered batch.
        sample : int or None
            With a sample, the target is for any number of alterations of it;
            without, for batches like this one.

        Returns
        -------
        Target
        """
        return self

    def laid_out(self, channels: Channels) -> Target:
        """The target for outputs of a framework that puts channels there, where it matters.

        Parameters
        ----------
        channels : {"first", "last"}
            The framework's custom; what the target says itself comes first.

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

    def laid_out(self, channels: Channels) -> Target:
        """The sum of the terms, each laid out."""
        return Combination(*((f, target.laid_out(channels)) for f, target in self.terms))
