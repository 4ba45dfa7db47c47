"""Names of layers, as people write them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from camcore._shared.suggest import hint
from camcore.adapter import Layer, LayerName
from camcore.errors import LayerError

LayerLike: TypeAlias = "str | object"
"""A layer's name, its last steps where they are unique, or the framework's layer object."""


def resolve(wanted: LayerLike | Sequence[LayerLike], layers: Sequence[Layer]) -> tuple[str, ...]:
    """Find the full names of the layers a user asks for.

    Parameters
    ----------
    wanted : str, layer object, or sequence of these
        A name may end in ``#N`` to mean the N-th call of a layer that runs several times,
        in ``@attention`` to mean the attention it computes, and in ``@2`` or ``@high.0`` to
        mean one of the arrays it returns.
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


def unknown_layer(name: str, known: Iterable[str]) -> LayerError:
    """Make the error for a layer that the model does not have, with the nearest of those it has."""
    return LayerError(f"The model has no layer {name!r}. {hint(name, known)}")


def not_rectified(name: LayerName) -> LayerError:
    """Make the error for a layer whose output no function of the model rectifies."""
    return LayerError(
        f"{str(name)!r}: no function of the model rectifies what the layer returns before "
        "something else uses it. Leave out '@activated' for what the layer returns, or name the "
        "layer that rectifies it."
    )


def _by_name(wanted: str, layers: Sequence[Layer]) -> str:
    known = [layer.name for layer in layers]
    name = LayerName.among(wanted, known)
    if name.is_input or name.path in known:
        return wanted
    leaf_of, mark, _ = name.path.rpartition("@")
    for given in [name.path, *([leaf_of] if mark else [])]:
        paths = [path for path in known if _ends_in(path, given)]
        if len(paths) == 1:
            return str(replace(name, path=paths[0] + name.path[len(given) :]))
        if paths:
            raise LayerError(
                f"{given!r} names {len(paths)} layers: {listed(paths)}. Give the whole path."
            )
    raise unknown_layer(name.path, known)


def _ends_in(path: str, name: str) -> bool:
    """Tell whether the last steps of a path are those of a name, with dots or slashes."""
    steps, wanted = re.split(r"[./]", path), re.split(r"[./]", name)
    return steps[-len(wanted) :] == wanted


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
