"""Formulas that published libraries use in place of the paper's, for recipes.

Each is a function like the one it stands in for, and says in its first line what it
computes, so that a recipe can print it beside the paper's.
"""

from camcore.recipes.formulas.attribution import (
    fullgrad_scaled,
    guided_gradcam_nearest,
    joined_gradient,
    joined_integrated_gradients,
    joined_product,
    joined_saliency,
    joined_smoothgrad,
)
from camcore.recipes.formulas.gradient import (
    gradcam_batch_mean,
    gradcam_guided,
    gradcampp_cubed,
    gradcampp_mean,
    gradcampp_normalised,
    gradcampp_product,
    gradcampp_sum,
    smooth_gradcampp_last,
    xgradcam_eps,
)
from camcore.recipes.formulas.perturbation import ablationcam_sinking, iscam_cumulative, patches
from camcore.recipes.formulas.spectral import eigencam_svd, eigengradcam_svd, kpcacam_peaked

__all__ = [
    "ablationcam_sinking",
    "eigencam_svd",
    "eigengradcam_svd",
    "fullgrad_scaled",
    "gradcam_batch_mean",
    "gradcam_guided",
    "gradcampp_cubed",
    "gradcampp_mean",
    "gradcampp_normalised",
    "gradcampp_product",
    "gradcampp_sum",
    "guided_gradcam_nearest",
    "iscam_cumulative",
    "joined_gradient",
    "joined_integrated_gradients",
    "joined_product",
    "joined_saliency",
    "joined_smoothgrad",
    "kpcacam_peaked",
    "patches",
    "smooth_gradcampp_last",
    "xgradcam_eps",
]
