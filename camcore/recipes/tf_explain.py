"""Conventions of tf-explain, in the version that ``tests/conformance`` runs."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from camcore.adapter import Array
from camcore.errors import MethodError
from camcore.methods.arrays import ScoreImages, at_least_one, floating, mean_space, paired, weighted
from camcore.methods.perturbation import blanked_scores
from camcore.methods.table import described
from camcore.postprocess import relu
from camcore.recipes.base import AS_IS, OverlayStyle, Recipe, named, variant
from camcore.recipes.formulas.attribution import (
    joined_integrated_gradients,
    joined_product,
    joined_saliency,
    joined_smoothgrad,
)
from camcore.recipes.formulas.targets import class_of
from camcore.recipes.steps import Normalise, Resize
from camcore.resize import PEERS
from camcore.targets import Class, Scored


@described("Σ_c mean_s([A_c > 0] · relu(g_c)) · A_c")
def gradcam_guided(activations: Array, gradients: Array) -> Array:
    """Weight channels by the mean of their gradients under the guided rule, at the layer alone.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.

    Returns
    -------
    (B, *S) array
        Signed map.

    References
    ----------
    ``GradCAM`` of tf-explain with its default ``use_guided_grads=True``.
    """
    activations, gradients = paired(activations, gradients)
    return weighted(mean_space(np.where(activations > 0, relu(gradients), 0)), activations)


@described("1 − y_blanked for each square of a grid, one value for each")
def patches(
    images: Array,
    score_images: ScoreImages,
    *,
    window: int = 20,
    baseline: float = 127.5,
    batch_size: int = 32,
    progress: bool | None = None,
) -> Array:
    """Score each square of a grid when it is blanked, as one value.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input.
    score_images : callable
        Scores of altered inputs.
    window : int
        Side of the squares; the last of an axis may be cut short.
    baseline : float
        What a square is filled with, in the units of the input.
    batch_size : int
        How many blanked images are scored at once.
    progress : bool, optional
        Show a progress bar; see `camcore._shared.progress.track`.

    Returns
    -------
    (B, *G) array
        Map of the size of the grid.

    Raises
    ------
    MethodError
        An option is out of range.

    References
    ----------
    ``OcclusionSensitivity`` of tf-explain, which takes y for a probability.
    """
    images = floating(images, "images")
    at_least_one(window=window, batch_size=batch_size)
    size = images.shape[2:]
    if min(size) < window:
        raise MethodError(f"window={window} is larger than the input, {size}. Give a smaller one.")
    grid = tuple(-(-length // window) for length in size)
    squares = [
        tuple(slice(at * window, (at + 1) * window) for at in place)
        for place in product(*map(range, grid))
    ]
    scores = blanked_scores(images, squares, score_images, baseline, batch_size, progress)
    maps = [1 - score for _, _, score in scores]
    return np.reshape(maps, (len(images), *grid)).astype(images.dtype)


class NormalisedLog(Class):
    """The logarithm of a class's share of the outputs, which are taken for probabilities.

    log(y_c / Σ y), the share kept within [1e-7, 1 − 1e-7].

    References
    ----------
    ``tf.keras.losses.categorical_crossentropy``, which ``SmoothGrad`` of tf-explain
    differentiates; its sign is lost in the absolute value.
    """

    linear = False

    def __call__(self, outputs: Array) -> Scored:
        """Score log(y_c / Σ y), cotangent e_c / y_c − 1 / Σ y; 0 where the share is cut off."""
        scores = self.class_scores(outputs)
        classes = self.classes(outputs)
        rows = np.arange(len(scores))
        total = scores.sum(axis=1)
        share = scores[rows, classes] / total
        kept = np.clip(share, 1e-7, 1 - 1e-7)
        slope = np.repeat((-1 / total)[:, None], scores.shape[1], axis=1)
        slope[rows, classes] += 1 / scores[rows, classes]
        slope[share != kept] = 0
        cotangent = self._of_output(slope, outputs).astype(outputs.dtype)
        return Scored(np.log(kept), cotangent, classes)


@described("The logarithm of the class's share of what the model returns")
def cross_entropy(target: Any) -> Any:
    """Explain a class by the logarithm of its share of what the model returns.

    Raises
    ------
    MethodError
        The target is no class.
    """
    found = class_of(target)
    return NormalisedLog(found.index, rank=found.rank)


TF_EXPLAIN = Recipe(
    name="tf-explain",
    source="tf-explain 0.3.1",
    score="output",
    layer_steps=(Resize(PEERS["opencv-linear"]), Normalise("min_max")),
    final_steps=(),
    methods=named(
        variant("gradcam", gradcam_guided),
        variant("saliency", joined_saliency, join="sum"),
        variant("gradienttimesinput", joined_product, join="sum", magnitude=True),
        variant(
            "integratedgradients",
            joined_integrated_gradients,
            steps=10,
            rule="endpoints",
            times_input=False,
            join="sum",
            magnitude=True,
        ),
        variant(
            "smoothgrad",
            joined_smoothgrad,
            aim=cross_entropy,
            samples=5,
            sigma=1.0,
            of_range=False,
            join="sum",
            magnitude=True,
        ),
        variant("occlusion", patches, needs=("images", "score_images"), window=20, baseline=127.5),
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
