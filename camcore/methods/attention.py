"""Methods that look at what a score gains from attention.

A is a layer's softmaxed attention, ``(B, heads, queries, *S)``: for each head and query,
how much it takes from each patch of the input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np

from camcore.adapter import Array
from camcore.errors import InputError
from camcore.methods.arrays import floating, one_of
from camcore.methods.table import register
from camcore.postprocess import relu

ScoredBy: TypeAlias = Literal["model", "block"]
"""What a layer is scored by: the model's own output, or what its block returns itself."""


@register(
    "legrad",
    "LeGrad",
    ("attention_gradients", "own_gradients"),
    "1",
    "Bousselham et al., ICCV 2025",
    level="attention",
    joins="signed",
)
def legrad(
    attention_gradients: Array,
    own_gradients: Callable[[], Array] | None = None,
    *,
    scored: ScoredBy = "model",
) -> Array:
    """Compute LeGrad: mean_h,q relu(∂y/∂A_hq).

    With ``scored="model"`` the score y is the model's own, at every layer. With ``"block"`` it is
    what the model makes of the mean of all tokens, class token included, that the layer's block
    returns: put through the model's final norm and head, as the paper and its authors' code score
    each layer. The two are one at the last layer of a model that pools all tokens by their mean
    ahead of its norm; elsewhere they differ. A block's own score takes three to four times as
    long, and can be had where blocks return tokens alike and the head follows the last one alone;
    elsewhere it is refused.

    Where the head pools tokens by attention (SigLIP, CoCa), ``"block"`` puts each block's tokens
    in place of the last one's as they are, and A is the pooler's attention to them, as in the
    authors' code; the pooler has then no map of its own. With ``"model"`` the pooler's
    attention is one layer beside the blocks' own.

    Several layers are averaged as they are: all of them where none is named, as the paper has
    it; the code, and recipe ``authors``, begins two blocks before the end.

    Parameters
    ----------
    attention_gradients : (B, heads, queries, *S) array
        The score's gradient at the attention, keys laid out on the grid of patches and
        prefix tokens left out; see `camcore.layers.layout.keys_on_grid`.
    own_gradients : callable
        ``own_gradients()`` is the same of the block's own score, at its attention or at that of
        the pooler; see `camcore.blocks`.
    scored : {"model", "block"}
        Whose score is differentiated.

    Returns
    -------
    (B, *S) array
        Nowhere negative.

    Raises
    ------
    InputError
        The array has not these axes, or the block's own gradients are not given.
    MethodError
        The block's own score cannot be had.

    References
    ----------
    Bousselham et al., "LeGrad: An Explainability Method for Vision Transformers via
    Feature Formation Sensitivity", ICCV 2025, arXiv:2404.03214; code:
    github.com/WalBouss/LeGrad.
    """
    one_of(ScoredBy, scored=scored)
    gradients = _on_grid(attention_gradients, "attention_gradients")
    if scored == "block":
        if own_gradients is None:
            raise InputError("scored='block' needs own_gradients, a callable; got None.")
        gradients = _on_grid(own_gradients(), "own_gradients()")
    result: Array = relu(gradients).mean(axis=(1, 2))
    return result


def _on_grid(gradients: Array, name: str) -> Array:
    """Refuse gradients whose keys are not laid out on the grid."""
    if np.ndim(gradients) < 4:
        raise InputError(
            f"{name} must be (batch, heads, queries, *spatial), their keys laid out on the grid of "
            f"patches; got {np.shape(gradients)}."
        )
    return floating(gradients, name)
