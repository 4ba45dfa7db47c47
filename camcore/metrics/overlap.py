"""Measure how far what maps mark, and what is to be marked, lie over one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError
from camcore.metrics.arrays import (
    Bools,
    Floats,
    mean_of_numbers,
    read_maps,
    read_masks,
    read_thresholds,
    read_unit_maps,
    where_marked,
)
from camcore.metrics.boxes import mask_of

Counts: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class OverlapCurve:
    """The overlap of maps and masks at each threshold, sample by sample.

    Parameters
    ----------
    thresholds : (T,) array
        Shares of each map's largest value.
    values : (B, T) array
        Intersection over union; NaN where a mask is empty. Parts of a data set are joined by
        joining their rows.
    """

    thresholds: Floats
    values: Floats

    @property
    def mean(self) -> Floats:
        """The mean over samples at each threshold, ``(T,)``, without those of an empty mask."""
        return mean_of_numbers(self.values)

    @property
    def best(self) -> float:
        """The mean at the best threshold that all samples have in common; NaN without masks."""
        return float(self.mean.max())

    @property
    def best_threshold(self) -> float:
        """The threshold of `best`, the lowest of equal ones; NaN without masks."""
        return np.nan if np.isnan(self.best) else float(self.thresholds[self.mean.argmax()])


@dataclass(frozen=True, eq=False)
class PixelHistograms:
    """How many positions in and outside masks have which value; those of parts are added.

    Parameters
    ----------
    inside, outside : (bins + 1,) int array
        Counts of values in [0, 1/bins), [1/bins, 2/bins), … and, last, of 1.
    """

    inside: Counts
    outside: Counts

    def __add__(self, other: PixelHistograms) -> PixelHistograms:
        """Count the positions of both.

        Raises
        ------
        InputError
            The numbers of bins differ.
        """
        if len(self.inside) != len(other.inside):
            raise InputError(
                f"Histograms of {len(self.inside) - 1} and {len(other.inside) - 1} bins cannot be "
                "added; count all parts with the same `bins`."
            )
        return PixelHistograms(self.inside + other.inside, self.outside + other.outside)

    @property
    def average_precision(self) -> float:
        """PxAP, Σ_t precision_t (recall_t - recall_t+1), in [0, 1]; NaN where all masks are empty.

        Positions whose value reaches the threshold t count as found.
        """
        hits = self.inside[::-1].cumsum()
        found = hits + self.outside[::-1].cumsum()
        if hits[-1] == 0:
            return np.nan
        precision = hits / np.maximum(found, 1)
        return float((precision * np.diff(hits / hits[-1], prepend=0)).sum())


def iou(maps: npt.ArrayLike, masks: npt.ArrayLike, threshold: float = 0.5) -> Floats:
    """Measure the intersection over union of each mask and of what its map marks.

    Parameters
    ----------
    maps : (B, *S) array
        Maps, not negative.
    masks : (B, *S) array
        What is to be marked: True and False, or 1 and 0.
    threshold : float in (0, 1]
        A share of the map's largest value, as `mask_of` takes it.

    Returns
    -------
    (B,) float64 array
        In [0, 1]. 0 for a map of zeros, which marks nothing; NaN where the mask is empty.

    Raises
    ------
    InputError
        The arrays do not fit or are not as said, a map is negative or not finite, or the threshold
        is out of range.
    """
    array = read_maps(maps)
    return _overlap(array, read_masks(masks, array.shape), threshold)


def iou_curve(
    maps: npt.ArrayLike, masks: npt.ArrayLike, *, thresholds: int | Sequence[float] = 100
) -> OverlapCurve:
    """Measure the intersection over union at many thresholds, to find the best common one.

    A fixed threshold favours the methods whose maps it happens to suit.

    Parameters
    ----------
    maps, masks : (B, *S) array
        As `iou` takes them.
    thresholds : int or sequence of float in (0, 1]
        The thresholds, or how many: 100 are 0.01, 0.02, … 1.

    Returns
    -------
    OverlapCurve

    Raises
    ------
    InputError
        As `iou` raises it, or there is no threshold.
    """
    array = read_maps(maps)
    marked = read_masks(masks, array.shape)
    levels = read_thresholds(thresholds, first=1)
    return OverlapCurve(levels, np.stack([_overlap(array, marked, t) for t in levels], axis=1))


def pixel_histograms(
    maps: npt.ArrayLike,
    masks: npt.ArrayLike,
    ignore: npt.ArrayLike | None = None,
    *,
    bins: int = 1000,
) -> PixelHistograms:
    """Count the values of maps in and outside masks, as `px_ap` needs them of a whole data set.

    Parameters
    ----------
    maps, masks, ignore, bins
        As `px_ap` takes them.

    Returns
    -------
    PixelHistograms

    Raises
    ------
    InputError
        As `px_ap` raises it.
    """
    if bins < 1:
        raise InputError(f"bins={bins}; expected 1 or more.")
    array = read_unit_maps(maps)
    marked = read_masks(masks, array.shape)
    others = ~marked
    if ignore is not None:
        others &= ~read_masks(ignore, array.shape, "Regions to ignore")
    edges = np.append(np.arange(bins) * (1 / bins), 1)
    # Of which bin each value is: how many edges it reaches, less one.
    place = np.searchsorted(edges, array.ravel(), side="right") - 1
    inside, outside = (
        np.bincount(place[chosen.ravel()], minlength=bins + 1) for chosen in (marked, others)
    )
    return PixelHistograms(inside, outside)


def px_ap(
    maps: npt.ArrayLike,
    masks: npt.ArrayLike,
    ignore: npt.ArrayLike | None = None,
    *,
    bins: int = 1000,
) -> float:
    """Compute the average precision of a data set's pixels, PxAP, over all thresholds.

    Of a data set in parts, add the `pixel_histograms` of each: `px_ap` is the
    `average_precision` of their sum, and not a mean of values of samples.

    Parameters
    ----------
    maps : (B, *S) array
        In [0, 1].
    masks : (B, *S) array
        What is to be marked: True and False, or 1 and 0.
    ignore : (B, *S) array, optional
        Positions not to count, where the mask does not mark them.
    bins : int
        How many thresholds there are below 1, from 0 on, equally apart; the authors take 1000.

    Returns
    -------
    float
        In [0, 1], where the authors print percent; NaN where all masks are empty. A constant map
        scores the masks' share of the positions.

    Raises
    ------
    InputError
        The arrays do not fit or are not as said, a map is not in [0, 1], or `bins` is below 1.

    References
    ----------
    Choe et al., "Evaluating Weakly Supervised Object Localization Methods Right", CVPR 2020,
    sec. 4.1.
    """
    return pixel_histograms(maps, masks, ignore, bins=bins).average_precision


def _overlap(maps: Floats, masks: Bools, threshold: float) -> Floats:
    found = [mask_of(one, threshold) for one in maps]
    pairs = list(zip(found, masks, strict=True))
    common = np.array([(one & other).sum() for one, other in pairs])
    either = np.array([(one | other).sum() for one, other in pairs])
    return where_marked(common / np.maximum(either, 1), masks)
