"""Conventions of pytorch-grad-cam, in the version that ``tests/conformance`` runs."""

from __future__ import annotations

import numpy as np

from camcore._shared.progress import track
from camcore.adapter import Array
from camcore.methods.arrays import (
    Resume,
    at_least_one,
    batches,
    flat,
    floating,
    paired,
    weighted,
)
from camcore.methods.masking import Masking
from camcore.methods.spectral import kpcacam
from camcore.methods.table import described
from camcore.recipes.base import SCALED, OverlayStyle, Recipe, Rendering, named, variant
from camcore.recipes.formulas.gradient import gradcampp_sum, xgradcam_eps
from camcore.recipes.formulas.targets import weighted_contrast
from camcore.recipes.steps import Relu, Resize
from camcore.resize import PEERS


@described("Projection of the centred A on its first principal component, of the sign LAPACK gives")
def eigencam_svd(activations: Array) -> Array:
    """Project A on its first principal component, of the sign LAPACK gives.

    Parameters
    ----------
    activations : (B, C, *S) array
        The layer's output.

    Returns
    -------
    (B, *S) array
        Signed map. Its sign means nothing and may differ between builds of LAPACK.

    References
    ----------
    ``EigenCAM`` of pytorch-grad-cam: ``np.linalg.svd(..., full_matrices=True)``.
    """
    activations = floating(activations, "activations")
    maps = []
    for sample in flat(np.nan_to_num(activations)):
        # The sign depends on which routine runs, so the full matrices are asked for as well,
        # and on rounding where positions are centred, so that is done in the same order.
        positions = np.ascontiguousarray(sample).T
        centred = positions - positions.mean(axis=0)
        maps.append(centred @ np.linalg.svd(centred, full_matrices=True)[2][0])
    return np.stack(maps).reshape(len(activations), *activations.shape[2:])


@described("Projection of the centred g · A on its first component, of the sign LAPACK gives")
def eigengradcam_svd(activations: Array, gradients: Array) -> Array:
    """Project g · A on its first principal component, of the sign LAPACK gives.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.

    Returns
    -------
    (B, *S) array
        Signed map, as `eigencam_svd`.

    References
    ----------
    ``EigenGradCAM`` of pytorch-grad-cam.
    """
    activations, gradients = paired(activations, gradients)
    return eigencam_svd(gradients * activations)


@described("First component of kernel PCA of A, positive where it is farthest from zero")
def kpcacam_peaked(activations: Array) -> Array:
    """Compute KPCA-CAM, its sign chosen so that it is positive where it is farthest from zero.

    Parameters
    ----------
    activations : (B, C, *S) array
        The layer's output.

    Returns
    -------
    (B, *S) array
        Signed map.

    References
    ----------
    ``KPCA_CAM`` of pytorch-grad-cam by way of scikit-learn's ``KernelPCA``.
    """
    maps = kpcacam(activations)
    rows = maps.reshape(len(maps), -1)
    peak = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)
    return np.where(peak < 0, -rows, rows).reshape(maps.shape)


@described("Σ_c w_c · A_c with w = (y − y_c) / y, y_c the score with A_c = 0, or far below min(A)")
def ablationcam_sinking(
    activations: Array,
    scores: Array,
    resume: Resume,
    *,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Array:
    """Weight channels as Ablation-CAM does, each set to 0 or far below the smallest activation.

    A channel is set to 0 where the sample's smallest activation is 0. Elsewhere the first
    channel of each `batch_size` is set to min(A) − 1e7, the next to a further 1e7 below,
    and so on, since each looks for the minimum after the one before it was altered.

    Parameters
    ----------
    activations : (B, C, *S) array
        The layer's output.
    scores : (B,) array
        The scores y.
    resume : callable
        Context that scores altered activations of one sample.
    batch_size : int
        How many ablations are scored at once; where activations are negative, the map
        depends on it.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *S) array
        Signed map.

    References
    ----------
    ``AblationCAM`` and ``AblationLayer`` of pytorch-grad-cam.
    """
    activations = floating(activations, "activations")
    at_least_one(batch_size=batch_size)
    weights = np.zeros(activations.shape[:2], np.float32)
    for sample, activation in enumerate(activations):
        with resume(sample) as score:
            channels = batches(range(len(activation)), batch_size)
            for batch in track(channels, "Ablation-CAM", progress):
                altered = np.repeat(activation[None], len(batch), axis=0)
                lowest = activation.min()
                for row, channel in enumerate(batch):
                    lowest = lowest - activation.dtype.type(1e7) if lowest != 0 else lowest
                    altered[row, channel] = lowest
                weights[sample, batch] = scores[sample] - score(altered)
        weights[sample] /= scores[sample]
    return weighted(weights.astype(activations.dtype), activations)


_ENLARGED = Resize(PEERS["opencv-linear"], volumes=PEERS["scipy-spline"])

PYTORCH_GRAD_CAM = Recipe(
    name="pytorch-grad-cam",
    source="grad-cam 1.5.7 (pytorch_grad_cam)",
    score="output",
    layer_steps=(Relu(), SCALED, _ENLARGED),
    final_steps=(Relu(), SCALED),
    alike=("gradcam", "hirescam", "layercam", "elementwisegradcam", "shapleycam", "segeigencam"),
    methods=named(
        variant("gradcampp", gradcampp_sum, eps=1e-6),
        variant("xgradcam", xgradcam_eps, eps=1e-7),
        variant("refinecam", gradcampp_sum, eps=1e-6),
        variant("finercam", aim=weighted_contrast),
        variant("fem", reading="fraction"),
        variant("eigencam", eigencam_svd),
        variant("eigengradcam", eigengradcam_svd),
        variant("kpcacam", kpcacam_peaked),
        variant(
            "scorecam", masking=Masking(PEERS["torch-linear-aligned"], eps=1e-8, constant=True)
        ),
        variant(
            "ablationcam",
            ablationcam_sinking,
            needs=("activations", "scores", "resume"),
            batch_size=32,
        ),
        variant("fullgrad", eps=1e-7),
    ),
    exceptions={
        "refinecam": Rendering((Relu(), SCALED, _ENLARGED, Relu(), SCALED), final_steps=(SCALED,))
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
