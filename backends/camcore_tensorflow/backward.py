"""Calling NumPy seeds back from inside a compiled graph."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import tensorflow as tf

from camcore.adapter import Array, Leaves, Seed
from camcore.errors import TargetError

from .forward import edge


class Run:
    """The seeds of one run, and what became of them."""

    def __init__(self, seeds: Sequence[Seed]) -> None:
        self.seeds = seeds
        self.used: list[set[str]] = []
        self.error: BaseException | None = None

    def answer(self, leaves: Leaves, floating: Sequence[str]) -> list[Array]:
        """Ask every seed for its cotangents, zeros where it leaves an output out."""
        answers = []
        for seed in self.seeds:
            given = seed(leaves)
            self.used.append(set(given))
            for path, cotangent in given.items():
                _check(path, cotangent, leaves, floating)
            for path in floating:
                leaf = leaves[path]
                weight = given[path] if path in given else np.zeros_like(leaf)
                answers.append(np.asarray(weight, leaf.dtype))
        return answers


_tokens = itertools.count()
_runs: dict[int, Run] = {}
"""The runs under way by token. TensorFlow calls back from threads of its own choosing, so
a graph is told by an input which run it belongs to."""


@contextmanager
def under_way(seeds: Sequence[Seed]) -> Iterator[tuple[tf.Tensor, Run]]:
    """Hold a run's seeds ready; what a seed raised comes out unchanged at the end."""
    token, run = next(_tokens), Run(seeds)
    _runs[token] = run
    try:
        yield tf.constant(token, tf.int64), run
    finally:
        del _runs[token]
    if run.error is not None:
        raise run.error


def cotangents(
    token: tf.Tensor, leaves: Mapping[str, tf.Tensor], seeds: int
) -> Iterator[dict[str, tf.Tensor]]:
    """For each NumPy seed, the cotangents of the floating leaves, asked for in one call."""
    floating = [path for path, leaf in leaves.items() if leaf.dtype.is_floating]
    if seeds and not floating:
        raise TargetError(
            f"No output of the model is floating ({', '.join(map(str, leaves.values()))}), so no "
            "score of it has a gradient. Explain a model that returns scores."
        )
    if not seeds:
        return
    values = {path: edge(leaf) for path, leaf in leaves.items()}
    kinds = [values[path].dtype for path in floating] * seeds
    answer = partial(_answer, list(leaves), floating)
    flat = iter(tf.numpy_function(answer, [token, *values.values()], kinds))
    for _ in range(seeds):
        yield {
            path: tf.cast(tf.ensure_shape(next(flat), leaves[path].shape), leaves[path].dtype)
            for path in floating
        }


def _answer(
    paths: Sequence[str], floating: Sequence[str], token: Array, *arrays: Array
) -> list[Array]:
    run = _runs[int(token)]
    for array in arrays:
        array.setflags(write=False)
    leaves = dict(zip(paths, arrays, strict=True))
    try:
        return run.answer(leaves, floating)
    except BaseException as error:
        # TensorFlow would bury it in an error of its own; it is raised when the graph is done.
        run.error = error
        return [np.zeros_like(leaves[path]) for _ in run.seeds for path in floating]


def _check(path: str, cotangent: Array, leaves: Leaves, floating: Sequence[str]) -> None:
    if path not in floating:
        raise TargetError(
            f"The target seeds output {path!r}, but the model's floating outputs are "
            f"{list(floating)}."
        )
    if np.shape(cotangent) != leaves[path].shape:
        raise TargetError(
            f"The target's cotangent of output {path!r} has shape {np.shape(cotangent)}; "
            f"it must have that of the output, {leaves[path].shape}."
        )
