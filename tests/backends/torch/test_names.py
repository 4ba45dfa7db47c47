"""PyTorch: names and shapes of layers, their weights, and wrappers around models."""

from __future__ import annotations

import importlib
import os
import warnings
from typing import Any

import numpy as np
import pytest

from camcore.adapter import INPUT
from camcore.errors import BackendError, LayerError
from camcore.registry import adapter as adapt

torch = importlib.import_module("torch") if "CI" in os.environ else pytest.importorskip("torch")
nn = torch.nn


class Block(nn.Module):
    def __init__(self, relu: Any) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(2, 2, 3, padding=1), relu

    def forward(self, x: Any) -> Any:
        return self.relu(self.conv(self.relu(x)))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        relu = nn.ReLU()
        self.block = Block(relu)
        self.relu = relu
        self.norm = nn.BatchNorm2d(2)
        self.aux = nn.Linear(2, 9)
        self.pick = nn.AdaptiveMaxPool2d(1, return_indices=True)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(2, 4), nn.Dropout())
        self.norm.running_mean.uniform_(-1, 1)
        self.norm.running_var.uniform_(1, 2)
        nn.init.uniform_(self.norm.weight)
        self.double().eval()

    def forward(self, x: Any) -> Any:
        return self.head(self.pick(self.norm(self.block(x)))[0])


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 2, 5, 5))


def first(leaves):
    return {path: np.eye(1, 4).repeat(len(leaf), 0) for path, leaf in leaves.items()}


NAMES = ["block", "block.conv", "block.relu", "norm", "aux", "pick"]
NAMES += ["head", "head.0", "head.1", "head.2"]


def test_layers_go_by_their_first_dotted_path():
    net = Net()
    layers = adapt(net).layers()
    assert [layer.name for layer in layers] == NAMES
    assert [layer.kind for layer in layers[:3]] == ["Block", "Conv2d", "ReLU"]
    assert all(layer.native is net.get_submodule(layer.name) for layer in layers)


def test_survey_tells_shapes_calls_and_order(x):
    records = adapt(Net()).survey(x)
    assert [(r.layer.name, r.shape, r.calls, r.channels, r.is_output) for r in records] == [
        ("block.conv", (1, 2, 5, 5), 1, "first", False),
        ("block.relu", (1, 2, 5, 5), 2, None, False),
        ("block", (1, 2, 5, 5), 1, None, False),
        ("norm", (1, 2, 5, 5), 1, "first", False),
        ("pick", (1, 2, 1, 1), 1, "first", False),
        ("head.0", (1, 2), 1, None, False),
        ("head.1", (1, 4), 1, None, True),
        ("head.2", (1, 4), 1, None, True),
        ("head", (1, 4), 1, None, True),
    ]


def test_survey_takes_the_first_of_a_list_of_samples():
    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 1)

        def forward(self, images: Any, scale: Any) -> Any:
            return [{"scores": scale[0] * self.conv(image[None]).mean((2, 3))} for image in images]

    images = [np.ones((1, 5, 7), np.float32), np.ones((1, 3, 4), np.float32)]
    (record,) = adapt(Detector()).survey((images, np.ones((2, 1), np.float32)))
    assert (record.shape, record.calls) == ((1, 1, 5, 7), 1)


def test_classifier_is_the_last_linear_layer_or_pointwise_convolution():
    net = Net()
    weights, bias = adapt(net).classifier()
    np.testing.assert_array_equal(weights, net.head[1].weight.detach())
    np.testing.assert_array_equal(bias, net.head[1].bias.detach())
    pointwise = nn.Sequential(nn.Linear(3, 3), nn.Conv2d(3, 5, 1, bias=False), nn.Conv2d(5, 5, 3))
    weights, bias = adapt(pointwise).classifier()
    np.testing.assert_array_equal(weights, pointwise[1].weight.detach()[:, :, 0, 0])
    np.testing.assert_array_equal(bias, np.zeros(5, np.float32))
    assert (
        adapt(nn.Sequential(nn.Conv2d(2, 2, 3), nn.Conv2d(4, 4, 1, groups=2))).classifier() is None
    )


def test_biases_and_normalisation_rebuild_what_the_layers_add(x):
    """On a piecewise linear network in evaluation mode: y = x·∇y + Σ b·∂y/∂b."""
    net = Net()
    biases = {bias.layer: bias for bias in adapt(net).biases()}
    assert list(biases) == ["block.conv", "norm", "aux", "head.1"]
    layers = ["block.conv", "norm", "head.1"]
    trace = adapt(net).run(x, [INPUT, *layers], [first])
    total = (x * trace.layers[INPUT].gradients[0]).sum((1, 2, 3))
    for name in layers:
        given = biases[name]
        added = given.bias
        if given.normalisation is not None:
            n = given.normalisation
            added = n["beta"] - n["mean"] * n["gamma"] / np.sqrt(n["variance"] + n["epsilon"])
        gradients = trace.layers[name].gradients[0]
        total += (gradients.reshape(len(x), len(added), -1).sum(2) * added).sum(1)
    np.testing.assert_allclose(total, trace.outputs[""][:, 0], rtol=0, atol=1e-12)


def test_a_fused_activation_does_not_hide_what_its_normalisation_adds(x, require):
    norm = require("timm.layers").BatchNormAct2d(2)
    norm.running_mean.uniform_(1, 2)
    frozen = require("torchvision.ops").FrozenBatchNorm2d(2)
    net = nn.Sequential(norm, frozen).double().eval()
    fused, plain = adapt(net).biases()
    assert (fused.layer, plain.layer) == ("0.drop", "1")
    trace = adapt(net).run(x, [fused.layer])
    n = fused.normalisation
    scale = (n["gamma"] / np.sqrt(n["variance"] + n["epsilon"]))[:, None, None]
    expected = (x - n["mean"][:, None, None]) * scale + n["beta"][:, None, None]
    np.testing.assert_allclose(trace.layers[fused.layer].activations, expected, atol=1e-12)
    assert (expected < 0).any()
    np.testing.assert_array_equal(plain.normalisation["variance"], np.ones(2))
    (bare,) = adapt(nn.Sequential(nn.BatchNorm1d(2, affine=False, eps=0.0))).biases()
    given = {key: values.tolist() for key, values in bare.normalisation.items()}
    assert given.pop("epsilon") == 0.0
    assert given == {"gamma": [1, 1], "beta": [0, 0], "mean": [0, 0], "variance": [1, 1]}


def in_place(net: Any, **options: Any) -> Any:
    net.block.compile(**options)
    return net


def part(net: Any, **options: Any) -> Any:
    net.block = torch.compile(net.block, **options)
    return net


WRAPPERS = {
    "torch.compile": torch.compile,
    "compiled in place": in_place,
    "compiled part": part,
    "DataParallel": lambda net, **options: nn.DataParallel(net),
    "compiled DataParallel": lambda net, **options: torch.compile(nn.DataParallel(net), **options),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_wrappers_are_seen_through_and_nothing_is_compiled_anew(x, wrap):
    compiled = []

    def backend(graph: Any, example_inputs: Any) -> Any:
        compiled.append(graph)
        return graph.forward

    expected = adapt(Net()).run(x, ["block.conv"], [first])
    wrapped = wrap(Net(), backend=backend)
    with torch.no_grad():
        wrapped(torch.tensor(x))  # compiled before anything is hooked
    before = len(compiled)
    assert [layer.name for layer in adapt(wrapped).layers()] == NAMES
    trace = adapt(wrapped).run(x, ["block.conv"], [first])
    np.testing.assert_array_equal(trace.outputs[""], expected.outputs[""])
    got, wanted = trace.layers["block.conv"], expected.layers["block.conv"]
    np.testing.assert_allclose(got.activations, wanted.activations, rtol=0, atol=1e-12)
    np.testing.assert_allclose(got.gradients[0], wanted.gradients[0], rtol=0, atol=1e-12)
    with torch.no_grad():
        wrapped(torch.tensor(x))
    assert len(compiled) == before


def test_torchscript_is_refused_and_its_parts_are_named(x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        net = Net()
        net.block = torch.jit.trace(net.block, torch.tensor(x))
    with pytest.raises(BackendError, match="TorchScript"):
        adapt(net.block)
    assert "block" not in [layer.name for layer in adapt(net).layers()]
    with pytest.raises(LayerError, match="'block' is TorchScript"):
        adapt(net).run(x, ["block"])
    expected = adapt(Net()).run(x, ["norm"], [first]).layers["norm"].gradients[0]
    net.block.train()
    traced = adapt(net).run(x, ["norm"], [first]).layers["norm"].gradients[0]
    assert net.block.training
    assert all(module.training for module in net.block.modules())
    np.testing.assert_allclose(traced, expected, rtol=0, atol=1e-12)
