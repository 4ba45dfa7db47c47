"""Targets about classes: a class's score, its probability, its contrast to other classes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from camcore.adapter import Array
from camcore.errors import TargetError
from camcore.targets.base import Scored, Target
from camcore.targets.scale import UNKNOWN, Scale, log_sigmoid, sigmoid, softmax


class OfClass(Target):
    """A target about one class: a given one, one per sample, or the predicted one.

    One sigmoid unit scores two classes: 0 by the logit −z and probability 1 − p, 1 by z and p.
    """

    scale: Scale | None = None

    def __init__(self, index: int | Sequence[int] | Array | None = None, *, rank: int = 0) -> None:
        self.index = None if index is None else integers(index)
        self.rank = rank
        if index is not None and (self.index is None or self.index.ndim > 1):
            raise TargetError(
                f"A class is an integer, or one integer per sample; got {index!r}. "
                f"{_instead_of(index)}"
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
        """Find the class of each sample, ``(B,)``, and check it against the outputs."""
        scores = self.class_scores(outputs)
        batch, count = scores.shape
        if self.index is None:
            if self.rank >= count:
                raise TargetError(
                    f"The target asks for the class at rank {self.rank}, "
                    f"but the model scores {count} classes. Give a lower rank."
                )
            order: Array = np.argsort(-scores, axis=1, kind="stable")[:, self.rank]
            return order
        if self.index.ndim == 1 and len(self.index) != batch:
            raise TargetError(
                f"The target names {len(self.index)} classes for a batch of {batch} samples; "
                "give one class, or one for each sample."
            )
        classes = np.broadcast_to(self.index, (batch,))
        check_classes(classes, count)
        return classes

    def settled(self, outputs: Array, sample: int | None = None) -> Target:
        """Fix the classes that these outputs choose."""
        fixed = copy.copy(self)
        classes = self.classes(outputs)
        fixed.index = classes if sample is None else classes[sample]
        return fixed

    def on_scale(self, scale: Scale) -> Target:
        """Read the outputs on this scale, unless the target has one."""
        if self.scale is not None:
            return self
        fitted = copy.copy(self)
        fitted.scale = scale
        return fitted

    def class_scores(self, outputs: Array) -> Array:
        """Score each class, ``(B, K)``; both of one sigmoid unit."""
        return self._known_scale.sides(_batch_of_scores(outputs))

    def _of_output(self, cotangent: Array, outputs: Array) -> Array:
        """Turn the derivative by `class_scores` into the one by the outputs."""
        return self._known_scale.of_output(cotangent, outputs.shape[1])

    @property
    def _known_scale(self) -> Scale:
        return self.scale or UNKNOWN


class Class(OfClass):
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
        scores = self.class_scores(outputs)
        classes = self.classes(outputs)
        cotangent = self._of_output(_one_hot(scores, classes), outputs)
        return Scored(scores[np.arange(len(scores)), classes], cotangent, classes)


class Counterfactual(Class):
    """What speaks against a class: the negated score, cotangent −e_c (Selvaraju 2017, sec. 3.2)."""

    def __call__(self, outputs: Array) -> Scored:
        """Score −y_c, cotangent −e_c."""
        scored = super().__call__(outputs)
        return Scored(-scored.scores, -scored.cotangent, scored.classes)


class Probability(OfClass):
    """The probability p_c of a class: a softmax's from logits, or a sigmoid's where that is known.

    Outputs that are known to be probabilities already are explained as they are.
    """

    def __call__(self, outputs: Array) -> Scored:
        """Score p_c, cotangent p_c (e_c − p) of a softmax, p_c (1 − p_c) e_c of a sigmoid."""
        scale = self._known_scale
        scores = self.class_scores(outputs)
        classes = self.classes(outputs)
        hot = _one_hot(scores, classes)
        if scale.of_probabilities:
            p, slope = scores, hot
        elif scale.activation == "sigmoid":
            p, slope = sigmoid(scores), hot * sigmoid(scores) * sigmoid(-scores)
        else:
            _check_several(scores, self)
            p = softmax(scores)
            slope = (p * hot).sum(axis=1, keepdims=True) * (hot - p)
        chosen = p[np.arange(len(p)), classes]
        return Scored(chosen, self._of_output(slope, outputs), classes)

    def cotangent_along(self, outputs: Array, direction: Array) -> Array:
        """Multiply p's Hessian by v: p_c ((v_c − p·v) (e_c − p) − p ⊙ (v − p·v)) of a softmax."""
        scale, scores = self._known_scale, self.class_scores(outputs)
        hot = _one_hot(scores, self.classes(outputs))
        along = scale.sides_along(direction)
        if scale.of_probabilities:
            bent = np.zeros_like(scores)
        elif scale.activation == "sigmoid":
            p, other = sigmoid(scores), sigmoid(-scores)
            bent = hot * p * other * (other - p) * along
        else:
            p, change = _softmax_along(scores, along)
            own, its_change = ((hot * a).sum(axis=1, keepdims=True) for a in (p, change))
            bent = its_change * (hot - p) - own * change
        return self._of_output(bent, outputs)


class LogProbability(OfClass):
    """The log of the probability of a class, as `Probability` has it; never saturates."""

    def __call__(self, outputs: Array) -> Scored:
        """Score log p_c, cotangent e_c − p of a softmax, (1 − p_c) e_c of a sigmoid."""
        scale = self._known_scale
        scores = self.class_scores(outputs)
        classes = self.classes(outputs)
        hot = _one_hot(scores, classes)
        if scale.of_probabilities:
            with np.errstate(divide="ignore", invalid="ignore"):
                log_p, slope = np.log(scores), np.where(hot > 0, hot / scores, 0)
        elif scale.activation == "sigmoid":
            log_p, slope = log_sigmoid(scores), hot * sigmoid(-scores)
        else:
            _check_several(scores, self)
            shifted = scores - scores.max(axis=1, keepdims=True)
            log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
            slope = hot - np.exp(log_p)
        chosen = log_p[np.arange(len(log_p)), classes]
        return Scored(chosen, self._of_output(slope, outputs), classes)

    def cotangent_along(self, outputs: Array, direction: Array) -> Array:
        """Multiply the Hessian of log p by v: −p ⊙ (v − p·v) of a softmax."""
        scale, scores = self._known_scale, self.class_scores(outputs)
        hot = _one_hot(scores, self.classes(outputs))
        along = scale.sides_along(direction)
        if scale.of_probabilities:
            with np.errstate(divide="ignore", invalid="ignore"):
                bent = np.where(hot > 0, -along / scores**2, 0)
        elif scale.activation == "sigmoid":
            bent = -hot * sigmoid(scores) * sigmoid(-scores) * along
        else:
            bent = -_softmax_along(scores, along)[1]
        return self._of_output(bent, outputs)


class Contrast(OfClass):
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
        How many classes to take where `against` is None; all others where there are fewer, as
        the authors' code and torchcam do.

    References
    ----------
    Zhang et al., "Finer-CAM: Spotting the Difference Reveals Finer Details for
    Visual Explanation", CVPR 2025, where the target is y_c − γ y_d and several d are averaged.
    The authors' code explains Σ_d p_d (y_c − y_d) / Σ_d p_d instead, p the softmax, with
    gradients through p, which can favour the least likely of these classes: recipes
    ``authors`` and ``pytorch-grad-cam``. torchcam averages.
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
        self.against = None if against is None else integers(np.atleast_1d(against))
        self.gamma = gamma
        self.nearest = nearest
        if (against is not None and self.against is None) or nearest < 1:
            raise TargetError(
                f"Contrast needs at least one class, an integer, to tell the class from; "
                f"got against={against!r}, nearest={nearest}."
            )

    def __call__(self, outputs: Array) -> Scored:
        """Score y_c − γ mean(y_d), cotangent e_c − γ mean(e_d)."""
        scores = self.class_scores(outputs)
        classes = self.classes(outputs)
        rows = np.arange(len(scores))
        others = self._others(scores, classes)
        slope = _one_hot(scores, classes)
        for column in others.T:
            slope[rows, column] -= scores.dtype.type(self.gamma / others.shape[1])
        return Scored((slope * scores).sum(axis=1), self._of_output(slope, outputs), classes)

    def settled(self, outputs: Array, sample: int | None = None) -> Target:
        """Fix the classes, on both sides, that these outputs choose."""
        fixed = super().settled(outputs, sample)
        assert isinstance(fixed, Contrast)
        others = self._others(self.class_scores(outputs), self.classes(outputs))
        fixed.against = others if sample is None else others[sample]
        return fixed

    def _others(self, scores: Array, classes: Array) -> Array:
        """Find the classes to tell each sample's class from, ``(B, N)``."""
        batch, count = scores.shape
        if self.against is not None:
            if np.any((self.against < 0) | (self.against >= count)):
                raise TargetError(
                    f"Contrast against {self.against.tolist()}, but the model scores "
                    f"{count} classes, 0 to {count - 1}."
                )
            return np.broadcast_to(self.against, (batch, self.against.shape[-1]))
        if count < 2:
            raise TargetError(
                f"A contrast to the nearest classes needs more than one class; the model scores "
                f"{count}. Explain it alone, or say of one logit of two classes: "
                "activation='sigmoid'."
            )
        distance = np.abs(scores - scores[np.arange(batch), classes][:, None])
        distance[np.arange(batch), classes] = np.inf
        fewer = min(self.nearest, count - 1)
        nearest: Array = np.argsort(distance, axis=1, kind="stable")[:, :fewer]
        return nearest


def integers(value: Any) -> Array | None:
    """Read the value as a non-empty array of integers; None where it is none."""
    try:
        array = np.asarray(value)
    except ValueError:  # ragged
        return None
    return array if array.size and np.issubdtype(array.dtype, np.integer) else None


def _instead_of(index: Any) -> str:
    """Say what to give in place of what names no class."""
    if isinstance(index, str):
        return "Names are looked up where they are given as the target itself: target='cat'."
    try:
        array = np.asarray(index)
    except ValueError:
        array = np.empty(0)
    if array.ndim == 2 and array.shape[1] == 1:
        return "Give one axis: labels[:, 0]."
    if array.ndim == 2 and array.size and np.isin(array, (0, 1)).all():
        return "Of labels that are one-hot, give the indices: labels.argmax(1)."
    return "For soft weights over classes use camcore.targets.Linear."


def check_classes(classes: Array, count: int) -> None:
    """Refuse classes that are none of the `count` that the model scores."""
    wrong = classes[(classes < 0) | (classes >= count)]
    if wrong.size:
        alone = " If that one number is a logit of two classes, say so: activation='sigmoid'."
        raise TargetError(
            f"Class {wrong[0]} is out of range: the model scores {count} classes, 0 to {count - 1}."
            + (alone if count == 1 else "")
        )


def _check_several(scores: Array, target: Target) -> None:
    """Refuse the softmax of one number, which is always 1."""
    if scores.shape[1] == 1:
        raise TargetError(
            f"{target!r} is a share among classes, but the model gives one number. If it is a "
            "logit of two classes, say so: activation='sigmoid'; else explain the number itself: "
            "camcore.targets.Class(0)."
        )


def _batch_of_scores(outputs: Array) -> Array:
    """Read outputs as floating class scores, ``(B, K)``."""
    if outputs.ndim == 2:
        return real_outputs(outputs)
    raise TargetError(
        f"A class target needs outputs of shape (batch, classes); the model's are "
        f"{outputs.shape}. Use camcore.targets.Segmentation, Similarity, Token, Linear or a "
        "callable for other outputs."
    )


def real_outputs(outputs: Array) -> Array:
    """Read outputs as floating numbers; integers become float64, so that they may be negated.

    Raises
    ------
    TargetError
        They are no real numbers.
    """
    if outputs.dtype.kind not in "iuf":
        raise TargetError(
            f"A target scores outputs that are real numbers; the model's are of {outputs.dtype}."
        )
    return outputs if outputs.dtype.kind == "f" else outputs.astype(np.float64)


def _softmax_along(scores: Array, direction: Array) -> tuple[Array, Array]:
    """Compute the softmax p, and its derivative along a direction v: p ⊙ (v − p·v)."""
    p = softmax(scores)
    return p, p * (direction - (p * direction).sum(axis=1, keepdims=True))


def _one_hot(scores: Array, classes: Array) -> Array:
    """Mark each sample's class, ``(B, K)``."""
    hot = np.zeros_like(scores)
    hot[np.arange(len(scores)), classes] = 1
    return hot
