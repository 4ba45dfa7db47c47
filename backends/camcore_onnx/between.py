"""Pulling cotangents back from some layers of a file to earlier ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnxruntime

from camcore.adapter import Array, Leaves, not_between

from .backward import PullBack, Question
from .model import Model
from .sizes import Sizes


class Between:
    """What runs a file forward, and pulls cotangents back from one tensor to another.

    Parameters
    ----------
    model : Model
        The file.
    sizes : Sizes
        Of its tensors.
    pairs : mapping of str to (str, str, str)
        By the name to pull back to, its tensor, the name of the later layer, and its tensor.
    samples : int
        How many samples a pass has.

    Raises
    ------
    GradientError
        A later layer does not depend on the earlier one, or an operator between has no gradient.
    """

    def __init__(
        self, model: Model, sizes: Sizes, pairs: Mapping[str, tuple[str, str, str]], samples: int
    ) -> None:
        graph = model.graph
        self.sizes, self.samples = sizes, samples
        self._backs: list[PullBack] = []
        wanted: list[str] = []
        places: dict[str, str] = {}
        for name, (tensor, later, end) in pairs.items():
            question = Question({later: end}, [tensor], samples, 1, None)
            back = PullBack(graph, sizes, question, model.runtime)
            if later in back.refused:
                raise back.refused[later]
            if not back.reached[tensor]:
                raise not_between(name, later)
            self._backs.append(back)
            wanted += [end, *back.saved]
            places |= back.places
        made = [tensor for tensor in dict.fromkeys(wanted) if tensor not in graph.inputs]
        self._session = model.runtime.session(graph.asking(made, places))

    def forward(self, feed: Mapping[str, Array]) -> dict[str, Any]:
        """Run some samples, and keep the tensors that are wanted, as OrtValues by name."""
        given = {name: onnxruntime.OrtValue.ortvalue_from_numpy(a) for name, a in feed.items()}
        return {**given, **self._session(given)}

    def gradients(
        self, cotangents: Sequence[Leaves], kept: Mapping[str, Any]
    ) -> Sequence[Mapping[str, Array]]:
        """Pull the cotangent of every pair back, in order."""
        pairs = zip(self._backs, cotangents, strict=True)
        return [back(one, kept) for back, one in pairs]
