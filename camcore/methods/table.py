"""One row for each method: what it is called, what it needs, what it costs.

A new method is one function and one row.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, TypeAlias

from camcore.adapter import Array
from camcore.errors import MethodError
from camcore.methods import (
    activation,
    attention,
    attribution,
    gradient,
    masking,
    perturbation,
    spectral,
)
from camcore.postprocess import Fusion, fuse
from camcore.targets import Class, Contrast, Target


@dataclass(frozen=True)
class Method:
    """A method and what the one path from model to map must supply for it.

    Parameters
    ----------
    name : str
        Canonical name, lower-case letters and digits only.
    label : str
        How papers write it.
    function : callable
        Takes what `needs` names, by keyword, and returns the signed map.
    needs : tuple of str
        Attributes of `camcore.evidence.Evidence`, by the function's argument names.
    passes : str
        Cost, in forward passes.
    paper : str
        Where it comes from.
    level : {"layer", "attention", "input"}
        Whether the map is made at a layer, at the attention that layers compute, or at
        the model's input.
    aim : callable
        Turns the target asked for into the one the method explains.
    fusion : str or None
        How several layers are joined where the method says so itself.
    joins : {"shown", "signed"}
        Whether the maps of several layers are joined as the recipe shows each, or as
        they are, so that a layer counts by its magnitude.
    options : mapping
        Keyword arguments fixed for this row.
    """

    name: str
    label: str
    function: Callable[..., Array]
    needs: tuple[str, ...]
    passes: str
    paper: str
    level: Literal["layer", "attention", "input"] = "layer"
    aim: Callable[[Any], Any] = lambda target: target
    fusion: Fusion | None = None
    joins: Literal["shown", "signed"] = "shown"
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, evidence: object) -> Array:
        """Apply the method to what it needs of the evidence."""
        return self.function(
            **{need: getattr(evidence, need) for need in self.needs}, **self.options
        )

    def joined(self, signed: Sequence[Array], fusion: Fusion) -> Sequence[Array]:
        """The layers' signed maps as they are to be shown: one by one, or already one."""
        return [fuse(signed, fusion)] if self.joins == "signed" else signed

    def takes(self) -> list[str]:
        """Names of the keyword arguments that a user may set."""
        parameters = inspect.signature(self.function).parameters
        return [name for name in parameters if name not in self.needs]


def contrasted(target: Any) -> Any:
    """FinerCAM's target: a class against those most like it; a contrast stays as it is.

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
        "or say the contrast: target=camcore.targets.Contrast(...)."
    )


def negated(target: Any) -> Any:
    """The counterfactual's target: what lowers the score.

    Raises
    ------
    MethodError
        The target is a native callable.
    """
    if isinstance(target, Target):
        return -target
    raise MethodError("Negate a native callable yourself: the counterfactual of it is -score.")


def smoothed(method: Method) -> Method:
    """The method with its sum over channels replaced by their first principal component.

    Raises
    ------
    MethodError
        The method is no sum of one contribution for each channel.
    """
    if not {"activations"} <= set(method.needs) <= _PER_CHANNEL or method.function in _WHOLE:
        raise MethodError(
            f"{method.label} is no sum over channels, so there is nothing to smooth; "
            "leave out eigen_smooth."
        )
    return replace(
        method,
        function=partial(spectral.smoothed, partial(method.function, **method.options)),
        options={},
    )


def with_options(methods: Sequence[Method], options: Mapping[str, Any]) -> tuple[Method, ...]:
    """The methods, each with those of the keyword arguments that it takes.

    Raises
    ------
    MethodError
        None of them takes one of the arguments.
    """
    for option in options:
        if not any(option in method.takes() for method in methods):
            known = {method.label: method.takes() for method in methods}
            listed = "; ".join(f"{k} takes {', '.join(v) or 'none'}" for k, v in known.items())
            raise MethodError(f"Unknown option {option!r}: {listed}.")
    return tuple(
        replace(
            method,
            options={
                **method.options,
                **{key: value for key, value in options.items() if key in method.takes()},
            },
        )
        for method in methods
    )


_PER_CHANNEL = {"activations", "gradients", "class_weights", "hessian_products"}
_WHOLE = (
    spectral.eigencam,
    spectral.eigengradcam,
    spectral.kpcacam,
    activation.random_map,
)

_BOTH = ("activations", "gradients")
_MASKING = ("activations", "images", "score_images")

TABLE: tuple[Method, ...] = (
    # One forward pass and the pull-back to the layer.
    Method("cam", "CAM", gradient.cam, ("activations", "class_weights"), "1",
           "Zhou et al., CVPR 2016"),
    Method("gradcam", "Grad-CAM", gradient.gradcam, _BOTH, "1",
           "Selvaraju et al., ICCV 2017"),
    Method("gradcampp", "Grad-CAM++", gradient.gradcampp, _BOTH, "1",
           "Chattopadhay et al., WACV 2018"),
    Method("xgradcam", "XGrad-CAM", gradient.xgradcam, _BOTH, "1",
           "Fu et al., BMVC 2020"),
    Method("hirescam", "HiResCAM", gradient.hirescam, _BOTH, "1",
           "Draelos and Carin, arXiv:2011.08891"),
    Method("elementwisegradcam", "Element-wise Grad-CAM", gradient.elementwise_gradcam, _BOTH, "1",
           "pytorch-grad-cam"),
    Method("layercam", "LayerCAM", gradient.layercam, _BOTH, "1",
           "Jiang et al., IEEE TIP 2021"),
    Method("segxrescam", "Seg-XRes-CAM", gradient.segxrescam, _BOTH, "1",
           "Hasany et al., CVPR Workshops 2023"),
    Method("finercam", "FinerCAM", gradient.gradcam, _BOTH, "1",
           "Zhang et al., CVPR 2025", aim=contrasted),
    Method("counterfactual", "Counterfactual Grad-CAM", gradient.gradcam, _BOTH, "1",
           "Selvaraju et al., ICCV 2017", aim=negated),
    Method("refinecam", "RefineCAM", gradient.gradcam, _BOTH, "1",
           "product over the layers given", fusion="product"),
    Method("legrad", "LeGrad", attention.legrad, ("attention_gradients",), "1",
           "Bousselham et al., ICCV 2025", level="attention", joins="signed"),
    Method("eigencam", "Eigen-CAM", spectral.eigencam, ("activations",), "1",
           "Muhammad and Yeasin, IJCNN 2020"),
    Method("eigengradcam", "EigenGrad-CAM", spectral.eigengradcam, _BOTH, "1",
           "pytorch-grad-cam"),
    Method("kpcacam", "KPCA-CAM", spectral.kpcacam, ("activations",), "1",
           "Karmani et al., arXiv:2410.00267"),
    Method("fem", "FEM", activation.fem, ("activations",), "1",
           "Fuad et al., IPTA 2020"),
    Method("activations", "Activations", activation.activation_map, ("activations",), "1",
           "mean over channels"),
    Method("random", "Random", activation.random_map, ("activations",), "1",
           "baseline"),
    # Further passes.
    Method("shapleycam", "ShapleyCAM", gradient.shapleycam, (*_BOTH, "hessian_products"), "2",
           "Cai, arXiv:2501.06261"),
    Method("smoothgradcampp", "Smooth Grad-CAM++", gradient.smooth_gradcampp,
           ("activations", "images", "rerun"), "1 + samples",
           "Omeiza et al., arXiv:1908.01224"),
    Method("scorecam", "Score-CAM", masking.scorecam, _MASKING, "1 + channels",
           "Wang et al., CVPR Workshops 2020"),
    Method("fasterscorecam", "Faster Score-CAM", masking.scorecam, _MASKING, "1 + 10",
           "github.com/tabayashi0117/Score-CAM", options={"channels": 10}),
    Method("sscam", "SS-CAM", masking.sscam, _MASKING, "1 + channels x samples",
           "Wang et al., arXiv:2006.14255"),
    Method("iscam", "IS-CAM", masking.iscam, _MASKING, "1 + channels x steps",
           "Naidu et al., arXiv:2010.03023"),
    Method("ablationcam", "Ablation-CAM", perturbation.ablationcam,
           ("activations", "scores", "resume"), "1 + channels x what follows the layer",
           "Desai and Ramaswamy, WACV 2020"),
    # Maps at the model's input.
    Method("occlusion", "Occlusion", perturbation.occlusion,
           ("images", "scores", "score_images"), "1 + windows",
           "Zeiler and Fergus, ECCV 2014", level="input"),
    Method("rise", "RISE", perturbation.rise, ("images", "score_images"), "1 + masks",
           "Petsiuk et al., BMVC 2018", level="input"),
    Method("saliency", "Saliency", attribution.saliency, ("image_gradients",), "1 + backward",
           "Simonyan et al., ICLR Workshops 2014", level="input"),
    Method("gradienttimesinput", "Gradient x Input", attribution.gradient_times_input,
           ("images", "image_gradients"), "1 + backward",
           "Shrikumar et al., arXiv:1605.01713", level="input"),
    Method("smoothgrad", "SmoothGrad", attribution.smoothgrad, ("images", "gradients_at"),
           "1 + samples x (1 + backward)",
           "Smilkov et al., arXiv:1706.03825", level="input"),
    Method("integratedgradients", "Integrated Gradients", attribution.integrated_gradients,
           ("images", "gradients_at"), "1 + steps x (1 + backward)",
           "Sundararajan et al., ICML 2017", level="input"),
    Method("guidedbackprop", "Guided Backpropagation", attribution.guided_backprop,
           ("guided_gradients",), "2 + backward",
           "Springenberg et al., ICLR Workshops 2015", level="input"),
    Method("guidedgradcam", "Guided Grad-CAM", attribution.guided_gradcam,
           (*_BOTH, "guided_gradients"), "2 + backward",
           "Selvaraju et al., ICCV 2017"),
    Method("fullgrad", "FullGrad", attribution.fullgrad,
           ("images", "image_gradients", "bias_terms"), "2 + backward",
           "Srinivas and Fleuret, NeurIPS 2019", level="input"),
)  # fmt: skip

MethodLike: TypeAlias = "str | Method"


def find(name: MethodLike) -> Method:
    """Find a method by name, whatever its case and punctuation.

    "Grad-CAM++", "gradcam++" and "gradcampp" are one.

    Parameters
    ----------
    name : str or Method
        Its name or label; a `Method` is returned as it is.

    Returns
    -------
    Method

    Raises
    ------
    MethodError
        There is no such method.
    """
    if isinstance(name, Method):
        return name
    wanted = canonical(name)
    for method in TABLE:
        if wanted in (method.name, canonical(method.label)):
            return method
    near = difflib.get_close_matches(wanted, [method.name for method in TABLE], n=3)
    labels = [method.label for method in TABLE if not near or method.name in near]
    listed = ", ".join(labels)
    hint = f"Did you mean {listed}?" if near else f"There are {listed}."
    raise MethodError(f"There is no method {name!r}. {hint}")


def canonical(name: str) -> str:
    """A method's name without case or punctuation; ``+`` reads as ``p``."""
    if not isinstance(name, str):
        raise MethodError(f"A method is named by a string; got {type(name).__name__}.")
    return "".join(c for c in name.casefold().replace("+", "p") if c.isalnum())
