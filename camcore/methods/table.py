"""One row for each method: what it is called, what it needs, what it costs.

A new method is one function and one row.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from camcore.errors import MethodError
from camcore.methods import gradient, spectral
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
        Out of ``activations``, ``gradients``, ``class_weights``.
    passes : str
        Cost, in forward passes.
    paper : str
        Where it comes from.
    options : mapping
        Keyword arguments fixed for this row.
    """

    name: str
    label: str
    function: Callable[..., Array]
    needs: tuple[str, ...]
    passes: str
    paper: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, **supplied: Any) -> Array:
        """Apply the method to those of the supplied arrays that it needs."""
        wanted = {name: supplied[name] for name in self.needs}
        return self.function(**wanted, **self.options)

    def with_options(self, **options: Any) -> Method:
        """The same method with some of its function's keyword arguments set.

        Raises
        ------
        MethodError
            The function takes no such argument.
        """
        takes = inspect.signature(self.function).parameters
        for option in options:
            if option not in takes or option in self.needs:
                others = [name for name in takes if name not in self.needs]
                raise MethodError(
                    f"{self.label} has no option {option!r}; it takes {others or 'none'}."
                )
        return replace(self, options={**self.options, **options})


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
