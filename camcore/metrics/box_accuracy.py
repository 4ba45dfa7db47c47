"""Score the boxes around what maps mark against the boxes of objects.

Boxes of objects are ``left, top, right, bottom`` in pixels of the map, as the files of ILSVRC and
CUB have them: right and bottom are the last pixels of the object. Those of `boxes_of` end one
pixel beyond.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from camcore._shared.optional import needs
from camcore.errors import InputError
from camcore.metrics.arrays import (
    Floats,
    mean_of_numbers,
    read_maps,
    read_thresholds,
    read_unit_maps,
)
from camcore.metrics.boxes import boxes_of

Contours: TypeAlias = Literal["largest", "all"]
Boxes: TypeAlias = npt.ArrayLike | Sequence[npt.ArrayLike]


@dataclass(frozen=True, eq=False)
class BoxAccuracy:
    """How well the boxes around maps fit those of objects at each threshold, sample by sample.

    Parameters
    ----------
    thresholds : (T,) array
        Shares of each map's largest value.
    values : (B, T) array
        The best intersection over union of a box of the map and one of an object; NaN where there
        is no object. Parts of a data set are joined by joining their rows.
    iou : (K,) array
        From which intersection over union on a sample counts as right.
    """

    thresholds: Floats
    values: Floats
    iou: Floats

    @classmethod
    def concatenate(cls, parts: Sequence[BoxAccuracy]) -> BoxAccuracy:
        """Join those of other samples.

        Parameters
        ----------
        parts : sequence of BoxAccuracy
            One or more, of the same thresholds.

        Raises
        ------
        InputError
            There is none, or they have other thresholds.
        """
        if not parts:
            raise InputError("No box accuracies to join; pass one or more.")
        first = parts[0]
        for part in parts:
            for name in ("thresholds", "iou"):
                if not np.array_equal(getattr(part, name), getattr(first, name)):
                    raise InputError(
                        f"Box accuracies of other {name} cannot be joined: {getattr(first, name)} "
                        f"and {getattr(part, name)}."
                    )
        values = np.concatenate([part.values for part in parts])
        return cls(first.thresholds, values, first.iou)

    @property
    def accuracy(self) -> Floats:
        """Share of the samples with objects that are right, ``(K, T)``."""
        right = np.where(np.isnan(self.values), np.nan, self.values >= self.iou[:, None, None])
        return np.stack([mean_of_numbers(level) for level in right])

    @property
    def best(self) -> Floats:
        """The accuracy at the best threshold of the data set, for each `iou` its own, ``(K,)``."""
        best: Floats = self.accuracy.max(axis=1)
        return best

    @property
    def best_thresholds(self) -> Floats:
        """The thresholds of `best`, the lowest of equal ones, ``(K,)``; NaN without objects."""
        lowest = self.thresholds[self.accuracy.argmax(axis=1)]
        return np.where(np.isnan(self.best), np.nan, lowest)

    @property
    def score(self) -> float:
        """The mean of `best`: MaxBoxAcc of one `iou`, and MaxBoxAccV2 of 0.3, 0.5 and 0.7."""
        return float(self.best.mean())


def max_box_accuracy(
    maps: npt.ArrayLike,
    boxes: Boxes,
    *,
    iou: float | Sequence[float] = 0.5,
    thresholds: int | Sequence[float] = 101,
    contours: Contours = "largest",
) -> BoxAccuracy:
    """Score boxes around maps at many thresholds, in the convention of wsolevaluation.

    A map becomes 8-bit numbers, ⌊255 M⌋; a threshold t marks those above ⌊t · max⌋; a box goes
    around a contour that OpenCV finds, of largest area where one is chosen, and ends one pixel
    beyond it where the map does not end before. Widths and heights of boxes are end - start + 1.

    Parameters
    ----------
    maps : (B, H, W) array
        In [0, 1].
    boxes : sequence of (n, 4) array, or (B, 4) array
        Those of each sample's objects, or its one object's, in pixels of the map.
    iou : float or sequence of float
        From which intersection over union on a sample is right: 0.5 is MaxBoxAcc, and
        ``(0.3, 0.5, 0.7)`` with ``contours="all"`` MaxBoxAccV2.
    thresholds : int or sequence of float in [0, 1]
        The thresholds, or how many from 0 to 1. 101 and 1001 are those of the authors and 1,
        above which nothing is.
    contours : {"largest", "all"}
        The contour of largest area, or all, of which the one that fits best counts.

    Returns
    -------
    BoxAccuracy
        Where nothing is above a threshold, as in a map of zeros, the box is the first pixel.

    Raises
    ------
    InputError
        A map is not flat or not in [0, 1], boxes are not as said, or an option is out of range.
    MissingExtraError
        OpenCV is not installed.

    References
    ----------
    Choe et al., "Evaluating Weakly Supervised Object Localization Methods Right", CVPR 2020,
    sec. 4.1; V2: Choe et al., "Evaluation for Weakly Supervised Object Localization: Protocol,
    Metrics, and Datasets", TPAMI 2022. https://github.com/clovaai/wsolevaluation
    """
    if contours not in get_args(Contours):
        raise InputError(f"contours={contours!r}; expected 'largest' or 'all'.")
    array = _flat(read_unit_maps(maps))
    objects = _boxes(boxes, array.shape)
    shares, levels = read_thresholds(thresholds, first=0), _levels(iou)
    values = np.full((len(array), len(shares)), np.nan)
    for row, one, truth in zip(values, (array * 255).astype(np.uint8), objects, strict=True):
        if len(truth):
            cuts, which = np.unique((shares * one.max()).astype(int), return_inverse=True)
            fits = [_fit(_boxes_above(one, int(cut), contours), truth) for cut in cuts]
            row[:] = np.array(fits)[which]
    return BoxAccuracy(shares, values, levels)


def top1_localisation(
    maps: npt.ArrayLike,
    boxes: Boxes,
    right: npt.ArrayLike,
    *,
    threshold: float = 0.2,
    iou: float = 0.5,
) -> Floats:
    """Score whether the class is right and the box around the map fits an object.

    The box goes around the largest region that reaches the threshold, as `boxes_of` finds it.

    Parameters
    ----------
    maps : (B, H, W) array
        Those of the first class, not negative.
    boxes : sequence of (n, 4) array, or (B, 4) array
        Those of each sample's objects, or its one object's, in pixels of the map.
    right : (B,) bool array
        Whether the first class is the sample's; True for all gives the accuracy of a known class.
    threshold : float in (0, 1]
        A share of the map's largest value: 0.2 with CAM, 0.15 with Grad-CAM.
    iou : float
        From which intersection over union on a box fits.

    Returns
    -------
    (B,) float64 array
        1 or 0; 0 for a map of zeros, which has no box, and NaN where there is no object. The
        papers print the error, 1 - mean.

    Raises
    ------
    InputError
        A map is not flat, negative or not finite, boxes are not as said, or an option is out of
        range.
    MissingExtraError
        OpenCV is not installed.

    References
    ----------
    Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, sec. 3.2;
    Selvaraju et al., "Grad-CAM", ICCV 2017, sec. 4.1.
    """
    array = _flat(read_maps(maps))
    objects = _boxes(boxes, array.shape)
    levels = _levels(iou)
    if len(levels) > 1:
        raise InputError(f"iou={iou!r}; expected one number.")
    known = np.asarray(right)
    if known.dtype != bool or known.shape != (len(array),):
        raise InputError(
            f"right of shape {known.shape} and dtype {known.dtype}; expected True or False for "
            f"each of {len(array)} maps."
        )
    # These end one pixel beyond.
    found = [boxes_of(one, threshold) - [0, 0, 1, 1] for one in array]
    fits = [_fit(*pair) >= levels[0] for pair in zip(found, objects, strict=True)]
    return np.where([len(truth) > 0 for truth in objects], known & fits, np.nan)


def _boxes_above(image: npt.NDArray[np.uint8], cut: int, contours: Contours) -> Floats:
    """Find wsolevaluation's boxes around what is above `cut`; the first pixel where nothing is."""
    with needs("viz", "finding boxes"):
        import cv2
    found, _ = cv2.findContours(
        (image > cut).astype(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE
    )
    if not found:
        return np.zeros((1, 4))
    if contours == "largest":
        found = [max(found, key=cv2.contourArea)]
    left, top, width, height = np.array([cv2.boundingRect(one) for one in found], np.float64).T
    bottom, right = (
        np.minimum(end, side - 1)
        for end, side in zip((top + height, left + width), image.shape, strict=True)
    )
    return np.stack([left, top, right, bottom], axis=1)


def _fit(found: npt.NDArray[np.generic], objects: Floats) -> float:
    """Find the largest intersection over union of two sets of boxes; 0 where one has none."""
    one, other = found[:, None].astype(np.float64), objects[None]
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2]) + 1
    common = np.maximum(sides, 0).prod(axis=-1)
    areas = [(boxes[..., 2:] - boxes[..., :2] + 1).prod(axis=-1) for boxes in (one, other)]
    return float((common / (areas[0] + areas[1] - common)).max(initial=0))


def _flat(maps: Floats) -> Floats:
    if maps.ndim != 3:
        raise InputError(f"Maps of shape {maps.shape} have no boxes; give (B, H, W).")
    return maps


def _levels(iou: float | Sequence[float]) -> Floats:
    levels = np.atleast_1d(np.asarray(iou, dtype=np.float64))
    if levels.ndim != 1 or levels.size == 0 or not ((levels > 0) & (levels <= 1)).all():
        raise InputError(f"iou={iou!r}; expected a number above 0 and at most 1, or several.")
    return levels


def _boxes(boxes: Boxes, shape: tuple[int, ...]) -> list[Floats]:
    """Read each sample's boxes as ``(n, 4)``, and refuse what cannot lie on a map."""
    given = list(boxes) if isinstance(boxes, Sequence | np.ndarray) else []
    if len(given) != shape[0]:
        raise InputError(
            f"Boxes of {len(given)} samples do not fit {shape[0]} maps; pass a list with the "
            "boxes (n, 4) of each sample, or (B, 4)."
        )
    return [_boxes_of_sample(one, number, shape[1:]) for number, one in enumerate(given)]


def _boxes_of_sample(boxes: npt.ArrayLike, number: int, size: tuple[int, ...]) -> Floats:
    try:
        array = np.asarray(boxes, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"Boxes of sample {number} are no array of numbers: {error}.") from error
    if array.size == 0:
        return np.zeros((0, 4))
    if array.shape == (4,):
        array = array[None]
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(
            f"Boxes of sample {number} have shape {array.shape}; expected (n, 4): left, top, "
            "right, bottom."
        )
    height, width = size
    inside = (array >= 0) & (array <= [width, height, width, height])
    if not (inside.all() and (array[:, 2:] >= array[:, :2]).all()):
        raise InputError(
            f"Boxes of sample {number} do not lie on a map of {height} by {width}, or end before "
            f"they start: {array.tolist()}. Give left, top, right, bottom in pixels of the map."
        )
    return array
