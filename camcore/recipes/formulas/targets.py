"""Classes as several libraries explain them."""

from __future__ import annotations

import copy
from typing import Any

from camcore.adapter import Array
from camcore.errors import MethodError
from camcore.methods.table import described
from camcore.targets import Class, Probability, Scored, Target
from camcore.targets.scale import UNKNOWN


class SoftmaxOfOutputs(Probability):
    """The softmax, over classes, of what the model returns, also of probabilities.

    Of one sigmoid unit it is the probability of the side.
    """

    def __call__(self, outputs: Array) -> Scored:
        """Score the softmax, as `Probability` does of outputs of which nothing is known."""
        if self.scale is not None and self.scale.is_two_sided(outputs.shape[1]):
            return super().__call__(outputs)
        literal = copy.copy(self)
        literal.scale = UNKNOWN
        return super(SoftmaxOfOutputs, literal).__call__(outputs)


@described("The softmax, over classes, of what the model returns")
def probability(target: Any) -> Any:
    """Explain a class by the softmax over classes of what the model returns.

    Raises
    ------
    MethodError
        The target is no class.
    """
    found = target if isinstance(target, Probability) else class_of(target)
    return SoftmaxOfOutputs(found.index, rank=found.rank)


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
