"""Join several properties of a map into one number."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from camcore._shared.finite import finite
from camcore.adapter import Array
from camcore.errors import InputError


def adcc(
    drops: npt.ArrayLike, coherency: npt.ArrayLike, complexity: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Join average drop, coherency and complexity by a harmonic mean.

    ADCC = 3 / (1 / coherency + 1 / (1 − complexity) + 1 / (1 − drop)).

    Parameters
    ----------
    drops : (B,) array
        Share of the score that is lost under the map, as `camcore.metrics.drop` computes it.
    coherency : (B,) array
        In [0, 1]: how alike the map of the image and that of the image under its map are, as
        `camcore.metrics.coherency` computes it; NaN where one of them is constant.
    complexity : (B,) array
        In [0, 1]: the mean of the map, as `camcore.metrics.l1_complexity` computes it.

    Returns
    -------
    (B,) float64 array
        In [0, 1], larger is better; 0 where one of the three is worst, and NaN where the
        coherency is.

    Raises
    ------
    InputError
        The shapes differ, or a number is out of range.

    References
    ----------
    Poppi et al., "Revisiting The Evaluation of Class Activation Mapping for Explainability: A
    Novel Metric and Experimental Analysis", CVPR Workshops 2021.
    """
    lost, alike, share = _shares(drops=drops, coherency=coherency, complexity=complexity)
    return _harmonic_mean(alike, 1 - share, 1 - lost)


def arcc(
    road: npt.ArrayLike, coherency: npt.ArrayLike, complexity: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Join ROAD, coherency and complexity by their harmonic mean.

    Parameters
    ----------
    road : (B,) array
        `Road.combined` of probabilities, in [-1/2, 1/2]; twice as much is taken, and nothing
        of what is below 0.
    coherency, complexity : (B,) array
        As in `adcc`.

    Returns
    -------
    (B,) float64 array
        In [0, 1], larger is better; NaN where the coherency is.

    Raises
    ------
    InputError
        The shapes differ, or a number is out of range.

    References
    ----------
    Domeniconi et al., arXiv:2605.14641. The code in pytorch-grad-cam 1.5.7 calls this mean
    geometric; it is harmonic there too.
    """
    told = np.clip(2 * finite(np.asarray(road, dtype=np.float64), "ROAD"), 0, 1)
    gained, alike, share = _shares(road=told, coherency=coherency, complexity=complexity)
    return _harmonic_mean(gained, alike, 1 - share)


def _shares(**values: npt.ArrayLike) -> list[Array]:
    """Read numbers from 0 to 1, one for each sample; coherency may be NaN."""
    arrays = {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) != 1 or any(array.ndim != 1 for array in arrays.values()):
        listed = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise InputError(f"Pass one number for each sample, as many of each; got {listed}.")
    for name, array in arrays.items():
        undefined = np.isnan(array) if name == "coherency" else np.zeros(array.shape, bool)
        # A correlation of rounded numbers may be a little above 1.
        if not np.all(undefined | ((array >= -1e-6) & (array <= 1 + 1e-6))):
            raise InputError(f"{name} goes from {array.min():g} to {array.max():g}; pass 0 to 1.")
    return [np.clip(array, 0, 1) for array in arrays.values()]


def _harmonic_mean(*parts: Array) -> npt.NDArray[np.float64]:
    """Compute the harmonic mean, 0 where a part is."""
    stacked = np.stack(parts)
    worst = (stacked == 0).any(axis=0)
    with np.errstate(divide="ignore"):
        mean: npt.NDArray[np.float64] = len(parts) / (1 / stacked).sum(axis=0)
    return np.where(worst & ~np.isnan(stacked).any(axis=0), 0.0, mean)
