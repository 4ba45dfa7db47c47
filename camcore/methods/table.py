"""The table of methods: what each is called, what it needs and what it costs.

A new method is one function with its row above it: ``@register(...)``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, Final, Literal, TypeAlias, TypeVar, cast

import numpy as np

from camcore._shared.finite import finite, without_overflow
from camcore._shared.suggest import hint
from camcore.adapter import Array
from camcore.errors import MethodError, NotOfferedError
from camcore.methods.channels import is_joined, keeping
from camcore.postprocess import Fusion, fuse

Level: TypeAlias = Literal["layer", "scales", "attention", "input", "output"]


@dataclass(frozen=True)
class Need:
    """What it takes to supply one attribute of `camcore.evidence.Evidence`.

    Parameters
    ----------
    backward : bool
        Whether the traced pass must pull the target back.
    targeted : bool
        Whether it depends on the target.
    by_row : bool
        Whether each row is made from the same row of the layer's output alone, so that a
        layer may see the frames of a video as rows.
    by_channel : bool
        Whether it has one entry for each of the layer's channels.
    """

    backward: bool = False
    targeted: bool = True
    by_row: bool = False
    by_channel: bool = False


NEEDS: Final[Mapping[str, Need]] = {
    "activations": Need(targeted=False, by_row=True, by_channel=True),
    "layers_activations": Need(targeted=False),
    "gradients": Need(backward=True, by_row=True, by_channel=True),
    "attention_gradients": Need(backward=True, by_row=True),
    "own_gradients": Need(by_row=True),
    "attentions": Need(targeted=False, by_row=True),
    "attentions_gradients": Need(backward=True, by_row=True),
    "pooling": Need(targeted=False, by_row=True),
    "class_weights": Need(by_channel=True),
    "mean_weights": Need(by_channel=True),
    "scores": Need(),
    "images": Need(targeted=False),
    "image_gradients": Need(backward=True),
    "token_logits": Need(),
    "guided_gradients": Need(),
    "deconvolved_gradients": Need(),
    "hessian_products": Need(by_row=True, by_channel=True),
    "bias_terms": Need(),
    "score_images": Need(),
    "resume": Need(),
    "gradients_from": Need(),
    "rerun": Need(),
    "gradients_at": Need(),
}
"""What methods may need, by the name of the attribute; others count as ``Need()``."""

BOTH: Final = ("activations", "gradients")

ON_IMAGES: Final = frozenset(
    [
        *("images", "image_gradients", "guided_gradients", "deconvolved_gradients"),
        *("score_images", "rerun", "gradients_at"),
    ]
)
"""What is read of, or altered in, the model's spatial input."""


_OF_ONE_PASS: Final = frozenset(["activations", "gradients", "scores", "images", "image_gradients"])
"""What every adapter gives."""


def _as_it_is(target: Any) -> Any:
    return target


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
    level : {"layer", "scales", "attention", "input", "output"}
        Whether the map is made at a layer, at the last layer of each size, at the attention that
        layers compute, at the model's input, or of its output at the tokens of an image.
    aim : callable
        Turns the target asked for into the one the method explains.
    fusion : str or None
        How several layers are joined, where the method itself prescribes it.
    joins : {"shown", "signed", "chain", "refined"}
        Whether the maps of several layers are joined as the recipe shows each, or as
        they are, so that a layer counts by its magnitude. Of a chain the function sees all
        layers at once, as `camcore.chain.Chain` has them, and tells what each one adds; or how
        each one refines the map of the next, so that the first is shown.
    options : mapping
        Keyword arguments fixed for this row.
    last : int or None
        Of the layers that are looked at where none is named, how many at the end; None for all.
    """

    name: str
    label: str
    function: Callable[..., Array]
    needs: tuple[str, ...]
    passes: str
    paper: str
    level: Level = "layer"
    aim: Callable[[Any], Any] = _as_it_is
    fusion: Fusion | None = None
    joins: Literal["shown", "signed", "chain", "refined"] = "shown"
    options: Mapping[str, Any] = field(default_factory=dict)
    last: int | None = None

    def __call__(self, evidence: object) -> Any:
        """Apply the method to what it needs of the evidence.

        Returns
        -------
        array or list of array
            The signed map; of each layer one, where the method sees them all.
        """
        # Whoever explains says at which layer a map is not finite.
        function = inspect.unwrap(self.function)
        try:
            needed = {need: getattr(evidence, need) for need in self.needs}
            signed = function(**needed, **self.options)
        except NotOfferedError as error:
            further = set(self.needs) - _OF_ONE_PASS
            others = [method.name for method in TABLE if not further.intersection(method.needs)]
            raise MethodError(f"{error} Methods that do without: {', '.join(others)}.") from error
        return signed

    def with_channels(self, evidence: object) -> tuple[Array, Array | None]:
        """Apply the method, and give the attribution of each channel that it joins.

        Returns
        -------
        signed : (B, *S) array
            The signed map.
        channels : (B, C, *S) array or None
            What the map is joined from; None where it is not joined from channels of the input.
        """
        with keeping() as found:
            signed: Array = self(evidence)
        if not is_joined(self.function) or not found:
            return signed, None
        return signed, found[-1].astype(signed.dtype, copy=False)

    @property
    def backward(self) -> bool:
        """Whether the traced pass must pull the target back."""
        return any(need.backward for need in self._needs())

    @property
    def targeted(self) -> bool:
        """Whether the map depends on the target."""
        return any(need.targeted for need in self._needs())

    @property
    def of_blocks(self) -> bool:
        """Whether each layer is scored by what its block returns, so that it must be in one."""
        return "own_gradients" in self.needs and self.options.get("scored") == "block"

    @property
    def by_row(self) -> bool:
        """Whether each row of the layer's output has a map of its own, made from it alone."""
        return all(need.by_row for need in self._needs())

    @property
    def by_channel(self) -> bool:
        """Whether the map is a sum of contributions, each made from one channel alone."""
        return (
            self.function not in _of_all_channels
            and "activations" in self.needs
            and all(need.by_channel for need in self._needs())
        )

    def joined(self, signed: Sequence[Array], fusion: Fusion) -> Sequence[Array]:
        """List the signed maps to show: one for each layer, or one joined already."""
        if self.joins == "refined":
            return signed[:1]
        return signed if self.joins == "shown" else [fuse(signed, fusion)]

    def takes(self) -> list[str]:
        """List the keyword arguments that a user may set."""
        parameters = inspect.signature(self.function).parameters
        return [name for name in parameters if name not in self.needs]

    def _needs(self) -> list[Need]:
        return [NEEDS.get(need, Need()) for need in self.needs]


MethodLike: TypeAlias = "str | Method"
Function = TypeVar("Function", bound=Callable[..., Any])

_rows: list[Method] = []
_of_all_channels: list[Callable[..., Any]] = []

TABLE: Final[Sequence[Method]] = _rows
"""Every method: those of one forward pass first, otherwise in the order of registration."""


def register(
    name: str,
    label: str,
    needs: tuple[str, ...],
    passes: str,
    paper: str,
    *,
    additive: bool = True,
    **fields: Any,
) -> Callable[[Function], Function]:
    """Add the decorated function to the table, so that it is found, listed and explained with.

    Parameters
    ----------
    name, label, needs, passes, paper
        Of its row; see `Method`.
    additive : bool
        False where it needs channels but is no sum of what each gives alone, so that
        ``eigen_smooth`` refuses it.
    **fields
        The row's other fields.

    Returns
    -------
    callable
        A decorator that returns the function, which now refuses to return a map that is not
        finite.

    Raises
    ------
    MethodError
        The name is not canonical, or the name or label is another method's.
    """
    if canonical(name) != name:
        raise MethodError(
            f"A method's name is lower-case letters and digits; got {name!r}. "
            f"Name it {canonical(name)!r}."
        )
    names = {name, canonical(label)}
    if taken := [row.label for row in TABLE if names & {row.name, canonical(row.label)}]:
        raise MethodError(
            f"The method {name!r} ({label}) is called like {taken[0]}, which is registered "
            "already. Choose another name and label."
        )

    def add(function: Function) -> Function:
        # Under a second name it is checked already.
        again = hasattr(function, "__wrapped__")
        checked = function if again else _checked(function, needs, label)
        cheap = sum(row.passes == "1" for row in TABLE)
        row = Method(name, label, checked, needs, passes, paper, **fields)
        _rows.insert(cheap if passes == "1" else len(_rows), row)
        if not additive:
            _of_all_channels.append(checked)
        return checked

    return add


def _checked(function: Function, needs: Sequence[str], label: str) -> Function:
    """Let a method refuse arrays that are not finite, and to return a map that is not."""

    @wraps(function)
    def checked(*args: Any, **options: Any) -> Any:
        given = {**dict(zip(needs, args, strict=False)), **options}
        for name in given.keys() & set(needs):
            several = isinstance(given[name], list | tuple)
            for value in given[name] if several else [given[name]]:
                if not callable(value):
                    finite(np.asarray(value), name)
        made = function(*args, **options)
        if isinstance(made, list):
            return [without_overflow(one, label) for one in made]
        return without_overflow(made, label)

    return cast(Function, checked)


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
    if wanted in _BY_ANOTHER_NAME:
        raise MethodError(
            f"{name!r} is no method of its own here. It is {_BY_ANOTHER_NAME[wanted]}."
        )
    known = hint(wanted, [method.name for method in TABLE])
    raise MethodError(f"There is no method {name!r}. {known}")


_BY_ANOTHER_NAME: Final[Mapping[str, str]] = {
    "odam": "method='hirescam' with target=camcore.targets.Box(...)",
    "drise": "method='rise', cells=16, with target=camcore.targets.Box(..., with_overlap=True); "
    "classes of boxes are not compared by their cosine",
    "seggradcam": "method='gradcam' with target=camcore.targets.Segmentation(class, mask)",
    "seghirescam": "method='hirescam' with target=camcore.targets.Segmentation(class, mask)",
    **dict.fromkeys(("chefer", "gae", "attentionrelevancy"), "method='relevancy'"),
    "vitexplain": "method='rollout', which takes heads= and discard=",
    "vitreciprocam": "method='reciprocam', smooth=True",
    "sess": "any method, with augment=camcore.augment.crops()",
    "expectedgradients": "method='gradientshap', baseline=images",
    **dict.fromkeys(
        ("lrp", "layerwiserelevancepropagation"),
        "method='saliency', signed=True within a context of zennit's; docs/models.md shows it",
    ),
    "relevancecam": "method='gradcam' within a context of zennit's; docs/models.md shows it",
    **dict.fromkeys(
        ("tam", "tokenactivationmap"),
        "method='tokencam', less=[maps of earlier tokens], smooth=True, with "
        "target=camcore.targets.Token(position, id)",
    ),
}
"""What is searched for and done by another name, canonical, with the call that does it."""


def registered(name: str) -> Method | None:
    """Find the row of exactly this name; None for the name of a method of your own."""
    return next((row for row in TABLE if row.name == name), None)


def canonical(name: str) -> str:
    """Strip a method's name of case and punctuation; ``+`` reads as ``p``."""
    if not isinstance(name, str):
        raise MethodError(f"A method is named by a string; got {type(name).__name__}.")
    return "".join(c for c in name.casefold().replace("+", "p") if c.isalnum())


def with_options(methods: Sequence[Method], options: Mapping[str, Any]) -> tuple[Method, ...]:
    """Give each method those of the keyword arguments `options` that it takes.

    Raises
    ------
    MethodError
        None of them takes one of the arguments.
    """
    for option in options:
        if not any(option in method.takes() for method in methods):
            known = {method.label: ", ".join(method.takes()) or "none" for method in methods}
            listed = "; ".join(f"{label} takes {names}" for label, names in known.items())
            raise MethodError(f"Unknown option {option!r}: {listed}.")
    return tuple(
        replace(method, options={**method.options, **_taken_by(method, options)})
        for method in methods
    )


def _taken_by(method: Method, options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name in method.takes()}


_descriptions: dict[Callable[..., Any], str] = {}


def described(text: str) -> Callable[[Function], Function]:
    """Set the line with which recipes describe a function: its equation, or what it explains."""

    def keep(function: Function) -> Function:
        _descriptions[inspect.unwrap(function)] = text
        return function

    return keep


def description(function: Callable[..., Any]) -> str:
    """Describe a function in a line, by default the first line of its docstring."""
    function = inspect.unwrap(function)
    first = (inspect.getdoc(function) or "").partition("\n")[0]
    return _descriptions.get(function) or first.removeprefix("Compute ").rstrip(".")
