"""Select which of the model's outputs is explained, and check that it is what was asked for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from camcore._shared.finite import is_finite
from camcore.adapter import Array, Channels, Leaves, NativeScore, Outputs, Seed, Trace
from camcore.errors import InputError, TargetError
from camcore.targets import Class, Nothing, Scored, Target
from camcore.targets.scale import DISTRIBUTION, UNKNOWN, Scale, is_distribution

Activation: TypeAlias = Literal["softmax", "sigmoid", "none"]
"""What makes probabilities of the scores that a model returns."""

_SCORES = ("logits", "logits_per_image")
"""What models call the output that they predict by."""


@dataclass(frozen=True)
class OutputSelector:
    """Selects the output that the user means.

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
    activation : {"softmax", "sigmoid", "none"}, optional
        What the user says makes probabilities of the scores.
    demanded_output : bool
        Whether the output as the model gives it was asked for by the user.
    model : object, optional
        The adapter, which may say more of the model's outputs than a pass shows.
    """

    output: str | None
    score: Literal["logit", "output"]
    demanded: bool = False
    channels: Channels = "first"
    activation: Activation | None = None
    demanded_output: bool = False
    model: object = None

    @property
    def logits(self) -> bool:
        """Whether outputs are wanted before their final activation."""
        return self.score == "logit" and self.activation != "none"

    def path(self, leaves: Leaves) -> str:
        """Find the path of the explained leaf.

        Raises
        ------
        TargetError
            There is no such leaf, or several and none is chosen.
        """
        if self.output is not None and self.output not in leaves:
            raise _no_output(self.output, leaves)
        if self.output is not None:
            return self.output
        found = self._foremost(leaves)
        if found is None:
            raise TargetError(
                f"The model returns {len(leaves)} outputs: {_shapes(leaves)}. "
                "Say which one is explained: output='...'."
            )
        return found

    def apply(self, target: Target, leaves: Leaves) -> Scored:
        """Apply the target to the outputs: scores, and cotangents in each leaf's shape by path."""
        if target.every_output:
            scored = _score(self._counting(target), self._within(leaves))
            nest = self._nest(leaves)
            cotangent = {_joined(nest, path): part for path, part in scored.cotangent.items()}
            return replace(scored, cotangent=cotangent)
        path = self.path(leaves)
        values = leaves[path]
        scored = _score(self._fitted(target, leaves), _with_classes(values))
        return replace(scored, cotangent={path: scored.cotangent.reshape(values.shape)})

    def cotangent_along(self, target: Target, leaves: Leaves, tangents: Leaves) -> Leaves:
        """Differentiate the target's cotangent along a change of the leaves.

        Raises
        ------
        MethodError
            The target's second derivative is not known, as of those of every output.
        """
        if target.every_output:
            return {"": target.cotangent_along(np.empty(0), np.empty(0))}
        path = self.path(leaves)
        values = leaves[path]
        direction = tangents.get(path, np.zeros_like(values))
        about = _with_classes(values), _with_classes(direction)
        return {path: self._fitted(target, leaves).cotangent_along(*about).reshape(values.shape)}

    def seed(
        self, target: Target | NativeScore, keep: Callable[[Scored], object]
    ) -> Seed | NativeScore:
        """Turn the target into a seed for the adapter; `keep` gets what a NumPy target answers."""
        if isinstance(target, NativeScore):
            return target

        def answer(leaves: Leaves) -> Leaves:
            scored = self.apply(target, leaves)
            keep(scored)
            cotangent: Leaves = scored.cotangent
            return cotangent

        return answer

    def predicted(self, leaves: Leaves) -> Scored | None:
        """Score the predicted class; None where the outputs are not class scores."""
        path = self.path(leaves) if self.output is not None else self._foremost(leaves)
        if path is None or leaves[path].ndim > 2:
            return None
        return self.apply(Class(), leaves)

    def settled(self, target: Target, trace: Trace, sample: int | None) -> Target:
        """Fix the target's choices (predicted or nearest classes) by the outputs of a pass."""
        if target.every_output:
            return self._counting(target).settled(self._within(trace.outputs), sample)
        fitted = self._fitted(target, trace.shown)
        return fitted.settled(_with_classes(self.values(trace)), sample)

    def explained(
        self, target: Target | NativeScore, trace: Trace, scores: Array
    ) -> tuple[Array, Scale]:
        """Give the explained output and what its numbers are; without one, the scores."""
        read = isinstance(target, Target) and not target.every_output
        free = not isinstance(target, Target) or isinstance(target, Nothing)
        chosen = self.output is not None or self._foremost(trace.outputs) is not None
        if read or (free and chosen):
            return self.values(trace), self.scale(trace.shown)
        return scores, Scale("none")

    def scale(self, leaves: Leaves) -> Scale:
        """Say what the numbers of the explained output are.

        What the model is seen to end in comes first, then what the user says, then what the
        model states; numbers that are a distribution over classes are taken for one.

        Raises
        ------
        TargetError
            The user says something else than the model ends in.
        """
        path, said = self.path(leaves), self.activation
        if said == "none":
            return Scale("none")
        seen = leaves if isinstance(leaves, Outputs) else Outputs(leaves)
        ends = seen.activation.get(path) or seen.applied.get(path)
        if ends:
            if said not in (None, ends.removeprefix("log_")):
                raise TargetError(
                    f"activation={said!r} was said, but the model ends in a {ends}. Leave it out, "
                    "or say activation='none' to have the output explained as a plain number."
                )
            return Scale(ends, applied=path not in seen.activation)
        return self._of_unseen(path, leaves[path])

    def _of_unseen(self, path: str, values: Array) -> Scale:
        """Say what the numbers of an output are that no activation is seen to end in."""
        said, stated = self.activation, self._stated(path)
        if said == "sigmoid" and self.demanded_output and not _in_unit(values):
            raise TargetError(
                "score='output' and activation='sigmoid' say that the outputs are probabilities, "
                f"but they are from {values.min():.3g} to {values.max():.3g}. Leave score='output' "
                "out where the model returns logits."
            )
        if said == "sigmoid":
            return Scale(said, applied=self.demanded_output)
        if said == "softmax" and _with_classes(values).shape[1] == 1:
            raise TargetError(
                f"activation='softmax' was said, but outputs {values.shape} are one number a "
                "sample, whose softmax is always 1. Say activation='sigmoid' where it is a logit."
            )
        contradicted = stated is not None and stated.of_probabilities and not _in_unit(values)
        if said is None and stated is not None and not contradicted:
            return stated
        if is_distribution(values):
            return DISTRIBUTION
        return UNKNOWN if said is None else Scale(said)

    def _stated(self, path: str) -> Scale | None:
        """Look up what the model states of an output, by its loss or configuration."""
        stated: Mapping[str, Scale] = getattr(self.model, "stated_scales", {})
        return stated.get(path, stated.get("*"))

    def _counting(self, target: Target) -> Target:
        """Fit a target of every output to the number of classes that the model states."""
        if isinstance(target, Nothing):
            return target
        count: int | None = getattr(self.model, "stated_classes", None)
        return target if count is None else target.of_classes(count)

    def _fitted(self, target: Target, leaves: Leaves) -> Target:
        """Fit the target to the framework's layout, and to what the numbers are."""
        return target.laid_out(self.channels).on_scale(self.scale(leaves))

    def values(self, trace: Trace) -> Array:
        """Take the explained leaf out of a pass.

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

    def _within(self, leaves: Leaves) -> Leaves:
        """Restrict the leaves to the chosen output, by their paths in it."""
        nest = self._nest(leaves)
        if nest is None:
            return leaves
        within = {
            path[len(nest) + 1 :]: leaf
            for path, leaf in leaves.items()
            if path == nest or path.startswith(f"{nest}.")
        }
        if not within:
            raise _no_output(nest, leaves)
        return within

    def _nest(self, leaves: Leaves) -> str | None:
        """Find the output that is looked in: the one asked for, or one that the model states."""
        return self.output if self.output is not None else self._of_model(leaves)

    def _of_model(self, leaves: Leaves) -> str | None:
        """Find the output that the model states it predicts by, the first where it is several."""
        stated: str | None = getattr(self.model, "stated_output", None)
        return next((path for path in (stated, f"{stated}.0") if path in leaves), None)

    def _foremost(self, leaves: Leaves) -> str | None:
        """Find the output that needs no saying: the only one, or class scores that predict."""
        stated = self._of_model(leaves)
        if stated is not None and leaves[stated].ndim <= 2:
            return stated
        return _unambiguous(leaves)


def score_paths(ranks: Mapping[str, int | None]) -> set[str]:
    """Choose the outputs that scores are read from, by their names and ranks.

    Parameters
    ----------
    ranks : mapping of str to (int or None)
        Number of axes of each output, by path; None where it is not known.

    Returns
    -------
    set of str
        ``"logits"`` where there is one, or the ``"logits_per_image"`` of a model that compares
        images with texts, whose classes the texts are. Else all, but features that are returned
        beside class scores are left out: where some outputs have no spatial extent, only those
        count.
    """
    for path in _SCORES:
        if path in ranks:
            return {path}
    flat = {path for path, rank in ranks.items() if rank is not None and rank < 3}
    return flat or set(ranks)


def look_like_probabilities(values: Array) -> bool:
    """Tell whether values are probabilities: in [0, 1], and of the classes sum to one."""
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
            if np.issubdtype(leaf.dtype, np.floating) and not is_finite(leaf):
                bad = np.argwhere(~np.isfinite(leaf))
                where = f" {path!r}" if path else ""
                raise InputError(
                    f"The model's {kind}{where} has {len(bad)} values that are NaN or infinite, "
                    f"the first in sample {bad[0][0]}. {advice[kind]}"
                )


def _score(target: Target, outputs: Any) -> Scored:
    """Score outputs whatever they are: `check_finite` says after the pass where they are not."""
    scored: Scored = inspect.unwrap(type(target).__call__)(target, outputs)
    return scored


def _unambiguous(leaves: Leaves) -> str | None:
    """Find the only floating leaf, or the logits; None where neither is there."""
    floating = [path for path, leaf in leaves.items() if np.issubdtype(leaf.dtype, np.floating)]
    if len(floating) == 1:
        return floating[0]
    return next((path for path in _SCORES if path in leaves), None)


def _in_unit(values: Array) -> bool:
    """Tell whether all values are in [0, 1]."""
    return not values.size or bool(values.min() >= 0 and values.max() <= 1)


def _with_classes(values: Array) -> Array:
    """Add an axis of classes: a model that returns ``(B,)`` scores one class."""
    return values[:, None] if values.ndim == 1 else values


def _joined(nest: str | None, path: str) -> str:
    """Complete the path of a leaf of the chosen output."""
    return ".".join(step for step in (nest, path) if step)


def _no_output(output: str, leaves: Leaves) -> TargetError:
    return TargetError(f"The model has no output {output!r}; it has {_shapes(leaves)}.")


def _shapes(leaves: Leaves) -> str:
    return ", ".join(f"{path!r} {leaf.shape}" for path, leaf in leaves.items())
