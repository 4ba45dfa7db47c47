"""The method that reads a map off what a language model says at its image tokens.

z is the model's token-wise logits, ``(B, T, V)``: for each position of the sequence, how it
scores each id of the vocabulary as what comes next. Image tokens are scored like words.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from camcore._shared.finite import finite
from camcore.adapter import Array
from camcore.errors import InputError
from camcore.methods.arrays import ratio
from camcore.methods.table import register
from camcore.postprocess import relu


@register(
    "tokencam",
    "Token map",
    ("token_logits",),
    "1",
    "Li et al., ICCV 2025",
    level="output",
)
def tokencam(
    token_logits: Array, *, less: Array | Sequence[Array] = (), smooth: bool = False
) -> Array:
    """Compute the token map: relu(z_v) at the image tokens, v the id explained.

    It reads the language model's head as CAM reads a classifier's: where z_v = W_v · A, with A the
    output of the final norm, it is relu(CAM) of that layer with the head's weights.

    Parameters
    ----------
    token_logits : (B, *S) array
        The logit of the explained id at each image token, on their grid.
    less : (B, *S) array, or sequence of these
        Maps of earlier tokens, not smoothed, whose sum r is taken out of the map s:
        relu(s − a · r) with a = (s · r) / (r · r), the least-squares fit in each sample. TAM
        weighs each earlier map by relu(z_v) at that token's own position, over the sum of these.
    smooth : bool
        Filter the map by rank: see `rank_gaussian`.

    Returns
    -------
    (B, *S) array
        Nowhere negative.

    Raises
    ------
    InputError
        The array has no grid, or a map in `less` is not of its shape.

    References
    ----------
    Li et al., "Token Activation Map to Visually Explain Multimodal LLMs", ICCV 2025,
    arXiv:2506.23270, and its code github.com/xmed-lab/TAM: ``TAM``, ``least_squares`` and
    ``rank_guassian_filter`` in ``tam.py``.
    """
    scores = np.asarray(token_logits)
    if scores.ndim < 2 or 0 in scores.shape or scores.dtype.kind not in "iuf":
        raise InputError(
            "token_logits must be real numbers (batch, *grid), none of them empty; got "
            f"{scores.shape} of {scores.dtype}."
        )
    if scores.dtype not in (np.float32, np.float64):
        scores = scores.astype(np.float32)
    found: Array = relu(scores)
    earlier = [np.asarray(one) for one in ([less] if isinstance(less, np.ndarray) else less)]
    for one in earlier:
        if one.shape != scores.shape:
            raise InputError(
                f"less= holds a map of shape {one.shape}, and this one is {scores.shape}. Give "
                "signed maps of the same image tokens: result.raw['@output']."
            )
        finite(one, "less")
    if earlier:
        found = _without(found, np.sum(earlier, axis=0).astype(found.dtype))
    return rank_gaussian(found) if smooth else found


def rank_gaussian(maps: Array) -> Array:
    """Filter maps by rank: a Gaussian mean of each 3 × 3 window's values, put in order.

    Of a window's sorted values v_−4 ≤ … ≤ v_4 it is Σ_k v_k exp(−k² / 2σ²) / Σ_k exp(−k² / 2σ²),
    σ their standard deviation over their mean. So a window that is all alike counts by its
    median, and one with an outlier by the mean of all.

    Parameters
    ----------
    maps : (B, *S) array
        Nowhere negative. The window lies in the last two axes, or the only one, and what is
        beyond the edge mirrors what is within.

    Returns
    -------
    (B, *S) array
        0 where a window is.

    References
    ----------
    Li et al., ICCV 2025, "rank Gaussian filter".
    """
    axes = tuple(range(max(1, maps.ndim - 2), maps.ndim))
    widths = [(int(axis in axes),) * 2 for axis in range(maps.ndim)]
    windows = sliding_window_view(np.pad(maps, widths, mode="reflect"), (3,) * len(axes), axes)
    values = np.sort(windows.reshape(*maps.shape, -1), axis=-1)
    half = values.shape[-1] // 2
    sigma = ratio(values.std(axis=-1), values.mean(axis=-1))
    rank = np.arange(-half, half + 1, dtype=values.dtype)
    with np.errstate(over="ignore"):  # so small a σ leaves the median alone
        spread = -(rank**2) * ratio(np.ones_like(sigma), 2 * sigma**2)[..., None]
    spread = np.where((sigma > 0)[..., None], spread, np.where(rank == 0, 0, -np.inf))
    weights = np.exp(spread).astype(values.dtype)
    result: Array = (values * weights).sum(axis=-1) / weights.sum(axis=-1)
    return result


def _without(maps: Array, other: Array) -> Array:
    """Take the least-squares fit of other maps out of each sample's: relu(s − a r)."""
    flat, across = maps.reshape(len(maps), -1), other.reshape(len(other), -1)
    share = ratio((flat * across).sum(axis=1), (across * across).sum(axis=1))
    left: Array = relu(flat - share[:, None] * across)
    return left.reshape(maps.shape)
