"""Formulas that published libraries use in place of the paper's, for recipes."""

from __future__ import annotations

import numpy as np

from camcore.methods.arrays import mean_space, paired, weighted
from camcore.trace import Array


def gradcam_batch_mean(activations: Array, gradients: Array) -> Array:
    """Σ_c w_c · A_c with w = mean of g over space and over the batch.

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
