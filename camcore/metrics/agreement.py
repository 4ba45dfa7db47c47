"""Measure how far two sets of maps are apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore._shared.finite import finite, without_overflow
from camcore._shared.optional import needs
from camcore._shared.suggest import hint
from camcore.adapter import Array
from camcore.errors import InputError
from camcore.postprocess import normalise

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pair:
    """How far two explanations of the same images are apart, image by image.

    Parameters
    ----------
    names : (str, str)
        What the two are called.
    maps : pair of (B, *S) array
        Their maps, at the size of the larger.
    largest : (B,) array
        The largest absolute difference.
    pearson, spearman : (B,) array
        Linear and rank correlation; NaN where a map is constant.
    ssim : (B,) array or None
        Structural similarity; None without scikit-image (extra ``metrics``).
    overlap : (B,) array
        Share of the strongest positions that they have in common.
    """

    names: tuple[str, str]
    maps: tuple[Array, Array]
    largest: Array
    pearson: Array
    spearman: Array
    ssim: Array | None
    overlap: Array

    @property
    def worst(self) -> int:
        """Index of the image whose maps are farthest apart."""
        return int(np.argmax(self.largest))

    @property
    def where(self) -> tuple[tuple[int, ...], ...]:
        """For each image, the position where the two maps differ most."""
        gaps = np.abs(self.maps[0] - self.maps[1])
        return tuple(
            tuple(int(i) for i in np.unravel_index(np.argmax(gap), gap.shape)) for gap in gaps
        )

    def numbers(self, image: int | None = None) -> dict[str, Any]:
        """Collect the measures of one image by name, or of each measure the worst of all images."""

        def one(name: str, values: Array | None) -> float | None:
            if values is None or image is not None:
                return None if values is None else float(values[image])
            return float(values.max()) if name == "largest" else _least(values)

        names = ("largest", "pearson", "spearman", "ssim", "overlap")
        return {name: one(name, getattr(self, name)) for name in names}


def largest_difference(
    first: npt.ArrayLike, second: npt.ArrayLike, *, relative: bool = False
) -> Floats:
    """Measure the largest absolute difference of each pair of maps.

    Parameters
    ----------
    first, second : (B, *S) array
        Maps, signed or not.
    relative : bool
        Divide by the largest absolute value of either map of the pair.

    Returns
    -------
    (B,) float64 array
        Two maps of zeros are 0 apart.

    Raises
    ------
    InputError
        The shapes differ, or are not (B, *S).
    """
    a, b = _rows_of(first, second)
    gap: Floats = without_overflow(np.abs(a - b).max(axis=1), "The difference of maps")
    if not relative:
        return gap
    scale = np.maximum(np.abs(a).max(axis=1), np.abs(b).max(axis=1))
    ratio: Floats = np.divide(gap, scale, out=np.zeros_like(gap), where=gap != 0)
    return ratio


def pearson(first: npt.ArrayLike, second: npt.ArrayLike) -> Floats:
    """Correlate the values of each pair of maps.

    Parameters
    ----------
    first, second : (B, *S) array
        Maps, signed or not.

    Returns
    -------
    (B,) float64 array
        In [-1, 1]; NaN where a map is constant, since it correlates with nothing.

    Raises
    ------
    InputError
        The shapes differ, or are not (B, *S).
    """
    a, b = (_unit(values) for values in _rows_of(first, second))
    correlation: Floats = np.clip((a * b).sum(axis=1), -1, 1)
    return correlation


def spearman(first: npt.ArrayLike, second: npt.ArrayLike, *, absolute: bool = False) -> Floats:
    """Correlate the ranks of each pair of maps.

    Equal values share the mean of their ranks.

    Parameters
    ----------
    first, second : (B, *S) array
        Maps, signed or not.
    absolute : bool
        Rank magnitudes, without their signs.

    Returns
    -------
    (B,) float64 array
        In [-1, 1]; NaN where a map is constant.

    Raises
    ------
    InputError
        The shapes differ, or are not (B, *S).
    """
    a, b = _rows_of(first, second)
    if absolute:
        a, b = np.abs(a), np.abs(b)
    return pearson(*(np.stack([_ranks_of(row) for row in rows]) for rows in (a, b)))


def ssim(first: npt.ArrayLike, second: npt.ArrayLike) -> Floats:
    """Measure the structural similarity of each pair of maps.

    Parameters
    ----------
    first, second : (B, *S) array
        Maps, signed or not; the range is that of the two together.

    Returns
    -------
    (B,) float64 array
        In [-1, 1]; 1 for equal maps. NaN where a side is shorter than 3.

    Raises
    ------
    InputError
        The shapes differ, or are not (B, *S).
    MissingExtraError
        scikit-image is not installed.

    References
    ----------
    Wang et al., "Image Quality Assessment: From Error Visibility to Structural
    Similarity", IEEE TIP 2004; as scikit-image computes it, uniform windows of 7, or
    of the largest odd side that fits.
    """
    _rows_of(first, second)
    with needs("metrics", "structural similarity"):
        from skimage.metrics import structural_similarity
    a, b = (np.asarray(maps, dtype=np.float64) for maps in (first, second))
    side = min(7, *a.shape[1:])
    window = side - (side + 1) % 2
    if window < 3:
        return np.full(len(a), np.nan)
    similarities = np.array(
        [
            1.0
            if np.array_equal(one, other)
            else structural_similarity(
                one, other, win_size=window, data_range=np.ptp(np.stack([one, other]))
            )
            for one, other in zip(a, b, strict=True)
        ]
    )
    return without_overflow(similarities, "The structural similarity of maps")


def hog_similarity(
    first: npt.ArrayLike, second: npt.ArrayLike, *, cell: int | None = None
) -> Floats:
    """Correlate the histograms of oriented gradients (HOG) of each pair of flat maps.

    Each map is scaled to [0, 1] by its own extremes; then its gradients are counted in nine
    directions, in cells, and normalised over blocks of three by three cells (``L2-Hys``).

    Parameters
    ----------
    first, second : (B, H, W) array
        Maps, signed or not.
    cell : int, optional
        Side of a cell in pixels. Left out, 16 as in the paper's code, or what lets three cells
        fit the shorter side of a smaller map.

    Returns
    -------
    (B,) float64 array
        Pearson's correlation of the descriptors, in [-1, 1]; NaN where a map is constant, or a
        side shorter than 3.

    Raises
    ------
    InputError
        The shapes differ or are not (B, H, W), or three cells do not fit.
    MissingExtraError
        scikit-image is not installed.

    References
    ----------
    Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018, sec. 3; descriptors are
    scikit-image's. The paper says Pearson's correlation; its code takes Spearman's.
    """
    a, b = _rows_of(first, second)
    shape = np.shape(first)
    if len(shape) != 3:
        raise InputError(
            f"Maps of shape {shape} have no histograms of oriented gradients; pass flat ones, "
            "(B, H, W)."
        )
    fits = min(shape[1:]) // 3
    side = min(16, fits) if cell is None else cell
    if cell is not None and not 1 <= cell <= fits:
        raise InputError(
            f"cell={cell}: three cells must fit the shorter side of maps of {shape[1:]}; pass 1 to "
            f"{fits}."
        )
    with needs("metrics", "comparing histograms of oriented gradients"):
        from skimage.feature import hog
    if side == 0:
        return np.full(len(a), np.nan)

    def described(maps: Floats) -> Floats:
        scaled = normalise(maps, "min_max").reshape(shape)
        return np.stack([hog(one, pixels_per_cell=(side, side)) for one in scaled])

    return pearson(described(a), described(b))


def top_overlap(first: npt.ArrayLike, second: npt.ArrayLike, share: float = 0.1) -> Floats:
    """Measure the share of the strongest positions that each pair of maps has in common.

    Parameters
    ----------
    first, second : (B, *S) array
        Maps, signed or not.
    share : float
        How much of the positions counts as the strongest, in (0, 1]. Among equal values
        the earlier position counts as the stronger.

    Returns
    -------
    (B,) float64 array
        In [0, 1]; 1 for two maps that rank positions alike.

    Raises
    ------
    InputError
        The shapes differ or are not (B, *S), or `share` is out of range.
    """
    if not 0 < share <= 1:
        raise InputError(f"share={share} is no share of the positions; pass a number in (0, 1].")
    a, b = _rows_of(first, second)
    count = max(1, round(share * a.shape[1]))
    strongest = [np.argsort(-maps, axis=1, kind="stable")[:, :count] for maps in (a, b)]
    common = [len(np.intersect1d(*pair)) for pair in zip(*strongest, strict=True)]
    overlap: Floats = np.array(common) / count
    return overlap


Similarity: TypeAlias = Callable[[npt.ArrayLike, npt.ArrayLike], Floats]
"""From two arrays of maps ``(B, *S)`` to how alike each pair is, ``(B,)``."""


def _scaled_ssim(first: npt.ArrayLike, second: npt.ArrayLike) -> Floats:
    """Measure the structural similarity of maps scaled to [0, 1], each by its own extremes."""
    a, b = _rows_of(first, second)
    shape = np.shape(first)
    return ssim(*(normalise(maps, "min_max").reshape(shape) for maps in (a, b)))


SIMILARITIES: Final[Mapping[str, Similarity]] = MappingProxyType(
    {
        "pearson": pearson,
        "spearman": spearman,
        "absolute-spearman": partial(spearman, absolute=True),
        "ssim": _scaled_ssim,
        "hog": hog_similarity,
    }
)
"""How alike two maps are, whatever their scale, by name.

``absolute-spearman`` ranks magnitudes; ``ssim`` scales each map to [0, 1] by its own extremes,
so that the maps of a random network are compared by structure and not by size.
"""


def find_similarity(name: str) -> Similarity:
    """Find a similarity by its name.

    Parameters
    ----------
    name : str
        One of `SIMILARITIES`.

    Returns
    -------
    callable

    Raises
    ------
    InputError
        There is no such similarity.
    """
    if name not in SIMILARITIES:
        raise InputError(f"There is no similarity {name!r}. {hint(name, SIMILARITIES)}")
    return SIMILARITIES[name]


def _rows_of(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[Floats, Floats]:
    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape or a.ndim < 2 or a.size == 0:
        raise InputError(
            f"Maps of shape {a.shape} and {b.shape} cannot be compared; "
            "pass two arrays of one shape (B, *S)."
        )
    return _rows(a), _rows(b)


def _rows(maps: npt.NDArray[Any]) -> Floats:
    if maps.dtype.kind not in "biuf":
        raise InputError(f"Maps of dtype {maps.dtype} cannot be compared; pass real numbers.")
    return finite(maps.reshape(len(maps), -1).astype(np.float64), "Maps")


def _unit(values: Floats) -> Floats:
    """Centre each row and scale it to length 1; constant rows become NaN."""
    # Scaled first, so that squares of tiny or huge values neither vanish nor overflow.
    largest = np.abs(values).max(axis=1, keepdims=True)
    values = np.divide(values, largest, out=np.zeros_like(values), where=largest > 0)
    constant = np.ptp(values, axis=1, keepdims=True) == 0
    centred = values - values.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit: Floats = np.divide(centred, length, out=np.full_like(centred, np.nan), where=~constant)
    return unit


def _ranks_of(row: Floats) -> Floats:
    _, place, count = np.unique(row, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(count) - (count - 1) / 2)[place]
    return ranks


def _least(values: Array) -> float:
    """Find the smallest value that is a number; NaN where none is."""
    return float(np.fmin.reduce(values))
