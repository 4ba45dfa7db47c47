"""One recipe for each published convention.

The versions named are those that ``tests/conformance`` runs the recipes against.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from camcore.errors import RecipeError
from camcore.methods import variants
from camcore.methods.masking import Masking
from camcore.methods.table import Method, find
from camcore.recipes import targets
from camcore.recipes.recipe import PAPER, OverlayStyle, Recipe, Rendering
from camcore.recipes.steps import Normalise, Relu, Resize, Stretch, Tanh
from camcore.resize import LINEAR, PEERS
from camcore.trace import Array


def _with(name: str, function: Callable[..., Array] | None = None, **changes: Any) -> Method:
    """The paper's row of a method with some fields changed; other keywords are its options."""
    row = find(name)
    fields = {key: changes.pop(key) for key in ("needs", "aim", "fusion") if key in changes}
    return replace(
        row, function=function or row.function, options={**row.options, **changes}, **fields
    )


def _named(*methods: Method) -> dict[str, Method]:
    return {method.name: method for method in methods}


_SCALED = Normalise("min_max", 1e-7)
_AS_IS = Rendering()

_ENLARGED = Resize(PEERS["opencv-linear"], volumes=PEERS["scipy-spline"])

PYTORCH_GRAD_CAM = Recipe(
    name="pytorch-grad-cam",
    source="grad-cam 1.5.7 (pytorch_grad_cam)",
    score="output",
    layer_steps=(Relu(), _SCALED, _ENLARGED),
    final_steps=(Relu(), _SCALED),
    alike=(
        "gradcam",
        "hirescam",
        "layercam",
        "elementwisegradcam",
        "fem",
        "shapleycam",
    ),
    methods=_named(
        _with("gradcampp", variants.gradcampp_sum, eps=1e-6),
        _with("xgradcam", variants.xgradcam_eps, eps=1e-7),
        _with("refinecam", variants.gradcampp_sum, eps=1e-6),
        _with("finercam", aim=targets.weighted_contrast),
        _with("eigencam", variants.eigencam_svd),
        _with("eigengradcam", variants.eigengradcam_svd),
        _with("kpcacam", variants.kpcacam_peaked),
        _with("scorecam", masking=Masking(PEERS["torch-linear-aligned"], eps=1e-8, constant=True)),
        _with("ablationcam", variants.ablationcam_sinking, batch_size=32),
        _with("fullgrad", variants.fullgrad_scaled, eps=1e-7),
    ),
    exceptions={
        "refinecam": Rendering(
            (Relu(), _SCALED, _ENLARGED, Relu(), _SCALED),
            final_steps=(_SCALED,),
        ),
    },
    overlay=OverlayStyle("cv2:JET", 0.5, "mix_peak"),
    notes=(
        "each layer's map is scaled before it is enlarged, and the mean of the layers again",
        "Grad-CAM++: its epsilon outweighs g² where gradients are below 1e-3",
        "Eigen-CAM and EigenGrad-CAM: the sign is whatever LAPACK returns",
        "Ablation-CAM: where the smallest activation is not 0, a channel is not set to 0 but "
        "to 1e7 below the smallest, each of a batch of 32 a further 1e7 lower",
        "FullGrad: passes over subclasses of BatchNorm2d, such as timm's BatchNormAct2d; "
        "camcore counts them",
    ),
)

_TORCHCAM_SCALED = Normalise("min_max", 1e-8)
_TORCHCAM_ENLARGED = Resize(PEERS["torch-linear"])
_TORCHCAM_MASKS = Masking(PEERS["torch-linear"], scaled="before", eps=1e-8, constant=True)

TORCHCAM = Recipe(
    name="torchcam",
    source="torchcam 0.5.0",
    score="output",
    layer_steps=(Relu(), _TORCHCAM_SCALED),
    joint_steps=(_TORCHCAM_ENLARGED,),
    fusion="max",
    final_steps=(),
    alike=("cam", "gradcam", "layercam", "finercam"),
    methods=_named(
        _with("gradcampp", variants.gradcampp_cubed),
        _with("xgradcam", variants.xgradcam_eps, eps=1e-8),
        _with("smoothgradcampp", variants.smooth_gradcampp_last),
        _with("refinecam", variants.gradcampp_cubed),
        _with("legrad", fusion="mean"),
        _with("scorecam", masking=_TORCHCAM_MASKS),
        _with("sscam", masking=_TORCHCAM_MASKS),
        _with("iscam", variants.iscam_cumulative, masking=_TORCHCAM_MASKS),
    ),
    exceptions={
        "cam": Rendering((_TORCHCAM_SCALED,), (_TORCHCAM_ENLARGED,)),
        "layercam": Rendering((Relu(), _TORCHCAM_SCALED), (Tanh(2.0), _TORCHCAM_ENLARGED)),
        "legrad": Rendering((_TORCHCAM_SCALED,)),
        "refinecam": Rendering(
            (Relu(), _TORCHCAM_SCALED, _TORCHCAM_SCALED),
            (_TORCHCAM_ENLARGED,),
            (_TORCHCAM_SCALED,),
        ),
    },
    overlay=OverlayStyle("jet", 0.3, "mix_squared"),
    notes=(
        "maps stay at the layer's size; several layers are joined as fuse_cams does",
        "Grad-CAM++: the division of g² by its denominator is lost, since a masked copy is "
        "divided; recipe 'torchcam-documented' has the formula of its documentation",
        "Smooth Grad-CAM++: the map is made of the last noisy input's activations, and its "
        "rectified gradients are those of the last noisy input",
        "IS-CAM: strengths add up, so that most are above 1",
        "LeGrad: left to itself the library scores each block by the mean of its tokens; "
        "camcore's score is the model's own, as with score_projection at the last block",
    ),
)

CAPTUM = Recipe(
    name="captum",
    source="captum 0.9.0, with LayerAttribution.interpolate to the input's size",
    score="output",
    layer_steps=(Resize(PEERS["torch-nearest"]),),
    final_steps=(),
    alike=("gradcam", "hirescam", "gradienttimesinput", "integratedgradients"),
    methods=_named(
        _with("saliency", variants.joined_saliency, join="sum"),
        _with("guidedbackprop", variants.joined_gradient, join="sum"),
        _with("guidedgradcam", variants.guided_gradcam_nearest, join="sum"),
        _with("occlusion", edge="cut"),
    ),
    overlay=OverlayStyle("jet", 0.5, "mix"),
    notes=(
        "maps are signed and in the units of the score: no ReLU, nothing is scaled",
        "HiResCAM is its LayerGradientXActivation",
        "attributions at the input have channels there; they are summed, as by "
        "visualize_image_attr",
        "guided backpropagation: its hooks reach ReLU modules only, so the rectifiers of other "
        "kinds (ReLU6, functional) that camcore reaches pass everything there",
        "overlays: its pictures colour by sign and cut outliers off; they are not reproduced",
    ),
)

_MONAI_STEPS = (Relu(), Resize(PEERS["torch-linear"]), Stretch(1.0, 0.0))

MONAI = Recipe(
    name="monai",
    source="monai 1.6.1",
    score="output",
    layer_steps=_MONAI_STEPS,
    final_steps=(),
    alike=("cam", "gradcam", "saliency", "guidedbackprop"),
    methods=_named(
        _with("gradcampp", variants.gradcampp_product, eps=1e-7),
        _with(
            "smoothgrad",
            variants.joined_smoothgrad,
            average="root of squares",
            samples=25,
            sigma=0.15,
        ),
    ),
    exceptions={
        "cam": Rendering(_MONAI_STEPS[1:]),
        "saliency": _AS_IS,
        "guidedbackprop": _AS_IS,
        "smoothgrad": _AS_IS,
    },
    overlay=OverlayStyle("jet", 0.5, "mix"),
    notes=(
        "the map is inverted: 0 where the model looks, 1 where it does not; a map without "
        "evidence stays 0 and so reads as evidence everywhere",
        "a batch shares its targets there: with several, or with the predicted ones, each "
        "image's gradient is that of their sum; explained one by one they agree with camcore's",
        "Grad-CAM++: its factor exp(y) cancels in the scaling and is left out",
        "SmoothGrad divides the root of the summed squares by n, not by its root",
        "attributions at the input have channels there; the largest magnitude is shown",
    ),
)

KERAS_IO = Recipe(
    name="keras-io",
    source="keras.io/examples/vision/grad_cam",
    layer_steps=(Relu(), Normalise()),
    final_steps=(),
    methods=_named(_with("gradcam", variants.gradcam_batch_mean)),
    overlay=OverlayStyle("jet", 0.4, "add_rescale"),
    notes=(
        "gradients are averaged over the batch as well as over space, so the images of "
        "a batch share their weights; explain them one at a time to have their own",
        "the map stays at the layer's size; the example resizes the coloured picture",
    ),
)

TF_EXPLAIN = Recipe(
    name="tf-explain",
    source="tf-explain 0.3.1",
    score="output",
    layer_steps=(Resize(PEERS["opencv-linear"]), Normalise("min_max")),
    final_steps=(),
    methods=_named(
        _with("gradcam", variants.gradcam_guided),
        _with("saliency", variants.joined_saliency, join="sum"),
        _with("gradienttimesinput", variants.joined_product, join="sum", magnitude=True),
        _with(
            "integratedgradients",
            variants.joined_integrated_gradients,
            steps=10,
            rule="endpoints",
            times_input=False,
            join="sum",
            magnitude=True,
        ),
        _with(
            "smoothgrad",
            variants.joined_smoothgrad,
            aim=targets.cross_entropy,
            samples=5,
            sigma=1.0,
            of_range=False,
            join="sum",
            magnitude=True,
        ),
        _with(
            "occlusion",
            variants.patches,
            needs=("images", "score_images"),
            window=20,
            baseline=127.5,
        ),
    ),
    exceptions=dict.fromkeys(
        ("saliency", "gradienttimesinput", "integratedgradients", "smoothgrad"), _AS_IS
    ),
    overlay=OverlayStyle("cv2:VIRIDIS", 0.3, "add_dimmed"),
    notes=(
        "no ReLU: what speaks against the class is scaled into the map as well, and a map that "
        "speaks against it everywhere still reaches 1",
        "gradients are taken as in guided backpropagation, at the layer alone",
        "overlays: heat is added at its full weight to the image at 0.7, and clipped",
        "gradients at the input: the map is before its display, which standardises the whole "
        "batch at once and casts 255 times that to uint8, so that values wrap around; where a "
        "softmax is a layer of its own it explains the logit: score='logit'",
        "Integrated Gradients are not multiplied by x - x₀, and both ends count in full",
        "SmoothGrad differentiates the cross-entropy",
    ),
)

TF_KERAS_VIS = Recipe(
    name="tf-keras-vis",
    source="tf-keras-vis 0.8.7, with seek_penultimate_conv_layer=False",
    score="output",
    layer_steps=(Relu(), Resize(PEERS["scipy-linear"]), _SCALED),
    final_steps=(),
    alike=("gradcam", "layercam", "saliency"),
    methods=_named(
        _with(
            "gradcampp",
            variants.gradcampp_normalised,
            needs=("activations", "gradients", "scores"),
        ),
        _with(
            "scorecam",
            aim=targets.probability,
            masking=Masking(PEERS["scipy-linear"], eps=1e-7, constant=True, weights="score"),
        ),
        _with(
            "smoothgrad",
            variants.joined_smoothgrad,
            average="mean of magnitudes",
            samples=20,
            sigma=0.2,
        ),
    ),
    overlay=OverlayStyle("jet", 0.5, "mix"),
    notes=(
        "left to itself the library moves to another layer when the named one is not a "
        "convolution; camcore looks where it is told to",
        "Score-CAM applies a softmax to whatever the model returns, also to probabilities",
    ),
)

XPLIQUE = Recipe(
    name="xplique",
    source="xplique 2.0.2, by its documented formulas (it needs an older TensorFlow)",
    score="output",
    layer_steps=(Relu(), Resize(PEERS["tensorflow-cubic"])),
    final_steps=(),
    alike=("gradcam", "saliency"),
    methods=_named(
        _with("gradcampp", variants.gradcampp_mean),
        _with("fem", reading="mean"),
        _with("gradienttimesinput", variants.joined_product, join="mean"),
        _with("guidedbackprop", variants.joined_gradient, join="mean"),
        _with("integratedgradients", variants.joined_integrated_gradients),
        _with(
            "smoothgrad",
            variants.joined_smoothgrad,
            samples=50,
            sigma=0.2,
            of_range=False,
            join="mean",
        ),
    ),
    exceptions={
        "fem": Rendering((Resize(PEERS["tensorflow-cubic"]),)),
        **dict.fromkeys(
            ("gradienttimesinput", "guidedbackprop", "integratedgradients", "smoothgrad"), _AS_IS
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
    "adityac94/Grad_CAM_plus_plus (TensorFlow), haofanwang/Score-CAM (PyTorch)",
    layer_steps=(Relu(), Resize(PEERS["torch-linear-aligned"]), Normalise("min_max")),
    final_steps=(),
    alike=("gradcam",),
    methods=_named(
        _with(
            "gradcampp",
            variants.gradcampp_normalised,
            needs=("activations", "gradients", "scores"),
        ),
        _with(
            "scorecam",
            aim=targets.probability,
            masking=Masking(PEERS["torch-linear"], weights="score"),
        ),
    ),
    exceptions={
        "gradcampp": Rendering((Relu(), Normalise(), Resize(LINEAR))),
        "scorecam": Rendering((Resize(PEERS["torch-linear"]), Relu(), Normalise("min_max"))),
    },
    overlay=OverlayStyle("jet", 0.5, "mix"),
    notes=(
        "not run by the tests: checked against the code's steps worked out in float64",
        "Grad-CAM sums gradients over space where the paper averages them, which scaling "
        "cancels; torch's image.scale aligns corners",
        "Grad-CAM++ gives NaN there where a channel's α sum to zero, and is enlarged by "
        "scikit-image, which before 0.15 faded the outermost half cell to zero",
    ),
)

TABLE: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        PAPER,
        PYTORCH_GRAD_CAM,
        TORCHCAM,
        TORCHCAM.derive(
            "torchcam-documented",
            "torchcam 0.5.0, with Grad-CAM++ as its documentation says",
            methods={
                **TORCHCAM.methods,
                **_named(_with("gradcampp", variants.gradcampp_product, eps=1e-8)),
            },
            notes=("Grad-CAM++ as documented rather than as shipped; otherwise as 'torchcam'",),
        ),
        CAPTUM,
        MONAI,
        KERAS_IO,
        TF_EXPLAIN,
        TF_KERAS_VIS,
        XPLIQUE,
        NOTEBOOK,
        AUTHORS,
    )
}

RecipeLike: TypeAlias = "str | Recipe"


def find_recipe(name: RecipeLike) -> Recipe:
    """Find a recipe by name.

    Parameters
    ----------
    name : str or Recipe
        In any case, words joined by hyphens or underscores.

    Returns
    -------
    Recipe

    Raises
    ------
    RecipeError
        There is no such recipe.
    """
    if isinstance(name, Recipe):
        return name
    wanted = str(name).casefold().replace("_", "-")
    if wanted in TABLE:
        return TABLE[wanted]
    near = difflib.get_close_matches(wanted, TABLE, n=3)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"There are {', '.join(TABLE)}."
    raise RecipeError(f"There is no recipe {name!r}. {hint}")
