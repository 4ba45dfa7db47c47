"""Targets of outputs of any shape: segmentations, embeddings, any linear functional."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from camcore.adapter import Array, Channels
from camcore.errors import TargetError
from camcore.targets.base import Scored, Target
from camcore.targets.classes import OfClass


class _OfArray(Target):
    """A target given as an array, of the shape of one sample's outputs or of the batch's."""

    def __init__(self, given: Any, values: str, name: str) -> None:
        self._given, self._name = _finite(given, values), name

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self._given.shape})"

    def settled(self, outputs: Array, sample: int | None = None) -> Target:
        """Take what is given for one sample, where each has its own."""
        own = sample is not None and self._given.shape == outputs.shape
        return type(self)(self._given[sample]) if own else self  # type: ignore[call-arg]

    def _for(self, outputs: Array) -> Array:
        """Repeat what is given for each sample of the outputs."""
        if self._given.shape not in (outputs.shape, outputs.shape[1:]):
            raise TargetError(
                f"{self._name} shape {self._given.shape}; the outputs are {outputs.shape}, "
                f"so {outputs.shape[1:]} or {outputs.shape} is expected."
            )
        return np.broadcast_to(self._given, outputs.shape)


class Linear(_OfArray):
    """Any linear functional of the outputs: Σ weights · outputs.

    Parameters
    ----------
    weights : array, shape of one sample's outputs or of the batch's
        The functional; it is the cotangent.
    """

    linear = True

    def __init__(self, weights: Any) -> None:
        super().__init__(weights, "Linear weights", "Linear weights have")
        self.weights = self._given

    def __call__(self, outputs: Array) -> Scored:
        """Score Σ weights · outputs, cotangent weights."""
        cotangent = np.array(self._for(outputs), dtype=outputs.dtype)
        scores = (cotangent * outputs).reshape(len(outputs), -1).sum(axis=1)
        return Scored(scores, cotangent)


class Segmentation(OfClass):
    """The score of a class, added up over a region: Σ_s mask(s) · y_c(s).

    Parameters
    ----------
    index : int, sequence of int, or None
        The class, one for each sample, or None for the class that is predicted at most
        positions of the region.
    mask : (*S) or (B, *S) array, optional
        The region at the outputs' own size: booleans, or weights that are not negative.
        Left out, all positions.
    channels : {"first", "last"}, optional
        Whether the outputs are ``(B, K, *S)`` or ``(B, *S, K)``. Left out, the framework's
        convention.

    References
    ----------
    Vinogradova et al., "Towards Interpretable Semantic Segmentation via
    Gradient-weighted Class Activation Mapping", AAAI 2020, eq. 2.
    """

    linear = True

    def __init__(
        self,
        index: int | Sequence[int] | Array | None = None,
        mask: Any = None,
        channels: Channels | None = None,
    ) -> None:
        super().__init__(index)
        self.mask = None if mask is None else _finite(mask, "A mask's weights")
        self.channels = channels
        if self.mask is not None and np.any(self.mask < 0):
            raise TargetError(f"A mask's weights are not negative; the least is {self.mask.min()}.")
        if channels not in ("first", "last", None):
            raise TargetError(f"channels={channels!r}; expected 'first' or 'last'.")

    def __repr__(self) -> str:
        mask = "" if self.mask is None else f", mask of shape {self.mask.shape}"
        index = None if self.index is None else self.index.tolist()
        return f"Segmentation({index}{mask})"

    def __call__(self, outputs: Array) -> Scored:
        """Score Σ mask · y_c, cotangent e_c · mask."""
        laid_out = self._laid_out(outputs)
        scores = self._known_scale.sides(laid_out)
        weights = self._weights(scores)
        classes = self.classes(outputs)
        rows = np.arange(len(scores))
        cotangent = np.zeros_like(scores)
        cotangent[rows, classes] = weights
        total = (scores[rows, classes] * weights).reshape(len(scores), -1).sum(axis=1)
        slope = self._of_output(cotangent, laid_out)
        native = np.moveaxis(slope, 1, -1) if self.channels == "last" else slope
        return Scored(total, native, classes)

    def classes(self, outputs: Array) -> Array:
        """Find the class of each sample, ``(B,)``, and check it against the outputs."""
        scores = self._known_scale.sides(self._laid_out(outputs))
        votes = self._votes(scores) if self.index is None else np.zeros(scores.shape[:2])
        return super().classes(votes)

    def settled(self, outputs: Array, sample: int | None = None) -> Target:
        """Fix the classes that these outputs choose, in one sample's region."""
        fixed = super().settled(outputs, sample)
        assert isinstance(fixed, Segmentation)
        if sample is not None and self.mask is not None and self.mask.ndim == outputs.ndim - 1:
            fixed.mask = self.mask[sample]
        return fixed

    def laid_out(self, channels: Channels) -> Target:
        """Look for the classes where the framework has channels, unless `channels` is given."""
        if self.channels is not None:
            return self
        placed = copy.copy(self)
        placed.channels = channels
        return placed

    def _laid_out(self, outputs: Array) -> Array:
        """Lay out outputs as ``(B, K, *S)``."""
        if outputs.ndim < 3:
            raise TargetError(
                f"A segmentation has outputs of shape (batch, classes, *space); the model's are "
                f"{outputs.shape}. Use camcore.targets.Class for class scores."
            )
        return np.moveaxis(outputs, -1, 1) if self.channels == "last" else outputs

    def _votes(self, scores: Array) -> Array:
        """Count the positions of the region at which each class is predicted, ``(B, K)``."""
        count = scores.shape[1]
        region = zip(scores.argmax(axis=1), self._weights(scores) > 0, strict=True)
        return np.stack([np.bincount(best[inside], minlength=count) for best, inside in region])

    def _weights(self, scores: Array) -> Array:
        """Weigh each position, ``(B, *S)``."""
        batch, size = len(scores), scores.shape[2:]
        mask = np.ones(size) if self.mask is None else self.mask
        if mask.shape not in (size, (batch, *size)):
            raise TargetError(
                f"The mask has shape {mask.shape}; outputs with {scores.shape[1]} classes "
                f"{self.channels or 'first'} leave {size}, so that or {(batch, *size)} is "
                "expected. Resize the mask, or say where the classes are: channels='first' or "
                "'last'."
            )
        weights = np.broadcast_to(mask, (batch, *size)).astype(scores.dtype)
        empty = ~weights.reshape(batch, -1).any(axis=1)
        if np.any(empty):
            raise TargetError(
                f"The mask of sample {np.argmax(empty)} marks no position. Mark at least one."
            )
        return weights


class Similarity(_OfArray):
    """Cosine similarity of the outputs to a given embedding: u·v / (|u| |v|).

    Parameters
    ----------
    embedding : array, shape of one sample's outputs or of the batch's
        v, such as what the model returns for another image.
    """

    def __init__(self, embedding: Any) -> None:
        super().__init__(embedding, "An embedding's values", "The embedding has")
        self.embedding = self._given

    def __call__(self, outputs: Array) -> Scored:
        """Score s = û·v̂, cotangent (v̂ − s û) / |u|; both 0 where the outputs are."""
        own, per_length = _directions(outputs)
        other, known = _directions(self._for(outputs))
        if not np.all(known):
            raise TargetError("An embedding of zeros has no direction. Give another.")
        scores = (own * other).sum(axis=1)
        slope = (other - scores[:, None] * own) * per_length
        cotangent = slope.reshape(outputs.shape).astype(outputs.dtype)
        return Scored(scores.astype(outputs.dtype), cotangent)


def _directions(outputs: Array) -> tuple[Array, Array]:
    """Compute each sample's unit vector ``(B, D)`` and 1 / its length ``(B, 1)``; 0 for zeros."""
    flat = outputs.reshape(len(outputs), -1).astype(np.float64)
    length: Array = np.linalg.norm(flat, axis=1, keepdims=True)
    per_length = np.divide(1, length, out=np.zeros_like(length), where=length > 0)
    return flat * per_length, per_length


def _finite(value: Any, what: str) -> Array:
    """Read the value as an array of finite real numbers."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or not np.all(np.isfinite(array)):
        raise TargetError(
            f"{what} are finite real numbers; got dtype {array.dtype}"
            + (", with NaN or infinity." if array.dtype.kind == "f" else ".")
        )
    return array
