"""Operators that only move values: what was taken from a place is given back to it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..tape import Operation, Value
from .table import rule


@rule("Flatten", "Reshape", "Squeeze", "Unsqueeze")
def reshape(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g in the shape of x."""
    return g.reshape(op.shape())


@rule("Transpose")
def transpose(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g with its axes put back."""
    order = op.get("perm", range(len(op.made))[::-1])
    return g.transpose(np.argsort(order).tolist())


@rule("Expand")
def expand(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g, added up over the copies."""
    return op.fit(g, 0)


@rule("Concat")
def concatenate(op: Operation, g: Value, i: int) -> Value:
    """Give dx = its part of g."""
    axis = op.axis(0)
    start = sum(op.shape(k)[axis] for k in range(i))
    return op.tape("Slice", g, [start], [start + op.shape(i)[axis]], [axis])


@rule("Split")
def split(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g, and zeros for the other parts."""
    axis = op.axis(0)
    lengths = [op.tape.shape(part)[axis] for part in op.node.output]
    return _padded(op, g, axis, sum(lengths[: op.result]), lengths[op.result])


@rule("Slice")
def slice_(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g at what was sliced, zeros elsewhere."""
    given = [tensor for tensor in op.node.input[1:] if tensor]
    if any(op.tape.known(tensor) is None for tensor in given):
        parts = [op.x(k) if op.has(k) else None for k in range(1, len(op.node.input))]
        return _given_back(op, g, _places(op, "Slice", *parts))
    names = ("starts", "ends", "axes", "steps")
    starts, ends, axes, steps = (op.known(k, name) for k, name in enumerate(names, 1))
    assert starts is not None
    assert ends is not None
    axes = np.arange(len(starts)) if axes is None else axes
    steps = np.ones_like(starts) if steps is None else steps
    if any(steps != 1):
        return _given_back(op, g, _places(op, "Slice", starts, ends, axes, steps))
    for start, axis in zip(starts.tolist(), axes.tolist(), strict=True):
        axis %= len(op.shape())
        first, _, _ = slice(start, None).indices(op.shape()[axis])
        g = _padded(op, g, axis, first, op.made[axis])
    return g


@rule("Gather")
def gather(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g at what was gathered, added up where that was more than once."""
    axis, indices = op.axis(0), op.tape.known(op.node.input[1])
    if indices is None or indices.ndim:
        return _given_back(op, g, _places(op, "Gather", op.x(1), axis=axis))
    whole = op.shape()
    g = g.reshape([*whole[:axis], 1, *whole[axis + 1 :]])
    return _padded(op, g, axis, int(indices) % whole[axis], 1)


@rule("GatherElements", "GatherND")
def gather_elements(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g at what was gathered, added up where that was more than once."""
    return _given_back(op, g, _places(op, op.kind, op.x(1), **op.attributes))


@rule("TopK")
def largest_of_axis(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g at the values that were taken."""
    axis, taken = op.axis(-1), op.tape.see(op.node.output[1])
    return _given_back(op, g, op.tape("GatherElements", _numbered(op), taken, axis=axis))


@rule("Tile")
def tile(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g, added up over the copies."""
    times = [whole // own for whole, own in zip(op.made, op.shape(), strict=True)]
    pairs = [length for pair in zip(times, op.shape(), strict=True) for length in pair]
    copies = g.reshape(pairs).sum(range(0, len(pairs), 2))
    return copies.reshape(op.shape())


@rule("Pad")
def pad(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g without the padding; what that repeats is added up."""
    shape, given = op.shape(), op.known(1, "pads")
    assert given is not None
    chosen, ends = op.known(3), np.zeros((2, len(shape)), np.int64)
    axes = range(len(shape)) if chosen is None else [int(a) % len(shape) for a in chosen.ravel()]
    ends[:, list(axes)] = given.reshape(2, -1)
    if op.get("mode", "constant") != "constant":
        pads = ends.ravel()
        return _given_back(op, g, _places(op, "Pad", pads, mode=op.get("mode")))
    inside, outside = np.maximum(ends, 0), np.maximum(-ends, 0)
    stops = inside[0] + shape - outside.sum(0)
    g = op.tape("Slice", g, inside[0].tolist(), stops.tolist(), list(range(len(shape))))
    return op.tape("Pad", g, outside.ravel(), 0.0) if outside.any() else g


@rule("DepthToSpace")
def depth_to_space(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g with each block of places back in the channels."""
    block, (n, c, h, w) = op.get("blocksize"), op.shape()
    less = c // block**2
    blocks = g.reshape([n, less, h, block, w, block])
    by_channel = op.get("mode", "DCR") == "CRD"
    order = [0, 1, 3, 5, 2, 4] if by_channel else [0, 3, 5, 1, 2, 4]
    return blocks.transpose(order).reshape([n, c, h, w])


@rule("SpaceToDepth")
def space_to_depth(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g with each block of channels back in its places."""
    return op.tape("DepthToSpace", g, blocksize=op.get("blocksize"), mode="DCR")


@rule("ScatterElements", "ScatterND")
def scatter(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g but for zeros where updates stand, and of these, g there."""
    if op.get("reduction", "none") != "none":
        raise op.refuse(f"it scatters with reduction={op.get('reduction')!r}")
    if i == 2:
        how = {} if op.kind == "ScatterND" else {"axis": op.axis(0)}
        back = "GatherND" if op.kind == "ScatterND" else "GatherElements"
        return op.tape(back, g, op.x(1), **how)
    zeros = op.tape.zeros(op.shape(2))
    return op.tape(op.kind, g, op.x(1), zeros, **op.attributes)


@rule("Trilu")
def triangle(op: Operation, g: Value, i: int) -> Value:
    """Give dx = the same triangle of g."""
    return op.tape("Trilu", g, op.x(1) if op.has(1) else None, upper=op.get("upper", 1))


def _padded(op: Operation, g: Value, axis: int, start: int, length: int) -> Value:
    """Put zeros around a part of the input along an axis."""
    after = op.shape()[axis] - start - length
    if not start and not after:
        return g
    pads = np.zeros((2, len(op.shape())), np.int64)
    pads[:, axis] = start, after
    return op.tape("Pad", g, pads.ravel(), 0.0)


def _numbered(op: Operation) -> Value:
    """Give each place of the input its number."""
    shape = op.shape()
    return op.tape.constant(np.arange(math.prod(shape)).reshape(shape))


def _places(op: Operation, operator: str, *given: Any, **how: Any) -> Value:
    """Let an operator move the numbers of places, to see where each value came from."""
    lists = [one.tolist() if isinstance(one, np.ndarray) else one for one in given]
    return op.tape(operator, _numbered(op), *lists, **how)


def _given_back(op: Operation, g: Value, places: Value) -> Value:
    """Add g up at the places that its values came from."""
    zeros = op.tape.zeros([math.prod(op.shape())])
    flat = op.tape(
        "ScatterElements", zeros, places.reshape([-1]), g.reshape([-1]), axis=0, reduction="add"
    )
    return flat.reshape(op.shape())
