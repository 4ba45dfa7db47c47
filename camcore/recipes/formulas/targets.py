"""Classes as several libraries explain them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from camcore.adapter import Array
from camcore.errors import MethodError
from camcore.methods.table import described
from camcore.targets import Class, Contrast, Probability, Scored, Target, softmax
from camcore.targets.scale import UNKNOWN


class SoftmaxOfOutputs(Probability):
    """The softmax, over classes, of what the model returns, also of probabilities.

    Of one sigmoid unit it is the probability of the side.
    """

    def __call__(self, outputs: Array) -> Scored:
        """Score the softmax, as `Probability` does of outputs of which nothing is known."""
        if self.scale is not None and self.scale.is_two_sided(outputs.shape[1]):
            return super().__call__(outputs)
        literal = copy.copy(self)
        literal.scale = UNKNOWN
        return super(SoftmaxOfOutputs, literal).__call__(outputs)


@described("The softmax, over classes, of what the model returns")
def probability(target: Any) -> Any:
    """Explain a class by the softmax over classes of what the model returns.

    Raises
    ------
    MethodError
        The target is no class.
    """
    found = target if isinstance(target, Probability) else class_of(target)
    return SoftmaxOfOutputs(found.index, rank=found.rank)


def class_of(target: Target) -> Class:
    """Return the target, which must be a class.

    Raises
    ------
    MethodError
        It is none.
    """
    if type(target) is Class:
        return target
    raise MethodError(
        f"The recipe explains a class in a way of its own; got {target!r}. Give a class, or "
        "use recipe='paper'."
    )


class WeightedContrast(Contrast):
    """A class against its nearest ones, each weighted by its probability.

    Σ_d p_d (y_c − γ y_d) / (Σ_d p_d + 1e-9), differentiated in the probabilities as well.

    References
    ----------
    ``FinerWeightedTarget`` of the authors, github.com/Imageomics/Finer-CAM, and of
    pytorch-grad-cam.
    """

    linear = False

    def __call__(self, outputs: Array) -> Scored:
        """Score the batch; the cotangent is by the quotient rule."""
        scores = self.class_scores(outputs)
        classes = self.classes(outputs)
        rows = np.arange(len(outputs))[:, None]
        others = self._others(scores, classes)
        p = softmax(scores)
        near = np.zeros_like(scores)
        near[rows, others] = 1
        gap = scores[rows, classes[:, None]] - scores.dtype.type(self.gamma) * scores
        share = p * near
        weighted, total = (share * gap).sum(axis=1), share.sum(axis=1)
        # d(weighted) = p_j (gap_j − weighted) on the others, − p_j · weighted elsewhere, and
        # the gap's own slope; d(total) = p_j (1 − total) on the others, − p_j · total elsewhere.
        slope = share * gap - p * weighted[:, None] - scores.dtype.type(self.gamma) * share
        slope[rows, classes[:, None]] += total[:, None]
        divisor = total + scores.dtype.type(1e-9)
        score = weighted / divisor
        growth = share - p * total[:, None]
        cotangent = (slope - score[:, None] * growth) / divisor[:, None]
        return Scored(score, self._of_output(cotangent, outputs).astype(outputs.dtype), classes)


@described("The class less its 3 nearest ones, each weighted by its probability (γ = 1)")
def weighted_contrast(target: Any) -> Any:
    """Set a class against its 3 nearest ones, each weighted by its probability (γ = 1).

    Raises
    ------
    MethodError
        The target is no class.
    """
    if isinstance(target, Contrast):
        return target
    found = class_of(target)
    if found.rank:
        raise MethodError(
            f"The contrast is to a given class or the predicted one; got {target!r}. Give the "
            "class by its index, such as target=3."
        )
    return WeightedContrast(found.index, gamma=1.0)
