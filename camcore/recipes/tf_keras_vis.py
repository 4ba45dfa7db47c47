"""Conventions of tf-keras-vis, in the version that ``tests/conformance`` runs."""

from __future__ import annotations

from camcore.methods.masking import Masking
from camcore.recipes.base import SCALED, OverlayStyle, Recipe, named, variant
from camcore.recipes.formulas.attribution import joined_smoothgrad
from camcore.recipes.formulas.gradient import gradcampp_normalised
from camcore.recipes.formulas.targets import probability
from camcore.recipes.steps import Relu, Resize
from camcore.resize import PEERS

TF_KERAS_VIS = Recipe(
    name="tf-keras-vis",
    source="tf-keras-vis 0.8.7, with seek_penultimate_conv_layer=False",
    score="output",
    layer_steps=(Relu(), Resize(PEERS["scipy-linear"]), SCALED),
    final_steps=(),
    alike=("gradcam", "layercam", "saliency"),
    methods=named(
        variant("gradcampp", gradcampp_normalised, needs=("activations", "gradients", "scores")),
        variant(
            "scorecam",
            aim=probability,
            masking=Masking(PEERS["scipy-linear"], eps=1e-7, constant=True, weights="score"),
        ),
        variant(
            "smoothgrad", joined_smoothgrad, average="mean of magnitudes", samples=20, sigma=0.2
        ),
    ),
    overlay=OverlayStyle("jet", 0.5, "mix"),
    notes=(
        "left to itself the library moves to another layer when the named one is not a "
        "convolution; camcore looks where it is told to",
        "Score-CAM applies a softmax to whatever the model returns, also to probabilities",
    ),
)
