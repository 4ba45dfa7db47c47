"""Large networks as ONNX files show the maps of the modules they are exported from."""

from __future__ import annotations

import copy
import io
from typing import Any

import numpy as np
import pytest
from architectures import ALL

import camcore
from camcore.adapter import INPUT
from camcore.registry import adapter
from camcore.targets import Segmentation

ROWS = {row.name: row for row in ALL}
CASES = {
    "torchvision DeepLabV3, a class": ("out", "classifier.3", Segmentation(2)),
    "torchvision LR-ASPP, one pixel": ("out", "classifier.cbr", Segmentation(2)),
    "ultralytics YOLOv8, a box and a class": (
        *(0, "model.21", ROWS["ultralytics YOLOv8, a box and a class"].target),
    ),
}
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning"
)


@pytest.fixture(params=[False, True], ids=["TorchScript", "dynamo"])
def exported(torch, require, request):
    """Export a module by one of PyTorch's two exporters, and read the file."""
    onnx = require("onnx")
    require("onnxruntime")
    require("onnxscript")

    def export(module: Any, images: Any) -> Any:
        file, copied = io.BytesIO(), copy.deepcopy(module)  # YOLOv8 keeps what it was traced with
        names, how = ["image"], {"dynamo": request.param, "verbose": False}
        torch.onnx.export(copied, (images,), file, input_names=names, **how)
        return onnx.load_from_string(file.getvalue())

    return export


@pytest.mark.parametrize("name", CASES)
def test_maps_are_those_of_the_module(torch, require, exported, name):
    row, (output, layer, target) = ROWS[name], CASES[name]
    for package in row.needs:
        require(package)

    class One(torch.nn.Module):
        """The model with one output."""

        def __init__(self, model: Any) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Any) -> Any:
            return self.inner(x)[output]

    module, images = One(row.make().eval()).eval(), row.inputs(1)
    graph = exported(module, images)
    for method in ("gradcam", "elementwisegradcam", "layercam", "eigencam"):
        (found,), (expected,) = (
            camcore.explain(model, images, target, f"inner.{layer}", method).raw.values()
            for model in (graph, module)
        )
        near = 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=near)
        assert expected.any()


def test_resnet_50_differs_from_float64_by_the_side_of_rectifiers_alone(torch, require, exported):
    """In float32 one of ten million rectifiers may fall on the other side of zero, and does.

    The gradient at the input is then off by half a percent, in any framework; in float64, with
    rectifiers open where the file has them open, it is the file's.
    """
    models = require("torchvision.models")
    torch.manual_seed(0)
    module, images = models.resnet50(weights=None).eval(), torch.randn(1, 3, 224, 224)
    model = adapter(exported(module, images))

    def seed(leaves: Any) -> Any:
        return {path: np.eye(1000, dtype=leaf.dtype)[[1]] for path, leaf in leaves.items()}

    layers = [one for one in model.layers() if one.native.op_type == "Relu"]
    rectifiers = [*{one.native.name: one.name for one in layers}.values()]
    trace = model.run(images.numpy(), [*rectifiers, INPUT], [seed])
    is_open = iter([trace.layers[name].activations > 0 for name in rectifiers])

    class Given(torch.nn.Module):
        """A rectifier that is open where it is told."""

        def forward(self, x: Any) -> Any:
            return x * torch.from_numpy(next(is_open))

    def double(rectifier: Any) -> tuple[np.ndarray, np.ndarray]:
        twin = copy.deepcopy(module).double()
        for each in twin.modules():
            if hasattr(each, "relu"):
                each.relu = rectifier
        kept: list[Any] = []
        hook = twin.layer4.register_forward_hook(lambda m, args, out: kept.append(out))
        tensor = images.double().requires_grad_()
        score = twin(tensor)[0, 1]
        hook.remove()
        return tuple(one.numpy() for one in torch.autograd.grad(score, [tensor, *kept]))

    def apart(one: np.ndarray, other: np.ndarray) -> float:
        return float(np.abs(one - other).max() / np.abs(other).max())

    found = trace.layers[INPUT].gradients[0]
    at_input, at_layer = double(Given())
    assert apart(found, at_input) < 1e-5
    assert apart(trace.layers[rectifiers[-1]].gradients[0], at_layer) < 1e-5
    assert apart(found, double(torch.nn.ReLU())[0]) < 2e-2


def test_of_a_detector_the_layer_is_chosen_that_is_of_the_module(torch, require, exported):
    """The file does not say which of its scopes is the head, and it joins three scales."""
    row = ROWS["ultralytics YOLOv8, a box and a class"]
    for package in row.needs:
        require(package)
    module = row.make().eval()
    images = torch.rand(1, 3, 64, 64, generator=torch.manual_seed(0))
    for model in (module, exported(module, images)):
        assert camcore.Explainer(model, output="0").layers(images) == ("model.21",)
