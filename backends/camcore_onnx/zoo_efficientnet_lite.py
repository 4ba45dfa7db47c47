"""EfficientNet-Lite0 as an ONNX graph: the network that PyTorch users know, weight for weight."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

from camcore._shared.efficientnet_lite import EPSILON, SIZE, Block, blocks
from camcore.adapter import Array


def efficientnet_lite0(tensors: Iterable[Array], classes: int = 1000) -> ModelProto:
    """Build the network.

    Parameters
    ----------
    tensors : iterable of array
        The values of a PyTorch state dict in its order, whatever implementation named them.
    classes : int
        Number of logits.

    Returns
    -------
    ModelProto
        Takes photographs, ``(B, 3, 224, 224)``, as ``(x - 127) / 128`` of their pixels, and
        gives logits, ``(B, classes)``.

    Raises
    ------
    ValueError
        There are more tensors than the network has.
    """
    graph = _Graph(tensors)
    x = graph.convolution("image", "stem", kernel=3, stride=2)
    for block in blocks():
        x = graph.block(x, block)
    x = graph.convolution(x, "head")
    x = graph.add("GlobalAveragePool", "pool", x)
    x = graph.add("Flatten", "flat", x)
    graph.add("Gemm", "logits", x, graph.next("logits.weight"), graph.next("logits.bias"), transB=1)
    graph.end()
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "efficientnet_lite0",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ("N", 3, SIZE, SIZE))],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("N", classes))],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    checker.check_model(model)
    return model


class _Graph:
    """Nodes and weights, in the order in which the state dict has them."""

    def __init__(self, tensors: Iterable[Array]) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        # The only numbers are counts of batches that normalisations have seen.
        self._left: Iterator[Array] = iter([tensor for tensor in tensors if np.ndim(tensor)])
        self._side = SIZE

    def next(self, name: str) -> str:
        """Take the next tensor for a weight."""
        self.weights.append(numpy_helper.from_array(next(self._left), name))
        return name

    def add(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Add a node, and name what it gives as the node."""
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def block(self, x: str, block: Block) -> str:
        """Expand, filter each channel in space, project; add the input where shapes allow."""
        given = x
        if block.expansion != 1:
            x = self.convolution(x, f"{block.name}_expand")
        channels = block.expansion * block.given
        x = self.convolution(
            x, f"{block.name}_depthwise", block.kernel, block.stride, groups=channels
        )
        x = self.convolution(x, f"{block.name}_project", rectified=False)
        return self.add("Add", f"{block.name}_add", given, x) if block.adds else x

    def convolution(
        self,
        x: str,
        name: str,
        kernel: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        rectified: bool = True,
    ) -> str:
        """Convolve, normalise, and rectify; padding is TensorFlow's, uneven at a stride of 2."""
        into, self._side = self._side, -(-self._side // stride)
        before, rest = divmod(max((self._side - 1) * stride + kernel - into, 0), 2)
        pads = [before, before, before + rest, before + rest]
        weight = self.next(f"{name}.weight")
        x = self.add("Conv", name, x, weight, strides=[stride] * 2, pads=pads, group=groups)
        parts = [self.next(f"{name}_bn.{part}") for part in ("gamma", "beta", "mean", "variance")]
        x = self.add("BatchNormalization", f"{name}_bn", x, *parts, epsilon=EPSILON)
        if not rectified:
            return x
        return self.add("Clip", f"{name}_relu", x, self._number("zero", 0), self._number("six", 6))

    def end(self) -> None:
        """Refuse what is left over."""
        if next(self._left, None) is not None:
            raise ValueError("The state dict holds more tensors than EfficientNet-Lite0 has.")

    def _number(self, name: str, value: float) -> str:
        if name not in [weight.name for weight in self.weights]:
            self.weights.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name
