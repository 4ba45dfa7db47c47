"""Convolutions, pooling and resizing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from camcore.adapter import Array

from ..tape import Operation, Value
from .table import rule


@dataclass(frozen=True)
class Window:
    """Where the windows of an operator lie, along one axis.

    Parameters
    ----------
    whole, count : int
        Length of the side that windows are laid over, and how many windows there are.
    width, stride, dilation, before : int
        Of a window; `before` is the padding in front.
    """

    whole: int
    count: int
    width: int
    stride: int
    dilation: int
    before: int

    @property
    def reach(self) -> int:
        """From a window's first place to its last."""
        return (self.width - 1) * self.dilation

    @property
    def over(self) -> int:
        """How far the last window goes beyond the end; negative where it falls short."""
        return (self.count - 1) * self.stride + self.reach + 1 - self.before - self.whole

    @property
    def inside(self) -> list[int]:
        """How many places of each window are not padding."""
        starts = range(-self.before, self.count * self.stride - self.before, self.stride)
        ends = [start + self.reach + 1 for start in starts]
        return [
            sum(0 <= place < self.whole for place in range(start, end, self.dilation))
            for start, end in zip(starts, ends, strict=True)
        ]


def _windows(
    op: Operation, widths: tuple[int, ...], whole: tuple[int, ...], count: tuple[int, ...]
) -> list[Window]:
    """Read an operator's windows, axis by axis."""
    rank, same = len(widths), op.get("auto_pad", "NOTSET")
    strides, dilations = op.get("strides", [1] * rank), op.get("dilations", [1] * rank)
    pads, found = op.get("pads", [0] * rank), []
    for axis in range(rank):
        before = pads[axis] if same == "NOTSET" else 0
        sides = whole[axis], count[axis], widths[axis], strides[axis], dilations[axis]
        if same.startswith("SAME"):
            padding = max(Window(*sides, 0).over, 0)
            before = padding // 2 if same == "SAME_UPPER" else padding - padding // 2
        found.append(Window(*sides, before))
    return found


@rule("Conv")
def convolve(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g convolved with the turned kernels, or spread by them where strided."""
    if i == 2:
        return g.sum([0, *range(2, len(op.made))]).reshape(op.shape(2))
    if i == 1:
        raise op.refuse("its kernels depend on the model's inputs")
    windows = _windows(op, op.shape(1)[2:], op.shape()[2:], op.made[2:])
    groups, kernels = op.get("group", 1), op.tape.known(op.node.input[1])
    if kernels is None or any(
        w.stride > 1 or w.before > w.reach or w.over > w.reach for w in windows
    ):
        return _spread(op, g, op.x(1), windows, groups)
    pads = [w.reach - w.before for w in windows] + [w.reach - w.over for w in windows]
    turned = np.flip(kernels, tuple(range(2, kernels.ndim)))
    turned = turned.reshape(groups, -1, *kernels.shape[1:]).swapaxes(1, 2)
    turned = turned.reshape(-1, len(kernels) // groups, *kernels.shape[2:])
    how = {"pads": pads, "dilations": [w.dilation for w in windows], "group": groups}
    return op.tape("Conv", g, turned.astype(op.tape.dtype), **how)


@rule("ConvTranspose")
def convolve_transposed(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g convolved with the kernels."""
    if i == 2:
        return g.sum([0, *range(2, len(op.made))]).reshape(op.shape(2))
    if i == 1 or "output_shape" in op.attributes or op.get("auto_pad", "NOTSET") != "NOTSET":
        raise op.refuse("its kernels depend on the model's inputs, or its padding is not written")
    windows = _windows(op, op.shape(1)[2:], op.made[2:], op.shape()[2:])
    if any(w.over < 0 for w in windows):
        stops = [w.whole + min(w.over, 0) for w in windows]
        g = op.tape("Slice", g, [0] * len(stops), stops, list(range(2, 2 + len(stops))))
    return op.tape(
        "Conv",
        g,
        op.x(1),
        strides=[w.stride for w in windows],
        dilations=[w.dilation for w in windows],
        pads=[w.before for w in windows] + [max(w.over, 0) for w in windows],
        group=op.get("group", 1),
    )


@rule("AveragePool")
def average_pool(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g/n spread over its window, n the places that were counted."""
    whole, channels = op.shape()[2:], op.shape()[1]
    windows = _windows(op, tuple(op.get("kernel_shape")), whole, op.made[2:])
    inside = np.asarray(1)
    for window in windows:
        inside = np.multiply.outer(inside, window.inside)
    # What the operator makes of ones is how many of the counted places are inside.
    share = op.tape("AveragePool", op.tape.ones([1, 1, *whole]), **op.attributes)
    each = share / np.maximum(inside, 1).astype(op.tape.dtype)[None, None]
    ones = np.ones([channels, 1, *(w.width for w in windows)], op.tape.dtype)
    return _spread(op, g * each, ones, windows, channels)


@rule("MaxPool")
def max_pool(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g at the places that maxima were taken from."""
    if op.opset < 8 or op.get("storage_order", 0):
        raise op.refuse("it does not say where maxima were taken from")
    shape, places = op.shape(), math.prod(op.shape()[2:])
    # Places are numbered through all samples and channels.
    taken = op.tape("Mod", op.tape.see_places(op.node), np.asarray(places))
    rows, zeros = [*shape[:2], -1], op.tape.zeros([*shape[:2], places])
    flat = op.tape(
        "ScatterElements", zeros, taken.reshape(rows), g.reshape(rows), axis=2, reduction="add"
    )
    return flat.reshape(shape)


@rule("Resize", "Upsample")
def resize(op: Operation, g: Value, i: int) -> Value:
    """Give dx = g by the transposed matrix of each axis, which is the operator's answer to ones."""
    how = {name: value for name, value in op.attributes.items() if name not in ("axes", "scales")}
    if op.kind == "Upsample" or op.opset < 11:
        how |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    crops = how.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    if crops or how.pop("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise op.refuse("it crops, or keeps the ratio of sides")
    scales = _scales(op)
    for axis, (whole, made) in enumerate(zip(op.shape(), op.made, strict=True)):
        if whole == made:
            continue
        ones = np.eye(whole, dtype=np.float32)[None, :, :, None]
        scale, sizes = scales.get(axis), [1, whole, made, 1]
        asked = np.asarray([1, 1, scale, 1], np.float32) if scale else None
        matrix = op.tape("Resize", ones, None, asked, None if scale else sizes, **how)
        order = [*(d for d in range(len(op.made)) if d != axis), axis]
        turned = matrix.reshape([whole, made]).transpose([1, 0])
        g = (g.transpose(order) @ turned).transpose(np.argsort(order).tolist())
    return g


def _scales(op: Operation) -> dict[int, float]:
    """Read the scale of each axis; nothing where sizes are said."""
    where = 1 if op.kind == "Upsample" or op.opset < 11 else 2
    scales = None if op.has(3) else op.known(where, "scales")
    axes = op.get("axes", range(len(op.shape())))
    pairs = zip(axes, () if scales is None else scales.tolist(), strict=False)
    return {axis % len(op.shape()): scale for axis, scale in pairs}


def _spread(
    op: Operation, g: Value, kernels: Value | Array, windows: list[Window], groups: int
) -> Value:
    """Add up what each window gives to its places."""
    return op.tape(
        "ConvTranspose",
        g,
        kernels,
        strides=[w.stride for w in windows],
        dilations=[w.dilation for w in windows],
        pads=[w.before for w in windows] + [max(w.over, 0) for w in windows],
        output_padding=[max(-w.over, 0) for w in windows],
        group=groups,
    )
