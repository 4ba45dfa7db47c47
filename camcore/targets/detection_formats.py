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
    """

    boxes: Array
    scores: Array
    labels: Array | None
    objectness: Array | None
    corners: Corners

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
        if self.scores.ndim == 2:
            best: Array = self.scores.argmax(axis=1)
            return best
        return np.zeros(len(self), int)

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

    def __post_init__(self) -> None:
        if self.corners not in _TO_XYXY:
            raise TargetError(
                f"corners={self.corners!r}; expected one of {', '.join(map(repr, _TO_XYXY))}."
            )

    def of(self, leaves: Leaves) -> list[Detected]:
        """List what was detected, image by image; the arrays are views of the leaves."""
        return [self._image(leaves, i) for i in range(self.scores.images(leaves))]

    def gradient(self, boxes: Array) -> Array:
        """Turn a derivative by corners into that by boxes as the model gives them."""
        native: Array = boxes @ _TO_XYXY[self.corners].T.astype(boxes.dtype)
        return native

    def _image(self, leaves: Leaves, image: int) -> Detected:
        """Collect what was detected in one image."""
        boxes, scores = self.boxes.of(leaves, image), self.scores.of(leaves, image)
        if boxes.ndim != 2 or boxes.shape[1] != 4 or len(boxes) != len(scores):
            raise TargetError(
                f"Boxes {boxes.shape} and scores {scores.shape} of image {image} do not fit: one "
                "box of four numbers is expected for each score. Say how the model's outputs are "
                "arranged: Box(..., arranged=camcore.targets.Detections(...))."
            )
        labels = None if self.labels is None else self.labels.of(leaves, image).astype(int)
        objectness = None if self.objectness is None else self.objectness.of(leaves, image)
        return Detected(boxes, scores, labels, objectness, self.corners)


TORCHVISION: Final = Detections(Part("{}.boxes"), Part("{}.scores"), Part("{}.labels"))
"""A list with one dict an image: ``boxes`` (N, 4), ``scores`` (N,), ``labels`` (N,)."""

YOLO: Final = Detections(
    Part(columns=(0, 4), axis=0), Part(columns=(4, None), axis=0), corners="cxcywh"
)
"""One array ``(B, 4 + K, N)``: centre, size, and a score for each class (YOLOv8 and later)."""

YOLOV5: Final = Detections(
    Part(columns=(0, 4)), Part(columns=(5, None)), objectness=Part(columns=4), corners="cxcywh"
)
"""One array ``(B, N, 5 + K)``: centre, size, objectness, and a score for each class."""

DETR: Final = Detections(Part("pred_boxes"), Part("logits", columns=(0, -1)), corners="cxcywh")
"""``logits`` (B, N, K + 1), the last for no object, and ``pred_boxes`` (B, N, 4)."""

ARRANGEMENTS: Final[Mapping[str, Detections]] = {
    "torchvision": TORCHVISION,
    "yolo": YOLO,
    "yolov5": YOLOV5,
    "detr": DETR,
}
