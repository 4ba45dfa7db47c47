"""Group-CAM: runs of channels mask the image, and weigh what the score gains over a blur."""

from __future__ import annotations

import numpy as np

from camcore._shared.progress import track
from camcore.adapter import Array
from camcore.errors import MethodError
from camcore.methods.arrays import (
    ScoreImages,
    at_least_one,
    batches,
    mean_space,
    paired,
    per_channel,
    same_batch,
    shaped,
    weighted,
)
from camcore.methods.masking import PAPER, Masking
from camcore.methods.table import described, register
from camcore.postprocess import relu
from camcore.resize import along_axes


@register(
    "groupcam",
    "Group-CAM",
    ("activations", "gradients", "images", "score_images"),
    "2 + groups",
    "Zhang et al., arXiv:2103.13859",
    additive=False,
)
@described(
    "Σ_i w_i · S_i with S_i = relu(Σ_c∈i mean_s(g_c) · A_c) over runs i of channels, "
    "w_i = relu(y(x · M_i + blur(x) · (1 − M_i)) − y(blur(x))), M_i the scaled S_i"
)
def groupcam(
    activations: Array,
    gradients: Array,
    images: Array,
    score_images: ScoreImages,
    *,
    groups: int = 32,
    side: int = 51,
    sigma: float = 50.0,
    masking: Masking = PAPER,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Array:
    """Compute Group-CAM: Grad-CAM's sum in runs of channels, each weighted by what its mask shows.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.
    images : (B, C, *S) array
        The model's input.
    score_images : callable
        Scores of altered inputs.
    groups : int
        Into how many runs the channels are split, all but the last of one length. There are
        fewer where the channels do not suffice.
    side : int
        Side of the blur's kernel in input positions, an odd number.
    sigma : float
        Standard deviation of the blur, in input positions.
    masking : Masking
        How a run's map becomes a mask.
    batch_size : int
        How many masked images are scored at once.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *S) array
        Nowhere negative. With one group, Grad-CAM's positive part up to a factor, which is 0
        where the image shows no more than its blur.

    Raises
    ------
    InputError, MethodError
        The arrays do not fit, or an option is out of range.

    References
    ----------
    Zhang, Rao and Yang, "Group-CAM: Group Score-Weighted Visual Explanations for Deep
    Convolutional Networks", arXiv:2103.13859. The authors' code takes the gradient of the
    logit and the scores of the softmax; here both are of one target.
    """
    activations, gradients = paired(activations, gradients)
    activations, images = same_batch(activations, images)
    at_least_one(groups=groups, batch_size=batch_size)
    blurred = gaussian_blur(images, side, sigma)
    products = per_channel(mean_space(gradients), activations) * activations
    runs = batches(range(products.shape[1]), -(-products.shape[1] // groups))
    sums = relu(np.stack([products[:, run[0] : run[-1] + 1].sum(axis=1) for run in runs], axis=1))
    weights = np.zeros(sums.shape[:2])
    for sample, (image, blur) in enumerate(zip(images, blurred, strict=True)):
        chosen = masking.scored_channels(sums[sample])
        if not len(chosen):
            continue
        base = shaped(score_images(sample, blur[None]), (1,), "Scores of altered images")
        for batch in track(batches(list(chosen), batch_size), "Group-CAM", progress):
            masks = masking.masks(sums[sample, batch], images.shape[2:]).astype(images.dtype)
            shown = blur + (image - blur) * masks[:, None]
            scores = shaped(score_images(sample, shown), (len(batch),), "Scores of altered images")
            weights[sample, batch] = relu(scores - base)
    return weighted(weights.astype(activations.dtype), sums)


def gaussian_blur(images: Array, side: int, sigma: float) -> Array:
    """Blur images by a Gaussian that is cut off at `side` positions, along one axis after another.

    Parameters
    ----------
    images : (B, C, *S) array
        With any number of spatial axes. Beyond their border they are mirrored, the outermost
        position not repeated, as often as it takes.
    side : int
        Side of the kernel, an odd number.
    sigma : float
        Standard deviation, in positions.

    Returns
    -------
    (B, C, *S) array
        Of the images' dtype.

    Raises
    ------
    MethodError
        The side is even, or the deviation no positive number.
    """
    at_least_one(side=side)
    if side % 2 == 0:
        raise MethodError(f"side={side}; a kernel has a middle, so it must be odd.")
    if not 0 < sigma < np.inf:
        raise MethodError(f"sigma={sigma}; it must be finite and positive.")
    reach = side // 2
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    spreads = []
    for length in images.shape[2:]:
        # Row i holds what of each position comes to i.
        spread = np.zeros((length, length))
        places = np.pad(np.arange(length), reach, mode="reflect")
        for at in range(length):
            np.add.at(spread[at], places[at : at + side], kernel)
        spreads.append(spread.astype(images.dtype).T)
    return along_axes(images, spreads, leading=2)
