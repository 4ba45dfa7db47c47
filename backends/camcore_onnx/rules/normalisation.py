"""Normalisations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from camcore.adapter import Array

from ..tape import Operation, Value
from .table import rule


@rule("BatchNormalization")
def batch_normalisation(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g γ/√(σ² + ε), by running statistics."""
    gamma, variance = op.known(1), op.known(4)
    by_batch = op.get("training_mode", 0) or not op.get("spatial", 1)
    if i or by_batch or gamma is None or variance is None:
        raise op.refuse("it normalises by the statistics of the batch, or place by place")
    factor = gamma.astype(np.float64) / np.sqrt(variance + op.get("epsilon", 1e-5))
    shape = [-1, *[1] * (len(op.shape()) - 2)]
    return g * op.tape.constant(factor.astype(op.tape.dtype).reshape(shape))


@rule("LayerNormalization")
def layer_normalisation(op: Operation, g: Value, i: int) -> Value:
    """Pull γ g back through x̂ over the last axes."""
    if i == 2:
        return op.fit(g, 2)
    rank = len(op.shape())
    axes = list(range(op.axis(-1), rank))
    standard, inverse = _standardised(op.x(), axes, op.get("epsilon", 1e-5))
    if i == 1:
        return op.fit(g * standard, 1)
    return _through(g * op.x(1), standard, inverse, axes)


@rule("InstanceNormalization")
def instance_normalisation(op: Operation, g: Value, i: int) -> Value:
    """Pull γ g back through x̂ over space."""
    if i:
        raise op.refuse("its weights depend on the model's inputs")
    rank = len(op.shape())
    axes = list(range(2, rank))
    standard, inverse = _standardised(op.x(), axes, op.get("epsilon", 1e-5))
    return _through(g * op.x(1).reshape([-1, *[1] * (rank - 2)]), standard, inverse, axes)


@rule("GroupNormalization")
def group_normalisation(op: Operation, g: Value, i: int) -> Value:
    """Pull γ g back through x̂ over the channels of a group and space."""
    if i:
        raise op.refuse("its weights depend on the model's inputs")
    shape, groups = op.shape(), op.get("num_groups")
    grouped = [shape[0], groups, shape[1] // groups, -1]
    # Before opset 21 there is one weight a group.
    each = [1, groups, 1, 1] if op.opset < 21 else [1, groups, shape[1] // groups, 1]
    x = op.x().reshape(grouped)
    standard, inverse = _standardised(x, [2, 3], op.get("epsilon", 1e-5))
    scaled = g.reshape(grouped) * op.x(1).reshape(each)
    return _through(scaled, standard, inverse, [2, 3]).reshape(shape)


@rule("LpNormalization")
def vector_normalisation(op: Operation, g: Value, i: int) -> Value:
    """Give dx = (g − y Σ g y)/|x| for y = x/|x|."""
    if op.get("p", 2) != 2:
        raise op.refuse("it normalises by absolute values")
    axes = [op.axis(-1)]
    length = op.tape("ReduceL2", op.x(), axes, keepdims=1).or_one()
    return (g - op.y * (g * op.y).sum(axes)) / length


@rule("LRN")
def local_response(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g s^−β − 2αβ/n · x Σ g x s^(−β−1), s = bias + α/n Σ x², over n channels around."""
    x, n = op.x(), op.get("size")
    alpha, beta = op.get("alpha", 1e-4) / n, op.get("beta", 0.75)
    before, channels = (n - 1) // 2, op.shape()[1]
    distance = np.subtract.outer(np.arange(channels), np.arange(channels))
    near = ((distance >= -(n - 1 - before)) & (distance <= before)).astype(op.tape.dtype)

    def around(value: Value, weights: Array) -> Value:
        flat = value.reshape([op.shape()[0], channels, -1])
        return (op.tape.constant(weights) @ flat).reshape(op.shape())

    s: Value = around(x * x, near) * alpha + op.get("bias", 1.0)
    spread = around(g * x * s ** (-beta - 1), near.T.copy())
    found: Value = g * s**-beta - x * spread * (2 * alpha * beta)
    return found


def _standardised(x: Value, axes: Sequence[int], epsilon: float) -> tuple[Value, Value]:
    """Give x̂ = (x − μ)/σ, and 1/σ."""
    centred = x - x.mean(axes)
    inverse = 1 / x.tape("Sqrt", (centred * centred).mean(axes) + epsilon)
    return centred * inverse, inverse


def _through(g: Value, standard: Value, inverse: Value, axes: Sequence[int]) -> Value:
    """Pull back through x̂: dx = (g − mean g − x̂ mean(g x̂))/σ."""
    return inverse * (g - g.mean(axes) - standard * (g * standard).mean(axes))
