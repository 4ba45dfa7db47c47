"""Methods that weight activations by their gradients, each one equation.

A is the layer's activations, g the gradient of the score with respect to them.
Every function takes ``(B, C, *S)`` arrays of any spatial rank and returns the
signed map ``(B, *S)``: no ReLU, no normalisation, no resizing.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np

from camcore.adapter import Array
from camcore.errors import InputError, MethodError
from camcore.methods.arrays import (
    floating,
    mean_space,
    one_of,
    paired,
    per_channel,
    ratio,
    sum_channels,
    sum_space,
    weighted,
)
from camcore.methods.table import BOTH, described, register
from camcore.postprocess import relu
from camcore.targets import Class, Contrast, Target


@register("cam", "CAM", ("activations", "class_weights"), "1", "Zhou et al., CVPR 2016")
def cam(activations: Array, class_weights: Array) -> Array:
    """Compute CAM: Σ_c W_kc · A_c.

    Parameters
    ----------
    activations : (B, C, *S) array
        Output of the layer that global average pooling and the head follow.
    class_weights : (B, C) array
        The linear head's weights for each sample's class.

    Returns
    -------
    (B, *S) array
        Signed map. Its mean over space is the class's logit less its bias.

    Raises
    ------
    InputError
        The shapes do not fit.

    References
    ----------
    Zhou et al., "Learning Deep Features for Discriminative Localization",
    CVPR 2016, eq. 2.
    """
    activations = floating(activations, "activations")
    class_weights = np.asarray(class_weights, dtype=activations.dtype)
    if class_weights.shape != activations.shape[:2]:
        raise InputError(
            f"class_weights must be (batch, channels) = {activations.shape[:2]}; "
            f"got {class_weights.shape}."
        )
    return weighted(class_weights, activations)


@register("gradcam", "Grad-CAM", BOTH, "1", "Selvaraju et al., ICCV 2017")
def gradcam(activations: Array, gradients: Array) -> Array:
    """Compute Grad-CAM: Σ_c mean_s(g_c) · A_c.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.

    Returns
    -------
    (B, *S) array
        Signed map; the paper shows its positive part.

    Raises
    ------
    InputError
        The shapes do not fit.

    References
    ----------
    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via
    Gradient-based Localization", ICCV 2017, eq. 1 and 2.
    """
    activations, gradients = paired(activations, gradients)
    return weighted(mean_space(gradients), activations)


@register("gradcampp", "Grad-CAM++", BOTH, "1", "Chattopadhay et al., WACV 2018")
def gradcampp(activations: Array, gradients: Array) -> Array:
    """Compute Grad-CAM++: Σ_c w_c · A_c with w = Σ_s α · relu(g), α = g² / (2g² + Σ_s(A) · g³).

    α is 0 where g is 0 or the denominator vanishes. It is evaluated as
    1 / (2 + Σ_s(A) · g), the same number without powers that underflow. The
    positive factor exp(y) that the paper's derivation carries is left out, since
    it scales the whole map.

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
    Chattopadhay et al., "Grad-CAM++: Generalized Gradient-based Visual
    Explanations for Deep Convolutional Networks", WACV 2018, eq. 5 and 19.
    """
    activations, gradients = paired(activations, gradients)
    total = per_channel(sum_space(activations), activations)
    # A negative g has relu(g) = 0, so leaving it out here changes nothing.
    positive = relu(gradients)
    return weighted(sum_space(ratio(positive, 2 + total * positive)), activations)


@register("xgradcam", "XGrad-CAM", BOTH, "1", "Fu et al., BMVC 2020")
def xgradcam(activations: Array, gradients: Array) -> Array:
    """Compute XGrad-CAM: Σ_c w_c · A_c with w = Σ_s(g · A) / Σ_s(A), 0 where Σ_s(A) = 0.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.

    Returns
    -------
    (B, *S) array
        Signed map; it sums to Σ g · A where no channel sums to zero.

    Raises
    ------
    InputError
        The shapes do not fit.

    References
    ----------
    Fu et al., "Axiom-based Grad-CAM: Towards Accurate Visualization and
    Explanation of CNNs", BMVC 2020.
    """
    activations, gradients = paired(activations, gradients)
    weights = ratio(sum_space(gradients * activations), sum_space(activations))
    return weighted(weights, activations)


@register("hirescam", "HiResCAM", BOTH, "1", "Draelos and Carin, arXiv:2011.08891")
def hirescam(activations: Array, gradients: Array) -> Array:
    """Compute HiResCAM: Σ_c g_c · A_c.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.

    Returns
    -------
    (B, *S) array
        Signed map; under a linear head it sums to the score less its bias.

    Raises
    ------
    InputError
        The shapes do not fit.

    References
    ----------
    Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations
    of convolutional neural networks", arXiv:2011.08891.
    """
    activations, gradients = paired(activations, gradients)
    return sum_channels(gradients * activations)


@register("elementwisegradcam", "Element-wise Grad-CAM", BOTH, "1", "pytorch-grad-cam")
def elementwise_gradcam(activations: Array, gradients: Array) -> Array:
    """Compute Element-wise Grad-CAM: Σ_c relu(g_c · A_c).

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.

    Returns
    -------
    (B, *S) array
        Map without negative values.

    Raises
    ------
    InputError
        The shapes do not fit.

    References
    ----------
    ``GradCAMElementWise`` of pytorch-grad-cam, which gives no paper for it.
    """
    activations, gradients = paired(activations, gradients)
    return sum_channels(relu(gradients * activations))


@register("layercam", "LayerCAM", BOTH, "1", "Jiang et al., IEEE TIP 2021")
def layercam(activations: Array, gradients: Array) -> Array:
    """Compute LayerCAM: Σ_c relu(g_c) · A_c.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.

    Returns
    -------
    (B, *S) array
        Signed map; without negative values where A has none.

    Raises
    ------
    InputError
        The shapes do not fit.

    References
    ----------
    Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for
    Localization", IEEE TIP 2021, eq. 6 and 7.
    """
    activations, gradients = paired(activations, gradients)
    return sum_channels(relu(gradients) * activations)


@register("shapleycam", "ShapleyCAM", (*BOTH, "hessian_products"), "2", "Cai, arXiv:2501.06261")
def shapleycam(activations: Array, gradients: Array, hessian_products: Array) -> Array:
    """Compute ShapleyCAM: Σ_c mean_s(g_c − ½ (H·A)_c) · A_c, H the score's Hessian in A.

    The paper explains ReST, the logit and the log-probability together, of which only the
    second bends: ``target=Class(c) + LogProbability(c)``. With a class alone the map is
    Grad-CAM wherever rectifiers alone follow the layer.

    The class of this name in the authors' repository does not average: it sums the positive
    parts of (g − ½ H·A) ⊙ A over channels, as recipe ``authors`` does; its ``ShapleyCAM_mean``
    is this equation, as is their port to pytorch-grad-cam.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.
    hessian_products : (B, C, *S) array
        H·A.

    Returns
    -------
    (B, *S) array
        Signed map; Grad-CAM where the score is piecewise linear in A.

    Raises
    ------
    InputError
        The shapes do not fit.

    References
    ----------
    Cai, "CAMs as Shapley Value-based Explainers", arXiv:2501.06261, and its code,
    github.com/caihuaiguang/pytorch-shapley-cam; the paper's numbers of equations could not be
    had here.
    """
    activations, gradients = paired(activations, gradients)
    names = ("activations", "hessian_products")
    _, hessian_products = paired(activations, hessian_products, names)
    return weighted(mean_space(gradients - hessian_products / 2), activations)


@register("segxrescam", "Seg-XRes-CAM", BOTH, "1", "Hasany et al., CVPR Workshops 2023")
def segxrescam(
    activations: Array, gradients: Array, *, window: int = 2, pool: Literal["max", "mean"] = "max"
) -> Array:
    """Compute Seg-XRes-CAM: Σ_c up(pool(g_c)) · A_c.

    Gradients are pooled over windows and spread back over them, between Grad-CAM
    (mean over one window as large as the map) and HiResCAM (windows of 1).

    Where the window does not divide a side, the last window is cut short. The authors' code
    pads it with zeros, which a mean counts and a maximum of negative gradients falls back to,
    and stretches the pooled grid over the whole map, which moves the windows' edges: of a side
    of 7 in windows of 2 it makes 0 0 1 2 2 3 3 where this makes 0 0 1 1 2 2 3. Recipe
    ``authors`` has that; where windows divide the sides the two are one.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.
    window : int
        Side of the windows; the last one of an axis may be cut short.
    pool : {"max", "mean"}
        How a window's gradients are pooled.

    Returns
    -------
    (B, *S) array
        Signed map.

    Raises
    ------
    InputError, MethodError
        The shapes do not fit, or an option is out of range.

    References
    ----------
    Hasany et al., "Seg-XRes-CAM: Explaining Spatially Local Regions in Image
    Segmentation", CVPR Workshops 2023.
    """
    activations, gradients = paired(activations, gradients)
    if window < 1 or pool not in ("max", "mean"):
        raise MethodError(
            f"window={window}, pool={pool!r}; a positive integer and 'max' or 'mean' are expected."
        )
    pooled = gradients
    for axis in range(2, gradients.ndim):
        starts = np.arange(0, gradients.shape[axis], window)
        lengths = np.diff([*starts, gradients.shape[axis]])
        reduce = np.maximum.reduceat if pool == "max" else np.add.reduceat
        pooled = reduce(pooled, starts, axis=axis)
        if pool == "mean":
            pooled = pooled / lengths.reshape([-1 if i == axis else 1 for i in range(pooled.ndim)])
        pooled = np.repeat(pooled, lengths, axis=axis)
    return sum_channels(pooled.astype(activations.dtype) * activations)


@described("FinerCAM's target: a class against those most like it; a contrast stays as it is")
def contrasted(target: Any) -> Any:
    """Set a class against those most like it, for FinerCAM; a contrast stays as it is.

    How it differs from the authors' code is said at `camcore.targets.Contrast`.

    Raises
    ------
    MethodError
        The target is not a class.
    """
    if isinstance(target, Contrast):
        return target
    if type(target) is Class and target.rank == 0:
        return Contrast(target.index)
    raise MethodError(
        f"FinerCAM contrasts a class with its nearest ones; got {target!r}. Give a class, "
        "or the contrast itself: target=camcore.targets.Contrast(...)."
    )


@described("The counterfactual's target: what lowers the score")
def negated(target: Any) -> Any:
    """Negate a target, for the counterfactual: what lowers its score.

    Raises
    ------
    MethodError
        The target is a native callable.
    """
    if isinstance(target, Target):
        return -target
    raise MethodError("Negate a native callable yourself: the counterfactual of it is -score.")


register("finercam", "FinerCAM", BOTH, "1", "Zhang et al., CVPR 2025", aim=contrasted)(gradcam)
register(
    "counterfactual",
    "Counterfactual Grad-CAM",
    BOTH,
    "1",
    "Selvaraju et al., ICCV 2017",
    aim=negated,
)(gradcam)


Base: TypeAlias = Literal[
    "gradcampp", "gradcam", "xgradcam", "hirescam", "elementwisegradcam", "layercam"
]
"""Methods of a layer's activations and gradients whose maps RefineCAM multiplies."""


@register(
    "refinecam",
    "RefineCAM",
    BOTH,
    "1",
    "Domeniconi et al., arXiv:2605.14641",
    fusion="product",
)
@described("product over layers of the maps of Grad-CAM++, or of another base, each in [0, 1]")
def refinecam(activations: Array, gradients: Array, *, base: Base = "gradcampp") -> Array:
    """Compute RefineCAM at one layer: the map of another method, to be multiplied over layers.

    Each layer's map is rectified, enlarged and brought to [0, 1] by its extremes, and so is
    their product. The authors' code explains with Grad-CAM++, LayerCAM, Score-CAM, Eigen-CAM
    and ShapleyCAM, and both of its ports begin with Grad-CAM++; none begins with Grad-CAM. Bases
    that need more than gradients are had by ``method="scorecam", fusion="product"``. The authors'
    other mixers are ``fusion="root"``, ``"exp_mean"`` and ``"log_exp"``; see
    `camcore.postprocess.fuse`.

    Parameters
    ----------
    activations, gradients : (B, C, *S) array
        The layer's output and the score's gradient there.
    base : str
        Which method makes the map.

    Returns
    -------
    (B, *S) array
        Signed map of the base.

    Raises
    ------
    InputError, MethodError
        The shapes do not fit, or `base` is none of those above.

    References
    ----------
    Domeniconi et al., "How to Evaluate and Refine your CAM", arXiv:2605.14641, and its code,
    github.com/liuktc/RefineCAM; the paper's numbers of equations could not be had here.
    """
    one_of(Base, base=base)
    bases = {
        "gradcampp": gradcampp,
        "gradcam": gradcam,
        "xgradcam": xgradcam,
        "hirescam": hirescam,
        "elementwisegradcam": elementwise_gradcam,
        "layercam": layercam,
    }
    return bases[base](activations, gradients)
