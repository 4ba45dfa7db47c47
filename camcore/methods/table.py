"""One row for each method: what it is called, what it needs, what it costs.

A new method is one function and one row.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from camcore.errors import MethodError
from camcore.methods import gradient, spectral
from camcore.postprocess import Fusion
from camcore.trace import Array


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
    level : {"layer", "input"}
        Whether the map is made at a layer, or at the model's input.
    aim : callable
        Turns the target asked for into the one the method explains.
    fusion : str or None
        How several layers are joined where the method says so itself.
    options : mapping
        Keyword arguments fixed for this row.
    """

    name: str
    label: str
    function: Callable[..., Array]
    needs: tuple[str, ...]
    passes: str
    paper: str
    level: Literal["layer", "input"] = "layer"
    aim: Callable[[Any], Any] = lambda target: target
    fusion: Fusion | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, evidence: object) -> Array:
        """Apply the method to what it needs of the evidence."""
        return self.function(
            **{need: getattr(evidence, need) for need in self.needs}, **self.options
        )

    def takes(self) -> list[str]:
        """Names of the keyword arguments that a user may set."""
        parameters = inspect.signature(self.function).parameters
        return [name for name in parameters if name not in self.needs]


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


_BOTH = ("activations", "gradients")

TABLE: tuple[Method, ...] = (
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
    Method("eigencam", "Eigen-CAM", spectral.eigencam, ("activations",), "1",
           "Muhammad and Yeasin, IJCNN 2020"),
    Method("eigengradcam", "EigenGrad-CAM", spectral.eigengradcam, _BOTH, "1",
           "pytorch-grad-cam"),
)  # fmt: skip

MethodLike: TypeAlias = "str | Method"


def find(name: MethodLike) -> Method:
    """Find a method by name, whatever its case and punctuation.

    "Grad-CAM++", "gradcam++" and "gradcampp" are one.

    Raises
    ------
    MethodError
        There is no such method.
    """
    if isinstance(name, Method):
        return name
    wanted = canonical(name)
    for method in TABLE:
        if method.name == wanted:
            return method
    near = difflib.get_close_matches(wanted, [method.name for method in TABLE], n=3)
    labels = [method.label for method in TABLE if not near or method.name in near]
    hint = "Did you mean" if near else "There are"
    raise MethodError(f"There is no method {name!r}. {hint} {', '.join(labels)}?")


def canonical(name: str) -> str:
    """A method's name without case or punctuation; ``+`` reads as ``p``."""
    if not isinstance(name, str):
        raise MethodError(f"A method is named by a string; got {type(name).__name__}.")
    return "".join(c for c in name.casefold().replace("+", "p") if c.isalnum())
