"""Find classes by what a person types, and name them in results."""

from __future__ import annotations

from camcore import targets
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
    return targets.class_index(loaded.classes, wanted)
