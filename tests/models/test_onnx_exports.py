"""Segmentation and detection as ONNX files show the maps of the modules they are exported from."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from architectures import ALL

import camcore
from camcore.targets import Segmentation

ROWS = {row.name: row for row in ALL}
CASES = {
    "torchvision DeepLabV3, a class": ("out", "classifier.3", Segmentation(2)),
    "torchvision LR-ASPP, one pixel": ("out", "classifier.cbr", Segmentation(2)),
    "ultralytics YOLOv8, a box and a class": (
        *(0, "model.21", ROWS["ultralytics YOLOv8, a box and a class"].target),
    ),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", CASES)
def test_maps_are_those_of_the_module(torch, require, name):
    onnx, row, (output, layer, target) = require("onnx"), ROWS[name], CASES[name]
    for package in (*row.needs, "onnxruntime"):
        require(package)

    class One(torch.nn.Module):
        """The model with one output."""

        def __init__(self, model: Any) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Any) -> Any:
            return self.inner(x)[output]

    module, images, file = One(row.make().eval()).eval(), row.inputs(1), io.BytesIO()
    torch.onnx.export(module, (images,), file, input_names=["image"], dynamo=False)
    graph = onnx.load_from_string(file.getvalue())
    for method in ("gradcam", "layercam", "eigencam"):
        (found,), (expected,) = (
            camcore.explain(model, images, target, f"inner.{layer}", method).raw.values()
            for model in (graph, module)
        )
        near = 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=near)
        assert expected.any()
