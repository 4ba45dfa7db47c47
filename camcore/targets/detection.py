"""Targets of detections: the score of one box, or of all boxes of a class."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from camcore.adapter import Array, Leaves
from camcore.errors import TargetError
from camcore.targets.base import Scored, Target
from camcore.targets.classes import check_classes, integers
from camcore.targets.detection_formats import ARRANGEMENTS, Detected, Detections, Part


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
        How the outputs are arranged: ``"torchvision"``, ``"yolo"``, ``"yolov5"``,
        ``"yolo-end2end"``, ``"detr"``, or in your own words.
    classes : int, optional
        How many classes there are. Left out, as many as the model's head says, else as there
        are columns of scores.

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
        classes: int | None = None,
    ) -> None:
        self.choice = Choice(
            _per_image(index, "A box's index"),
            None if overlapping is None else _corners(overlapping),
            _per_image(of_class, "A box's class"),
            least_overlap,
            least_score,
        )
        self.with_overlap = with_overlap
        self.arranged = _arrangement(arranged)
        self.class_count = classes
        if index is not None and overlapping is not None:
            raise TargetError("A box is picked by index or by overlap, not by both.")
        if with_overlap and overlapping is None:
            raise TargetError("with_overlap=True needs the box to overlap: overlapping=(...).")
        if classes is not None and (integers(classes) is None or classes < 1):
            raise TargetError(f"classes={classes!r}; expected how many there are, at least 1.")
        if not 0 <= least_overlap <= 1:
            raise TargetError(f"least_overlap={least_overlap}; expected a number in [0, 1].")

    @property
    def linear(self) -> bool:  # type: ignore[override]
        """Whether the score is linear in the outputs once the box is picked."""
        return not self.with_overlap and self.arranged.objectness is None

    def __repr__(self) -> str:
        named = {k: getattr(self.choice, k) for k in ("index", "overlapping", "of_class")}
        given = [f"{k}={v.tolist()}" for k, v in named.items() if v is not None]
        return f"Box({', '.join(given)})"

    def __call__(self, outputs: Leaves) -> Scored:
        """Score the boxes, s with cotangent 1 at each; with overlap, s · IoU."""
        detected = self.arranged.of(outputs, self.class_count)
        paths = {part.at(i) for part in self._parts() for i in range(len(detected))}
        cotangent = {path: np.zeros_like(outputs[path]) for path in sorted(paths)}
        slopes = self.arranged.of({**outputs, **cotangent}, self.class_count)
        scores, classes = [], []
        for image, (found, slope) in enumerate(zip(detected, slopes, strict=True)):
            rows, of_rows = self.choice.pick(found, image, len(detected))
            scores.append(self._score(found, slope, rows, of_rows, image, len(detected)))
            classes.append(of_rows[0] if len(of_rows) else -1)
        known = self.choice.of_class is not None or min(classes) >= 0
        dtype = np.result_type(*(found.scores.dtype for found in detected))
        dtype = dtype if dtype.kind == "f" else np.dtype(np.float64)
        return Scored(np.array(scores, dtype), cotangent, np.array(classes) if known else None)

    def settled(self, outputs: Leaves, sample: int | None = None) -> Target:
        """Follow the boxes that these outputs pick, wherever other outputs list them."""
        settled = copy.copy(self)
        detected = self.arranged.of(outputs, self.class_count)
        settled.choice = self.choice.settled(detected, sample)
        return settled

    def of_classes(self, count: int) -> Target:
        """Read that many classes from the outputs, unless `classes` is given."""
        if self.class_count is not None:
            return self
        told = copy.copy(self)
        told.class_count = count
        return told

    def _parts(self) -> list[Part]:
        """List the parts of the outputs that the score depends on."""
        a = self.arranged
        parts = [a.scores, a.objectness, a.boxes if self.with_overlap else None]
        return [part for part in parts if part is not None]

    def _score(
        self, found: Detected, slope: Detected, rows: Array, classes: Array, image: int, count: int
    ) -> float:
        """Score the detections `rows`, and write the score's derivative into `slope`."""
        if not len(rows):
            return 0.0
        scores = found.score(rows, classes)
        weight = np.ones(len(rows))
        if self.with_overlap:
            aim = _of(self.choice.overlapping, image, count, "boxes")
            weight, by_corner = overlap_and_slope(found.xyxy[rows].astype(np.float64), aim)
            slope.boxes[rows] = self.arranged.gradient(scores[:, None] * by_corner)
        at = (rows, classes) if found.scores.ndim == 2 else rows
        if found.objectness is not None:
            assert slope.objectness is not None
            slope.objectness[rows] = found.scores[at] * weight
        slope.scores[at] = weight if found.objectness is None else weight * found.objectness[rows]
        return float((scores * weight).sum())


@dataclass(frozen=True, eq=False)
class Choice:
    """Which detections of each image are explained.

    Parameters
    ----------
    index, overlapping, of_class, least_overlap, least_score
        As in `Box`, read.
    followed : (4,) or (B, 4) array, optional
        Corners of the boxes that were picked before the input was altered, by which they
        are found again.
    lenient : bool
        Whether an image without its box is left without one, as one whose input was altered.
    """

    index: Array | None
    overlapping: Array | None
    of_class: Array | None
    least_overlap: float
    least_score: float | None
    followed: Array | None = None
    lenient: bool = False

    def settled(self, detected: Sequence[Detected], sample: int | None) -> Choice:
        """Choose the same objects in other outputs, those of one sample where it is given."""
        fixed = replace(self, lenient=True)
        if self.followed is None and not self.sums:
            count = len(detected)
            picked = [self.pick(found, image, count) for image, found in enumerate(detected)]
            boxes = [d.xyxy[rows[0]] for d, (rows, _) in zip(detected, picked, strict=True)]
            fixed = replace(
                fixed,
                index=None,
                least_score=None,
                of_class=np.array([classes[0] for _, classes in picked]),
                followed=np.stack(boxes).astype(np.float64),
            )
        if sample is None:
            return fixed
        return replace(
            fixed,
            overlapping=_row(fixed.overlapping, sample, 2),
            of_class=_row(fixed.of_class, sample, 1),
            followed=_row(fixed.followed, sample, 2),
        )

    @property
    def sums(self) -> bool:
        """Whether the scores of all boxes of a class are summed."""
        return self.of_class is not None and self.index is None and self.aim is None

    @property
    def aim(self) -> Array | None:
        """Corners of the box to look for, by overlap."""
        return self.overlapping if self.followed is None else self.followed

    def pick(self, found: Detected, image: int, count: int) -> tuple[Array, Array]:
        """Pick detections of one image: their numbers, and the class of each."""
        classes = found.classes
        if self.of_class is not None:
            wanted = _of(self.of_class, image, count, "classes")
            if found.labels is None and found.scores.ndim == 2:
                check_classes(np.atleast_1d(wanted), found.scores.shape[1])
                classes = np.full_like(classes, wanted)
        rows = np.arange(len(found))
        scores = found.score(rows, classes)
        keep = np.ones(len(found), bool) if self.least_score is None else scores >= self.least_score
        if self.of_class is not None:
            keep &= classes == wanted
        if self.index is not None:
            rows = self._by_number(found, image, count, keep)
        else:
            rows = self._by_score_or_overlap(found, image, count, rows[keep], scores[keep])
        return rows, classes[rows]

    def _by_number(self, found: Detected, image: int, count: int, keep: Array) -> Array:
        """Pick the detection of the number asked for, which must be among those to `keep`."""
        index = _of(self.index, image, count, "detections")
        if not 0 <= index < len(found):
            raise TargetError(
                f"Detection {index} of image {image} is out of range: there are {len(found)}"
                + (f", 0 to {len(found) - 1}." if len(found) else " detections.")
            )
        if not keep[index]:
            raise TargetError(
                f"Detection {index} of image {image} is of class {found.classes[index]} and scores "
                f"{found.scores[index].max():.3g}, which of_class or least_score leave out."
            )
        return np.array([index])

    def _by_score_or_overlap(
        self, found: Detected, image: int, count: int, rows: Array, scores: Array
    ) -> Array:
        """Pick among `rows` all, the best, or the one that overlaps most."""
        what = "" if self.of_class is None else f" of class {_of(self.of_class, image, count)}"
        if not len(rows):
            if self.lenient:
                return rows
            above = "" if self.least_score is None else f" that scores {self.least_score:g} or more"
            raise TargetError(
                f"Nothing{what}{above} is detected in image {image}, which has {len(found)} "
                "detections. Lower the detector's own threshold, or leave the image out."
            )
        if self.sums:
            return rows
        if self.aim is None:
            return rows[[scores.argmax()]]
        aim = _of(self.aim, image, count, "boxes")
        overlaps = overlap(found.xyxy[rows], aim)
        best = overlaps.argmax()
        if overlaps[best] < max(self.least_overlap, np.finfo(float).tiny):
            if self.lenient:
                return rows[:0]
            raise TargetError(
                f"No detection{what} of image {image} overlaps {tuple(map(float, aim))} by "
                f"{self.least_overlap:g}; the nearest of {len(rows)} overlaps by "
                f"{overlaps[best]:.2g}. Look at the boxes, or lower least_overlap."
            )
        return rows[[best]]


def overlap(boxes: Array, other: Array) -> Array:
    """Compute the intersection over union of boxes ``(N, 4)`` with one ``(4,)``, by corners."""
    return overlap_and_slope(boxes, other)[0]


def overlap_and_slope(boxes: Array, other: Array) -> tuple[Array, Array]:
    """Compute the intersection over union of boxes with one, and its derivative by corners.

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


def _row(given: Array | None, sample: int, ndim: int) -> Array | None:
    """Take one sample's own of what is given for all, or, with `ndim` axes, for each."""
    return given if given is None or given.ndim < ndim else given[sample]


def _of(given: Array | None, image: int, count: int, what: str = "classes") -> Any:
    """Take one image's own of what is given for all images, or for each."""
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
    """Read integers from 0, one for all images or one for each.

    Raises
    ------
    TargetError
        It is none of these.
    """
    if given is None:
        return None
    array = integers(given)
    if array is None or array.ndim > 1 or np.any(array < 0):
        raise TargetError(f"{what} is an integer from 0, or one for each image; got {given!r}.")
    return array


def _corners(given: Any) -> Array:
    """Read the corners of one box for all images, or of one for each."""
    array = np.asarray(given)
    numbers = array.dtype.kind in "iuf" and array.shape[-1:] == (4,) and array.ndim <= 2
    if not numbers or not np.all(np.isfinite(array)) or np.any(array[..., 2:] <= array[..., :2]):
        raise TargetError(
            f"A box is (x1, y1, x2, y2) with x1 < x2 and y1 < y2, one or one for each image; "
            f"got {given!r}."
        )
    return array.astype(np.float64)


def _arrangement(given: str | Detections) -> Detections:
    """Read how the outputs are arranged, by name or as given."""
    if isinstance(given, Detections):
        return given
    if given not in ARRANGEMENTS:
        raise TargetError(
            f"arranged={given!r}; expected {', '.join(map(repr, ARRANGEMENTS))}, or "
            "camcore.targets.Detections(...)."
        )
    return ARRANGEMENTS[given]
