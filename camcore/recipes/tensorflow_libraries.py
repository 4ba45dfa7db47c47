"""Conventions of libraries for TensorFlow; xplique alone is not run by ``tests/conformance``."""

from __future__ import annotations

from camcore.methods.masking import Masking
from camcore.recipes import formulas as variants
from camcore.recipes import targets
from camcore.recipes.base import AS_IS, SCALED, OverlayStyle, Recipe, Rendering, named, variant
from camcore.recipes.steps import Normalise, Relu, Resize
from camcore.resize import PEERS

KERAS_IO = Recipe(
    name="keras-io",
    source="keras.io/examples/vision/grad_cam",
    layer_steps=(Relu(), Normalise()),
    final_steps=(),
    methods=named(variant("gradcam", variants.gradcam_batch_mean)),
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
    methods=named(
        variant("gradcam", variants.gradcam_guided),
        variant("saliency", variants.joined_saliency, join="sum"),
        variant("gradienttimesinput", variants.joined_product, join="sum", magnitude=True),
        variant(
            "integratedgradients",
            variants.joined_integrated_gradients,
            steps=10,
            rule="endpoints",
            times_input=False,
            join="sum",
            magnitude=True,
        ),
        variant(
            "smoothgrad",
            variants.joined_smoothgrad,
            aim=targets.cross_entropy,
            samples=5,
            sigma=1.0,
            of_range=False,
            join="sum",
            magnitude=True,
        ),
        variant(
            "occlusion",
            variants.patches,
            needs=("images", "score_images"),
            window=20,
            baseline=127.5,
        ),
    ),
    exceptions=dict.fromkeys(
        ("saliency", "gradienttimesinput", "integratedgradients", "smoothgrad"), AS_IS
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
    layer_steps=(Relu(), Resize(PEERS["scipy-linear"]), SCALED),
    final_steps=(),
    alike=("gradcam", "layercam", "saliency"),
    methods=named(
        variant(
            "gradcampp",
            variants.gradcampp_normalised,
            needs=("activations", "gradients", "scores"),
        ),
        variant(
            "scorecam",
            aim=targets.probability,
            masking=Masking(PEERS["scipy-linear"], eps=1e-7, constant=True, weights="score"),
        ),
        variant(
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
    methods=named(
        variant("gradcampp", variants.gradcampp_mean),
        variant("fem", reading="mean"),
        variant("gradienttimesinput", variants.joined_product, join="mean"),
        variant("guidedbackprop", variants.joined_gradient, join="mean"),
        variant("integratedgradients", variants.joined_integrated_gradients),
        variant(
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
            ("gradienttimesinput", "guidedbackprop", "integratedgradients", "smoothgrad"), AS_IS
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
