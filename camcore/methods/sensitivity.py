"""Methods that ask how much the score depends on each cell of a grid laid over the input.

The input x is seen through masks on the grid: x · M + (1 − M) · baseline, each cell of M the same
for all positions under it. ``score_images(sample, images)`` gives the scores ``(N,)`` of N
alterations ``(N, C, *S)`` of one sample's input. A Sobol sequence draws the masks, the same in
every framework.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from camcore._shared.optional import needs
from camcore._shared.progress import track
from camcore.adapter import Array
from camcore.errors import MethodError
from camcore.methods.arrays import ScoreImages, at_least_one, batches, floating, shaped
from camcore.methods.table import register
from camcore.resize import LINEAR, Interpolation, resize

NEAREST: Final = Interpolation("nearest")
"""How masks are enlarged."""

MOST: Final = 21201
"""The most numbers to a point that the Sobol sequence is known for."""


@register(
    "sobol",
    "Sobol",
    ("images", "score_images"),
    "1 + designs x (1 + cells of the grid)",
    "Fel et al., NeurIPS 2021",
    level="input",
)
def sobol(
    images: Array,
    score_images: ScoreImages,
    *,
    designs: int = 32,
    cells: int = 8,
    baseline: float = 0.0,
    enlarge: Interpolation = LINEAR,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Array:
    """Compute Sobol: S_i = mean_n (y(M_n) − y(M_n^i))² / (2 var_n y(M_n)) of each cell i.

    M_n^i is the mask M_n with another draw for cell i. S_i estimates the share of the score's
    variance that cell i has a part in, alone or with others: its total Sobol index.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input.
    score_images : callable
        Scores of altered inputs.
    designs : int
        How many masks M_n, a power of two.
    cells : int
        Grid cells along each spatial axis, or fewer where it has fewer positions.
    baseline : float
        What is seen where a mask is 0, in the units of the input.
    enlarge : Interpolation
        How the grid of indices is brought to the input's size.
    batch_size : int
        How many masked images are scored at once.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *S) array
        Map without negative values at the input's own size; all zeros where the score does not
        vary.

    Raises
    ------
    InputError, MethodError
        The arrays do not fit, or an option is out of range.
    MissingExtraError
        SciPy is not installed.

    References
    ----------
    Fel et al., "Look at the Variance! Efficient Black-box Explanations with Sobol-based
    Sensitivity Analysis", NeurIPS 2021, sec. 3; the estimator is Jansen's, "Analysis of variance
    designs for model output", Computer Physics Communications 117, 1999.
    """
    images = floating(images, "images")
    at_least_one(designs=designs, cells=cells, batch_size=batch_size)
    if designs & (designs - 1):
        raise MethodError(
            f"designs={designs}; the sequence that masks are drawn by is even only for a power of "
            f"two. Take {2 ** (designs.bit_length() - 1)} or {2 ** designs.bit_length()}."
        )
    grid = _grid(images, cells)
    masks = replicated_masks(designs, math.prod(grid))
    how = (score_images, baseline, batch_size, "Sobol", progress)
    indices = [total_indices(one, designs) for one in _scores(images, masks, grid, *how)]
    return _enlarged(np.stack(indices), images, grid, enlarge)


@register(
    "hsic",
    "HSIC",
    ("images", "score_images"),
    "1 + masks",
    "Novello et al., NeurIPS 2022",
    level="input",
)
def hsic(
    images: Array,
    score_images: ScoreImages,
    *,
    masks: int = 500,
    cells: int = 8,
    baseline: float = 0.0,
    enlarge: Interpolation = LINEAR,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Array:
    """Compute HSIC: tr(K_i H L H) / N of each cell i, over N masks that keep or drop cells.

    K_i compares masks at cell i, ½ where they agree and −½ elsewhere, and L scores,
    exp(−(y − y')² / 2w²) with w their median; H takes the mean off. It is 0 where the score does
    not depend on the cell.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input.
    score_images : callable
        Scores of altered inputs.
    masks : int
        N.
    cells : int
        Grid cells along each spatial axis, or fewer where it has fewer positions.
    baseline : float
        What is seen where a mask is 0, in the units of the input.
    enlarge : Interpolation
        How the grid of values is brought to the input's size.
    batch_size : int
        How many masked images are scored at once.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *S) array
        Map without negative values at the input's own size.

    Raises
    ------
    InputError, MethodError
        The arrays do not fit, or an option is out of range.
    MissingExtraError
        SciPy is not installed.

    References
    ----------
    Novello et al., "Making Sense of Dependence: Efficient Black-box Explanations Using Dependence
    Measure", NeurIPS 2022, sec. 3; the kernels and their width as in xplique, the authors'
    library.
    """
    images = floating(images, "images")
    at_least_one(masks=masks, cells=cells, batch_size=batch_size)
    grid = _grid(images, cells)
    drawn = np.round(_sequence(masks, math.prod(grid)))
    how = (score_images, baseline, batch_size, "HSIC", progress)
    values = [dependence(drawn, one) for one in _scores(images, drawn, grid, *how)]
    return _enlarged(np.stack(values), images, grid, enlarge)


def replicated_masks(designs: int, cells: int) -> Array:
    """Draw masks, and each again with another draw for one cell.

    Returns
    -------
    ((1 + cells) · designs, cells) array
        In [0, 1): first the masks, then those with another draw for the first cell, and so on.
    """
    drawn = _sequence(designs, 2 * cells)
    masks = np.repeat(drawn[None, :, :cells], cells + 1, axis=0)
    own = np.arange(cells)
    masks[own + 1, :, own] = drawn[:, cells:].T
    return masks.reshape(-1, cells)


def total_indices(scores: Array, designs: int) -> Array:
    """Estimate total Sobol indices from scores of `replicated_masks`, by Jansen's formula.

    Parameters
    ----------
    scores : ((1 + D) · designs,) array
        Scores of the masks, then of those with another draw for each of D cells in turn.
    designs : int
        How many of each there are.

    Returns
    -------
    (D,) float64 array
        All zeros where the first scores do not vary.
    """
    whole, *others = scores.astype(np.float64).reshape(-1, designs)
    spread = ((np.stack(others) - whole) ** 2).mean(axis=1)
    variance = whole.var(ddof=1) if designs > 1 else 0.0
    indices: Array = spread / (2 * variance) if variance > 0 else np.zeros_like(spread)
    return indices


def dependence(masks: Array, scores: Array) -> Array:
    """Estimate the Hilbert-Schmidt independence criterion of scores and each cell of masks.

    Parameters
    ----------
    masks : (N, D) array
        0 or 1.
    scores : (N,) array
        Their scores. Where their median is 0, the kernel's limit is taken: scores are alike
        where they are equal.

    Returns
    -------
    (D,) float64 array
        Never negative.
    """
    scores = scores.astype(np.float64)
    width = abs(float(np.median(scores)))
    with np.errstate(over="ignore"):  # what is infinitely far apart is not alike
        apart = np.abs(scores[:, None] - scores[None])
        alike = np.exp(-((apart / width) ** 2) / 2) if width > 0 else 1.0 * (apart == 0)
    # ½ − (m − m')² is 2mm' and terms of one mask alone, which the mean takes with it.
    centred = masks - masks.mean(axis=0)
    values: Array = 2 * np.einsum("nd,nd->d", centred, alike @ centred) / len(masks)
    return np.maximum(values, 0)


def _grid(images: Array, cells: int) -> tuple[int, ...]:
    """Lay a grid over the input.

    Raises
    ------
    MethodError
        It has more cells than masks can be drawn for.
    """
    grid = tuple(min(cells, length) for length in images.shape[2:])
    if 2 * math.prod(grid) > MOST:
        raise MethodError(
            f"cells={cells}; a grid of {' x '.join(map(str, grid))} has {math.prod(grid)} cells, "
            f"and masks can be drawn for {MOST // 2}. Take fewer."
        )
    return grid


def _sequence(count: int, numbers: int) -> Array:
    """Draw points in [0, 1), ``(count, numbers)``: a Sobol sequence, without the origin."""
    with needs("metrics", "drawing masks by a Sobol sequence"):
        from scipy.stats import qmc
    points: Array = qmc.Sobol(numbers, scramble=False).fast_forward(1).random(count)
    return points


def _scores(
    images: Array,
    masks: Array,
    grid: tuple[int, ...],
    score_images: ScoreImages,
    baseline: float,
    batch_size: int,
    label: str,
    progress: bool | None,
) -> Array:
    """Score every image seen through every mask: ``(B, N)``."""
    scores = np.zeros((len(images), len(masks)))
    parts = [slice(run[0], run[-1] + 1) for run in batches(range(len(masks)), batch_size)]
    start = images.dtype.type(baseline)
    for part in track(parts, label, progress):
        of_part = masks[part].astype(images.dtype).reshape(-1, *grid)
        seen = resize(of_part, images.shape[2:], NEAREST, leading=1)[:, None]
        for sample, image in enumerate(images):
            altered = image * seen + (1 - seen) * start
            answer = score_images(sample, altered)
            scores[sample, part] = shaped(answer, (len(seen),), "Scores of altered images")
    return scores


def _enlarged(
    values: Array, images: Array, grid: tuple[int, ...], interpolation: Interpolation
) -> Array:
    """Bring a value for each cell, ``(B, D)``, to the input's size."""
    maps = values.astype(images.dtype).reshape(-1, *grid)
    return resize(maps, images.shape[2:], interpolation, leading=1)
