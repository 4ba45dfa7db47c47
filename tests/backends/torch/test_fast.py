"""Faster ways to run a model: the same map within their digits, and the model left alone."""

from __future__ import annotations

import copy
import importlib
import os

import numpy as np
import pytest

import camcore
from camcore import registry
from camcore.errors import BackendError

torch = importlib.import_module("torch") if "CI" in os.environ else pytest.importorskip("torch")
nn = torch.nn


class Small(nn.Module):
    """Two blocks and a head."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(inplace=True))
        self.fc = nn.Linear(8, 5)
        self.eval()

    def forward(self, x):
        return self.fc(self.body(self.stem(x)).mean((2, 3)))


@pytest.fixture
def model():
    return Small()


@pytest.fixture(scope="module")
def images():
    return torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 12, 12))).float()


@pytest.mark.parametrize(
    ("fast", "digits"),
    [
        (True, 1e-5),
        ("channels_last", 1e-5),
        ("compile", 1e-5),
        ("bfloat16", 5e-2),
        (["channels_last", "bfloat16"], 5e-2),
    ],
    ids=str,
)
@pytest.mark.parametrize("layer", ["body", "body.0"])
def test_the_map_is_the_same_within_the_ways_digits(model, images, fast, digits, layer):
    plain = camcore.explain(model, images, target=2, layer=layer)
    quick = camcore.explain(model, images, target=2, layer=layer, fast=fast)
    scale = np.abs(plain.raw[layer]).max()
    np.testing.assert_allclose(quick.raw[layer], plain.raw[layer], rtol=0, atol=digits * scale)
    np.testing.assert_allclose(quick.scores, plain.scores, rtol=0, atol=digits)


@pytest.mark.parametrize(
    ("fast", "digits"), [("channels_last", 1e-5), ("compile", 1e-5), ("bfloat16", 5e-2)]
)
def test_cotangents_between_layers_are_the_same_within_the_ways_digits(model, images, fast, digits):
    plain = registry.adapter(model)
    returned = plain.run(images, ["body"]).layers["body"].activations
    pulls = dict.fromkeys(("@input", "body.0"), ("body", returned))
    expected = plain.gradients_between(images, pulls)
    for name, found in registry.adapter(model, fast).gradients_between(images, pulls).items():
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(found, expected[name], rtol=0, atol=digits * scale)


@pytest.mark.parametrize("fast", ["channels_last", "bfloat16", "compile"])
def test_the_model_stays_as_it_was(model, images, fast):
    before = copy.deepcopy(model.state_dict())
    strides = {name: tensor.stride() for name, tensor in model.state_dict().items()}
    camcore.explain(model, images, fast=fast)
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == before[name].dtype
        assert tensor.stride() == strides[name]
        assert torch.equal(tensor, before[name])
    assert all("forward" not in module.__dict__ for module in model.modules())


def test_masking_methods_run_fast_as_well(model, images):
    options = {"target": 1, "layer": "body", "method": "scorecam"}
    plain = camcore.explain(model, images, **options)
    quick = camcore.explain(model, images, fast="channels_last", **options)
    np.testing.assert_allclose(quick.maps, plain.maps, rtol=0, atol=1e-5)


def test_ablation_resumes_from_the_copy(model, images):
    options = {"target": 1, "layer": "body", "method": "ablationcam"}
    plain = camcore.explain(model, images, **options)
    quick = camcore.explain(model, images, fast="channels_last", **options)
    np.testing.assert_allclose(quick.maps, plain.maps, rtol=0, atol=1e-5)


def test_the_copy_follows_the_weights(model, images):
    explainer = camcore.Explainer(model, layer="body", fast=True)
    explainer(images, 0)
    with torch.no_grad():
        model.fc.weight.mul_(-2)
    plain = camcore.explain(model, images, 0, layer="body")
    np.testing.assert_allclose(explainer(images, 0).raw["body"], plain.raw["body"], atol=1e-6)
    model.fc.weight = nn.Parameter(torch.ones(5, 8))
    plain = camcore.explain(model, images, 0, layer="body")
    np.testing.assert_allclose(explainer(images, 0).raw["body"], plain.raw["body"], atol=1e-6)


def test_a_layer_object_of_the_model_is_understood(model, images):
    quick = camcore.explain(model, images, 0, layer=model.body, fast=True)
    assert list(quick.raw) == ["body"]


def test_an_unknown_way_is_named_with_those_there_are(model, images):
    with pytest.raises(BackendError, match=r"'warp'.*channels_last, bfloat16, compile"):
        camcore.explain(model, images, fast="warp")


def test_frameworks_without_fast_ways_say_so(keras):
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)])
    with pytest.raises(BackendError, match=r"TensorFlow has no faster way.*leave `fast` out"):
        camcore.Explainer(model, fast=True)


def graphs_of(explain):
    """How many graphs PyTorch compiles for a call."""
    counted = torch._dynamo.utils.counters["stats"]
    before = counted["unique_graphs"]
    explain()
    return counted["unique_graphs"] - before


def test_the_parts_between_which_nothing_is_captured_are_compiled_once(model, images):
    torch._dynamo.reset()  # graphs are shared by all modules of one structure
    quick = camcore.Explainer(model, layer="body.0", fast="compile")
    # The stem, the rest of the head; of the body only its rectifier remains, without weights.
    assert graphs_of(lambda: quick(images, 2)) == 3
    assert graphs_of(lambda: quick(images, 1)) == 0
    for fast in (False, True, "channels_last", "bfloat16"):
        assert graphs_of(lambda way=fast: camcore.explain(model, images, 2, "body", fast=way)) == 0


@pytest.mark.parametrize("method", ["guidedbackprop", "shapleycam"])
def test_passes_that_need_the_graph_itself_are_not_compiled(model, images, method):
    options = {"target": 2, "layer": "body", "method": method}
    plain = camcore.explain(model, images, **options)
    quick = camcore.Explainer(model, layer="body", method=method, fast="compile")
    found = quick(images, 2)
    np.testing.assert_allclose(found.maps, plain.maps, rtol=0, atol=1e-5)
    assert np.ptp(plain.maps) > 0.5
