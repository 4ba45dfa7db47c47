"""Remove positions and fill them in from their neighbours, so that no shape of a hole is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from camcore.adapter import Array
from camcore.errors import InputError
from camcore.methods.arrays import ScoreImages
from camcore.metrics.arrays import is_constant
from camcore.metrics.feeds import counts_of, filled_in, spread_of
from camcore.metrics.ranking import Ties, order_of, tied_share
from camcore.metrics.scoring import Scorer, checked

Removed: TypeAlias = Literal["most", "least", "both"]
"""Whether the most relevant positions are removed first (MoRF), the least (LeRF), or each once."""

SHARES = tuple(round(0.1 * tenth, 1) for tenth in range(1, 10))


@dataclass(frozen=True, eq=False)
class Road:
    """Scores as positions are removed and filled in, by ROAD.

    Parameters
    ----------
    shares : (K,) array
        Share of positions removed.
    most : (B, K) float64 array or None
        The score without the most relevant positions (MoRF); the lower, the better.
    least : (B, K) float64 array or None
        The score without the least relevant ones (LeRF); the higher, the better.
    forwards : int
        How many images were scored for it.
    tied : (B,) float64 array
        Share of each map's positions that are as important as another one.
    empty : (B,) bool array
        The map is constant, and the order of its positions arbitrary.
    """

    shares: Array
    most: Array | None
    least: Array | None
    forwards: int = 0
    tied: Array = field(default_factory=lambda: np.zeros(0))
    empty: Array = field(default_factory=lambda: np.zeros(0, bool))

    @property
    def combined(self) -> Array:
        """Half of how much higher the score is without the least relevant positions, ``(B,)``.

        The mean of (LeRF − MoRF) / 2 over the shares; in [-1/2, 1/2] of a probability, larger is
        better, and 0 for an order that tells nothing.

        Raises
        ------
        InputError
            One of the two was not asked for.
        """
        if self.most is None or self.least is None:
            raise InputError("Both orders are needed: road(..., remove='both').")
        mean: Array = (self.least - self.most).mean(axis=1) / 2
        return mean


def road(
    images: Array,
    maps: Array,
    score_images: ScoreImages,
    *,
    shares: Sequence[float] = SHARES,
    remove: Removed = "both",
    noise: npt.ArrayLike = 0.01,
    ties: Ties = "first",
    batch_size: int = 32,
    seed: int = 0,
) -> Road:
    """Score images of which a share is removed and filled in from its neighbours.

    Positions go by rank, so that the share removed is the share asked for, also of maps that are
    zero almost everywhere.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input.
    maps : (B, *S) array
        Relevance of each position.
    score_images : callable
        Scores of altered inputs; probabilities, or 1 and 0 for a right and a wrong class, whose
        mean is the accuracy that the authors report.
    shares : sequence of float in (0, 1)
        Share of positions removed.
    remove : {"most", "least", "both"}
        Whether the most relevant positions are removed (MoRF), the least relevant (LeRF), or
        each once.
    noise : float or (C,) array
        Standard deviation of what is added where something is filled in, in the input's units
        and for each channel. The authors add 0.01 to photographs in [0, 1] before they are
        normalised, which is ``0.01 / std`` of a normalised one.
    ties : {"first", "last", "random", "numpy"}
        Which of equally relevant positions goes first, as `camcore.metrics.order_of` takes it.
    batch_size : int
        How many altered images are scored at once.
    seed : int
        Of the noise, which is the same for every image, and of random ties.

    Returns
    -------
    Road

    Raises
    ------
    InputError
        The arrays do not fit, a map or a score is not finite, or a share is out of range.
    MethodError
        `batch_size` is below 1.
    MissingExtraError
        SciPy is not installed, which scikit-image (extra ``metrics``) brings.

    References
    ----------
    Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods",
    ICML 2022.
    """
    images, maps = checked(images, maps)
    wanted = np.asarray(shares, dtype=np.float64)
    if wanted.ndim != 1 or not len(wanted) or not np.all((wanted > 0) & (wanted < 1)):
        raise InputError(f"shares={shares!r}; expected numbers above 0 and below 1.")
    if remove not in get_args(Removed):
        raise InputError(f"remove={remove!r}; expected 'most', 'least' or 'both'.")
    spread = spread_of(noise, images)
    score = Scorer(score_images, batch_size)
    counts = counts_of(wanted, maps[0].size)
    found: dict[str, Array | None] = {"most": None, "least": None}
    for which in found:
        if remove in (which, "both"):
            order = order_of(maps, ties, least=which == "least", seed=seed)
            altered = filled_in(images, order, counts, spread, seed)
            found[which] = score(altered).reshape(len(images), len(counts))
    counted = score.forwards, tied_share(maps), is_constant(maps)
    return Road(wanted, found["most"], found["least"], *counted)
