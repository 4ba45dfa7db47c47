"""Conventions of xplique, by its documented formulas: it needs an older TensorFlow."""

from __future__ import annotations

import numpy as np

from camcore.adapter import Array
from camcore.methods.arrays import mean_space, paired, per_channel, weighted
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


XPLIQUE = Recipe(
    name="xplique",
    source="xplique 2.0.2, by its documented formulas (it needs an older TensorFlow)",
    score="output",
    layer_steps=(Relu(), Resize(PEERS["tensorflow-cubic"])),
    final_steps=(),
    alike=("gradcam", "saliency"),
    methods=named(
        variant("gradcampp", gradcampp_mean),
        variant("fem", reading="mean"),
        variant("gradienttimesinput", joined_product, join="mean"),
        variant("guidedbackprop", joined_gradient, join="mean"),
        variant("deconvnet", joined_deconvolution, join="mean"),
        variant("integratedgradients", joined_integrated_gradients),
        variant(
            "smoothgrad", joined_smoothgrad, samples=50, sigma=0.2, of_range=False, join="mean"
        ),
        variant("smoothgradsq", joined_smoothgrad_squared),
        variant("vargrad", joined_vargrad, unbiased=True),
    ),
    exceptions={
        "fem": Rendering((Resize(PEERS["tensorflow-cubic"]),)),
        **dict.fromkeys(
            (
                *("gradienttimesinput", "guidedbackprop", "deconvnet"),
                *("integratedgradients", "smoothgrad", "smoothgradsq", "vargrad"),
            ),
            AS_IS,
        ),
    },
    overlay=OverlayStyle("jet", 0.5, "mix"),
    notes=(
        "not run by the tests: checked against its formulas worked out in float64",
        "maps are in the units of the score: nothing is scaled, and cubic interpolation "
        "overshoots below zero",
        "guided backpropagation: gradients pass the ceiling of a ReLU6 there",
    ),
)
