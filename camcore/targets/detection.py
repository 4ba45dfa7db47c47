"""Targets of detections: the score of one box, or of all boxes of a class."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from camcore.adapter import Array, Leaves
from camcore.errors import TargetError
from camcore.targets.base import Scored, Target
from camcore.targets.classes import integers
from camcore.targets.detection_formats import ARRANGEMENTS, Detected, Detections


class Box(Target):
    """The score of a detected box: by number, by overlap, or of all boxes of a class.

    Without any of these it is the detection that scores highest. Detections are those that
    the model itself returns; methods with further passes follow the same object, by the
    overlap with the box and its class, and where it is not detected its score is 0.

    Parameters
    ----------
    index : int or sequence of int, optional
        Which detection, in the model's order; one for all images, or one for each.
    overlapping : (4,) or (B, 4) array, optional
        Corners ``(x1, y1, x2, y2)`` in the units of the model's boxes: the detection that
        overlaps most with it.
    of_class : int or sequence of int, optional
        Only detections of this class; alone, the sum of all of their scores. Where a
        detection scores every class, each counts as one of any class.
    least_overlap : float
        Intersection over union, in [0, 1], from which on a detection counts as overlapping.
    least_score : float, optional
        The score, as the model gives it, from which on a detection counts; all where left out.
    with_overlap : bool
        Explain the score times the overlap with the box `overlapping`, so that what places
        the box counts too.
    arranged : str or Detections
        How the outputs are arranged: ``"torchvision"``, ``"yolo"``, ``"yolov5"``, ``"detr"``,
        or in your own words.

    References
    ----------
    Petsiuk et al., "Black-box Explanation of Object Detectors via Saliency Maps", CVPR 2021,
    for the product of score and overlap.
    """

    every_output = True

    def __init__(
        self,
        index: int | Sequence[int] | Array | None = None,
        *,
        overlapping: Any = None,
        of_class: int | Sequence[int] | Array | None = None,
        least_overlap: float = 0.5,
        least_score: float | None = None,
        with_overlap: bool = False,
        arranged: str | Detections = "torchvision",
    ) -> None:
        self.index = _per_image(index, "A box's index")
        self.overlapping = None if overlapping is None else _corners(overlapping)
        self.of_class = _per_image(of_class, "A box's class")
        self.least_overlap = least_overlap
        self.least_score = least_score
        self.with_overlap = with_overlap
        self.arranged = _arrangement(arranged)
        self._followed: Array | None = None
        if self.index is not None and self.overlapping is not None:
            raise TargetError("A box is picked by index or by overlap, not by both.")
        if with_overlap and self.overlapping is None:
            raise TargetError("with_overlap=True needs the box to overlap: overlapping=(...).")
        if not 0 <= least_overlap <= 1:
            raise TargetError(f"least_overlap={least_overlap}; expected a number in [0, 1].")

    @property
    def linear(self) -> bool:  # type: ignore[override]
        """Whether the score is linear in the outputs once the box is picked."""
        return not self.with_overlap and self.arranged.objectness is None

    def __repr__(self) -> str:
        given = {
            "index": self.index,
            "overlapping": self.overlapping,
            "of_class": self.of_class,
        }
        said = [f"{k}={v.tolist()}" for k, v in given.items() if v is not None]
        return f"Box({', '.join(said)})"

    def __call__(self, outputs: Leaves) -> Scored:
        """Score s of the boxes meant, cotangent 1 at each; with overlap, of s · IoU."""
        detected = self.arranged.of(outputs)
        paths = {leaf for part in self._parts() for leaf in _paths(part, len(detected))}
        cotangent = {path: np.zeros_like(outputs[path]) for path in sorted(paths)}
        slopes = self.arranged.of({**outputs, **cotangent})
        scores, classes = [], []
        for image, (seen, slope) in enumerate(zip(detected, slopes, strict=True)):
            rows, kinds = self._meant(seen, image, len(detected))
            scores.append(self._score(seen, slope, rows, kinds, image, len(detected)))
            classes.append(kinds[0] if len(kinds) else -1)
        known = self.of_class is not None or min(classes) >= 0
        dtype = detected[0].scores.dtype
        return Scored(np.array(scores, dtype), cotangent, np.array(classes) if known else None)

    def settled(self, outputs: Leaves, sample: int | None = None) -> Target:
        """The target that follows the boxes these outputs pick, wherever they are listed."""
        fixed = copy.copy(self)
        detected = self.arranged.of(outputs)
        count = len(detected)
        if self._followed is None and not self._sums:
            meant = [self._meant(seen, image, count) for image, seen in enumerate(detected)]
            boxes = [s.xyxy[rows[0]] for s, (rows, _) in zip(detected, meant, strict=True)]
            fixed._followed = np.stack(boxes).astype(np.float64)
            fixed.of_class = np.array([kinds[0] for _, kinds in meant])
            fixed.index = fixed.least_score = None
        fixed._lenient = True
        if sample is not None:
            for name, own in (("overlapping", 2), ("of_class", 1), ("_followed", 2)):
                value = getattr(fixed, name)
                if value is not None and value.ndim == own:
                    setattr(fixed, name, value[sample])
        return fixed

    _lenient = False
    """Whether an image without the box scores 0: it was there before the input was altered."""

    @property
    def _sums(self) -> bool:
        return self.of_class is not None and self.index is None and self._aim is None

    @property
    def _aim(self) -> Array | None:
        """The box to look for."""
        return self.overlapping if self._followed is None else self._followed

    def _parts(self) -> list[Any]:
        a = self.arranged
        parts = [a.scores, a.objectness, a.boxes if self.with_overlap else None]
        return [part for part in parts if part is not None]

    def _meant(self, seen: Detected, image: int, count: int) -> tuple[Array, Array]:
        """Numbers of the detections meant in one image, and the class of each."""
        classes = seen.classes
        if self.of_class is not None:
            wanted = _of(self.of_class, image, count, "classes")
            if seen.labels is None and seen.scores.ndim == 2:
                _check_class(wanted, seen.scores.shape[1])
                classes = np.full_like(classes, wanted)
        rows = np.arange(len(seen))
        scores = seen.score(rows, classes)
        keep = np.ones(len(seen), bool) if self.least_score is None else scores >= self.least_score
        if self.of_class is not None:
            keep &= classes == wanted
        if self.index is not None:
            rows = self._numbered(seen, image, count, keep)
        else:
            rows = self._found(seen, image, count, rows[keep], scores[keep])
        return rows, classes[rows]

    def _numbered(self, seen: Detected, image: int, count: int, keep: Array) -> Array:
        index = _of(self.index, image, count, "detections")
        if not 0 <= index < len(seen):
            raise TargetError(
                f"Detection {index} of image {image} is out of range: there are {len(seen)}"
                + (f", 0 to {len(seen) - 1}." if len(seen) else " detections.")
            )
        if not keep[index]:
            raise TargetError(
                f"Detection {index} of image {image} is of class {seen.classes[index]} and scores "
                f"{seen.scores[index].max():.3g}, which of_class or least_score leave out."
            )
        return np.array([index])

    def _found(self, seen: Detected, image: int, count: int, rows: Array, scores: Array) -> Array:
        """Of those that count, all, the best, or the one that overlaps most."""
        what = "" if self.of_class is None else f" of class {_of(self.of_class, image, count)}"
        if not len(rows):
            if self._lenient:
                return rows
            above = "" if self.least_score is None else f" that scores {self.least_score:g} or more"
            raise TargetError(
                f"Nothing{what}{above} is detected in image {image}, which has {len(seen)} "
                "detections. Lower the detector's own threshold, or leave the image out."
            )
        if self._sums:
            return rows
        if self._aim is None:
            return rows[[scores.argmax()]]
        aim = _of(self._aim, image, count, "boxes")
        overlaps = overlap(seen.xyxy[rows], aim)
        best = overlaps.argmax()
        if overlaps[best] < max(self.least_overlap, np.finfo(float).tiny):
            if self._lenient:
                return rows[:0]
            raise TargetError(
                f"No detection{what} of image {image} overlaps {tuple(map(float, aim))} by "
                f"{self.least_overlap:g}; the nearest of {len(rows)} overlaps by "
                f"{overlaps[best]:.2g}. Look at the boxes, or lower least_overlap."
            )
        return rows[[best]]

    def _score(
        self, seen: Detected, slope: Detected, rows: Array, kinds: Array, image: int, count: int
    ) -> float:
        """Score of the detections meant; writes its derivative into `slope`."""
        if not len(rows):
            return 0.0
        scores = seen.score(rows, kinds)
        weight = np.ones(len(rows))
        if self.with_overlap:
            assert self.overlapping is not None
            aim = _of(self.overlapping, image, count, "boxes")
            weight, by_corner = overlap_and_slope(seen.xyxy[rows].astype(np.float64), aim)
            slope.boxes[rows] = self.arranged.gradient(scores[:, None] * by_corner)
        at = (rows, kinds) if seen.scores.ndim == 2 else rows
        if seen.objectness is not None:
            assert slope.objectness is not None
            slope.objectness[rows] = seen.scores[at] * weight
        slope.scores[at] = weight if seen.objectness is None else weight * seen.objectness[rows]
        return float((scores * weight).sum())


def overlap(boxes: Array, other: Array) -> Array:
    """Intersection over union of boxes ``(N, 4)`` with one ``(4,)``, by corners; in [0, 1]."""
    return overlap_and_slope(boxes, other)[0]


def overlap_and_slope(boxes: Array, other: Array) -> tuple[Array, Array]:
    """Intersection over union of boxes with one, and its derivative by their corners.

    Parameters
    ----------
    boxes : (N, 4) array
        Corners ``(x1, y1, x2, y2)``.
    other : (4,) array
        Corners.

    Returns
    -------
    overlaps : (N,) array
        In [0, 1]; 0 for boxes without area.
    slopes : (N, 4) array
        Of each overlap by its box's corners.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    size, own = np.maximum(high - low, 0), np.maximum(other[2:] - other[:2], 0)
    common = np.minimum(high, other[2:]) - np.maximum(low, other[:2])
    common = np.where((common > 0).all(axis=1, keepdims=True), common, 0)
    shared = common.prod(axis=1, keepdims=True)
    union = size.prod(axis=1, keepdims=True) + own.prod() - shared
    # A side moves the shared area by the other side's length, where it is the inner one.
    across = common[:, ::-1]
    by_shared = np.hstack([-across * (low > other[:2]), across * (high < other[2:])])
    by_size = np.hstack([-size[:, ::-1], size[:, ::-1]])
    ratio = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    rise = by_shared * (union + shared) - shared * by_size
    slopes = np.divide(rise, union**2, out=np.zeros_like(rise), where=union > 0)
    return ratio[:, 0], slopes


def _paths(part: Any, count: int) -> list[str]:
    return [part.at(image) for image in range(count)]


def _of(given: Array | None, image: int, count: int, what: str = "classes") -> Any:
    """One image's own of what is given for all images, or for each."""
    assert given is not None
    alone = 1 if what == "boxes" else 0
    if given.ndim == alone:
        return given
    if len(given) != count:
        raise TargetError(
            f"The target names {len(given)} {what} for a batch of {count} samples; give one, or "
            "one for each sample."
        )
    return given[image]


def _per_image(given: Any, what: str) -> Array | None:
    if given is None:
        return None
    array = integers(given)
    if array is None or array.ndim > 1 or np.any(array < 0):
        raise TargetError(f"{what} is an integer from 0, or one for each image; got {given!r}.")
    return array


def _corners(given: Any) -> Array:
    array = np.asarray(given)
    numbers = array.dtype.kind in "iuf" and array.shape[-1:] == (4,) and array.ndim <= 2
    if not numbers or not np.all(np.isfinite(array)) or np.any(array[..., 2:] <= array[..., :2]):
        raise TargetError(
            f"A box is (x1, y1, x2, y2) with x1 < x2 and y1 < y2, one or one for each image; "
            f"got {given!r}."
        )
    return array.astype(np.float64)


def _arrangement(given: str | Detections) -> Detections:
    if isinstance(given, Detections):
        return given
    if given not in ARRANGEMENTS:
        raise TargetError(
            f"arranged={given!r}; expected {', '.join(map(repr, ARRANGEMENTS))}, or "
            "camcore.targets.Detections(...)."
        )
    return ARRANGEMENTS[given]


def _check_class(wanted: int, count: int) -> None:
    if wanted >= count:
        raise TargetError(
            f"Class {wanted} is out of range: the model scores {count} classes, 0 to {count - 1}."
        )
