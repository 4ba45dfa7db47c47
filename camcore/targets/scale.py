"""The scale of class scores: logits of a softmax or sigmoid, what is behind it, or unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from camcore._shared.finite import finite
from camcore.adapter import Array
from camcore.errors import InputError

ACTIVATIONS: Final = ("softmax", "log_softmax", "sigmoid")
"""Activations that make probabilities of scores, or their logarithms."""


@dataclass(frozen=True)
class Scale:
    """What the numbers of an output are.

    Parameters
    ----------
    activation : {"softmax", "log_softmax", "sigmoid", "none"} or None
        What makes probabilities of the scores; ``"none"`` where nothing does, None where that
        is not known.
    applied : bool
        Whether the numbers have been through it.
    """

    activation: str | None = None
    applied: bool = False

    def is_two_sided(self, count: int) -> bool:
        """Tell whether `count` numbers a sample are one sigmoid unit, which tells two classes."""
        return count == 1 and self.activation == "sigmoid"

    def sides(self, values: Array) -> Array:
        """Score both classes of one sigmoid unit; other values are returned as they are.

        Parameters
        ----------
        values : (B, K, ...) array
            The output, classes on axis 1.

        Returns
        -------
        (B, 2, ...) or (B, K, ...) array
            −z and z of a logit, 1 − p and p of a probability.
        """
        if not self.is_two_sided(values.shape[1]):
            return values
        return np.concatenate([1 - values if self.applied else -values, values], axis=1)

    def sides_along(self, direction: Array) -> Array:
        """Differentiate `sides` along a direction in the output."""
        if not self.is_two_sided(direction.shape[1]):
            return direction
        return np.concatenate([-direction, direction], axis=1)

    def of_output(self, cotangent: Array, count: int) -> Array:
        """Turn the derivative by `sides` into the one by the output, of `count` numbers."""
        if not self.is_two_sided(count):
            return cotangent
        difference: Array = cotangent[:, 1:] - cotangent[:, :1]
        return difference

    def probabilities(self, values: Array) -> Array | None:
        """Compute the probability of each class; None where the scale has none.

        Parameters
        ----------
        values : (B, K) array
            The output.

        Returns
        -------
        (B, K) array or None
            ``(B, 2)`` of one sigmoid unit.
        """
        if self.activation not in ACTIVATIONS:
            return None
        scores = self.sides(values)
        if self.of_probabilities:
            return scores
        return sigmoid(scores) if self.activation == "sigmoid" else softmax(scores)

    @property
    def of_probabilities(self) -> bool:
        """Whether the numbers are probabilities as they are."""
        return self.applied and self.activation in ("softmax", "sigmoid")


UNKNOWN: Final = Scale()
"""Scores of which nothing is known."""

DISTRIBUTION: Final = Scale("softmax", applied=True)
"""Probabilities of classes that exclude one another."""


def is_distribution(values: Array) -> bool:
    """Tell whether ``(B, K)`` values are, of each sample, in [0, 1] and sum to one."""
    if values.ndim != 2 or values.shape[1] < 2 or values.dtype.kind != "f" or not values.size:
        return False
    if values.min() < 0 or values.max() > 1:
        return False
    return np.allclose(values.sum(axis=1), 1, atol=1e-3)


def softmax(logits: Array) -> Array:
    """Compute the softmax over the last axis, without overflow.

    Parameters
    ----------
    logits : (..., K) array
        Finite, of any size.

    Returns
    -------
    (..., K) array
        In [0, 1], summing to one.

    Raises
    ------
    InputError
        There are none, or they are not finite.
    """
    logits = finite(np.asarray(logits), "Logits")
    if not logits.size or not logits.ndim:
        raise InputError(f"Logits of shape {logits.shape} have no softmax; pass (..., classes).")
    if logits.dtype.kind != "f":
        logits = logits.astype(np.float64)
    exp = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: Array = exp / exp.sum(axis=-1, keepdims=True)
    return result


def log_sigmoid(logits: Array) -> Array:
    """Compute the logarithm of the sigmoid, −log(1 + e^−z), without overflow."""
    result: Array = -np.logaddexp(logits.dtype.type(0), -logits)
    return result


def sigmoid(logits: Array) -> Array:
    """Compute the sigmoid, 1 / (1 + e^−z), without overflow."""
    result: Array = np.exp(log_sigmoid(logits))
    return result
