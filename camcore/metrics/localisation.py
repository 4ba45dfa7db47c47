"""Measure whether maps point at what is marked: their maxima, their energy, their ranks.

All take maps and masks ``(B, *S)`` of one, two or three axes of space, and return one value for
each sample; NaN, where its mask is empty, so that whoever averages them counts those.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError
from camcore.metrics.arrays import (
    Bools,
    Floats,
    read_maps,
    read_masks,
    rows_of,
    where_marked,
    without_scale,
)

PointTies: TypeAlias = Literal["any", "first", "mean"]
RankTies: TypeAlias = Literal["first", "mean"]
Negative: TypeAlias = Literal["clip", "keep", "abs"]


def pointing_game(
    maps: npt.ArrayLike,
    masks: npt.ArrayLike,
    *,
    tolerance: float = 0,
    ties: PointTies = "any",
) -> Floats:
    """Score whether the maximum of each map lies in its mask.

    Parameters
    ----------
    maps : (B, *S) array
        Maps, signed or not. Every position of a constant map is a maximum.
    masks : (B, *S) array
        What is to be pointed at: True and False, or 1 and 0.
    tolerance : float
        In positions: a maximum also hits where it is less than this away from the mask. The
        authors and TorchRay take 15.
    ties : {"any", "first", "mean"}
        Which of several equal maxima counts: a hit of any, as in Quantus; the earliest, as in
        TorchRay; or the share of them that hit, which no order of the positions changes.

    Returns
    -------
    (B,) float64 array
        1 for a hit and 0 for a miss, shares with ``ties="mean"``; NaN where the mask is empty.
        The authors average within each class, then over classes.

    Raises
    ------
    InputError
        The arrays do not fit or are not as said, a map is not finite, or an option is unknown.

    References
    ----------
    Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016, sec. 4.1.
    """
    _one_of(ties=(ties, get_args(PointTies)))
    if not 0 <= tolerance < np.inf:
        raise InputError(f"tolerance={tolerance}; expected a number of positions, 0 or more.")
    array = read_maps(maps)
    marked = read_masks(masks, array.shape)
    rows, near = rows_of(array), rows_of(_near(marked, tolerance))
    largest = rows == rows.max(axis=1, keepdims=True)
    if ties == "first":
        hits = near[np.arange(len(rows)), rows.argmax(axis=1)]
    elif ties == "any":
        hits = (largest & near).any(axis=1)
    else:
        hits = (largest & near).sum(axis=1) / largest.sum(axis=1)
    return where_marked(hits, marked)


def energy_pointing_game(
    maps: npt.ArrayLike, masks: npt.ArrayLike, *, negative: Negative = "clip"
) -> Floats:
    """Measure the share of each map's energy that lies in its mask, Σ_mask M / Σ M.

    Parameters
    ----------
    maps : (B, *S) array
        Maps, signed or not.
    masks : (B, *S) array
        True and False, or 1 and 0; the authors take the object's box.
    negative : {"clip", "keep", "abs"}
        What negative values count: nothing; what they are, so that the share may leave [0, 1]; or
        their size.

    Returns
    -------
    (B,) float64 array
        In [0, 1] unless negative values are kept. 0 for a map without any energy, which points at
        nothing. NaN where the mask is empty, and where negative values are kept and outweigh the
        positive ones, since nothing is a share of that.

    Raises
    ------
    InputError
        The arrays do not fit or are not as said, a map is not finite, or an option is unknown.

    References
    ----------
    Wang et al., "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural
    Networks", CVPRW 2020, on localisation; the relevance mass accuracy of Arras et al.,
    "CLEVR-XAI", Information Fusion 2022, is the same.
    """
    _one_of(negative=(negative, get_args(Negative)))
    array = read_maps(maps)
    marked = read_masks(masks, array.shape)
    energy = without_scale(rows_of(array))
    if negative != "keep":
        energy = np.abs(energy) if negative == "abs" else np.maximum(energy, 0)
    total = energy.sum(axis=1)
    within = np.where(rows_of(marked), energy, 0).sum(axis=1)
    share = np.divide(within, total, out=np.zeros(len(total)), where=total > 0)
    share[(total <= 0) & energy.any(axis=1)] = np.nan
    return where_marked(share, marked)


def relevance_rank(
    maps: npt.ArrayLike, masks: npt.ArrayLike, *, ties: RankTies = "first"
) -> Floats:
    """Measure the share of the K strongest positions that lie in a mask of K positions.

    Parameters
    ----------
    maps : (B, *S) array
        Maps, signed or not.
    masks : (B, *S) array
        True and False, or 1 and 0.
    ties : {"first", "mean"}
        Which of several equal values count as stronger: the earlier ones; or each as much as the
        others, which is the mean over all their orders.

    Returns
    -------
    (B,) float64 array
        In [0, 1]; NaN where the mask is empty. With ``ties="mean"``, a constant map scores the
        mask's share of the positions.

    Raises
    ------
    InputError
        The arrays do not fit or are not as said, a map is not finite, or an option is unknown.

    References
    ----------
    Arras et al., "CLEVR-XAI: A benchmark dataset for the ground truth evaluation of neural
    network explanations", Information Fusion 2022, relevance rank accuracy.
    """
    _one_of(ties=(ties, get_args(RankTies)))
    array = read_maps(maps)
    masks = read_masks(masks, array.shape)
    rows, marked = rows_of(array), rows_of(masks)
    counts = marked.sum(axis=1)
    size = np.maximum(counts, 1)
    order = np.argsort(-rows, axis=1, kind="stable")
    if ties == "first":
        strongest = np.arange(rows.shape[1]) < size[:, None]
        found = (np.take_along_axis(marked, order, axis=1) & strongest).sum(axis=1)
        return where_marked(found / size, masks)
    last = np.take_along_axis(rows, order, axis=1)[np.arange(len(rows)), size - 1][:, None]
    above, equal = rows > last, rows == last
    left = size - above.sum(axis=1)
    expected = left * (equal & marked).sum(axis=1) / equal.sum(axis=1)
    return where_marked(((above & marked).sum(axis=1) + expected) / size, masks)


def roc_auc(maps: npt.ArrayLike, masks: npt.ArrayLike) -> Floats:
    """Measure the share of pairs of a position in the mask and one outside that the map tells.

    It is the area under the curve of true over false positives, at every threshold.

    Parameters
    ----------
    maps : (B, *S) array
        Maps, signed or not.
    masks : (B, *S) array
        True and False, or 1 and 0.

    Returns
    -------
    (B,) float64 array
        In [0, 1]: the share of pairs whose position in the mask has more, where equal ones count
        half; 0.5 for a constant map. NaN where the mask is empty, or all is in it.

    Raises
    ------
    InputError
        The arrays do not fit or are not as said, or a map is not finite.

    References
    ----------
    Fawcett, "An introduction to ROC analysis", Pattern Recognition Letters 2006, sec. 7.
    """
    array = read_maps(maps)
    masks = read_masks(masks, array.shape)
    areas = np.full(len(array), np.nan)
    for sample, (row, marked) in enumerate(zip(rows_of(array), rows_of(masks), strict=True)):
        inside, outside = row[marked], np.sort(row[~marked])
        if len(inside) and len(outside):
            below, up_to = (np.searchsorted(outside, inside, side) for side in ("left", "right"))
            areas[sample] = (below + up_to).sum() / (2 * len(inside) * len(outside))
    return areas


def grid_pointing_game(
    maps: npt.ArrayLike,
    cell: npt.ArrayLike,
    *,
    grid: int | Sequence[int] = 3,
) -> Floats:
    """Measure the share of each map's positive energy in one cell of a grid of images.

    Parameters
    ----------
    maps : (B, *S) array
        Maps of images that are put together of one image of another class in each cell.
    cell : int or (B,) int array
        Which cell has the explained class, counted from 0 in the order of the array: row by row.
    grid : int or sequence of int
        How many cells there are along each axis, or along all; the authors take 3 by 3.

    Returns
    -------
    (B,) float64 array
        In [0, 1]; a map that does not tell cells apart scores 1 / (number of cells). 0 for a map
        without positive values, as in the authors' code.

    Raises
    ------
    InputError
        A map is not finite, the cells do not divide its sides, or there is no such cell.

    References
    ----------
    Böhle et al., "Convolutional Dynamic Alignment Networks for Interpretable Classifications",
    CVPR 2021; Rao et al., "Towards Better Understanding Attribution Methods", CVPR 2022.
    """
    array = read_maps(maps)
    sides = array.shape[1:]
    cells = (grid,) * len(sides) if isinstance(grid, int) else tuple(grid)
    fits = len(cells) == len(sides) and all(n >= 1 for n in cells)
    if not fits or any(side % n for side, n in zip(sides, cells, strict=True)):
        raise InputError(
            f"A grid of {cells} cells does not divide maps of {sides}; pass the number of cells "
            "along each axis, whole parts of its length."
        )
    index, total = np.asarray(cell), int(np.prod(cells))
    if index.dtype.kind not in "iu" or index.shape not in ((), (len(array),)):
        raise InputError(
            f"cell of shape {index.shape} and dtype {index.dtype}; expected one whole number, or "
            f"one for each of {len(array)} maps."
        )
    if index.min() < 0 or index.max() >= total:
        raise InputError(
            f"cell goes from {index.min()} to {index.max()}; {cells} cells count from 0 to "
            f"{total - 1}."
        )
    places = np.stack(np.unravel_index(np.broadcast_to(index, len(array)), cells), axis=1)
    marked = np.zeros(array.shape, bool)
    lengths = [side // n for side, n in zip(sides, cells, strict=True)]
    for one, place in zip(marked, places, strict=True):
        one[tuple(slice(p * n, (p + 1) * n) for p, n in zip(place, lengths, strict=True))] = True
    return energy_pointing_game(array, marked)


def _near(masks: Bools, tolerance: float) -> Bools:
    """Mark positions less than `tolerance` away from a mask, and the mask itself.

    Squared distances add up over axes, so each axis is gone along once.
    """
    squared = np.where(masks, 0.0, np.inf)
    for axis in range(1, masks.ndim):
        along = np.moveaxis(squared, axis, -1)
        nearest = along.copy()
        for step in range(1, min(int(np.ceil(tolerance)), along.shape[-1])):
            for to, of in ((slice(step, None), slice(-step)), (slice(-step), slice(step, None))):
                np.minimum(nearest[..., to], along[..., of] + step**2, out=nearest[..., to])
        squared = np.moveaxis(nearest, -1, axis)
    near: Bools = squared < max(tolerance, 1) ** 2
    return near


def _one_of(**options: tuple[str, tuple[str, ...]]) -> None:
    for name, (value, known) in options.items():
        if value not in known:
            raise InputError(f"{name}={value!r}; expected one of {', '.join(map(repr, known))}.")
