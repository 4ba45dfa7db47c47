"""Conventions of torchcam, in the version that ``tests/conformance`` runs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from camcore.adapter import Array
from camcore.methods.arrays import (
    ScoreImages,
    at_least_one,
    floating,
    paired,
    per_channel,
    sum_space,
    weighted,
)
from camcore.methods.masking import PAPER, Masking, score_weighted
from camcore.methods.noise import noisy_inputs
from camcore.methods.table import described
from camcore.postprocess import relu
from camcore.recipes.base import OverlayStyle, Recipe, Rendering, named, variant
from camcore.recipes.formulas.gradient import gradcampp_product, xgradcam_eps
from camcore.recipes.steps import Normalise, Relu, Resize, Tanh
from camcore.resize import PEERS


@described("Σ_c w_c · A_c with w = Σ_s relu(g)³: α = g², its denominator lost")
def gradcampp_cubed(activations: Array, gradients: Array) -> Array:
    """Weight channels as Grad-CAM++ does, without the denominator of α.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.

    Returns
    -------
    (B, *S) array
        Signed map.

    References
    ----------
    ``GradCAMpp`` of torchcam as shipped: ``alpha[idx][mask].div_(...)`` divides a copy,
    which is then dropped.
    """
    activations, gradients = paired(activations, gradients)
    return weighted(sum_space(gradients**2 * relu(gradients)), activations)


@described(
    "Σ_c w_c · A'_c with w = Σ_s α · relu(g'), α = mean(g²) / (2 mean(g²) + Σ_s(mean(g³) · A) + ε)"
)
def smooth_gradcampp_last(
    activations: Array,
    images: Array,
    rerun: Callable[[Array], tuple[Array, Array]],
    *,
    samples: int = 4,
    sigma: float = 0.3,
    eps: float = 1e-8,
    seed: int = 0,
    progress: bool | None = None,
) -> Array:
    """Weight the last noisy input's channels as Smooth Grad-CAM++ does, by its last gradients.

    A' and g' are those of the last noisy input alone. The noise has an absolute standard
    deviation, in the units of the input.

    Parameters
    ----------
    activations : (B, C, *S) array
        The layer's output for the input without noise, A.
    images : (B, C, *S) array
        The model's input.
    rerun : callable
        The layer's activations and gradients at other inputs.
    samples : int
        How many noisy inputs.
    sigma : float
        Standard deviation of the noise.
    eps : float
        ε.
    seed : int
        Of the noise; the same seed gives the same map in every framework.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *S) array
        Signed map.

    References
    ----------
    ``SmoothGradCAMpp`` of torchcam, whose hooks overwrite the activations at each pass.
    """
    activations = floating(activations, "activations")
    square, cube = np.zeros_like(activations), np.zeros_like(activations)
    last, gradients = activations, np.zeros_like(activations)
    for noisy in noisy_inputs(
        images, samples, sigma, seed, of_range=False, label="Smooth Grad-CAM++", progress=progress
    ):
        last, gradients = rerun(noisy)
        square += gradients**2
        cube += gradients**3
    square, cube = square / samples, cube / samples
    product = per_channel(sum_space(cube * activations), activations)
    alpha = square / (2 * square + product + activations.dtype.type(eps))
    return weighted(sum_space(alpha * relu(gradients)), last)


@described("IS-CAM with strengths that add up: (1 + 2 + … + i) / N, the last of them (N + 1) / 2")
def iscam_cumulative(
    activations: Array,
    images: Array,
    score_images: ScoreImages,
    *,
    steps: int = 10,
    masking: Masking = PAPER,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Array:
    """Compute IS-CAM with strengths of the masks that add up.

    Parameters
    ----------
    activations : (B, C, *S) array
        The layer's output.
    images : (B, C, *S) array
        The model's input.
    score_images : callable
        Scores of altered inputs.
    steps : int
        N.
    masking, batch_size, progress
        As in `camcore.methods.scorecam`.

    Returns
    -------
    (B, *S) array
        Signed map.

    References
    ----------
    ``ISCAM`` of torchcam: ``coeff += (sidx + 1) / num_samples``.
    """
    at_least_one(steps=steps, batch_size=batch_size)
    strengths = np.cumsum(np.arange(1, steps + 1) / steps)

    def scores(sample: int, _: Array, masks: Array) -> Array:
        masked = images[sample] * masks[:, None]
        each = [score_images(sample, masked.dtype.type(s) * masked) for s in strengths]
        mean: Array = np.mean(each, axis=0)
        return mean

    return score_weighted(activations, images, scores, "IS-CAM", batch_size, progress, masking)


_SCALED = Normalise("min_max", 1e-8)

_ENLARGED = Resize(PEERS["torch-linear"])

_MASKS = Masking(PEERS["torch-linear"], scaled="before", eps=1e-8, constant=True)

TORCHCAM = Recipe(
    name="torchcam",
    source="torchcam 0.5.0",
    score="output",
    layer_steps=(Relu(), _SCALED),
    joint_steps=(_ENLARGED,),
    fusion="max",
    final_steps=(),
    alike=("cam", "gradcam", "layercam", "finercam"),
    methods=named(
        variant("gradcampp", gradcampp_cubed),
        variant("xgradcam", xgradcam_eps, eps=1e-8),
        variant("smoothgradcampp", smooth_gradcampp_last),
        variant("refinecam", gradcampp_cubed),
        variant("legrad", fusion="mean", scored="block"),
        variant("scorecam", masking=_MASKS),
        variant("sscam", masking=_MASKS),
        variant("iscam", iscam_cumulative, masking=_MASKS),
    ),
    exceptions={
        "cam": Rendering((_SCALED,), (_ENLARGED,)),
        "layercam": Rendering((Relu(), _SCALED), (Tanh(2.0), _ENLARGED)),
        "legrad": Rendering((_SCALED,)),
        "refinecam": Rendering((Relu(), _SCALED, _SCALED), (_ENLARGED,), (_SCALED,)),
    },
    overlay=OverlayStyle("jet", 0.3, "mix_squared"),
    notes=(
        "maps stay at the layer's size; several layers are joined as fuse_cams does",
        "Grad-CAM++: the division of g² by its denominator is lost, since a masked copy is "
        "divided; recipe 'torchcam-documented' has the formula of its documentation",
        "Smooth Grad-CAM++: the map is made of the last noisy input's activations, and its "
        "rectified gradients are those of the last noisy input",
        "IS-CAM: strengths add up, so that most are above 1",
        "LeGrad: as with the library's own score_projection; one that makes the model's score at "
        "the last block is scored='model'",
    ),
)

TORCHCAM_DOCUMENTED = TORCHCAM.derive(
    "torchcam-documented",
    "torchcam 0.5.0, with Grad-CAM++ as its documentation says",
    methods={**TORCHCAM.methods, **named(variant("gradcampp", gradcampp_product, eps=1e-8))},
    notes=("Grad-CAM++ as documented rather than as shipped; otherwise as 'torchcam'",),
)
