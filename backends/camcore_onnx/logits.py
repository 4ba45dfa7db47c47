"""The activation that an output ends in, found by walking the graph back from it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .graph import Graph, attributes
from .sizes import Sizes

ACTIVATIONS = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid"}
_SAME = {"Identity", "Cast"}
_RESHAPES = {"Flatten", "Reshape", "Squeeze", "Unsqueeze"}
SHOWING = {*ACTIVATIONS, *_SAME, *_RESHAPES, "Dropout", "Resize", "Transpose", "Upsample"}
"""Operators that show again what they are given, at most on another scale."""


@dataclass(frozen=True)
class End:
    """An output of the file.

    Parameters
    ----------
    output : str
        Its name.
    tensor : str
        What scores are read from: the output, or what was before its activation.
    activation : str
        The activation left off; empty where none was.
    applied : str
        The one that is still there; empty where none is.
    """

    output: str
    tensor: str
    activation: str = ""
    applied: str = ""


def end_of(graph: Graph, output: str, sizes: Sizes, *, logits: bool) -> End:
    """Take an output before its final softmax, log-softmax or sigmoid, where that is asked for."""
    tensor = output
    while (node := graph.maker.get(tensor)) and node.op_type in _SAME | _RESHAPES:
        if sizes.dtypes[node.input[0]].kind != "f":
            return End(output, output)
        tensor = node.input[0]
    kind = ACTIVATIONS.get(node.op_type) if node else None
    if node is None or kind is None:
        return End(output, output)
    before, shape = sizes.few[tensor], sizes.few[output]
    if kind != "sigmoid":
        axis = attributes(node).get("axis", -1 if graph.opset >= 13 else 1) % len(before)
        several = graph.opset < 13 and math.prod(before[axis + 1 :]) > 1
        moved = before != shape and (shape[-1:] != before[-1:] or axis != len(before) - 1)
        if several or moved:
            return End(output, output)
    if logits:
        return End(output, node.input[0], activation=kind)
    return End(output, output, applied=kind)
