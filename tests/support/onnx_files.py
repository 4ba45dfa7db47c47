"""ONNX files made of PyTorch modules, and of single nodes."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper


def exported(
    model: Any,
    inputs: Sequence[np.ndarray],
    names: Sequence[str] = ("image",),
    outputs: Sequence[str] = ("scores",),
    *,
    fixed: bool = False,
    dynamo: bool = False,
    **how: Any,
) -> onnx.ModelProto:
    """Export a module, for any number of samples unless it shall be fixed."""
    import torch

    file = io.BytesIO()
    tensors = tuple(map(torch.from_numpy, inputs))
    any_batch = {} if fixed else {name: {0: "n"} for name in (*names, *outputs)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            torch.onnx.export(
                model.eval(),
                tensors,
                file,
                dynamo=dynamo,
                input_names=list(names),
                output_names=list(outputs),
                dynamic_axes=any_batch,
                **how,
            )
        finally:
            logging.disable(logging.NOTSET)
    return onnx.load_from_string(file.getvalue())


def stirred(model: Any, seed: int = 0) -> Any:
    """Draw what a fresh module has alike: running statistics, weights and biases of zero or one."""
    import torch

    generator = torch.Generator().manual_seed(seed)

    def noise(tensor: Any) -> Any:
        return torch.randn(tensor.shape, generator=generator)

    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if name.endswith("running_var"):
                tensor.copy_(0.5 + noise(tensor).abs())
            elif tensor.is_floating_point() and tensor.numel() > 1 and tensor.std() < 1e-4:
                tensor.add_(0.1 * noise(tensor))
    return model.eval()


def file_of(
    nodes: Iterable[onnx.NodeProto],
    inputs: dict[str, Sequence[int | str]],
    outputs: Sequence[str],
    constants: dict[str, np.ndarray] | None = None,
    *,
    opset: int = 18,
    kind: int = onnx.TensorProto.FLOAT,
) -> onnx.ModelProto:
    """Write a file of nodes by hand."""
    graph = helper.make_graph(
        list(nodes),
        "file",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def of_class(index: int, path: str = "") -> Any:
    """Make a seed for the score of a class."""

    def seed(leaves: Any) -> dict[str, np.ndarray]:
        cotangent = np.zeros_like(leaves[path])
        cotangent[:, index] = 1
        return {path: cotangent}

    return seed
