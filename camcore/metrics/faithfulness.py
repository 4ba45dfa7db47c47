"""Measure whether the score follows the map, as the marked positions are removed or put in.

``score_images(sample, images)`` gives the scores ``(N,)`` of N alterations
``(N, C, *S)`` of one sample's input, as `camcore.evidence.Rerun.score_images` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from camcore._shared.finite import finite, without_overflow
from camcore.adapter import Array
from camcore.errors import InputError
from camcore.methods.arrays import ScoreImages, shaped
from camcore.metrics.arrays import is_constant
from camcore.metrics.feeds import on_the_way
from camcore.metrics.imputation import Baseline, baseline_of
from camcore.metrics.intervals import band, interval_of
from camcore.metrics.ranking import Ties, order_of, tied_share
from camcore.metrics.scoring import Scorer, checked

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Curve:
    """The score as positions are removed or put in, most important first.

    Parameters
    ----------
    fractions : (P,) array
        Share of positions altered so far, rising from 0.
    scores : (B, P) float64 array
        The score there.
    forwards : int
        How many images were scored for it.
    tied : (B,) float64 array
        Share of each map's positions that are as important as another one, whose order was
        chosen by `ties`.
    empty : (B,) bool array
        The map is constant, and the order of its positions arbitrary.
    """

    fractions: Array
    scores: Array
    forwards: int = 0
    tied: Array = field(default_factory=lambda: np.zeros(0))
    empty: Array = field(default_factory=lambda: np.zeros(0, bool))

    @property
    def auc(self) -> Array:
        """Area under each sample's curve, ``(B,)``, by the trapezoidal rule.

        Where the curve ends before everything is altered, it is the mean height up to there.
        """
        widths = np.diff(self.fractions)
        area: Array = ((self.scores[:, 1:] + self.scores[:, :-1]) / 2) @ (
            widths / self.fractions[-1]
        )
        return area

    def at(self, fraction: npt.ArrayLike) -> Array:
        """Read each sample's score, ``(B,)``, at a share of positions, between two by a line.

        At several shares, ``(P,)``, the scores are ``(B, P)``.
        """
        at = np.asarray(fraction, np.float64)
        return np.array([np.interp(at, self.fractions, row) for row in self.scores])

    def figure(self) -> Figure:
        """Draw the mean curve over samples, in its 95 % band, with its area in the legend.

        Returns
        -------
        matplotlib.figure.Figure
            The band is of means of resampled samples at each fraction; none of a single sample.

        Raises
        ------
        MissingExtraError
            matplotlib, or SciPy for the band, is not installed.
        """
        from camcore.viz.curves import Line, Panel, curves_figure

        low, high = band(self.scores)
        line = Line(
            f"area {interval_of(self.auc)}", self.fractions, self.scores.mean(axis=0), low, high
        )
        count = len(self.scores)
        title = f"{count} sample{'s' * (count != 1)}"
        return curves_figure([Panel(title, "share of positions altered", "score", [line])])

    @classmethod
    def concatenate(cls, curves: Sequence[Curve]) -> Curve:
        """Join curves of other samples.

        Parameters
        ----------
        curves : sequence of Curve
            One or more. Those of other fractions, as of inputs of another size, are read at the
            fractions of the first one, between two of their own by a line.

        Returns
        -------
        Curve
        """
        fractions = curves[0].fractions
        same = [
            one.scores if np.array_equal(one.fractions, fractions) else one.at(fractions)
            for one in curves
        ]
        return cls(
            fractions,
            np.concatenate(same),
            sum(one.forwards for one in curves),
            np.concatenate([one.tied for one in curves]),
            np.concatenate([one.empty for one in curves]),
        )


def deletion(
    images: Array,
    maps: Array,
    score_images: ScoreImages,
    *,
    baseline: Baseline = 0.0,
    steps: int | Sequence[int] = 50,
    batch_size: int = 32,
    ties: Ties = "first",
    up_to: float = 1.0,
    start: npt.ArrayLike | None = None,
    end: npt.ArrayLike | None = None,
    seed: int = 0,
) -> Curve:
    """Trace the score while positions are set to the baseline, most important first.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input.
    maps : (B, *S) array
        Importance of each position.
    score_images : callable
        Scores of altered inputs; probabilities, with the authors.
    baseline : {"blur", "mean", "min"}, float, array or callable
        What deleted positions become, as `camcore.metrics.baseline_of` takes it; zeros in what
        the model takes with the authors, which is the mean colour of a normalised photograph.
    steps : int, or sequence of int
        How many equal steps there are until everything is deleted; or how many positions are
        deleted after each, rising from 0.
    batch_size : int
        How many altered images are scored at once.
    ties : {"first", "last", "random", "numpy"}
        Which of equally important positions goes first, as `camcore.metrics.order_of` takes it.
    up_to : float in (0, 1]
        The share of positions to stop at.
    start, end : (B,) array, optional
        Scores of the images and of the baselines, where they are known already.
    seed : int
        Of random ties.

    Returns
    -------
    Curve
        Begins at the score of the image and ends at that of the baseline; the
        smaller its area, the better.

    Raises
    ------
    InputError
        The arrays do not fit, a map or a score is not finite, or `steps` or `up_to` is out of
        range.
    MethodError
        `batch_size` is below 1.

    References
    ----------
    Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of Black-box
    Models", BMVC 2018, sec. 4.2.
    """
    images, maps = checked(images, maps)
    ends = images, baseline_of(images, baseline)
    order = order_of(maps, ties, seed=seed)
    counts = _counts(order.shape[1], steps, up_to)
    return _curve(*ends, maps, order, counts, Scorer(score_images, batch_size), start, end)


def insertion(
    images: Array,
    maps: Array,
    score_images: ScoreImages,
    *,
    baseline: Baseline = "blur",
    steps: int | Sequence[int] = 50,
    batch_size: int = 32,
    ties: Ties = "first",
    up_to: float = 1.0,
    start: npt.ArrayLike | None = None,
    end: npt.ArrayLike | None = None,
    seed: int = 0,
) -> Curve:
    """Trace the score while positions are put into the baseline, most important first.

    Parameters
    ----------
    images, maps, score_images
        As in `deletion`.
    baseline : {"blur", "mean", "min"}, float, array or callable
        What positions are put into; the image blurred, with the authors.
    steps, batch_size, ties, up_to
        As in `deletion`.
    start, end : (B,) array, optional
        Scores of the baselines and of the images, where they are known already.
    seed : int
        Of random ties.

    Returns
    -------
    Curve
        Begins at the score of the baseline and ends at that of the image; the
        larger its area, the better.

    Raises
    ------
    InputError, MethodError
        As `deletion` raises them.

    References
    ----------
    Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of Black-box
    Models", BMVC 2018, sec. 4.2.
    """
    images, maps = checked(images, maps)
    ends = baseline_of(images, baseline), images
    order = order_of(maps, ties, seed=seed)
    counts = _counts(order.shape[1], steps, up_to)
    return _curve(*ends, maps, order, counts, Scorer(score_images, batch_size), start, end)


def masked_scores(
    images: Array,
    maps: Array,
    score_images: ScoreImages,
    *,
    baseline: Baseline = 0.0,
    batch_size: int = 32,
) -> Array:
    """Score images of which each position is kept in the share that its map says.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input x.
    maps : (B, *S) array
        In [0, 1].
    score_images : callable
        Scores of altered inputs.
    baseline : {"blur", "mean", "min"}, float, array or callable
        What takes the place of what is not kept: x · M + b · (1 − M).
    batch_size : int
        How many altered images are scored at once.

    Returns
    -------
    (B,) float64 array

    Raises
    ------
    InputError
        The arrays do not fit, or a map is not finite or not in [0, 1].
    MethodError
        `batch_size` is below 1.
    """
    images, maps = checked(images, maps)
    low, high = float(maps.min()), float(maps.max())
    if low < 0 or high > 1:
        raise InputError(
            f"Maps that mask images must lie in [0, 1]; they go from {low:g} to {high:g}. Scale "
            "each to its range, camcore.postprocess.normalise(maps, 'min_max'), or give an "
            "explanation's maps."
        )
    fill = baseline_of(images, baseline)
    shares = maps[:, None].astype(images.dtype)

    def masked() -> Iterator[tuple[int, Array]]:
        for sample, (image, share) in enumerate(zip(images, shares, strict=True)):
            kept = image * share
            yield sample, kept + fill[sample] * (1 - share) if np.any(fill[sample]) else kept

    return Scorer(score_images, batch_size)(masked())


def drop(scores: npt.ArrayLike, masked: npt.ArrayLike) -> Array:
    """Compute how much of each score is lost under its map, max(0, Y − O) / Y.

    Parameters
    ----------
    scores : (N,) array
        Y, the positive scores (probabilities) of the images.
    masked : (N,) array
        O, those of the images under their maps, as `masked_scores` gives them.

    Returns
    -------
    (N,) float64 array
        In [0, 1] where the masked scores are not negative; smaller is better.

    Raises
    ------
    InputError
        The shapes differ, or a score is not positive.

    References
    ----------
    Chattopadhay et al., "Grad-CAM++: Generalized Gradient-based Visual
    Explanations for Deep Convolutional Networks", WACV 2018, sec. 5.1.
    """
    scores, masked = _pair(scores, masked)
    if np.any(scores <= 0):
        raise InputError(
            f"The smallest score is {scores.min()}, but the average drop divides by the scores, "
            "so they must be positive. Score probabilities: "
            "target=camcore.targets.Probability()."
        )
    lost: Array = without_overflow(np.maximum(0, scores - masked) / scores, "The drop")
    return lost


def gain(scores: npt.ArrayLike, masked: npt.ArrayLike) -> Array:
    """Compute how much of what lacks to certainty is won under each map, max(0, O − Y) / (1 − Y).

    Parameters
    ----------
    scores, masked : (N,) array
        Y and O, as in `drop`; probabilities.

    Returns
    -------
    (N,) float64 array
        In [0, 1]; larger is better. 0 where the score was 1 already.

    Raises
    ------
    InputError
        The shapes differ, or a score is no probability.

    References
    ----------
    Zhang et al., "Opti-CAM: Optimizing saliency maps for interpretability", CVIU 2024.
    """
    scores, masked = _pair(scores, masked)
    for values in (scores, masked):
        if values.min() < 0 or values.max() > 1:
            raise InputError(
                f"Scores go from {values.min():g} to {values.max():g}, but the average gain is of "
                "probabilities. Score those: target=camcore.targets.Probability()."
            )
    won, lacking = np.maximum(0, masked - scores), 1 - scores
    share: Array = np.divide(won, lacking, out=np.zeros_like(won), where=lacking > 0)
    return share


def increased(scores: npt.ArrayLike, masked: npt.ArrayLike, *, rounding: float = 1e-6) -> Array:
    """Tell where an image scores higher under its map, Y < O.

    Parameters
    ----------
    scores, masked : (N,) array
        Y and O, as in `drop`.
    rounding : float
        The share of a score by which O must be above Y, since the same image scores a little
        otherwise in a batch of another size.

    Returns
    -------
    (N,) bool array

    Raises
    ------
    InputError
        The shapes differ.

    References
    ----------
    Chattopadhay et al., WACV 2018, sec. 5.1; see `drop`.
    """
    scores, masked = _pair(scores, masked)
    above: Array = masked - scores > rounding * np.abs(scores)
    return above


def average_drop(scores: Array, masked: Array) -> float:
    """Compute the average drop, 100/N · Σ max(0, Y − O) / Y; smaller is better.

    Parameters
    ----------
    scores : (N,) array
        Y, the positive scores (probabilities) of the images.
    masked : (N,) array
        O, those of the images under their maps.

    Returns
    -------
    float
        In percent, from 0 to 100 where the masked scores are not negative.

    Raises
    ------
    InputError
        The shapes differ, or a score is not positive.

    References
    ----------
    Chattopadhay et al., "Grad-CAM++: Generalized Gradient-based Visual
    Explanations for Deep Convolutional Networks", WACV 2018, sec. 5.1.
    """
    return float(100 * np.mean(drop(scores, masked)))


def average_gain(scores: Array, masked: Array) -> float:
    """Compute the average gain, 100/N · Σ max(0, O − Y) / (1 − Y); larger is better.

    Parameters
    ----------
    scores, masked : (N,) array
        Y and O, probabilities, as in `gain`.

    Returns
    -------
    float
        In percent.

    Raises
    ------
    InputError
        The shapes differ, or a score is no probability.

    References
    ----------
    Zhang et al., CVIU 2024; see `gain`.
    """
    return float(100 * np.mean(gain(scores, masked)))


def increase_in_confidence(scores: Array, masked: Array) -> float:
    """Compute the increase in confidence, 100 · mean(Y < O), of `increased`; larger is better.

    Parameters
    ----------
    scores, masked : (N,) array
        Y and O, as in `average_drop`.

    Returns
    -------
    float
        In percent.

    Raises
    ------
    InputError
        The shapes differ.

    References
    ----------
    Chattopadhay et al., WACV 2018, sec. 5.1; see `average_drop`.
    """
    return float(100 * np.mean(increased(scores, masked)))


def win(masked: Array, other: Array) -> float:
    """Compute the share of images for which one method's maps keep more of the score.

    Parameters
    ----------
    masked, other : (N,) array
        Scores of the images under the maps of the one method and of the other.

    Returns
    -------
    float
        In percent.

    Raises
    ------
    InputError
        The shapes differ.

    References
    ----------
    Chattopadhay et al., WACV 2018, sec. 5.1; see `average_drop`.
    """
    masked, other = _pair(masked, other)
    return float(100 * np.mean(masked > other))


def _counts(positions: int, steps: int | Sequence[int], up_to: float) -> npt.NDArray[np.int64]:
    """List how many positions are altered after each step."""
    if isinstance(steps, int | np.integer):
        if not 1 <= steps <= positions:
            raise InputError(
                f"steps={steps} is out of range; pass 1 to {positions}, the number of positions."
            )
        counts = np.round(np.linspace(0, positions, int(steps) + 1)).astype(np.int64)
    else:
        counts = np.asarray(steps)
        rises = counts.ndim == 1 and counts.dtype.kind in "iu" and len(counts) > 1
        if not rises or counts[0] != 0 or counts[-1] > positions or (np.diff(counts) <= 0).any():
            raise InputError(
                f"steps={steps!r} are no numbers of positions; pass whole numbers that rise from "
                f"0, to {positions} at most."
            )
    if not 0 < up_to <= 1:
        raise InputError(f"up_to={up_to} is no share of the positions; pass a number in (0, 1].")
    kept: npt.NDArray[np.int64] = counts[counts <= up_to * positions]
    if len(kept) < 2:
        raise InputError(
            f"up_to={up_to} is below the first of {steps} steps; pass more of these, or go further."
        )
    return kept


def _curve(
    start: Array,
    end: Array,
    maps: Array,
    order: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    score: Scorer,
    first: npt.ArrayLike | None = None,
    last: npt.ArrayLike | None = None,
) -> Curve:
    """Score images on the way from `start` to `end`, in the order of positions."""
    batch, positions = order.shape
    known = {0: first, positions: last}
    known = {count: value for count, value in known.items() if value is not None}
    asked = [count for count in counts.tolist() if count not in known]
    scores = np.empty((batch, len(counts)))
    found = np.isin(counts, asked)
    altered = on_the_way(start, end, order, asked)
    scores[:, found] = score(altered).reshape(batch, len(asked))
    for place in np.flatnonzero(~found):
        scores[:, place] = shaped(np.asarray(known[int(counts[place])]), (batch,), "Known scores")
    return Curve(counts / positions, scores, score.forwards, tied_share(maps), is_constant(maps))


def _pair(one: npt.ArrayLike, other: npt.ArrayLike) -> tuple[Array, Array]:
    one, other = (finite(np.asarray(s), "Scores").astype(np.float64) for s in (one, other))
    if one.ndim != 1 or one.shape != other.shape or not one.size:
        raise InputError(
            f"Scores of shape {one.shape} and {other.shape} cannot be compared; pass two lists of "
            "one length."
        )
    return one, other
