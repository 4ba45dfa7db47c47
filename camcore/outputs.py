"""Which of the model's outputs is explained, and whether it is what was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from camcore.errors import InputError, TargetError
from camcore.targets import Scored, Target
from camcore.trace import Array, Channels, Leaves, Trace


@dataclass(frozen=True)
class Explained:
    """The user's choice among the outputs.

    Parameters
    ----------
    output : str or None
        Path of the leaf; None where it need not be said.
    score : {"logit", "output"}
        Before a final softmax or sigmoid, or as the model gives it.
    demanded : bool
        Whether the logit was asked for by the user rather than by a recipe, so
        that probabilities in its place are an error.
    channels : {"first", "last"}
        Where the framework puts channels.
    """

    output: str | None
    score: Literal["logit", "output"]
    demanded: bool = False
    channels: Channels = "first"

    @property
    def logits(self) -> bool:
        """Whether outputs are wanted before their final activation."""
        return self.score == "logit"

    def path(self, leaves: Leaves) -> str:
        """Path of the explained leaf.

        Raises
        ------
        TargetError
            There is no such leaf, or several and none is chosen.
        """
        if self.output is not None and self.output not in leaves:
            raise TargetError(f"The model has no output {self.output!r}; it has {_shapes(leaves)}.")
        if self.output is not None:
            return self.output
        if len(leaves) == 1:
            return next(iter(leaves))
        if "logits" in leaves:
            return "logits"
        raise TargetError(
            f"The model returns {len(leaves)} outputs: {_shapes(leaves)}. "
            "Say which one is explained: output='...'."
        )

    def apply(self, target: Target, leaves: Leaves) -> Scored:
        """What the target says of the explained leaf, the cotangent in the leaf's shape."""
        values = leaves[self.path(leaves)]
        scored = target.laid_out(self.channels)(_with_classes(values))
        return Scored(scored.scores, scored.cotangent.reshape(values.shape), scored.classes)

    def settled(self, target: Target, trace: Trace, sample: int | None) -> Target:
        """The target with its choices made from the explained leaf of a pass."""
        return target.laid_out(self.channels).settled(_with_classes(self.values(trace)), sample)

    def values(self, trace: Trace) -> Array:
        """The explained leaf of a pass.

        Raises
        ------
        TargetError
            The logit was asked for and cannot be had.
        """
        path = self.path(trace.outputs)
        values = trace.outputs[path]
        if self.demanded and path not in trace.activation and look_like_probabilities(values):
            raise TargetError(
                "score='logit' was asked for, but the model returns probabilities and the "
                "logits before them cannot be found (no softmax or sigmoid at the end of "
                "the pass). Use score='output', or explain a model that returns logits."
            )
        return values


def look_like_probabilities(values: Array) -> bool:
    """Whether all values are in [0, 1] and those of the classes sum to one (or stand alone)."""
    if not np.all((values >= 0) & (values <= 1)):
        return False
    alone = values.ndim == 1 or values.shape[-1] == 1
    return alone or any(
        np.allclose(values.sum(axis=axis), 1, atol=1e-3) for axis in {1, values.ndim - 1}
    )


def check_finite(trace: Trace) -> None:
    """Refuse a pass with NaN or infinite inputs or outputs.

    Raises
    ------
    InputError
        Says where they are.
    """
    advice = {
        "input": "Clean the input before explaining it.",
        "output": "The input is finite, so look at the model's weights or dtype.",
    }
    for kind, leaves in (("input", trace.inputs), ("output", trace.outputs)):
        for path, leaf in leaves.items():
            if np.issubdtype(leaf.dtype, np.floating) and not np.all(np.isfinite(leaf)):
                bad = np.argwhere(~np.isfinite(leaf))
                where = f" {path!r}" if path else ""
                raise InputError(
                    f"The model's {kind}{where} has {len(bad)} values that are NaN or infinite, "
                    f"the first in sample {bad[0][0]}. {advice[kind]}"
                )


def _with_classes(values: Array) -> Array:
    """Outputs with an axis of classes: a model that returns ``(B,)`` scores one class."""
    return values[:, None] if values.ndim == 1 else values


def _shapes(leaves: Leaves) -> str:
    return ", ".join(f"{path!r} {leaf.shape}" for path, leaf in leaves.items())
