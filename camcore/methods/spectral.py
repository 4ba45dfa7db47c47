"""Methods that show the leading component of the activations."""

from __future__ import annotations

import numpy as np

from camcore.methods.arrays import flat, floating, paired
from camcore.trace import Array


def eigencam(activations: Array) -> Array:
    """Eigen-CAM: projection of A, as (positions × channels), on its first principal component.

    Channels are centred over positions. A principal component has no sign of its
    own; it is chosen so that the map is high where the activations are strong
    (it correlates with their norm over channels), which does not depend on the
    order or rotation of channels.

    Parameters
    ----------
    activations : (B, C, *S) array
        The layer's output.

    Returns
    -------
    (B, *S) array
        Signed map; its norm is the first singular value. Zeros where the
        activations do not vary over space.

    Raises
    ------
    InputError
        The array is not ``(B, C, *S)``.

    References
    ----------
    Muhammad and Yeasin, "Eigen-CAM: Class Activation Map using Principal
    Components", IJCNN 2020. The centring is that of principal component
    analysis, as in pytorch-grad-cam.
    """
    activations = floating(activations, "activations")
    maps = np.stack([_first_component(sample) for sample in flat(activations)])
    return maps.reshape(len(activations), *activations.shape[2:]).astype(activations.dtype)


def eigengradcam(activations: Array, gradients: Array) -> Array:
    """EigenGrad-CAM: `eigencam` of g · A.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.

    Returns
    -------
    (B, *S) array
        Signed map.

    Raises
    ------
    InputError
        The shapes do not fit.

    References
    ----------
    ``EigenGradCAM`` of pytorch-grad-cam; the component as in `eigencam`.
    """
    activations, gradients = paired(activations, gradients)
    return eigencam(gradients * activations)


def _first_component(sample: Array) -> Array:
    """Project one sample's positions on the first component: ``(C, N)`` to ``(N,)``.

    The smaller of the two Gram matrices is decomposed, in float64, which squares
    the condition number but leaves the leading component far above rounding.
    """
    values = sample.astype(np.float64)
    scale = np.abs(values).max()
    if scale == 0:
        return np.zeros(values.shape[1])
    values /= scale
    centred = values - values.mean(axis=1, keepdims=True)
    if not np.any(np.abs(centred) > 1e-12):
        return np.zeros(values.shape[1])
    if values.shape[0] < values.shape[1]:
        component = np.linalg.eigh(centred @ centred.T)[1][:, -1] @ centred
    else:
        eigenvalues, vectors = np.linalg.eigh(centred.T @ centred)
        component = vectors[:, -1] * np.sqrt(max(eigenvalues[-1], 0))
    return scale * _oriented(component, np.linalg.norm(values, axis=0))


def _oriented(component: Array, strength: Array) -> Array:
    """The component with the sign that agrees with where the activations are strong."""
    agreement = component @ (strength - strength.mean())
    if abs(agreement) <= 1e-12 * np.linalg.norm(component) * np.linalg.norm(strength):
        agreement = component[np.argmax(np.abs(component))]
    return component if agreement >= 0 else -component
