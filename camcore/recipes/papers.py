"""Conventions of the papers' own code, and of tutorials."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np

from camcore._shared.finite import without_overflow
from camcore.adapter import Array
from camcore.errors import MethodError
from camcore.methods.arrays import (
    ScoreImages,
    at_least_one,
    mean_space,
    one_of,
    paired,
    shaped,
    sum_channels,
    sum_space,
    weighted,
)
from camcore.methods.masking import Masking, noisy_masks, score_weighted
from camcore.methods.noise import check_sigma
from camcore.methods.scales import CLIPPED
from camcore.methods.table import described
from camcore.postprocess import relu
from camcore.recipes.base import SCALED, OverlayStyle, Recipe, Rendering, named, variant
from camcore.recipes.formulas.gradient import gradcampp_normalised, gradcampp_sum
from camcore.recipes.formulas.targets import probability, weighted_contrast
from camcore.recipes.steps import Levels, Normalise, Relu, Resize
from camcore.resize import LINEAR, PEERS, Interpolation

_PILLOW_BICUBIC = Interpolation("cubic", cubic_coefficient=-0.5, border="renormalise")

Form: TypeAlias = Literal["rectified", "mean", "hires", "x"]


@described("Σ_c relu(u_c ⊙ A_c) with u = g − ½ H·A, not averaged over space")
def shapleycam_forms(
    activations: Array, gradients: Array, hessian_products: Array, *, form: Form = "rectified"
) -> Array:
    """Weight activations by u = g − ½ H·A in one of four ways.

    Parameters
    ----------
    activations, gradients, hessian_products : (B, C, *S) array
        The layer's output A, the score's gradient g there, and H·A.
    form : {"rectified", "mean", "hires", "x"}
        Σ_c relu(u_c ⊙ A_c); Σ_c mean_s(u_c) · A_c; Σ_c u_c ⊙ A_c; or Σ_c w_c · A_c with
        w = Σ_s(u · A / (Σ_s(A) + 1e-7)).

    Returns
    -------
    (B, *S) array
        Signed map.

    References
    ----------
    ``ShapleyCAM``, ``ShapleyCAM_mean``, ``ShapleyCAM_hires`` and ``ShapleyCAM_x`` of
    github.com/caihuaiguang/pytorch-shapley-cam, in this order.
    """
    one_of(Form, form=form)
    activations, gradients = paired(activations, gradients)
    names = ("activations", "hessian_products")
    _, hessian_products = paired(activations, hessian_products, names)
    utility = gradients - hessian_products / 2
    if form == "rectified":
        return sum_channels(relu(utility * activations))
    if form == "hires":
        return sum_channels(utility * activations)
    if form == "mean":
        return weighted(mean_space(utility), activations)
    total = sum_space(activations) + activations.dtype.type(1e-7)
    return weighted(sum_space(utility * activations) / total, activations)


@described("Σ_c stretched(pool(g_c)) · A_c, pooled over windows that zeros fill up")
def segxrescam_stretched(
    activations: Array, gradients: Array, *, window: int = 2, pool: Literal["max", "mean"] = "max"
) -> Array:
    """Weight activations by gradients pooled over windows and stretched over the whole map.

    Sides are filled up with zeros to a multiple of the window, and the pooled grid is brought
    back to the layer's size by nearest neighbour, so that windows have other edges where the
    window does not divide a side.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.
    window : int
        Side of the windows.
    pool : {"max", "mean"}
        How a window's gradients are pooled; zeros that fill it up count.

    Returns
    -------
    (B, *S) array
        Signed map.

    Raises
    ------
    InputError, MethodError
        The shapes do not fit, or an option is out of range.

    References
    ----------
    ``seg_grad_cam`` of github.com/Nouman97/Seg_XRes_CAM, ``method_index=1``, by way of
    scikit-image's ``block_reduce`` and ``resize(order=0)``.
    """
    activations, gradients = paired(activations, gradients)
    if window < 1 or pool not in ("max", "mean"):
        raise MethodError(
            f"window={window}, pool={pool!r}; a positive integer and 'max' or 'mean' are expected."
        )
    pooled = gradients
    for axis in range(2, gradients.ndim):
        side = gradients.shape[axis]
        widths = [(0, -side % window if i == axis else 0) for i in range(gradients.ndim)]
        filled = np.pad(pooled, widths)
        shape = (*filled.shape[:axis], -1, window, *filled.shape[axis + 1 :])
        reduce = np.max if pool == "max" else np.mean
        pooled = reduce(filled.reshape(shape), axis=axis + 1)
        count = pooled.shape[axis]
        # ⌊(i + ½) · count / side⌋ in whole numbers, free of rounding.
        nearest = (2 * np.arange(side) + 1) * count // (2 * side)
        pooled = np.take(pooled, nearest, axis=axis)
    return sum_channels(pooled.astype(activations.dtype) * activations)


@described(
    "Score-CAM whose scores are averaged over N(0, (σ / range)⁴) added to the unscaled masks"
)
def sscam_of_range(
    activations: Array,
    images: Array,
    score_images: ScoreImages,
    *,
    samples: int = 35,
    sigma: float = 2.0,
    seed: int = 0,
    channels: int | None = None,
    masking: Masking,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Array:
    """Compute SS-CAM with noise on enlarged channels as they are, of deviation (σ / range)².

    Parameters
    ----------
    activations : (B, C, *S) array
        The layer's output.
    images : (B, C, *S) array
        The model's input.
    score_images : callable
        Scores of altered inputs.
    samples : int
        Draws of noise for each channel.
    sigma : float
        σ; the noise's standard deviation is the square of σ over the enlarged channel's range.
    seed : int
        Of the noise; the same seed gives the same map in every framework.
    channels, masking, batch_size, progress
        As in `camcore.methods.scorecam`.

    Returns
    -------
    (B, *S) array
        Signed map.

    Raises
    ------
    InputError, MethodError
        The arrays do not fit, an option is out of range, or the noise overflows.

    References
    ----------
    ``SSCAM1`` of code that is probably the authors', built on haofanwang's Score-CAM.
    """
    at_least_one(samples=samples, batch_size=batch_size)
    check_sigma(sigma)

    def scores(sample: int, numbers: Array, masks: Array) -> Array:
        span = np.ptp(masks.reshape(len(masks), -1), axis=1).astype(np.float64)
        sigmas = without_overflow((sigma / span) ** 2, "SS-CAM's noise")
        total = np.zeros(len(masks))
        for noisy in noisy_masks(masks, numbers, sigmas, samples, seed):
            answer = score_images(sample, images[sample] * noisy[:, None])
            total += shaped(answer, total.shape, "Scores of altered images")
        return total / samples

    return score_weighted(
        activations, images, scores, "SS-CAM", batch_size, progress, masking, channels
    )


NOTEBOOK = Recipe(
    name="notebook",
    source="the ResNet-50 hook tutorials: (x - min) / (max - min + 1e-8) after cv2.resize",
    layer_steps=(Relu(), Resize(), Normalise("min_max", 1e-8)),
    final_steps=(),
    alike=("gradcam",),
    overlay=OverlayStyle("jet", 0.4, "add_clip"),
)

_LINEAR_TORCH = PEERS["torch-linear"]
_TORCH = Resize(_LINEAR_TORCH)

_MASKS = Masking(_LINEAR_TORCH, weights="score")

# Those that are built on pytorch-grad-cam.
_BUILT_ON = Rendering((Relu(), SCALED, Resize(LINEAR)), (), (Relu(), SCALED))

AUTHORS = Recipe(
    name="authors",
    source="the papers' own code: github.com/ramprs/grad-cam (Lua), "
    "adityac94/Grad_CAM_plus_plus (TensorFlow), haofanwang/Score-CAM, "
    "caihuaiguang/pytorch-shapley-cam, Imageomics/Finer-CAM, liuktc/RefineCAM, "
    "Nouman97/Seg_XRes_CAM, WalBouss/LeGrad, sybyun/ReciproCAM, anguyen8/gScoreCAM, "
    "aenglebert/polycam (PyTorch), LaBRI's FEM (NumPy)",
    layer_steps=(Relu(), Resize(PEERS["torch-linear-aligned"]), Normalise("min_max")),
    final_steps=(),
    alike=("gradcam", "fem"),
    methods=named(
        variant("gradcampp", gradcampp_normalised, needs=("activations", "gradients", "scores")),
        variant("scorecam", aim=probability, masking=_MASKS),
        variant("shapleycam", shapleycam_forms),
        variant("finercam", aim=weighted_contrast),
        variant("refinecam", gradcampp_sum, eps=1e-6),
        variant("segxrescam", segxrescam_stretched),
        variant(
            "polycam",
            masking=replace(CLIPPED, interpolation=_LINEAR_TORCH, scale="shifted", constant=True),
            interpolation=_LINEAR_TORCH,
        ),
        variant("sscam", sscam_of_range, aim=probability, masking=replace(_MASKS, scaled="never")),
        variant("reciprocam", aim=probability),
        variant("legrad", last=2, scored="block"),
        variant(
            "gscorecam",
            masking=Masking(
                PEERS["torch-linear-aligned"], eps=1e-6, constant=True, unscored="zero"
            ),
        ),
    ),
    exceptions={
        "gradcampp": Rendering((Relu(), Normalise(), Resize(LINEAR))),
        "scorecam": Rendering((_TORCH, Relu(), Normalise("min_max"))),
        "sscam": Rendering((_TORCH, Relu(), Normalise("min_max"))),
        "polycam": Rendering((Normalise("shifted", outliers=0.1), _TORCH)),
        "shapleycam": _BUILT_ON,
        "finercam": _BUILT_ON,
        "refinecam": Rendering(
            (*_BUILT_ON.layer_steps, Relu(), SCALED, Normalise("min_max", 1e-12)),
            (),
            (Normalise("min_max", 1e-12),),
        ),
        "segxrescam": Rendering((Relu(), Resize(LINEAR), Normalise("min_max"), Levels(255))),
        "fem": Rendering((Normalise(),)),
        "legrad": Rendering((_TORCH, Normalise("min_max"))),
        "gscorecam": Rendering(
            (Relu(), Normalise("min_max", 1e-8), Resize(LINEAR)),
            final_steps=(Normalise("min_max", 1e-8),),
        ),
        "reciprocam": Rendering((Normalise("min_max"), Resize(_PILLOW_BICUBIC))),
    },
    overlay=OverlayStyle("jet", 0.5, "mix"),
    notes=(
        "not run by the tests: checked against the code's steps worked out in float64",
        "Grad-CAM sums gradients over space where the paper averages them, which scaling "
        "cancels; torch's image.scale aligns corners",
        "Grad-CAM++ gives NaN there where a channel's α sum to zero, and is enlarged by "
        "scikit-image, which before 0.15 faded the outermost half cell to zero",
        "gScoreCAM: channels that are not scored enter the softmax with a score of 0",
        "Recipro-CAM: the probability, from its lowest to its highest; its smooth variant there "
        "spreads a position's activations over its neighbours, which is not camcore's",
        "ShapleyCAM: ShapleyCAM_mean, _hires and _x are form='mean', 'hires' and 'x'; its "
        "experiments explain Class(c) + LogProbability(c), which they call ReST",
        "FinerCAM: with a single class it explains that class, where camcore refuses",
        "RefineCAM: its other mixers are fusion='root', 'exp_mean' and 'log_exp'",
        "SS-CAM: code that is probably the authors'; their noise is another draw",
        "Poly-CAM: PCAM+ and PCAM- are change='increase' and change='decrease'",
        "FEM: its map stays at the layer's size",
        "LeGrad: where no layer is named, the last two blocks; ahead of SigLIP's attention pooler "
        "the code leaves the model's final norm out, which is kept here",
    ),
)
