"""Follow a model's outputs back to the layers of scores that they merely show again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from camcore.layers.rectified import RECTIFIERS, names

Tensor: TypeAlias = Any
"""A framework's tensor."""

_JOINS = names("cat concat concatenate concatv2 hstack pack stack vstack")
_SUMS = names("add addn addv2 biasadd")
_SCALES = _SUMS | names("div mul realdiv sub truediv true_divide")
_POOLS = names(
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d "
    "adaptive_max_pool2d adaptive_max_pool3d amax avg_pool1d avg_pool2d avg_pool3d avgpool "
    "avgpool3d dropout logsumexp max max_pool1d max_pool2d max_pool3d maxpool maxpool3d mean "
    "sum topk topkv2"
)
"""Operations, lower case, that leave scores of classes what they are, for fewer places."""

Kind: TypeAlias = Literal["same", "join", "sum", "scale", "pool"]
"""How a tensor shows others again.

As it is, at most rearranged, resized or activated; side by side; added up; rectified, or times
or plus a number; over fewer places.
"""


@dataclass(frozen=True)
class Step:
    """How a tensor shows others again.

    Parameters
    ----------
    kind : {"same", "join", "sum", "scale", "pool"}
        See `Kind`.
    given : sequence of tensor
        The others.
    """

    kind: Kind
    given: tuple[Tensor, ...]


def kind_of(name: str, tensors: int) -> Kind | None:
    """Tell by an operation's name, in any case, how it shows so many tensors again, if it does."""
    name = name.lower().strip("_")
    if name in _JOINS:
        return "join"
    if name in _SUMS and tensors > 1:
        return "sum"
    if name in RECTIFIERS or (name in _SCALES and tensors == 1):
        return "scale"
    return "pool" if name in _POOLS else None


@dataclass
class Ends:
    """What the outputs show again.

    Parameters
    ----------
    shown : list of tensor
        The outputs, and what they show.
    parts : list of (tuple of tensor)
        For each output, what it is joined of, one scale or place after another; itself alone
        where it is not joined of layers' scores.
    """

    shown: list[Tensor] = field(default_factory=list)
    parts: list[tuple[Tensor, ...]] = field(default_factory=list)


def ends(
    outputs: Iterable[Tensor],
    step: Callable[[Tensor], Step | None],
    linear: Callable[[Tensor], Literal["", "linear", "pointwise"]],
) -> Ends:
    """Follow outputs back.

    An output that is merely activated, rearranged or resized shows what was before. One that is
    joined or added up shows what it is made of where all of that are scores, which is what linear
    layers and convolutions return; one that is pooled, where linear layers and convolutions of
    one place do.

    Parameters
    ----------
    outputs : iterable of tensor
        Those that scores are read from.
    step : callable
        Tells how a tensor shows others again; None where it does not.
    linear : callable
        Tells whether a linear layer or convolution returned a tensor, and whether of one place.

    Returns
    -------
    Ends
    """
    found = Ends()

    def scores(tensor: Tensor, pooled: bool, joined: bool) -> list[Tensor] | None:
        """List the tensor and what it shows; None where that is more than scores."""
        kind = linear(tensor)
        if kind == "pointwise" or (kind and not pooled):
            return [tensor]
        how = step(tensor)
        if how is None or (how.kind == "scale" and not joined):
            return None
        pooled, joined = pooled or how.kind == "pool", joined or how.kind not in ("same", "scale")
        below = [scores(each, pooled, joined) for each in how.given]
        if any(each is None for each in below):
            return None
        return [tensor, *(shown for each in below if each for shown in each)]

    for output in outputs:
        found.shown += scores(output, False, False) or []
        parts, tensor, how = (output,), output, step(output)
        found.shown.append(tensor)
        while how is not None and how.kind == "same":
            (tensor,) = how.given
            found.shown.append(tensor)
            how = step(tensor)
        if how is not None and how.kind == "join" and scores(tensor, False, False):
            parts = how.given
        found.parts.append(parts)
    return found
