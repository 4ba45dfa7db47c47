"""One compiled function a question: forward, seeds and pull-backs in a single graph.

Gradients are asked for at the chosen layers' outputs, so no gradient work is done before
the first of them or for variables. The seeds stay in NumPy: the graph calls them back, so
it runs once and knows no target.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import tensorflow as tf

from camcore.adapter import LayerTrace, NativeScore, Rectifier, Seed, Trace

from .backward import (
    hessian_product,
    native_score,
    outputs_reached,
    pull_back,
    score_cotangents,
    seed_cotangents,
    seeds_ready,
    unreached,
)
from .capture import Capture, edge
from .compile import compiled
from .forward import forward, output_leaves
from .guided import apply_rule
from .inputs import Signature
from .layers import channels, input_channels, own_channels


@dataclass(frozen=True)
class ProgramKey:
    """What a program computes, whatever the batch and the NumPy seeds; keeps no layer alive.

    Parameters
    ----------
    layers : tuple of str
        Names of the layers to capture.
    natives : tuple of hashable
        For each seed, a weak key of the function of a `NativeScore`; None for a NumPy seed.
    logits : bool
        Whether to take outputs before a final activation.
    second_order : bool
        Whether to give Hessian products.
    rectifier : {"guided"} or None
        The rule for pulling back through rectifiers.
    """

    layers: tuple[str, ...]
    natives: tuple[Hashable, ...]
    logits: bool
    second_order: bool
    rectifier: Rectifier | None


class Program:
    """One forward pass and one pull-back a seed, compiled.

    Parameters
    ----------
    model : keras.Model
        The model; not kept, nor are its layers.
    signature : Signature
        Structure, shapes and dtypes of the inputs.
    captures : mapping of str to Capture
        What to capture, by the names asked for.
    seeds : sequence of Seed or NativeScore
        Native scores are compiled in; of the others only the places are read.
    key : ProgramKey
        The rest of what is asked.
    """

    def __init__(
        self,
        model: Any,
        signature: Signature,
        captures: Mapping[str, Capture],
        seeds: Sequence[Seed | NativeScore],
        key: ProgramKey,
    ) -> None:
        self._images = input_channels(model)
        self._own_channels = {name: own_channels(c.layer) for name, c in captures.items()}

        def body(token: tf.Tensor, *tensors: tf.Tensor) -> Any:
            outputs, calls = forward(model, signature, tensors, list(captures.values()))
            chosen = map(Capture.choose, captures.values(), calls)
            sources = dict(zip(captures, chosen, strict=True))
            scores = [native_score(s, outputs) if _is_native(s) else None for s in seeds]
            leaves, self._activation = output_leaves(outputs, key.logits)
            self._reached = outputs_reached(leaves, sources)
            if key.rectifier is not None:
                apply_rule(token.graph, key.rectifier)
            asked = iter(seed_cotangents(token, leaves, scores.count(None)))
            pairs = [
                (leaves, next(asked)) if score is None else score_cotangents(score, outputs)
                for score in scores
            ]
            gradients = [pull_back(*pair, sources, self._activation) for pair in pairs]
            products = [
                {name: hessian_product(each[name], source) for name, source in sources.items()}
                for each in gradients
                if key.second_order
            ]
            native = [score for score in scores if score is not None]
            return tf.nest.map_structure(edge, (leaves, sources, gradients, products, native))

        self._function = compiled(body, [tf.TensorSpec((), tf.int64), *signature.specs])

    def __call__(
        self, tensors: Mapping[str, tf.Tensor], seeds: Sequence[Seed | NativeScore]
    ) -> Trace:
        """Run once, with one pull-back a seed.

        Raises
        ------
        GradientError
            A seed weighs only outputs that a layer has no part in.
        """
        with seeds_ready([seed for seed in seeds if not _is_native(seed)]) as (token, run):
            results = self._function(token, *tensors.values())
        for weighed, (name, reached) in itertools.product(run.weighed, self._reached.items()):
            if not weighed & reached:
                raise unreached(name, self._activation)
        outputs, activations, gradients, products, scores = tf.nest.map_structure(
            lambda tensor: tensor.numpy(), results
        )
        native = iter(scores)
        return Trace(
            {path: edge(tensor).numpy() for path, tensor in tensors.items()},
            self._images,
            outputs,
            self._activation,
            {
                name: LayerTrace(
                    array,
                    tuple(each[name] for each in gradients),
                    channels(self._own_channels[name], array.ndim, self._images),
                    tuple(each[name] for each in products),
                )
                for name, array in activations.items()
            },
            tuple(next(native) if _is_native(seed) else None for seed in seeds),
        )


def _is_native(seed: Any) -> TypeGuard[NativeScore]:
    return isinstance(seed, NativeScore)
