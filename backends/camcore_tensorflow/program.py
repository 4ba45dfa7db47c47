"""One compiled function a question: forward, seeds and pull-backs in a single graph.

A tape that watches nothing but the chosen layers' outputs records the forward pass. The
seeds stay in NumPy: the graph calls them back, so it runs once and knows no target.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from camcore.errors import GradientError, TargetError
from camcore.trace import Array, NativeScore, Seed

from .cache import compiled
from .capture import Target
from .forward import edge, forward, output_leaves
from .inputs import Signature
from .seeds import cotangents, under_way

Native = Callable[[Any], Any]


@dataclass(frozen=True)
class Results:
    """What one run hands over, half precision as float32.

    Parameters
    ----------
    outputs : dict of str to (B, ...) array
        The model's outputs by path.
    activations : list of (B, ...) array
        For each target, its output.
    gradients : list of list of (B, ...) array
        For each seed and target, the gradient.
    scores : list of ((B,) array or None)
        For each seed, the scores where it was native.
    """

    outputs: dict[str, Array]
    activations: list[Array]
    gradients: list[list[Array]]
    scores: list[Array | None]


class Program:
    """The compiled answer to one question about one model.

    Parameters
    ----------
    model : keras.Model
        The model; not kept.
    targets : sequence of Target
        The layers to capture.
    natives : sequence of (callable or None)
        For each seed, the function of a `NativeScore`; None for a NumPy seed.
    logits : bool
        Whether to take outputs before a final activation.
    signature : Signature
        Structure, shapes and dtypes of the inputs.
    """

    def __init__(
        self,
        model: Any,
        targets: Sequence[Target],
        natives: Sequence[Native | None],
        logits: bool,
        signature: Signature,
    ) -> None:
        self.activation: dict[str, str] = {}
        self._names = [target.name for target in targets]

        def body(token: tf.Tensor, *tensors: tf.Tensor) -> Any:
            with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
                outputs, sources = forward(model, signature, tensors, targets, tape.watch)
                leaves, self.activation = output_leaves(outputs, logits)
                scores = [
                    native if native is None else _score(native, outputs) for native in natives
                ]
            floating = {path: leaf for path, leaf in leaves.items() if leaf.dtype.is_floating}
            self._paths = list(leaves)
            self._reach = _reach(floating, dict(zip(self._names, sources, strict=True)))
            seeds = cotangents(token, leaves, scores.count(None))
            gradients = []
            for score in scores:
                asked = next(seeds) if score is None else {}
                wanted = [floating[path] for path in asked] or score
                found = tape.gradient(wanted, sources, list(asked.values()) or None)
                gradients.append(list(map(self._gradient, self._names, found)))
            return (
                list(map(edge, leaves.values())),
                list(map(edge, sources)),
                gradients,
                [edge(score) for score in scores if score is not None],
            )

        self._function = compiled(body, [tf.TensorSpec((), tf.int64), *signature.specs])

    def __call__(
        self, tensors: Sequence[tf.Tensor], seeds: Sequence[Seed | NativeScore]
    ) -> Results:
        """Run once, with one pull-back a seed.

        Raises
        ------
        GradientError
            A seed weighs only outputs that a layer has no part in.
        """
        arrays = [seed for seed in seeds if not isinstance(seed, NativeScore)]
        with under_way(arrays) as (token, run):
            results = self._function(token, *tensors)
        for used, name in itertools.product(run.used, self._reach):
            if not used & self._reach[name]:
                raise self._unreached(name)
        outputs, activations, gradients, scores = tf.nest.map_structure(_numpy, results)
        given = iter(scores)
        return Results(
            dict(zip(self._paths, outputs, strict=True)),
            activations,
            gradients,
            [next(given) if isinstance(seed, NativeScore) else None for seed in seeds],
        )

    def _gradient(self, name: str, gradient: Any) -> tf.Tensor:
        if gradient is None:
            raise self._unreached(name)
        return edge(tf.convert_to_tensor(gradient))

    def _unreached(self, name: str) -> GradientError:
        if self.activation:
            kinds = " and ".join(sorted(set(self.activation.values())))
            cause = (
                f"The score is taken before the model's final {kinds}: if this layer applies it "
                "or comes after it, choose an earlier layer or pass logits=False."
            )
        else:
            cause = (
                "Either the layer feeds none of the outputs that the score is made of, or what "
                "lies between them has no gradient (argmax, rounding, stop_gradient): choose a "
                "later layer or another target."
            )
        return GradientError(f"The score does not depend on layer {name!r}. {cause}")


def _numpy(tensor: tf.Tensor) -> Array:
    return tensor.numpy()


def _score(native: Native, outputs: Any) -> tf.Tensor:
    score = tf.convert_to_tensor(native(outputs))
    if score.shape.rank != 1 or not score.dtype.is_floating:
        raise TargetError(
            "A native score must be a floating tensor of shape (B,), one number a sample; "
            f"the function returned {score.dtype.name} of shape {score.shape}."
        )
    return score


def _reach(
    leaves: Mapping[str, tf.Tensor], sources: Mapping[str, tf.Tensor]
) -> dict[str, set[str]]:
    """For each source, the outputs that depend on it; nothing where there is but one output."""
    if len(leaves) < 2:
        return {}
    below = {path: _ancestors(leaf) for path, leaf in leaves.items()}
    return {
        name: {path for path, known in below.items() if source.ref() in known}
        for name, source in sources.items()
    }


def _ancestors(tensor: tf.Tensor) -> set[Any]:
    """Every floating tensor that a tensor was computed from by way of floating ones."""
    known, todo = set(), [tensor]
    while todo:
        tensor = todo.pop()
        if tensor.ref() not in known and tensor.dtype.is_floating:
            known.add(tensor.ref())
            if tensor.op.type not in ("StopGradient", "PreventGradient"):
                todo.extend(tensor.op.inputs)
    return known
