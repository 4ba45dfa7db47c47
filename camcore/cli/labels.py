"""Find classes by what a person types, and name them in results."""

from __future__ import annotations

from camcore._shared.suggest import near
from camcore.errors import TargetError
from camcore.explanation import Explanation
from camcore.viz.explanation import class_name
from camcore.zoo import LoadedModel


def label(loaded: LoadedModel, index: int) -> str:
    """Name the class `index`, by its number where the model has no names."""
    return class_name(loaded.classes, index)


def top(loaded: LoadedModel, result: Explanation, count: int = 5) -> list[tuple[str, float]]:
    """List the `count` highest classes with their probabilities; none without class scores."""
    if result.probabilities is None:
        return []
    return [(label(loaded, index), p) for index, p in result.top(count)[0]]


def class_index(loaded: LoadedModel, wanted: str) -> int:
    """Find the class that `wanted` gives, by index or by name.

    Raises
    ------
    TargetError
        No class, or several, have that name.
    """
    if wanted.lstrip("-").isdigit():
        return int(wanted)
    if loaded.classes is None:
        raise TargetError(f"The model's classes have no names; give an index, not {wanted!r}.")
    names = [name.casefold() for name in loaded.classes]
    places = [index for index, name in enumerate(names) if name == wanted.casefold()]
    if len(places) == 1:
        return places[0]
    if places:
        raise TargetError(f"{wanted!r} names the classes {places}; give one of these indices.")
    similar = near(wanted.casefold(), names)
    similar += [name for name in names if wanted.casefold() in name and name not in similar][:4]
    hint = f"Did you mean {', '.join(similar)}?" if similar else "Give an index."
    raise TargetError(f"The model has no class {wanted!r}. {hint}")
