"""The methods, as functions of arrays; usable with no framework installed.

``camcore.methods.gradcam(activations, gradients)`` takes ``(B, C, *S)`` arrays
and returns the signed map ``(B, *S)``.
"""

from camcore.methods.gradient import (
    cam,
    elementwise_gradcam,
    gradcam,
    gradcampp,
    hirescam,
    layercam,
    xgradcam,
)
from camcore.methods.spectral import eigencam, eigengradcam
from camcore.methods.table import TABLE, Method, find

__all__ = [
    "TABLE",
    "Method",
    "cam",
    "eigencam",
    "eigengradcam",
    "elementwise_gradcam",
    "find",
    "gradcam",
    "gradcampp",
    "hirescam",
    "layercam",
    "xgradcam",
]
