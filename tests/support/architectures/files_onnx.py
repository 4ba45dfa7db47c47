"""ONNX files that PyTorch exports of rows of other families, and a ResNet-50."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from onnx_files import exported

from architectures import by_hand, convolutional, detection, segmentation, transformers_torch
from architectures.row import Architecture

KIND = "ONNX files of PyTorch's"
_FAMILIES = (convolutional, detection, segmentation, transformers_torch)
SOURCES = {row.name: row for family in _FAMILIES for row in family.ARCHITECTURES}
RESNET_50 = replace(
    SOURCES["torchvision resnet18"],
    name="torchvision resnet50",
    make=partial(convolutional.torchvision, "resnet50"),
)


def file_of(source: Architecture, output: Any) -> Any:
    """Export a row's model, of whose outputs one is kept."""
    import torch

    model, inputs = seeded(source), source.inputs(2)
    if output is None:
        return exported(model, [inputs.numpy()])

    class One(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Any) -> Any:
            return self.inner(x)[output]

    return exported(One(), [inputs.numpy()])


def in_torch(inputs: Any, source: Architecture) -> tuple[np.ndarray, np.ndarray]:
    """Activations and gradients of the module that the file was exported from."""
    return by_hand.evidence(source, seeded(source), inputs)


def seeded(source: Architecture) -> Any:
    """A row's model, with the same weights each time."""
    import torch

    torch.manual_seed(0)
    return source.make()


def _row(source: Architecture, output: Any = None, **changes: Any) -> Architecture:
    layer = source.layer if output is None else f"inner.{source.layer}"
    return replace(
        source,
        name=f"{source.name}, exported",
        framework="onnx",
        make=partial(file_of, source, output),
        plain=partial(in_torch, source=source),
        needs=("torch", *source.needs, "onnx", "onnxruntime"),
        kind=KIND,
        **{"layer": layer, "options": {}, **changes},
    )


ARCHITECTURES = [
    _row(RESNET_50, narrow="relu"),
    _row(SOURCES["torchvision mobilenet_v2"]),
    _row(SOURCES["torchvision convnext_tiny"], narrow="features.0"),
    _row(SOURCES["timm ViT"]),
    _row(SOURCES["timm Swin"]),
    _row(SOURCES["torchvision DeepLabV3, a class"], "out"),
    # The map is that of the convolution before its gate, which has no module in PyTorch.
    _row(SOURCES["torchvision LR-ASPP, one pixel"], "out", layer="inner.classifier.Mul"),
    # Without a layer, the sigmoid of the head's scores is chosen in the file, not what goes in.
    _row(SOURCES["ultralytics YOLOv8, a box and a class"], 0, options={"layer": "inner.model.21"}),
]
