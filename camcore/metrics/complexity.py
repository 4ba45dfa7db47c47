"""Measure how much of the image a map takes to say what it says.

Four papers call their measure complexity or sparseness, and mean other things; each has its own
name here. All are of |M|, of maps with one, two or three axes of space.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError
from camcore.metrics.arrays import Floats, read_maps, read_unit_maps, rows_of, without_scale


def l1_complexity(maps: npt.ArrayLike) -> Floats:
    """Measure the mean absolute value of each map, ‖M‖₁ / P over its P positions.

    Parameters
    ----------
    maps : (B, *S) array
        In [-1, 1], as `camcore.postprocess.normalise` leaves them.

    Returns
    -------
    (B,) float64 array
        In [0, 1]: 0 for a map of zeros, 1 for one of ones; smaller is simpler.

    Raises
    ------
    InputError
        The shape is not (B, *S), or a value is not in [-1, 1].

    References
    ----------
    Poppi et al., "Revisiting The Evaluation of Class Activation Mapping for Explainability: A
    Novel Metric and Experimental Analysis", CVPRW 2021: the complexity of ADCC.
    """
    mean: Floats = np.abs(rows_of(read_unit_maps(maps, -1))).mean(axis=1)
    return mean


def entropy(maps: npt.ArrayLike) -> Floats:
    """Measure the entropy of each map's shares, -Σ p ln p with p = |M| / Σ |M|.

    Parameters
    ----------
    maps : (B, *S) array
        Maps, signed or not, of any scale.

    Returns
    -------
    (B,) float64 array
        In nats: 0 where one position has everything, ln P where all P have the same; smaller is
        simpler. NaN for a map of zeros, which has no shares.

    Raises
    ------
    InputError
        The shape is not (B, *S), or a map is not finite.

    References
    ----------
    Bhatt et al., "Evaluating and Aggregating Feature-based Model Explanations", IJCAI 2020:
    complexity. Quantus and xplique call it so too.
    """
    sizes = _sizes(maps)
    total = sizes.sum(axis=1, keepdims=True)
    shares = np.divide(sizes, total, out=np.full_like(sizes, np.nan), where=total > 0)
    logarithms = np.log(shares, out=np.zeros_like(shares), where=shares != 0)
    nats: Floats = 0 - (shares * logarithms).sum(axis=1)
    return nats


def sparseness(maps: npt.ArrayLike) -> Floats:
    """Measure the Gini index of each map's absolute values, Σ (2i - P - 1) |M|₍ᵢ₎ / (P Σ |M|).

    |M|₍ᵢ₎ is the i-th smallest of the P values.

    Parameters
    ----------
    maps : (B, *S) array
        Maps, signed or not, of any scale.

    Returns
    -------
    (B,) float64 array
        0 where all P positions have the same, 1 - 1/P where one has everything; larger is
        simpler. NaN for a map of zeros, of which nothing has a share; Quantus adds 1e-7 to each
        value, and gives 0.

    Raises
    ------
    InputError
        The shape is not (B, *S), or a map is not finite.

    References
    ----------
    Chalasani et al., "Concise Explanations of Neural Networks using Adversarial Training",
    ICML 2020.
    """
    sizes = np.sort(_sizes(maps), axis=1)
    count = sizes.shape[1]
    total = count * sizes.sum(axis=1)
    # Each value against its mirror image, so that equal ones leave no rounding.
    weights = 2.0 * np.arange(1, count + 1) - count - 1
    spread = (weights * (sizes - sizes[:, ::-1])).sum(axis=1) / 2
    index: Floats = np.divide(spread, total, out=np.full(len(sizes), np.nan), where=total > 0)
    return index


def effective_complexity(maps: npt.ArrayLike, *, eps: float = 1e-5) -> Floats:
    """Count the positions of each map that matter, Σ 1[|M| / max |M| > eps].

    Parameters
    ----------
    maps : (B, *S) array
        Maps, signed or not, of any scale.
    eps : float
        The share of the map's own largest value above which a position counts, in [0, 1). Quantus
        divides by the largest value of all maps of a call, so that a map's count depends on the
        others there.

    Returns
    -------
    (B,) float64 array
        Whole numbers from 0, of a map of zeros, to P, the number of positions; smaller is simpler.

    Raises
    ------
    InputError
        The shape is not (B, *S), a map is not finite, or `eps` is out of range.

    References
    ----------
    Nguyen and Rodríguez Martínez, "On quantitative aspects of model interpretability",
    arXiv:2007.07584, 2020, as Quantus simplifies it: they ask for the fewest features that keep
    the model's output, Quantus counts large values.
    """
    if not 0 <= eps < 1:
        raise InputError(f"eps={eps}; expected a share of the map's largest value, in [0, 1).")
    sizes = _sizes(maps)
    counts: Floats = (sizes > eps * sizes.max(axis=1, keepdims=True)).sum(axis=1).astype(np.float64)
    return counts


def _sizes(maps: npt.ArrayLike) -> Floats:
    """Read |M| as rows, of a scale whose sums do not overflow."""
    return np.abs(without_scale(rows_of(read_maps(maps))))
