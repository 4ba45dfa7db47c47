"""Pulling cotangents back through a traced graph: those of NumPy seeds and of native scores."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from camcore._shared.loss_scale import ScaledCotangents
from camcore.adapter import (
    Array,
    Leaves,
    NativeScore,
    Seed,
    SeedRun,
    no_second_derivative,
    unreached,
)
from camcore.errors import TargetError
from camcore.nest import flatten

from .capture import edge
from .graph import made_of

Tensors = Mapping[str, tf.Tensor]

CUTS = ("argmax", "rounding", "stop_gradient")
"""What has no gradient."""


@dataclass
class ScaledRun(SeedRun):
    """The seeds of a run whose cotangents are pulled back at several scales.

    Parameters
    ----------
    exponents : sequence of int
        The powers of two that they are scaled by.
    cotangents : sequence of ScaledCotangents
        Of each seed that was asked.
    """

    exponents: Sequence[int] = ()
    cotangents: Sequence[ScaledCotangents] = ()

    def ask(self, outputs: Leaves) -> list[Array]:
        """Ask every seed, and list the answers of all, scale by scale."""
        flat = super().ask(outputs)
        if not self.exponents:
            return flat
        each = len(flat) // len(self.seeds)
        self.cotangents = [
            ScaledCotangents({str(k): flat[i + k] for k in range(each)})
            for i in range(0, len(flat), each)
        ]
        return [a for e in self.exponents for c in self.cotangents for a in c.at(e).values()]


_tokens = itertools.count()
# The runs under way by token. TensorFlow calls back from threads of its own choosing, so
# a graph is told by an input which run it belongs to.
_runs: dict[int, ScaledRun] = {}


@contextmanager
def seeds_ready(
    seeds: Sequence[Seed],
    activation: Mapping[str, str],
    applied: Mapping[str, str],
    exponents: Sequence[int] = (),
) -> Iterator[tuple[tf.Tensor, ScaledRun]]:
    """Hold a run's seeds ready; what a seed raised comes out unchanged at the end."""
    token, run = next(_tokens), ScaledRun(seeds, activation, applied, exponents=exponents)
    _runs[token] = run
    try:
        yield tf.constant(token, tf.int64), run
    finally:
        del _runs[token]
    if run.error is not None:
        raise run.error


def seed_cotangents(token: tf.Tensor, outputs: Tensors, seeds: int) -> list[Tensors]:
    """Ask each NumPy seed, all in one call, for the cotangents of the floating outputs.

    Parameters
    ----------
    token : tensor
        Tells which run it is.
    outputs : mapping of str to tensor
        What the seeds are shown.
    seeds : int
        How many there are; as many times more as there are scales.
    """
    floating = {path: leaf for path, leaf in outputs.items() if leaf.dtype.is_floating}
    if not seeds:
        return []
    if not floating:
        raise TargetError(
            f"No output of the model is floating ({', '.join(map(str, outputs.values()))}), so no "
            "score of it has a gradient. Explain a model that returns scores."
        )
    values = {path: edge(leaf) for path, leaf in outputs.items()}
    kinds = [values[path].dtype for path in floating] * seeds
    ask = partial(_ask_seeds, list(values))
    flat = iter(tf.numpy_function(ask, [token, *values.values()], kinds))

    def answered(leaf: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.ensure_shape(next(flat), leaf.shape), leaf.dtype)

    return [{path: answered(leaf) for path, leaf in floating.items()} for _ in range(seeds)]


def _ask_seeds(paths: Sequence[str], token: Array, *arrays: Array) -> list[Array]:
    return _runs[int(token)].ask(dict(zip(paths, arrays, strict=True)))


def scales(token: tf.Tensor, number: int) -> list[tf.Tensor]:
    """Ask for the scales of a run: float32 tensors without axes."""

    def ask(token: Array) -> list[Array]:
        return [np.ldexp(np.float32(1), exponent) for exponent in _runs[int(token)].exponents]

    flat = tf.numpy_function(ask, [token], [tf.float32] * number)
    return [tf.ensure_shape(scale, ()) for scale in flat]


def has_float16(graph: tf.Graph) -> bool:
    """Tell whether anything in a graph is float16, whose range gradients may leave."""
    return any(t.dtype == tf.float16 for op in graph.get_operations() for t in op.outputs)


def native_score(native: NativeScore, outputs: Any) -> tf.Tensor:
    """Compute a score written in TensorFlow.

    Raises
    ------
    TargetError
        It is not one floating number a sample.
    """
    returned = native.function(outputs)
    if returned is None:
        raise TargetError("The target's function returned None; expected one score per sample.")
    score = tf.convert_to_tensor(returned)
    if score.shape.rank != 1 or not score.dtype.is_floating:
        raise TargetError(
            "A native score must be a floating tensor of shape (B,), one number a sample; "
            f"the function returned {score.dtype.name} of shape {score.shape}."
        )
    return score


def score_cotangents(
    score: tf.Tensor, outputs: Any, scale: tf.Tensor | None = None
) -> tuple[Tensors, Tensors]:
    """Find the floating outputs by path, and the cotangents of those that a score depends on."""
    leaves = ((path, leaf) for path, leaf in flatten(outputs) if tf.is_tensor(leaf))
    floating = {path: leaf for path, leaf in leaves if leaf.dtype.is_floating}
    ends = list(floating.values())
    # One output may be made from another: each counts for what the score takes from it itself.
    seed = None if scale is None else tf.fill(tf.shape(score), tf.cast(scale, score.dtype))
    weights = tf.gradients(score, ends, grad_ys=seed, stop_gradients=ends)
    pairs = zip(floating, weights, strict=True)
    return floating, {path: tf.stop_gradient(w) for path, w in pairs if w is not None}


def pull_back(
    outputs: Tensors,
    cotangents: Tensors,
    sources: Tensors,
    activation: Mapping[str, str],
    optional: Collection[str] = (),
) -> dict[str, tf.Tensor]:
    """Compute the gradients at the sources of what the outputs sum to, weighed by their cotangents.

    Raises
    ------
    GradientError
        The sum does not depend on a source that is not optional.
    """
    ends, found = [outputs[path] for path in cotangents], [None] * len(sources)
    if ends and sources:
        found = tf.gradients(ends, list(sources.values()), grad_ys=list(cotangents.values()))
    for name, gradient in zip(sources, found, strict=True):
        if gradient is None and name not in optional:
            raise unreached(name, activation, *CUTS)
    pairs = zip(sources.items(), found, strict=True)
    return {
        name: tf.zeros_like(source) if gradient is None else tf.convert_to_tensor(gradient)
        for (name, source), gradient in pairs
    }


def hessian_products(gradients: Tensors, sources: Tensors) -> dict[str, tf.Tensor]:
    """Multiply the score's Hessian at each source with the source itself.

    Raises
    ------
    GradientError
        The model has an operation without a second derivative behind the layer.
    """
    products = {}
    for name, source in sources.items():
        try:
            (found,) = tf.gradients(gradients[name], source, grad_ys=tf.stop_gradient(source))
        except LookupError as error:
            raise no_second_derivative(name, str(error)) from error
        products[name] = tf.zeros_like(source) if found is None else tf.convert_to_tensor(found)
    return products


def tangents(outputs: Tensors, sources: Tensors) -> dict[str, dict[str, tf.Tensor]]:
    """Differentiate the floating outputs along each source: J times the source itself.

    The pull-back is linear in its cotangents, and what it is differentiated to in these is J.

    Raises
    ------
    GradientError
        The model has an operation without a second derivative behind the layer.
    """
    floating = {path: leaf for path, leaf in outputs.items() if leaf.dtype.is_floating}
    ends = [tf.zeros_like(leaf) for leaf in floating.values()]
    pulled = tf.gradients(list(floating.values()), list(sources.values()), grad_ys=ends)
    result = {}
    for (name, source), back in zip(sources.items(), pulled, strict=True):
        try:
            along = (
                [None] * len(ends)
                if back is None
                else tf.gradients(back, ends, grad_ys=tf.stop_gradient(source))
            )
        except LookupError as error:
            raise no_second_derivative(name, str(error)) from error
        result[name] = {
            path: end if one is None else tf.convert_to_tensor(one)
            for path, end, one in zip(floating, ends, along, strict=True)
        }
    return result


def outputs_reached(outputs: Tensors, sources: Tensors) -> dict[str, set[str]]:
    """Find the outputs that depend on each source; nothing where there is one output."""
    floating = {path: leaf for path, leaf in outputs.items() if leaf.dtype.is_floating}
    if len(floating) < 2:
        return {}
    above = {path: made_of(leaf) for path, leaf in floating.items()}
    return {n: {path for path in above if id(sources[n]) in above[path]} for n in sources}
