"""Conventions of the Grad-CAM example of keras.io, which ``tests/conformance`` runs."""

from __future__ import annotations

import numpy as np

from camcore.adapter import Array
from camcore.methods.arrays import mean_space, paired, weighted
from camcore.methods.table import described
from camcore.recipes.base import OverlayStyle, Recipe, named, variant
from camcore.recipes.steps import Normalise, Relu


@described("Σ_c w_c · A_c with w = mean of g over space and over the batch")
def gradcam_batch_mean(activations: Array, gradients: Array) -> Array:
    """Weight channels by the mean of their gradients over space and over the batch.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.

    Returns
    -------
    (B, *S) array
        Signed map; for a batch of one it is Grad-CAM.

    Raises
    ------
    InputError
        The shapes do not fit.

    References
    ----------
    F. Chollet, "Grad-CAM class activation visualization", keras.io:
    ``tf.reduce_mean(grads, axis=(0, 1, 2))``.
    """
    activations, gradients = paired(activations, gradients)
    weights = mean_space(gradients).mean(axis=0, keepdims=True)
    return weighted(np.repeat(weights, len(activations), axis=0), activations)


KERAS_IO = Recipe(
    name="keras-io",
    source="keras.io/examples/vision/grad_cam",
    layer_steps=(Relu(), Normalise()),
    final_steps=(),
    methods=named(variant("gradcam", gradcam_batch_mean)),
    overlay=OverlayStyle("jet", 0.4, "add_rescale"),
    notes=(
        "gradients are averaged over the batch as well as over space, so the images of "
        "a batch share their weights; explain them one at a time to have their own",
        "the map stays at the layer's size; the example resizes the coloured picture",
    ),
)
