"""Measure how far two sets of maps are apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore._shared.finite import finite, without_overflow
from camcore._shared.optional import needs
from camcore.adapter import Array
from camcore.errors import InputError

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


def spearman(first: npt.ArrayLike, second: npt.ArrayLike) -> Floats:
    """Correlate the ranks of each pair of maps.

    Equal values share the mean of their ranks.

    Parameters
    ----------
    first, second : (B, *S) array
        Maps, signed or not.

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
