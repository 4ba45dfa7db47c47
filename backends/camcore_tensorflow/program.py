"""One compiled function a question: forward, seeds and pull-backs in a single graph.

Gradients are asked for at the chosen layers' outputs, so no gradient work is done before
the first of them or for variables. The seeds stay in NumPy: the graph calls them back, so
it runs once and knows no target.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from camcore.adapter import Array, NativeScore, Rectifier, Seed
from camcore.errors import GradientError, TargetError

from .backward import cotangents, under_way
from .capture import Capture
from .compile import compiled, weak
from .forward import chosen, edge, forward, output_leaves
from .guided import apply_rule
from .inputs import Signature
from .nest import flatten

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
    hessian_products : list of list of (B, ...) array
        For each seed and target, the Hessian's product with the activations, if asked for.
    scores : list of ((B,) array or None)
        For each seed, the scores where it was native.
    """

    outputs: dict[str, Array]
    activations: list[Array]
    gradients: list[list[Array]]
    hessian_products: list[list[Array]]
    scores: list[Array | None]


@dataclass(frozen=True)
class ProgramKey:
    """What a program answers, whatever the batch and the targets.

    Parameters
    ----------
    targets : sequence of Capture
        The layers to capture.
    natives : sequence of (callable or None)
        For each seed, the function of a `NativeScore`; None for a NumPy seed.
    logits : bool
        Whether to take outputs before a final activation.
    second_order : bool
        Whether to give Hessian products.
    rectifier : {"guided", "deconvolution"} or None
        The rule for pulling back through rectifiers.
    """

    targets: Sequence[Capture]
    natives: Sequence[Native | None]
    logits: bool
    second_order: bool
    rectifier: Rectifier | None

    @property
    def key(self) -> Hashable:
        """Equal for equal questions, and keeps no layer and no function alive."""
        names = tuple(target.name for target in self.targets)
        natives = tuple(map(weak, self.natives))
        return names, natives, self.logits, self.second_order, self.rectifier


class Program:
    """The compiled answer to one question about one model.

    Parameters
    ----------
    model : keras.Model
        The model; not kept.
    question : ProgramKey
        What to answer; not kept.
    signature : Signature
        Structure, shapes and dtypes of the inputs.
    """

    def __init__(self, model: Any, question: ProgramKey, signature: Signature) -> None:
        self.activation: dict[str, str] = {}
        self._names = [target.name for target in question.targets]

        def body(token: tf.Tensor, *tensors: tf.Tensor) -> Any:
            outputs, calls = forward(model, signature, tensors, question.targets)
            sources = list(map(chosen, question.targets, calls))
            scores = [
                None if native is None else _score(native, outputs) for native in question.natives
            ]
            leaves, self.activation = output_leaves(outputs, question.logits)
            self._paths = list(leaves)
            self._reach = _reach(leaves, dict(zip(self._names, sources, strict=True)))
            if question.rectifier is not None:
                apply_rule(token.graph, question.rectifier)
            seeds = cotangents(token, leaves, scores.count(None))
            weighed = [
                (leaves, next(seeds)) if score is None else _weighed(score, outputs)
                for score in scores
            ]
            gradients = [self._pull_back(*each, sources) for each in weighed]
            curved = gradients if question.second_order else []
            return tf.nest.map_structure(
                edge,
                (
                    list(leaves.values()),
                    sources,
                    gradients,
                    [list(map(_hessian_product, each, sources)) for each in curved],
                    [score for score in scores if score is not None],
                ),
            )

        self._function = compiled(body, [tf.TensorSpec((), tf.int64), *signature.specs])

    def __call__(
        self, tensors: Iterable[tf.Tensor], seeds: Sequence[Seed | NativeScore]
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
        outputs, activations, gradients, products, scores = tf.nest.map_structure(_numpy, results)
        given = iter(scores)
        natives = [next(given) if isinstance(seed, NativeScore) else None for seed in seeds]
        named = dict(zip(self._paths, outputs, strict=True))
        return Results(named, activations, gradients, products, natives)

    def _pull_back(
        self,
        leaves: Mapping[str, tf.Tensor],
        weights: Mapping[str, tf.Tensor],
        sources: Sequence[tf.Tensor],
    ) -> list[tf.Tensor]:
        """Gradients at the sources of what `leaves` sum to by their weights."""
        found = [None] * len(sources)
        if weights and sources:
            weighed = [leaves[path] for path in weights]
            found = tf.gradients(weighed, sources, grad_ys=list(weights.values()))
        for name, gradient in zip(self._names, found, strict=True):
            if gradient is None:
                raise self._unreached(name)
        return list(map(tf.convert_to_tensor, found))

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


def _weighed(score: tf.Tensor, outputs: Any) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
    """The outputs by path, and the cotangents of those that a native score depends on."""
    leaves = {path: leaf for path, leaf in flatten(outputs).items() if tf.is_tensor(leaf)}
    floating = {path: leaf for path, leaf in leaves.items() if leaf.dtype.is_floating}
    ends = list(floating.values())
    # One output may be made from another: each counts for what the score takes from it itself.
    weights = tf.gradients(score, ends, stop_gradients=ends)
    pairs = zip(floating, weights, strict=True)
    return floating, {path: tf.stop_gradient(w) for path, w in pairs if w is not None}


def _hessian_product(gradient: tf.Tensor, source: tf.Tensor) -> tf.Tensor:
    """Product of the score's Hessian at a source with the source itself."""
    (product,) = tf.gradients(gradient, source, grad_ys=tf.stop_gradient(source))
    return tf.zeros_like(source) if product is None else tf.convert_to_tensor(product)


def _reach(
    leaves: Mapping[str, tf.Tensor], sources: Mapping[str, tf.Tensor]
) -> dict[str, set[str]]:
    """For each source, the outputs that depend on it; nothing where there is but one output."""
    if sum(leaf.dtype.is_floating for leaf in leaves.values()) < 2:
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
