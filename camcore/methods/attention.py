"""Methods that look at what a score gains from attention.

A is a layer's softmaxed attention, ``(B, heads, queries, *S)``: for each head and query,
how much it takes from each patch of the input.
"""

from __future__ import annotations

import numpy as np

from camcore.adapter import Array
from camcore.errors import InputError
from camcore.methods.arrays import floating
from camcore.methods.table import register
from camcore.postprocess import relu


@register(
    "legrad",
    "LeGrad",
    ("attention_gradients",),
    "1",
    "Bousselham et al., ICCV 2025",
    level="attention",
    joins="signed",
)
def legrad(attention_gradients: Array) -> Array:
    """Compute LeGrad: mean_h,q relu(∂y/∂A_hq).

    The score y is the model's own at every layer. The paper scores layer l by what that layer
    itself returns, put through the model's final norm and head; gradients of that score are not
    had here. The authors' code takes the mean over all tokens there, also at the last layer and
    of models that read their class token alone. So the two are one at the last layer of a model
    that pools all tokens by their mean ahead of its norm, and elsewhere they differ. For models
    with an attention pooler (SigLIP, CoCa) the code differentiates the pooler's attention, fed
    by each block's tokens, and for SigLIP blanks what an empty prompt lights up.

    Several layers are averaged as they are: all of them where none is named, as the paper has
    it; the code begins two blocks before the end, which is to name these two.

    Parameters
    ----------
    attention_gradients : (B, heads, queries, *S) array
        The score's gradient at the attention, keys laid out on the grid of patches and
        prefix tokens left out; see `camcore.layers.layout.keys_on_grid`.

    Returns
    -------
    (B, *S) array
        Nowhere negative.

    Raises
    ------
    InputError
        The array has not these axes.

    References
    ----------
    Bousselham et al., "LeGrad: An Explainability Method for Vision Transformers via
    Feature Formation Sensitivity", ICCV 2025, arXiv:2404.03214, sec. 3; code:
    github.com/WalBouss/LeGrad.
    """
    if np.ndim(attention_gradients) < 4:
        raise InputError(
            "attention_gradients must be (batch, heads, queries, *spatial), their keys laid out on "
            f"the grid of patches; got {np.shape(attention_gradients)}."
        )
    gradients = floating(attention_gradients, "attention_gradients")
    result: Array = relu(gradients).mean(axis=(1, 2))
    return result
