"""Conventions of xplique, by its documented formulas: it needs an older TensorFlow."""

from __future__ import annotations

import numpy as np

from camcore._shared.finite import without_overflow
from camcore.adapter import Array
from camcore.methods.arrays import floating, mean_space, paired, per_channel, weighted
from camcore.methods.table import described
from camcore.postprocess import relu
from camcore.recipes.base import AS_IS, OverlayStyle, Recipe, Rendering, named, variant
from camcore.recipes.formulas.attribution import (
    joined_deconvolution,
    joined_gradient,
    joined_integrated_gradients,
    joined_product,
    joined_smoothgrad,
    joined_smoothgrad_squared,
    joined_vargrad,
)
from camcore.recipes.steps import Relu, Resize
from camcore.resize import PEERS


@described("Σ_c w_c · A_c with w = mean_s(α · relu(g)), α = g² / (2g² + mean_s(A) · g³)")
def gradcampp_mean(activations: Array, gradients: Array) -> Array:
    """Weight channels as Grad-CAM++ does, with means over space in place of sums.

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
    ``GradCAMPP`` of xplique, where a denominator of zero counts as 1e-4.
    """
    activations, gradients = paired(activations, gradients)
    square = gradients**2
    mean = per_channel(mean_space(activations), activations)
    denominator = 2 * square + square * gradients * mean
    denominator = np.where(denominator != 0, denominator, gradients.dtype.type(1e-4))
    return weighted(mean_space(square / denominator * relu(gradients)), activations)


@described("Σ_c μ_c · [A_c ≥ μ_c + 2σ_c]")
def fem_inclusive(activations: Array) -> Array:
    """Compute FEM with what is at the threshold above it.

    A channel that is constant over space, but not zero, is at its threshold everywhere,
    as long as its mean has no rounding error.

    Parameters
    ----------
    activations : (B, C, *S) array
        The layer's output.

    Returns
    -------
    (B, *S) array
        Signed map.

    References
    ----------
    ``FEM`` of xplique.
    """
    activations = floating(activations, "activations")
    mean = per_channel(mean_space(activations), activations)
    deviation = activations.std(axis=tuple(range(2, activations.ndim)), keepdims=True)
    threshold = without_overflow(mean + 2 * deviation, "FEM")
    return weighted(mean_space(activations), (activations >= threshold).astype(activations.dtype))


XPLIQUE = Recipe(
    name="xplique",
    source="xplique 2.0.2, by its documented formulas (it needs an older TensorFlow)",
    score="output",
    layer_steps=(Relu(), Resize(PEERS["tensorflow-cubic"])),
    final_steps=(),
    alike=("gradcam", "saliency"),
    methods=named(
        variant("gradcampp", gradcampp_mean),
        variant("fem", fem_inclusive),
        variant("gradienttimesinput", joined_product, join="mean"),
        variant("guidedbackprop", joined_gradient, join="mean"),
        variant("deconvnet", joined_deconvolution, join="mean"),
        variant("integratedgradients", joined_integrated_gradients),
        variant(
            "smoothgrad", joined_smoothgrad, samples=50, sigma=0.2, of_range=False, join="mean"
        ),
        variant("sobol", enlarge=PEERS["tensorflow-cubic"]),
        variant("hsic", enlarge=PEERS["tensorflow-cubic"]),
        variant("smoothgradsq", joined_smoothgrad_squared),
        variant("vargrad", joined_vargrad, unbiased=True),
    ),
    exceptions={
        "fem": Rendering((Resize(PEERS["tensorflow-cubic"]),)),
        **dict.fromkeys(
            (
                *("gradienttimesinput", "guidedbackprop", "deconvnet", "integratedgradients"),
                *("smoothgrad", "smoothgradsq", "vargrad", "sobol", "hsic"),
            ),
            AS_IS,
        ),
    },
    overlay=OverlayStyle("jet", 0.5, "mix"),
    notes=(
        "not run by the tests: checked against its formulas worked out in float64",
        "maps are in the units of the score: nothing is scaled, and cubic interpolation "
        "overshoots below zero",
        "Sobol: the second draw of all masks, whose scores no index is made of, is not run",
        "guided backpropagation: gradients pass the ceiling of a ReLU6 there",
    ),
)
