"""Conventions of libraries for PyTorch, in the versions that ``tests/conformance`` runs."""

from __future__ import annotations

from camcore.methods.masking import Masking
from camcore.recipes import formulas as variants
from camcore.recipes import targets
from camcore.recipes.base import AS_IS, SCALED, OverlayStyle, Recipe, Rendering, named, variant
from camcore.recipes.steps import Normalise, Relu, Resize, Stretch, Tanh
from camcore.resize import PEERS

_ENLARGED = Resize(PEERS["opencv-linear"], volumes=PEERS["scipy-spline"])

PYTORCH_GRAD_CAM = Recipe(
    name="pytorch-grad-cam",
    source="grad-cam 1.5.7 (pytorch_grad_cam)",
    score="output",
    layer_steps=(Relu(), SCALED, _ENLARGED),
    final_steps=(Relu(), SCALED),
    alike=(
        "gradcam",
        "hirescam",
        "layercam",
        "elementwisegradcam",
        "fem",
        "shapleycam",
    ),
    methods=named(
        variant("gradcampp", variants.gradcampp_sum, eps=1e-6),
        variant("xgradcam", variants.xgradcam_eps, eps=1e-7),
        variant("refinecam", variants.gradcampp_sum, eps=1e-6),
        variant("finercam", aim=targets.weighted_contrast),
        variant("eigencam", variants.eigencam_svd),
        variant("eigengradcam", variants.eigengradcam_svd),
        variant("kpcacam", variants.kpcacam_peaked),
        variant(
            "scorecam", masking=Masking(PEERS["torch-linear-aligned"], eps=1e-8, constant=True)
        ),
        variant("ablationcam", variants.ablationcam_sinking, batch_size=32),
        variant("fullgrad", variants.fullgrad_scaled, eps=1e-7),
    ),
    exceptions={
        "refinecam": Rendering(
            (Relu(), SCALED, _ENLARGED, Relu(), SCALED),
            final_steps=(SCALED,),
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
    methods=named(
        variant("gradcampp", variants.gradcampp_cubed),
        variant("xgradcam", variants.xgradcam_eps, eps=1e-8),
        variant("smoothgradcampp", variants.smooth_gradcampp_last),
        variant("refinecam", variants.gradcampp_cubed),
        variant("legrad", fusion="mean"),
        variant("scorecam", masking=_TORCHCAM_MASKS),
        variant("sscam", masking=_TORCHCAM_MASKS),
        variant("iscam", variants.iscam_cumulative, masking=_TORCHCAM_MASKS),
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
    methods=named(
        variant("saliency", variants.joined_saliency, join="sum"),
        variant("guidedbackprop", variants.joined_gradient, join="sum"),
        variant("guidedgradcam", variants.guided_gradcam_nearest, join="sum"),
        variant("occlusion", edge="cut"),
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
    methods=named(
        variant("gradcampp", variants.gradcampp_product, eps=1e-7),
        variant(
            "smoothgrad",
            variants.joined_smoothgrad,
            average="root of squares",
            samples=25,
            sigma=0.15,
        ),
    ),
    exceptions={
        "cam": Rendering(_MONAI_STEPS[1:]),
        "saliency": AS_IS,
        "guidedbackprop": AS_IS,
        "smoothgrad": AS_IS,
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

TORCHCAM_DOCUMENTED = TORCHCAM.derive(
    "torchcam-documented",
    "torchcam 0.5.0, with Grad-CAM++ as its documentation says",
    methods={
        **TORCHCAM.methods,
        **named(variant("gradcampp", variants.gradcampp_product, eps=1e-8)),
    },
    notes=("Grad-CAM++ as documented rather than as shipped; otherwise as 'torchcam'",),
)
