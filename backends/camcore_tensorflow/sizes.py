"""Sizes that a trace leaves open, so that it serves others, and whether a model lets it."""

from __future__ import annotations

import dis
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

import tensorflow as tf

from camcore._shared.apart import swapped
from camcore._shared.programs import Opening
from camcore.errors import CamcoreError
from camcore.nest import flatten

_LIBRARIES = {"tensorflow", "keras", "tf_keras", "camcore_tensorflow"}
_READING = ("__getitem__", "__iter__", "__eq__", "as_list", "num_elements", "is_fully_defined")


@contextmanager
def noted(layers: type) -> Iterator[set[Opening]]:
    """Note what a trace's open sizes are asked for by code that is not a library's.

    A layer that was built for one size counts as asking, and stops the trace.

    Parameters
    ----------
    layers : type
        Keras' class of layers.
    """
    found: set[Opening] = set()
    item = tf.TensorShape.__getitem__

    def read(usual: Any, shape: Any, *args: Any) -> Any:
        result = usual(shape, *args)
        if _package(sys._getframe(2)) not in _LIBRARIES and shape.rank is not None:
            axes = range(shape.rank)
            asked = axes[args[0]] if usual is item else axes
            for axis in (asked,) if isinstance(asked, int) else asked:
                if shape.as_list()[axis] is None:
                    found.add("image" if axis else "batch")
        return result

    def call(usual: Any, layer: Any, *args: Any, **kwargs: Any) -> Any:
        specs = [spec for _, spec in flatten(layer.input_spec) if spec is not None]
        tensors = [leaf for _, leaf in flatten((args, kwargs)) if tf.is_tensor(leaf)]
        for spec, tensor in zip(specs, tensors, strict=False):
            fixed = {**dict(enumerate(spec.shape or ())), **(spec.axes or {})}
            if any(axis and size and tensor.shape[axis] is None for axis, size in fixed.items()):
                found.add("image")
                raise ValueError(f"{layer.name!r} is for one size.")
        return usual(layer, *args, **kwargs)

    with ExitStack() as swaps:
        for name in _READING:
            swaps.enter_context(swapped(tf.TensorShape, name, read))
        swaps.enter_context(swapped(layers, "__call__", call))
        yield found


def lacks_size(error: Exception, asked: Collection[Opening], kind: Opening) -> bool:
    """Tell whether a trace failed for want of a size that it left open, not by an own error."""
    if isinstance(error, CamcoreError) or asked:
        return not isinstance(error, CamcoreError)
    trace: Any = error.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    raising = dis.opname[trace.tb_frame.f_code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"
    if raising and _package(trace.tb_frame) not in _LIBRARIES:
        return False
    # Keras adds the arguments' shapes to every error, and open sizes are among them.
    cause = str(error).partition("Arguments received by")[0]
    words = r"unknown|[(\[ ]None[,)\]]" + ("|NoneType" if kind == "image" else "")
    return isinstance(error, (TypeError, ValueError)) and bool(re.search(words, cause))


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
