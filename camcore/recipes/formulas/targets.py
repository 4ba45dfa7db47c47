"""Classes as several libraries explain them."""

from __future__ import annotations

from typing import Any

from camcore.errors import MethodError
from camcore.methods.table import described
from camcore.targets import Class, Probability, Target


@described("The softmax, over classes, of what the model returns")
def probability(target: Any) -> Any:
    """Explain a class by the softmax over classes of what the model returns.

    Raises
    ------
    MethodError
        The target is no class.
    """
    if isinstance(target, Probability):
        return target
    found = class_of(target)
    return Probability(found.index, rank=found.rank)


def class_of(target: Target) -> Class:
    """Return the target, which must be a class.

    Raises
    ------
    MethodError
        It is none.
    """
    if type(target) is Class:
        return target
    raise MethodError(
        f"The recipe explains a class in a way of its own; got {target!r}. Give a class, or "
        "use recipe='paper'."
    )
