"""Conventions of the papers' own code, and of tutorials."""

from __future__ import annotations

from camcore.methods.masking import Masking
from camcore.recipes.base import OverlayStyle, Recipe, Rendering, named, variant
from camcore.recipes.formulas.gradient import gradcampp_normalised
from camcore.recipes.formulas.targets import probability
from camcore.recipes.steps import Normalise, Relu, Resize
from camcore.resize import LINEAR, PEERS, Interpolation

_PILLOW_BICUBIC = Interpolation("cubic", cubic_coefficient=-0.5, border="renormalise")

NOTEBOOK = Recipe(
    name="notebook",
    source="the ResNet-50 hook tutorials: (x - min) / (max - min + 1e-8) after cv2.resize",
    layer_steps=(Relu(), Resize(), Normalise("min_max", 1e-8)),
    final_steps=(),
    alike=("gradcam",),
    overlay=OverlayStyle("jet", 0.4, "add_clip"),
)


AUTHORS = Recipe(
    name="authors",
    source="the papers' own code: github.com/ramprs/grad-cam (Lua), "
    "adityac94/Grad_CAM_plus_plus (TensorFlow), haofanwang/Score-CAM, "
    "sybyun/ReciproCAM and anguyen8/gScoreCAM (PyTorch)",
    layer_steps=(Relu(), Resize(PEERS["torch-linear-aligned"]), Normalise("min_max")),
    final_steps=(),
    alike=("gradcam",),
    methods=named(
        variant("gradcampp", gradcampp_normalised, needs=("activations", "gradients", "scores")),
        variant(
            "scorecam", aim=probability, masking=Masking(PEERS["torch-linear"], weights="score")
        ),
        variant("reciprocam", aim=probability),
        variant(
            "gscorecam",
            masking=Masking(
                PEERS["torch-linear-aligned"], eps=1e-6, constant=True, unscored="zero"
            ),
        ),
    ),
    exceptions={
        "gradcampp": Rendering((Relu(), Normalise(), Resize(LINEAR))),
        "scorecam": Rendering((Resize(PEERS["torch-linear"]), Relu(), Normalise("min_max"))),
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
    ),
)
