"""Targets that libraries explain in place of the one asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from camcore.adapter import Array
from camcore.errors import MethodError
from camcore.targets import Class, Contrast, Probability, Scored, Target, softmax


class WeightedContrast(Contrast):
    """A class against its nearest ones, each weighted by its probability.

    Σ_d p_d (y_c − γ y_d) / (Σ_d p_d + 1e-9), differentiated in the probabilities as well.

    References
    ----------
    ``FinerWeightedTarget`` of pytorch-grad-cam.
    """

    linear = False

    def __call__(self, outputs: Array) -> Scored:
        """Score the batch; its cotangent is by the quotient rule."""
        classes = self.classes(outputs)
        rows = np.arange(len(outputs))[:, None]
        others = self._others(outputs, classes)
        p = softmax(outputs)
        near = np.zeros_like(outputs)
        near[rows, others] = 1
        gap = outputs[rows, classes[:, None]] - outputs.dtype.type(self.gamma) * outputs
        share = p * near
        weighted, total = (share * gap).sum(axis=1), share.sum(axis=1)
        # d(weighted) = p_j (gap_j − weighted) on the others, − p_j · weighted elsewhere, and
        # the gap's own slope; d(total) = p_j (1 − total) on the others, − p_j · total elsewhere.
        slope = share * gap - p * weighted[:, None] - outputs.dtype.type(self.gamma) * share
        slope[rows, classes[:, None]] += total[:, None]
        scores = weighted / (total + outputs.dtype.type(1e-9))
        growth = share - p * total[:, None]
        cotangent = (slope - scores[:, None] * growth) / (total + outputs.dtype.type(1e-9))[:, None]
        return Scored(scores, cotangent.astype(outputs.dtype), classes)


class NormalisedLog(Class):
    """The logarithm of a class's share of the outputs, which are taken for probabilities.

    log(y_c / Σ y), the share kept within [1e-7, 1 − 1e-7].

    References
    ----------
    ``tf.keras.losses.categorical_crossentropy``, which ``SmoothGrad`` of tf-explain
    differentiates; its sign is lost in the absolute value.
    """

    linear = False

    def __call__(self, outputs: Array) -> Scored:
        """Score log(y_c / Σ y), cotangent e_c / y_c − 1 / Σ y; 0 where the share is cut off."""
        classes = self.classes(outputs)
        rows = np.arange(len(outputs))
        total = outputs.sum(axis=1)
        share = outputs[rows, classes] / total
        kept = np.clip(share, 1e-7, 1 - 1e-7)
        cotangent = np.repeat((-1 / total)[:, None], outputs.shape[1], axis=1)
        cotangent[rows, classes] += 1 / outputs[rows, classes]
        cotangent[share != kept] = 0
        return Scored(np.log(kept), cotangent.astype(outputs.dtype), classes)


def weighted_contrast(target: Any) -> Any:
    """The class less its 3 nearest ones, each weighted by its probability (γ = 1).

    Raises
    ------
    MethodError
        The target is no class.
    """
    if isinstance(target, Contrast):
        return target
    found = _class(target)
    if found.rank:
        raise MethodError(
            f"The contrast is to the class asked for; got {target!r}. Name the class instead."
        )
    return WeightedContrast(found.index, gamma=1.0)


def probability(target: Any) -> Any:
    """The softmax, over classes, of what the model returns.

    Raises
    ------
    MethodError
        The target is no class.
    """
    if isinstance(target, Probability):
        return target
    found = _class(target)
    return Probability(found.index, rank=found.rank)


def cross_entropy(target: Any) -> Any:
    """The logarithm of the class's share of what the model returns.

    Raises
    ------
    MethodError
        The target is no class.
    """
    found = _class(target)
    return NormalisedLog(found.index, rank=found.rank)


def _class(target: Target) -> Class:
    if type(target) is Class:
        return target
    raise MethodError(
        f"The recipe explains a class in a way of its own; got {target!r}. Give a class, or "
        "use recipe='paper'."
    )
