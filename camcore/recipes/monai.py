"""Conventions of MONAI, in the version that ``tests/conformance`` runs."""

from __future__ import annotations

from camcore.recipes.base import AS_IS, OverlayStyle, Recipe, Rendering, named, variant
from camcore.recipes.formulas.attribution import joined_smoothgrad
from camcore.recipes.formulas.gradient import gradcampp_product
from camcore.recipes.steps import Relu, Resize, Stretch
from camcore.resize import PEERS

_STEPS = (Relu(), Resize(PEERS["torch-linear"]), Stretch(1.0, 0.0))

MONAI = Recipe(
    name="monai",
    source="monai 1.6.1",
    score="output",
    layer_steps=_STEPS,
    final_steps=(),
    alike=("cam", "gradcam", "saliency", "guidedbackprop"),
    methods=named(
        variant("gradcampp", gradcampp_product, eps=1e-7),
        variant("smoothgrad", joined_smoothgrad, average="root of squares", samples=25, sigma=0.15),
    ),
    exceptions={
        "cam": Rendering(_STEPS[1:]),
        "saliency": AS_IS,
        "guidedbackprop": AS_IS,
        "smoothgrad": AS_IS,
    },
    overlay=OverlayStyle("jet", 0.5, "mix"),
    notes=(
        "the map is inverted: 0 where the model looks, 1 where it does not, since its "
        "default_normalizer takes (min, max) to (1, 0) on purpose; 1 - map turns it over; a map "
        "without evidence stays 0 and so reads as evidence everywhere; docs/medical.md has more",
        "a batch shares its targets there: with several, or with the predicted ones, each "
        "image's gradient is that of their sum; explained one by one they agree with camcore's",
        "Grad-CAM++: its factor exp(y) cancels in the scaling and is left out",
        "SmoothGrad divides the root of the summed squares by n, not by its root",
        "attributions at the input have channels there; the largest magnitude is shown",
    ),
)
