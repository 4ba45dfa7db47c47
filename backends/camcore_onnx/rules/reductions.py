"""Operators that reduce axes: g is what each reduced place has, for all that it is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from ..tape import Operation, Value
from .table import rule

Slope: TypeAlias = Callable[[Value, Value, list[int]], Value]
"""Given x, y with the reduced axes kept, and these axes, the derivative of y by x."""


def _axes(op: Operation) -> list[int]:
    """List the axes that are reduced."""
    rank = len(op.shape())
    if op.kind.startswith("Global"):
        return list(range(2, rank))
    given = op.known(1, "axes")
    if given is None or not given.size:
        return [] if op.get("noop_with_empty_axes") else list(range(rank))
    return [int(axis) % rank for axis in given.ravel()]


def _spread(op: Operation, slope: Slope | None, g: Value, share: bool = False) -> Value:
    """Give each place its part of g: g · slope, or g, by count where they share it."""
    axes, shape = _axes(op), op.shape()
    kept = [1 if axis in axes else length for axis, length in enumerate(shape)]
    g = g.reshape(kept)
    if slope is not None:
        return g * slope(op.x(), op.y.reshape(kept), axes)
    return op.tape("Expand", g / float(op.size(axes)) if share else g, shape)


@rule("GlobalAveragePool", "ReduceMean")
def mean(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g/n."""
    return _spread(op, None, g, share=True)


@rule("ReduceSum")
def total(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g."""
    return _spread(op, None, g)


@rule("GlobalMaxPool", "ReduceMax", "ReduceMin")
def extreme(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g where x is the one that was taken; those that tie share it."""

    def slope(x: Value, y: Value, axes: list[int]) -> Value:
        taken = x.equals(y)
        return taken / taken.sum(axes)

    return _spread(op, slope, g)


@rule("ReduceSumSquare")
def squares(op: Operation, g: Value, i: int) -> Value:
    """Give dx = 2 g x."""
    return _spread(op, lambda x, y, axes: x * 2, g)


@rule("ReduceL1")
def absolutes(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g sign x."""
    return _spread(op, lambda x, y, axes: x.tape("Sign", x), g)


@rule("ReduceL2")
def length(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g x/y, and 0 where all are 0."""
    return _spread(op, lambda x, y, axes: x / y.or_one(), g)


@rule("ReduceLogSumExp")
def log_sum_exp(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g exp(x − y)."""
    return _spread(op, lambda x, y, axes: x.tape("Exp", x - y), g)


@rule("Softmax")
def softmax(op: Operation, g: Value, i: int) -> Value:
    """Give dx = y (g − Σ g y)."""
    return op.y * (g - (g * op.y).sum(_normalised(op)))


@rule("LogSoftmax")
def log_softmax(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g − exp(y) Σ g."""
    return g - op.tape("Exp", op.y) * g.sum(_normalised(op))


def _normalised(op: Operation) -> list[int]:
    """List the axes of a softmax: one, before opset 13 all from there on."""
    axis = op.axis(-1 if op.opset >= 13 else 1)
    return [axis] if op.opset >= 13 else list(range(axis, len(op.shape())))


@rule("CumSum")
def running_sum(op: Operation, g: Value, i: int) -> Value:
    """Give dx = the running sum of g from the other end."""
    how = {"exclusive": op.get("exclusive", 0), "reverse": 1 - op.get("reverse", 0)}
    axis = op.known(1)
    assert axis is not None
    return op.tape("CumSum", g, np.asarray(axis, np.int64), **how)
