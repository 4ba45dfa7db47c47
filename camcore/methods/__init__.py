"""The methods, as functions of arrays; usable with no framework installed.

``camcore.methods.gradcam(activations, gradients)`` takes ``(B, C, *S)`` arrays
and returns the signed map ``(B, *S)``.
"""

from camcore.methods.activation import activation_map, fem, random_map
from camcore.methods.attention import legrad
from camcore.methods.attribution import (
    fullgrad,
    gradient_times_input,
    guided_backprop,
    guided_gradcam,
    integrated_gradients,
    saliency,
    smoothgrad,
)
from camcore.methods.gradient import (
    cam,
    elementwise_gradcam,
    gradcam,
    gradcampp,
    hirescam,
    layercam,
    segxrescam,
    shapleycam,
    smooth_gradcampp,
    xgradcam,
)
from camcore.methods.masking import iscam, scorecam, sscam
from camcore.methods.perturbation import ablationcam, occlusion, rise
from camcore.methods.spectral import eigencam, eigengradcam, kpcacam
from camcore.methods.table import TABLE, Method, find

__all__ = [
    "TABLE",
    "Method",
    "ablationcam",
    "activation_map",
    "cam",
    "eigencam",
    "eigengradcam",
    "elementwise_gradcam",
    "fem",
    "find",
    "fullgrad",
    "gradcam",
    "gradcampp",
    "gradient_times_input",
    "guided_backprop",
    "guided_gradcam",
    "hirescam",
    "integrated_gradients",
    "iscam",
    "kpcacam",
    "layercam",
    "legrad",
    "occlusion",
    "random_map",
    "rise",
    "saliency",
    "scorecam",
    "segxrescam",
    "shapleycam",
    "smooth_gradcampp",
    "smoothgrad",
    "sscam",
    "xgradcam",
]
