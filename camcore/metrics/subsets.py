"""Compare what a map says of sets of positions with how far the score falls without them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from camcore.adapter import Array
from camcore.errors import InputError
from camcore.methods.arrays import ScoreImages, at_least_one
from camcore.metrics.agreement import pearson, spearman
from camcore.metrics.imputation import Baseline, baseline_of
from camcore.metrics.scoring import Scorer, checked

Correlation: TypeAlias = Literal["pearson", "spearman"]
Bools: TypeAlias = npt.NDArray[np.bool_]


def infidelity(
    images: Array,
    maps: Array,
    score_images: ScoreImages,
    *,
    draws: int = 50,
    sigma: float = 0.2,
    scaled: bool = True,
    batch_size: int = 32,
    seed: int = 0,
) -> Array:
    """Compute the infidelity, mean_I (I · Φ − (f(x) − f(x − I)))², of attributions to noise.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input x.
    maps : (B, *S) or (B, C, *S) array
        Attributions Φ, signed and in units of the score; of maps, each channel has the position's.
    score_images : callable
        Scores f of altered inputs.
    draws : int
        How many perturbations I are drawn, the same for every image.
    sigma : float
        Their standard deviation, in the input's units.
    scaled : bool
        Scale Φ by the β that makes the infidelity least, β = Σ a·d / Σ a² over the draws with
        a = I · Φ and d = f(x) − f(x − I), as the authors' code does, so that maps that are
        proportional are alike.
    batch_size : int
        How many altered images are scored at once.
    seed : int
        Of the perturbations.

    Returns
    -------
    (B,) float64 array
        Not negative; smaller is better. 0 for the gradient of a linear score.

    Raises
    ------
    InputError
        The arrays do not fit, a map or a score is not finite, or `sigma` is not positive.
    MethodError
        `draws` or `batch_size` is below 1.

    References
    ----------
    Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", NeurIPS 2019, def. 2.1.
    """
    per_channel = np.ndim(maps) == np.ndim(images)
    images, _ = checked(images, maps[:, 0] if per_channel else maps)
    at_least_one(draws=draws)
    if not 0 < sigma < np.inf:
        raise InputError(f"sigma={sigma}; expected a positive number, in the input's units.")
    score = Scorer(score_images, batch_size)
    drawn = np.random.default_rng(seed)
    noise = [(sigma * drawn.standard_normal(images.shape[1:])) for _ in range(draws)]

    def altered() -> Iterator[tuple[int, Array]]:
        for sample, image in enumerate(images):
            yield sample, image
            for one in noise:
                yield sample, image - one.astype(image.dtype)

    scores = score(altered()).reshape(len(images), 1 + draws)
    falls = scores[:, :1] - scores[:, 1:]
    weights = maps.astype(np.float64)
    given = [np.stack([(w * one).sum() for one in noise]) for w in weights]
    said = np.stack(given)
    if scaled:
        squares = (said**2).sum(axis=1, keepdims=True)
        beta = np.divide(
            (said * falls).sum(axis=1, keepdims=True),
            squares,
            out=np.zeros_like(squares),
            where=squares > 0,
        )
        said = beta * said
    error: Array = ((said - falls) ** 2).mean(axis=1)
    return error


def faithfulness_correlation(
    images: Array,
    maps: Array,
    score_images: ScoreImages,
    *,
    subsets: int = 100,
    share: float = 0.2,
    grid: int | Sequence[int] | None = None,
    correlation: Correlation = "pearson",
    baseline: Baseline = 0.0,
    batch_size: int = 32,
    seed: int = 0,
) -> Array:
    """Correlate the sum of a map over random positions with the fall of the score without them.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input.
    maps : (B, *S) array
        Attributions, signed or not.
    score_images : callable
        Scores of altered inputs.
    subsets : int
        How many random sets there are, the same for every image.
    share : float in (0, 1)
        Share of the positions, or of the grid's cells, in a set.
    grid : int, or one for each axis, optional
        How many cells a side the image is cut into, each in a set or not as a whole: MuFidelity
        takes 9. Single positions otherwise, of which a network hardly sees a few.
    correlation : {"pearson", "spearman"}
        Of values, or of ranks.
    baseline : {"blur", "mean", "min"}, float, array or callable
        What removed positions become, as `camcore.metrics.baseline_of` takes it.
    batch_size : int
        How many altered images are scored at once.
    seed : int
        Of the sets.

    Returns
    -------
    (B,) float64 array
        In [-1, 1], larger is better; NaN where a map or the score does not change.

    Raises
    ------
    InputError
        The arrays do not fit, a map or a score is not finite, or an option is out of range.
    MethodError
        `batch_size` is below 1.

    References
    ----------
    Bhatt et al., "Evaluating and Aggregating Feature-based Model Explanations", IJCAI 2020;
    on a grid and by ranks: Fel et al., "Look at the Variance!", NeurIPS 2021 (MuFidelity).
    """
    images, maps = checked(images, maps)
    chosen = _drawn(images.shape[2:], grid, share, subsets, seed)
    said, falls = _removed(images, maps, score_images, chosen, baseline, batch_size)
    return _correlated(said, falls, correlation)


def sensitivity_n(
    images: Array,
    maps: Array,
    score_images: ScoreImages,
    *,
    shares: Sequence[float] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.8),
    subsets: int = 100,
    grid: int | Sequence[int] | None = None,
    correlation: Correlation = "pearson",
    baseline: Baseline = 0.0,
    batch_size: int = 32,
    seed: int = 0,
) -> Array:
    """Compute `faithfulness_correlation` for sets of several sizes.

    Parameters
    ----------
    images, maps, score_images
        As in `faithfulness_correlation`.
    shares : sequence of float in (0, 1)
        Share of positions in a set; n is that share of all.
    subsets, grid, correlation, baseline, batch_size, seed
        As in `faithfulness_correlation`; zero is the authors' baseline.

    Returns
    -------
    (B, K) float64 array
        In [-1, 1], one for each share; NaN where a map or the score does not change. 1 for a
        linear score and its gradient times its input.

    Raises
    ------
    InputError, MethodError
        As `faithfulness_correlation` raises them.

    References
    ----------
    Ancona et al., "Towards better understanding of gradient-based attribution methods for Deep
    Neural Networks", ICLR 2018.
    """
    images, maps = checked(images, maps)
    if not len(shares):
        raise InputError("shares is empty; pass one share of the positions or more.")
    chosen = [_drawn(images.shape[2:], grid, share, subsets, seed) for share in shares]
    everything = [one for sets in chosen for one in sets]
    # All together, so that an image itself is scored once, and not once for each share.
    pairs = _removed(images, maps, score_images, everything, baseline, batch_size)
    said, falls = (np.split(one, len(shares), axis=1) for one in pairs)
    columns = [_correlated(*one, correlation) for one in zip(said, falls, strict=True)]
    return np.stack(columns, axis=1)


def irof(
    images: Array,
    maps: Array,
    score_images: ScoreImages,
    segments: Array,
    *,
    baseline: Baseline = "mean",
    batch_size: int = 32,
) -> Array:
    """Compute the iterative removal of features: the area over the curve as segments go.

    Segments are removed by the mean of the map in them, the highest first; the score's share of
    the whole image's, at most 1, is summed up.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input.
    maps : (B, *S) array
        Relevance of each position.
    score_images : callable
        Scores of altered inputs, positive.
    segments : (B, *S) int array
        The segment of each position, such as of ``skimage.segmentation.slic``.
    baseline : {"mean", "blur", "min"}, float, array or callable
        What removed segments become, as `camcore.metrics.baseline_of` takes it.
    batch_size : int
        How many altered images are scored at once.

    Returns
    -------
    (B,) float64 array
        In [0, 1]; larger is better.

    Raises
    ------
    InputError
        The arrays do not fit, a map or a score is not finite, or the score of an image is not
        positive.
    MethodError
        `batch_size` is below 1.

    References
    ----------
    Rieger and Hansen, "IROF: a low resource evaluation metric for explanation methods",
    arXiv:2003.08747.
    """
    images, maps = checked(images, maps)
    labels = np.asarray(segments)
    if labels.shape != maps.shape or labels.dtype.kind not in "iu":
        raise InputError(
            f"Segments of shape {labels.shape} and {labels.dtype} do not fit maps of "
            f"{maps.shape}; pass a whole number for each position."
        )
    fill = baseline_of(images, baseline)
    rows = [np.unique(one.reshape(-1), return_inverse=True)[1] for one in labels]
    counts = [int(row.max()) + 1 for row in rows]

    def altered() -> Iterator[tuple[int, Array]]:
        for sample, row in enumerate(rows):
            image = np.array(images[sample])
            flat, filled = (one.reshape(len(one), -1) for one in (image, fill[sample]))
            yield sample, image
            sums = np.bincount(row, maps[sample].reshape(-1).astype(np.float64))
            for segment in np.argsort(-sums / np.bincount(row), kind="stable"):
                inside = row == segment
                flat[:, inside] = filled[:, inside]
                yield sample, image

    scores = np.split(
        Scorer(score_images, batch_size)(altered()), np.cumsum([c + 1 for c in counts])[:-1]
    )
    if any(one[0] <= 0 for one in scores):
        raise InputError(
            f"The smallest score of an image is {min(one[0] for one in scores):g}, but IROF "
            "divides by it, so that it must be positive. Score probabilities: "
            "target=camcore.targets.Probability()."
        )
    return np.array([(1 - np.clip(one[1:] / one[0], 0, 1)).mean() for one in scores])


def _cells(size: tuple[int, ...], grid: int | Sequence[int] | None) -> npt.NDArray[np.int64]:
    """Say in which cell of a grid each position lies, ``(*S)``."""
    if grid is None:
        return np.arange(np.prod(size)).reshape(size)
    sides = [grid] * len(size) if isinstance(grid, int | np.integer) else list(grid)
    if len(sides) != len(size) or any(not 1 <= n <= s for n, s in zip(sides, size, strict=True)):
        raise InputError(f"grid={grid!r} does not fit {size}; pass 1 to as many cells a side.")
    if np.prod(sides) < 2:
        raise InputError(f"grid={grid!r} has one cell; pass two or more.")
    axes = [np.arange(s) * n // s for n, s in zip(sides, size, strict=True)]
    return np.ravel_multi_index(np.meshgrid(*axes, indexing="ij"), tuple(map(int, sides)))


def _drawn(
    size: tuple[int, ...],
    grid: int | Sequence[int] | None,
    share: float,
    subsets: int,
    seed: int,
) -> list[Bools]:
    """Draw sets of a `share` of the cells, and mark their positions."""
    if not 0 < share < 1:
        raise InputError(f"share={share}; expected a number above 0 and below 1.")
    at_least_one(subsets=subsets)
    if subsets < 2:
        raise InputError("One set correlates with nothing; pass subsets=2 or more.")
    cells = _cells(size, grid)
    count = min(max(1, round(share * (cells.max() + 1))), int(cells.max()))
    drawn = np.random.default_rng(seed)
    total = int(cells.max()) + 1
    return [np.isin(cells, drawn.permutation(total)[:count]) for _ in range(subsets)]


def _removed(
    images: Array,
    maps: Array,
    score_images: ScoreImages,
    sets: Sequence[Bools],
    baseline: Baseline,
    batch_size: int,
) -> tuple[Array, Array]:
    """Sum maps over sets, and see the score fall without them, ``(B, N)`` each."""
    fill = baseline_of(images, baseline)
    score = Scorer(score_images, batch_size)

    def altered() -> Iterator[tuple[int, Array]]:
        for sample, image in enumerate(images):
            yield sample, image
            for one in sets:
                yield sample, np.where(one, fill[sample], image)

    scores = score(altered()).reshape(len(images), 1 + len(sets))
    said = np.array([[one[mark].sum(dtype=np.float64) for mark in sets] for one in maps])
    return said, scores[:, :1] - scores[:, 1:]


def _correlated(said: Array, falls: Array, correlation: Correlation) -> Array:
    if correlation not in get_args(Correlation):
        raise InputError(f"correlation={correlation!r}; expected 'pearson' or 'spearman'.")
    return (pearson if correlation == "pearson" else spearman)(said, falls)
