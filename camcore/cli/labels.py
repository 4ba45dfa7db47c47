"""Find classes by what a person types, and name them in results."""

from __future__ import annotations

from camcore._shared.suggest import near
from camcore.cli.console import percent
from camcore.errors import TargetError
from camcore.explanation import Explanation
from camcore.viz.explanation import class_name, explained_name
from camcore.zoo import LoadedModel


def label(loaded: LoadedModel, index: int) -> str:
    """Name the class `index`, by its number where the model has no names."""
    return class_name(loaded.classes, index)


def explained(loaded: LoadedModel, result: Explanation) -> str:
    """Name what is explained in the first photograph.

    Raises
    ------
    TargetError
        Two classes have names, but nothing says that the model's one number tells them apart.
    """
    if result.is_raw_number and len(loaded.classes or ()) == 2:
        raise TargetError(
            f"The model gives one number for two classes, {' and '.join(loaded.classes or ())}. "
            "If it is the logit of the second, say so: --activation sigmoid."
        )
    return explained_name(result, loaded.classes, 0)


def top(loaded: LoadedModel, result: Explanation, count: int = 5) -> list[tuple[str, float]]:
    """List the `count` highest classes with probabilities or scores; none without classes."""
    if result.class_scores is None or result.is_raw_number:
        return []
    return [(label(loaded, index), p) for index, p in result.top(count)[0]]


def value(result: Explanation, number: float) -> str:
    """Format what `top` gives: a probability as a percentage, a score as it is."""
    return f"{number:.4g}" if result.probabilities is None else percent(number)


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
