"""Principal components whose sign is whatever the library's solver gives."""

from __future__ import annotations

import numpy as np

from camcore.adapter import Array
from camcore.methods.arrays import flat, floating, paired
from camcore.methods.spectral import kpcacam


def eigencam_svd(activations: Array) -> Array:
    """Projection of the centred A on its first principal component, of the sign LAPACK gives.

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


def eigengradcam_svd(activations: Array, gradients: Array) -> Array:
    """Projection of the centred g · A on its first component, of the sign LAPACK gives.

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


def kpcacam_peaked(activations: Array) -> Array:
    """First component of kernel PCA of A, positive where it is farthest from zero.

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
