"""Formats of detections: where a model's outputs hold boxes, scores and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from camcore.adapter import Array, Leaves
from camcore.errors import TargetError

Corners: TypeAlias = Literal["xyxy", "yxyx", "xywh", "cxcywh"]
"""Two corners, x or y first; a corner and the size; or the centre and the size."""

_TO_XYXY: Mapping[str, Array] = {
    "xyxy": np.eye(4),
    "yxyx": np.eye(4)[[1, 0, 3, 2]],
    "xywh": np.array([[1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]], float),
    "cxcywh": np.array([[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]]),
}


@dataclass(frozen=True)
class Part:
    """Where one quantity of the detections stands in the model's outputs.

    Parameters
    ----------
    path : str
        Of the output leaf; ``{}`` in it is the number of the image where each image has
        leaves of its own. Without it the leaf's first axis is the batch.
    columns : (int, int or None) or int
        First of the entries along `axis` to take, and the first after them; an int for
        one number a detection.
    axis : int
        The axis of one image's leaf along which a detection's values lie; the other axis
        counts detections.
    """

    path: str = ""
    columns: tuple[int, int | None] | int = (0, None)
    axis: int = -1

    def of(self, leaves: Leaves, image: int) -> Array:
        """View one image's values, ``(N,)`` or ``(N, V)``; writing to them writes to the leaf."""
        path = self.at(image)
        if path not in leaves:
            listed = ", ".join(f"{p!r} {leaf.shape}" for p, leaf in leaves.items())
            raise TargetError(
                f"A box needs the output {path!r}; the model has {listed}. Say where boxes and "
                "scores are: Box(..., arranged=camcore.targets.Detections(...)); output='...' "
                "names the leaf, or the nest, to look in."
            )
        own = leaves[path] if "{}" in self.path else leaves[path][image]
        if own.ndim not in (1, 2):
            raise TargetError(
                f"Detections of an image are (N,) or (N, V) arrays; output {path!r} has shape "
                f"{leaves[path].shape}."
            )
        if own.ndim == 1:
            return own
        columns = self.columns if isinstance(self.columns, int) else slice(*self.columns)
        values: Array = np.moveaxis(own, self.axis, -1)[:, columns]
        return values

    def at(self, image: int) -> str:
        """Name the path of one image's leaf."""
        return self.path.replace("{}", str(image))

    def images(self, leaves: Leaves) -> int:
        """Count the images in the leaves."""
        if "{}" in self.path:
            count = 0
            while self.at(count) in leaves:
                count += 1
            return max(count, 1)  # where there is none, the first is missed by name
        return len(leaves[self.path]) if self.path in leaves else 1


@dataclass(frozen=True)
class Detected:
    """What was detected in one image.

    Parameters
    ----------
    boxes : (N, 4) array
        As the model gives them.
    scores : (N,) or (N, K) array
        Of each detection, or of each class for each detection.
    labels : (N,) int array or None
        The class of each detection, where `scores` do not give it.
    objectness : (N,) array or None
        What the scores are multiplied by.
    corners : {"xyxy", "yxyx", "xywh", "cxcywh"}
        What the four numbers of a box mean.
    no_object : int or None
        Column of the scores that stands for no object.
    """

    boxes: Array
    scores: Array
    labels: Array | None
    objectness: Array | None
    corners: Corners
    no_object: int | None = None

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def xyxy(self) -> Array:
        """Boxes by two corners, ``(N, 4)``."""
        corners: Array = self.boxes @ _TO_XYXY[self.corners].astype(self.boxes.dtype)
        return corners

    @property
    def classes(self) -> Array:
        """Class of each detection, ``(N,)``: its label, or the one it scores highest."""
        if self.labels is not None:
            return self.labels
        if self.scores.ndim != 2:
            return np.zeros(len(self), int)
        if self.no_object is None:
            best: Array = self.scores.argmax(axis=1)
            return best
        columns = np.delete(np.arange(self.scores.shape[1]), self.no_object)
        among: Array = columns[self.scores[:, columns].argmax(axis=1)]
        return among

    def score(self, rows: Array, classes: Array) -> Array:
        """Score the detections `rows`, each for its class, ``(R,)``."""
        own: Array = self.scores[rows, classes] if self.scores.ndim == 2 else self.scores[rows]
        return own if self.objectness is None else own * self.objectness[rows]


@dataclass(frozen=True)
class Detections:
    """How a model's outputs list what it detected.

    Parameters
    ----------
    boxes, scores : Part
        Where they are; four numbers a detection, and one or one for each class.
    labels : Part, optional
        Where the class of each detection is, if its scores do not give it.
    objectness : Part, optional
        Where a factor of all scores of a detection is.
    corners : {"xyxy", "yxyx", "xywh", "cxcywh"}
        What the four numbers of a box mean.
    no_object : {0, -1}, optional
        Whether the first or the last column of the scores stands for no object, which is no
        class. Classes keep the numbers of their columns.
    bounded : bool
        Whether the scores are in [0, 1]. Columns behind those of the classes are then told from
        scores, and where the number of classes is known left out: coefficients of masks,
        keypoints, angles.

    Examples
    --------
    A model that returns ``{"boxes": (B, N, 4), "classes": (B, N, K)}``:

    >>> arranged = Detections(Part("boxes"), Part("classes"), corners="xywh")
    """

    boxes: Part
    scores: Part
    labels: Part | None = None
    objectness: Part | None = None
    corners: Corners = "xyxy"
    no_object: Literal[0, -1] | None = None
    bounded: bool = False

    def __post_init__(self) -> None:
        if self.no_object not in (None, 0, -1):
            raise TargetError(
                f"no_object={self.no_object!r}; expected 0, the first column of the scores, or "
                "-1, the last."
            )
        if self.corners not in _TO_XYXY:
            raise TargetError(
                f"corners={self.corners!r}; expected one of {', '.join(map(repr, _TO_XYXY))}."
            )

    def of(self, leaves: Leaves, classes: int | None = None) -> list[Detected]:
        """List what was detected, image by image; the arrays are views of the leaves.

        Parameters
        ----------
        leaves : mapping of str to array
            The model's outputs.
        classes : int, optional
            How many classes there are, where it is known.

        Raises
        ------
        TargetError
            The outputs are not arranged like this.
        """
        return [self._image(leaves, i, classes) for i in range(self.scores.images(leaves))]

    def gradient(self, boxes: Array) -> Array:
        """Turn a derivative by corners into that by boxes as the model gives them."""
        native: Array = boxes @ _TO_XYXY[self.corners].T.astype(boxes.dtype)
        return native

    def _image(self, leaves: Leaves, image: int, count: int | None) -> Detected:
        """Collect what was detected in one image."""
        boxes, scores = self.boxes.of(leaves, image), self.scores.of(leaves, image)
        no_object = None
        if scores.ndim == 2:
            scores, no_object = self._of_classes(scores, count)
        if boxes.ndim != 2 or boxes.shape[1] != 4 or len(boxes) != len(scores):
            raise TargetError(
                f"Boxes {boxes.shape} and scores {scores.shape} of image {image} do not fit: one "
                "box of four numbers is expected for each score. Say how the model's outputs are "
                "arranged: Box(..., arranged=camcore.targets.Detections(...))."
            )
        labels = None if self.labels is None else self.labels.of(leaves, image).astype(int)
        objectness = None if self.objectness is None else self.objectness.of(leaves, image)
        self._check_bounds(scores, count)
        return Detected(boxes, scores, labels, objectness, self.corners, no_object)

    def _of_classes(self, scores: Array, count: int | None) -> tuple[Array, int | None]:
        """Take the columns of the classes, and say which of them stands for no object."""
        surplus = 0 if count is None else scores.shape[1] - count
        has_no_object = self.no_object is not None and (count is None or surplus == 1)
        if self.bounded and surplus > 0:
            return scores[:, :count], None
        if surplus and not has_no_object:
            raise TargetError(
                f"The outputs score {scores.shape[1]} columns for {count} classes. Say where the "
                "classes are: Box(..., arranged=camcore.targets.Detections(...)), with "
                "no_object=0 or -1 where one column stands for no object; or how many there are: "
                "classes=..."
            )
        if has_no_object and self.no_object == -1:
            return scores[:, :-1], None
        return scores, self.no_object if has_no_object else None

    def _check_bounds(self, scores: Array, count: int | None) -> None:
        """Refuse scores that are none, but coordinates or coefficients."""
        if not self.bounded or not scores.size or (scores.min() >= 0 and scores.max() <= 1):
            return
        said = "the columns behind the boxes" if count is None else f"{count} columns"
        raise TargetError(
            f"The scores of classes are in [0, 1], but {said} have values from "
            f"{scores.min():.3g} to {scores.max():.3g}. Where coefficients of masks, keypoints or "
            "angles stand behind the scores, say how many classes there are: Box(..., "
            "classes=...). Where each row is x1, y1, x2, y2, score, class: "
            "arranged='yolo-end2end'. Other arrangements, and scores without a bound, are "
            "described by camcore.targets.Detections."
        )


TORCHVISION: Final = Detections(Part("{}.boxes"), Part("{}.scores"), Part("{}.labels"))
"""A list with one dict an image: ``boxes`` (N, 4), ``scores`` (N,), ``labels`` (N,)."""

YOLO: Final = Detections(
    Part(columns=(0, 4), axis=0),
    Part(columns=(4, None), axis=0),
    corners="cxcywh",
    bounded=True,
)
"""One array ``(B, 4 + K + E, N)``: centre, size, and a score for each class (YOLOv8 and later).

E further rows hold coefficients of masks, keypoints or an angle.
"""

YOLOV5: Final = Detections(
    Part(columns=(0, 4)),
    Part(columns=(5, None)),
    objectness=Part(columns=4),
    corners="cxcywh",
    bounded=True,
)
"""One array ``(B, N, 5 + K + E)``: centre, size, objectness, and a score for each class."""

YOLO_END2END: Final = Detections(
    Part(columns=(0, 4)), Part(columns=4), Part(columns=5), bounded=True
)
"""One array ``(B, N, 6 + E)``: corners, score, class, after the head's own choice of N."""

DETR: Final = Detections(Part("pred_boxes"), Part("logits"), corners="cxcywh", no_object=-1)
"""``logits`` (B, N, K + 1), the last for no object, and ``pred_boxes`` (B, N, 4).

Where the number of classes is known to be that of the logits, none stands for no object.
"""

ARRANGEMENTS: Final[Mapping[str, Detections]] = {
    "torchvision": TORCHVISION,
    "yolo": YOLO,
    "yolov5": YOLOV5,
    "yolo-end2end": YOLO_END2END,
    "detr": DETR,
}
