"""Names of layers, as people write them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import TypeAlias

from camcore.adapter import ATTENTION, INPUT, Layer
from camcore.errors import LayerError

LayerLike: TypeAlias = "str | object"
"""A layer's name, its bare name where that is unique, or the framework's layer object."""


def resolve(wanted: LayerLike | Sequence[LayerLike], layers: Sequence[Layer]) -> tuple[str, ...]:
    """Full names of the layers a user asks for.

    Parameters
    ----------
    wanted : str, layer object, or sequence of these
        A name may end in ``#N`` to mean the N-th call of a layer that runs
        several times, and in ``@attention`` to mean the attention it computes.
    layers : sequence of Layer
        All layers of the model.

    Raises
    ------
    LayerError
        A layer is unknown or its bare name is ambiguous.
    """
    several = wanted if isinstance(wanted, (list, tuple)) else [wanted]
    if not several:
        raise LayerError("An empty list of layers was given; name at least one layer.")
    names = tuple(
        _by_name(one, layers) if isinstance(one, str) else _by_object(one, layers)
        for one in several
    )
    if len(set(names)) < len(names):
        raise LayerError(f"The same layer is asked for twice: {', '.join(names)}.")
    return names


def _by_name(wanted: str, layers: Sequence[Layer]) -> str:
    whole, mark, call = wanted.partition("#")
    name = whole.removesuffix(ATTENTION)
    if mark and not re.fullmatch(r"-?\d+", call):
        raise LayerError(
            f"{wanted!r}: after '#' comes the number of the call, as in {whole + '#0'!r}."
        )
    if name == INPUT or any(layer.name == name for layer in layers):
        return wanted
    paths = [layer.name for layer in layers if re.split(r"[./]", layer.name)[-1] == name]
    if len(paths) == 1:
        return paths[0] + wanted[len(name) :]
    if paths:
        raise LayerError(
            f"{name!r} names {len(paths)} layers: {listed(paths)}. Give the whole path."
        )
    every = [layer.name for layer in layers]
    near = difflib.get_close_matches(name, every, n=4, cutoff=0.4)
    hint = f"Did you mean {listed(near)}?" if near else f"It has {listed(every)}."
    raise LayerError(f"The model has no layer {name!r}. {hint}")


def _by_object(wanted: object, layers: Sequence[Layer]) -> str:
    for layer in layers:
        if layer.native is wanted:
            return layer.name
    raise LayerError(
        f"The {type(wanted).__name__} given as a layer is not part of the model; "
        "give one of its layers, or a layer's name."
    )


def listed(names: Sequence[str], limit: int = 6) -> str:
    """Join names for a message: at most `limit` of them, and how many more there are."""
    shown = ", ".join(map(repr, names[:limit]))
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")
