"""Methods that show the leading component of the activations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal, TypeAlias

import numpy as np

from camcore._shared.finite import without_overflow
from camcore.adapter import Array
from camcore.errors import MethodError
from camcore.methods.arrays import flat, floating, one_of, paired
from camcore.methods.table import BOTH, Method, described, register

Kernel: TypeAlias = Literal["sigmoid", "rbf", "linear"]


@register(
    "eigencam",
    "Eigen-CAM",
    ("activations",),
    "1",
    "Muhammad and Yeasin, IJCNN 2020",
    additive=False,
)
@described("projection of A, as (positions × channels), on its first principal component")
def eigencam(activations: Array) -> Array:
    """Compute Eigen-CAM: the positions of A, projected on their first principal component.

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


@register("eigengradcam", "EigenGrad-CAM", BOTH, "1", "pytorch-grad-cam", additive=False)
def eigengradcam(activations: Array, gradients: Array) -> Array:
    """Compute EigenGrad-CAM: `eigencam` of g · A.

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


@register(
    "segeigencam",
    "Seg-Eigen-CAM",
    BOTH,
    "1",
    "Chung and Ying, Applied Sciences 2025",
    additive=False,
)
def segeigencam(activations: Array, gradients: Array) -> Array:
    """Compute Seg-Eigen-CAM: `eigencam` of |g| · A, positive where it is farthest from zero.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.

    Returns
    -------
    (B, *S) array
        Signed map, the same for g and −g. Where g is nowhere negative it is EigenGrad-CAM up
        to its sign.

    Raises
    ------
    InputError
        The shapes do not fit.

    References
    ----------
    Chung and Ying, "Seg-Eigen-CAM: Eigen-Value-Based Visual Explanations for Semantic
    Segmentation Models", Applied Sciences 15(13), 2025, eq. 10 to 13, as in
    pytorch-grad-cam.
    """
    activations, gradients = paired(activations, gradients)
    maps = eigencam(np.abs(gradients) * activations)
    axes = tuple(range(1, maps.ndim))
    low, high = maps.min(axis=axes, keepdims=True), maps.max(axis=axes, keepdims=True)
    # Where both are as far from zero, rounding is not to choose the sign; Eigen-CAM's stays.
    sunk = -low > high * (1 + 16 * np.finfo(maps.dtype).eps)
    return np.where(sunk, -maps, maps)


@register(
    "kpcacam", "KPCA-CAM", ("activations",), "1", "Karmani et al., arXiv:2410.00267", additive=False
)
def kpcacam(
    activations: Array,
    *,
    kernel: Kernel = "sigmoid",
    gamma: float | None = None,
) -> Array:
    """Compute KPCA-CAM: first component of kernel principal component analysis of A.

    Positions are the points, channels their coordinates, centred over positions.
    The sign is chosen as in `eigencam`. The component is that of scikit-learn's ``KernelPCA``,
    by which pytorch-grad-cam makes it; no code of the authors' own could be had.

    Parameters
    ----------
    activations : (B, C, *S) array
        The layer's output.
    kernel : {"sigmoid", "rbf", "linear"}
        tanh(γ x·y + 1), exp(−γ |x − y|²) or x·y.
    gamma : float, optional
        γ; left out, 1 / C.

    Returns
    -------
    (B, *S) array
        Signed map.

    Raises
    ------
    InputError, MethodError
        The array is not ``(B, C, *S)``, or an option is out of range.

    References
    ----------
    Karmani et al., "KPCA-CAM: Visual Explainability of Deep Computer Vision Models
    using Kernel PCA", arXiv:2410.00267; kernels as scikit-learn defines them.
    """
    activations = floating(activations, "activations")
    one_of(Kernel, kernel=kernel)
    gamma = 1 / activations.shape[1] if gamma is None else gamma
    if not 0 < gamma < np.inf:
        raise MethodError(f"gamma={gamma}; it must be finite and positive.")
    maps = np.stack([_kernel_component(s, kernel, gamma) for s in flat(activations)])
    return maps.reshape(len(activations), *activations.shape[2:]).astype(activations.dtype)


def smoothed(method: Method) -> Method:
    """Replace a method's sum over channels by their first principal component.

    Raises
    ------
    MethodError
        The method is no sum of one contribution for each channel.

    References
    ----------
    ``eigen_smooth`` of pytorch-grad-cam.
    """
    if not method.by_channel:
        raise MethodError(
            f"{method.label} is no sum over channels, so there is nothing to smooth; "
            "leave out eigen_smooth."
        )
    function = partial(_component_of_channels, partial(method.function, **method.options))
    return replace(method, function=function, options={})


def _component_of_channels(method: Callable[..., Array], **supplied: Array) -> Array:
    """Project what a method gives for each channel alone on its first principal component."""
    batch, channels = supplied["activations"].shape[:2]
    alone = {
        name: array.reshape(batch * channels, 1, *array.shape[2:])
        for name, array in supplied.items()
    }
    contributions = method(**alone)
    return eigencam(contributions.reshape(batch, channels, *contributions.shape[1:]))


def _kernel_component(sample: Array, kernel: str, gamma: float) -> Array:
    """Project one sample's positions on the first kernel component: ``(C, N)`` to ``(N,)``."""
    values = sample.astype(np.float64)
    centred = values - values.mean(axis=1, keepdims=True)
    products = without_overflow(centred.T @ centred, "KPCA-CAM")
    if kernel == "sigmoid":
        products = np.tanh(gamma * products + 1)
    elif kernel == "rbf":
        squares = np.diag(products)
        products = np.exp(-gamma * np.maximum(squares[:, None] + squares - 2 * products, 0))
    means = products.mean(axis=0)
    eigenvalues, vectors = np.linalg.eigh(products - means - means[:, None] + means.mean())
    component = vectors[:, -1] * np.sqrt(max(eigenvalues[-1], 0))
    if not np.any(np.abs(centred) > 1e-12 * np.abs(values).max(initial=1e-300)):
        return np.zeros(len(component))
    return _oriented(component, np.linalg.norm(values, axis=0))


def _first_component(sample: Array) -> Array:
    """Project one sample's positions on the first component: ``(C, N)`` to ``(N,)``.

    The smaller of the two Gram matrices is decomposed, in float64, which squares
    the condition number but leaves the leading component far above rounding.
    """
    values = sample.astype(np.float64)
    scale = float(np.abs(values).max())
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
    """Choose a component's sign so that it is high where the activations are strong."""
    agreement = component @ (strength - strength.mean())
    if abs(agreement) <= 1e-12 * np.linalg.norm(component) * np.linalg.norm(strength):
        agreement = component[np.argmax(np.abs(component))]
    return component if agreement >= 0 else -component
