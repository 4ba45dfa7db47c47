"""Conventions of captum, in the version that ``tests/conformance`` runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from camcore.adapter import Array
from camcore.methods.arrays import floating, over_images
from camcore.methods.gradient import gradcam
from camcore.methods.integrated import GradientsFrom, integrated_from
from camcore.methods.table import described
from camcore.postprocess import relu
from camcore.recipes.base import OverlayStyle, Recipe, named, variant
from camcore.recipes.formulas.attribution import (
    Join,
    joined_deconvolution,
    joined_gradient,
    joined_saliency,
    joined_smoothgrad,
    joined_smoothgrad_squared,
    joined_vargrad,
)
from camcore.recipes.steps import Resize
from camcore.resize import PEERS


@described(
    "Guided g_c × the positive part of Grad-CAM enlarged by nearest neighbour, channels joined"
)
def guided_gradcam_nearest(
    activations: Array, gradients: Array, guided_gradients: Array, *, join: Join = "sum"
) -> Array:
    """Multiply guided gradients by Grad-CAM enlarged by nearest neighbour, and join channels.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        A layer's output and the score's gradient there.
    guided_gradients : (B, C, *S) array
        The score's gradient at the input under the guided rule.
    join : {"max", "sum", "mean"}
        Over channels.

    Returns
    -------
    (B, *S) array
        Signed map, at the input's size.

    Raises
    ------
    InputError
        The shapes do not fit.

    References
    ----------
    ``GuidedGradCam`` of captum.
    """
    guided = floating(guided_gradients, "guided_gradients")
    coarse = relu(gradcam(activations, gradients))
    return joined_gradient(guided, join=join) * over_images(coarse, guided, PEERS["torch-nearest"])


@described("Σ_c (A − A₀)_c · average of g_c between, A₀ what the layer returns for a baseline x₀")
def layerig_from_image(
    activations: Array,
    images: Array,
    rerun: Callable[[Array], tuple[Array, Array]],
    gradients_from: GradientsFrom,
    *,
    steps: int = 50,
    baseline: float = 0.0,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Array:
    """Integrate gradients from the layer's output for a baseline of the input.

    Parameters
    ----------
    activations, images : (B, C, *S) array
        A layer's output A and the model's input.
    rerun : callable
        The layer's output and gradients at other inputs.
    gradients_from : callable
        Context that scores and differentiates altered activations of one sample.
    steps : int
        Nodes of the quadrature.
    baseline : float
        Every value of x₀, in the units of the input.
    batch_size : int
        How many places on the path are run at once.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *S) array
        Signed map; it sums to y(A) − y(A₀) as steps grow.

    Raises
    ------
    InputError, MethodError
        The arrays do not fit, or an option is out of range.

    References
    ----------
    ``LayerIntegratedGradients`` of captum.
    """
    activations, images = floating(activations, "activations"), floating(images, "images")
    start, _ = rerun(np.full_like(images, baseline))
    return integrated_from(activations, start, gradients_from, steps, batch_size, progress)


_NOISE: dict[str, Any] = {"samples": 5, "sigma": 1.0, "of_range": False, "join": "sum"}
"""What `NoiseTunnel` draws where nothing is said: in the units of the input."""

CAPTUM = Recipe(
    name="captum",
    source="captum 0.9.0, with LayerAttribution.interpolate to the input's size",
    score="output",
    layer_steps=(Resize(PEERS["torch-nearest"]),),
    final_steps=(),
    alike=("gradcam", "hirescam", "gradienttimesinput", "integratedgradients"),
    methods=named(
        variant("saliency", joined_saliency, join="sum"),
        variant("smoothgrad", joined_smoothgrad, **_NOISE),
        variant("smoothgradsq", joined_smoothgrad_squared, **_NOISE),
        variant("vargrad", joined_vargrad, **_NOISE),
        variant("gradientshap", samples=5),
        variant("guidedbackprop", joined_gradient, join="sum"),
        variant("deconvnet", joined_deconvolution, join="sum"),
        variant("guidedgradcam", guided_gradcam_nearest, join="sum"),
        variant("occlusion", edge="cut"),
        variant(
            "layerig",
            layerig_from_image,
            needs=("activations", "images", "rerun", "gradients_from"),
        ),
    ),
    overlay=OverlayStyle("jet", 0.5, "mix"),
    notes=(
        "maps are signed and in the units of the score: no ReLU, nothing is scaled",
        "HiResCAM is its LayerGradientXActivation",
        "attributions at the input have channels there; they are summed, as by "
        "visualize_image_attr",
        "SmoothGrad, SmoothGrad-Squared and VarGrad are NoiseTunnel around Saliency with "
        "abs=False; without that the mean and the variance are those of |g|",
        "GradientShap: sigma there is in the units of the input, and each sample of a batch has "
        "draws of its own",
        "guided backpropagation and DeconvNet: its hooks reach ReLU modules only, so the "
        "rectifiers of other kinds (ReLU6, functional) that camcore reaches keep their own "
        "gradient there",
        "overlays: its pictures colour by sign and cut outliers off; they are not reproduced",
    ),
)
