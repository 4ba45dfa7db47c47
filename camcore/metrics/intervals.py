"""Resample samples: in which interval the mean of other samples of the same kind would lie."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore._shared.optional import needs
from camcore.adapter import Array

Floats: TypeAlias = npt.NDArray[np.float64]

_RESAMPLES = 2000

_VALUES = 4e6
"""How many resampled values are held at once."""


class Interval(NamedTuple):
    """A mean, and where 95 % of the means of resampled samples lie.

    Parameters
    ----------
    mean, low, high : float
        NaN where there is no value, or, of the ends, a single one.
    """

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        ends = "" if np.isnan(self.low) else f" [{self.low:.3g}, {self.high:.3g}]"
        return f"{self.mean:.3g}{ends}"


def interval_of(values: Array, *, seed: int = 0) -> Interval:
    """Average values over samples, with a 95 % bootstrap interval.

    Parameters
    ----------
    values : (N,) array
        NaN where undefined, which is left out.
    seed : int
        Of the resampling.

    Returns
    -------
    Interval
        By percentiles of 2,000 resamples.

    Raises
    ------
    MissingExtraError
        SciPy is not installed, which scikit-image (extra ``metrics``) brings.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return Interval(np.nan, np.nan, np.nan)
    mean = float(known.mean())
    if len(known) > 1 and np.ptp(known) == 0:
        return Interval(mean, mean, mean)
    low, high = band(known[:, None], seed=seed)
    return Interval(mean, float(low[0]), float(high[0]))


def band(
    scores: Array, *, seed: int = 0
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Find the 95 % bootstrap interval of the mean at each point of curves.

    Parameters
    ----------
    scores : (N, P) array
        Of N samples at P points. Each resample is of whole curves.
    seed : int
        Of the resampling.

    Returns
    -------
    low, high : (P,) float64 arrays
        By percentiles of 2,000 resamples; NaN of a single sample.

    Raises
    ------
    MissingExtraError
        SciPy is not installed, which scikit-image (extra ``metrics``) brings.
    """
    low, high = (scores.mean(axis=0).astype(np.float64) for _ in range(2))
    if len(scores) < 2:
        return np.full_like(low, np.nan), np.full_like(high, np.nan)
    varied = np.ptp(scores, axis=0) > 0  # the mean of equal numbers is none of chance
    if varied.any():
        with needs("metrics", "intervals"):
            from scipy.stats import bootstrap
        found = bootstrap(
            (scores[:, varied],),
            np.mean,
            n_resamples=_RESAMPLES,
            batch=max(1, int(_VALUES / scores[:, varied].size)),
            axis=0,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).confidence_interval
        low[varied], high[varied] = found.low, found.high
    return low, high
