"""Exported nets of torchvision and timm, against the adapter of the modules they were made from."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_files import exported, of_class, stirred

import camcore
from camcore import registry
from camcore.adapter import INPUT
from camcore_onnx import backend

NETS = {
    "resnet18": ("torchvision", {}, ("layer4", "layer3.1", "layer1", "maxpool")),
    "mobilenet_v3_small": ("torchvision", {}, ("features.12", "features.5", "features.1")),
    "efficientnet_b0": ("torchvision", {}, ("features.8", "features.4", "features.0")),
    "shufflenet_v2_x0_5": ("torchvision", {}, ("conv5", "stage2")),
    "DenseNet": (
        "torchvision",
        {"growth_rate": 8, "block_config": (2, 2), "num_init_features": 16},
        ("features.norm5", "features.denseblock1", "features.pool0"),
    ),
    "VisionTransformer": (
        "torchvision",
        {"image_size": 64, "patch_size": 16, "num_layers": 2, "num_heads": 2, "hidden_dim": 16}
        | {"mlp_dim": 32},
        ("encoder.layers.encoder_layer_1.ln_1", "encoder.layers.encoder_layer_0", "conv_proj"),
    ),
    "vit_tiny_patch16_224": (
        "timm",
        {"img_size": 64, "depth": 2},
        ("blocks.1.norm1", "blocks.0", "patch_embed"),
    ),
    "swin_tiny_patch4_window7_224": (
        "timm",
        {"img_size": 64, "window_size": 4, "depths": (1, 2), "num_heads": (2, 4), "embed_dim": 16},
        ("norm", "layers.1", "layers.0"),
    ),
    "convnext_atto": (
        "timm",
        {"depths": (1, 1, 2, 1), "dims": (8, 16, 32, 64)},
        ("stages.3", "stages.1", "stem"),
    ),
}


@pytest.fixture(scope="module", params=["script", "dynamo"])
def exporter(request, require):
    """One of PyTorch's two exporters; the newer fixes the number of samples."""
    if request.param == "dynamo":
        require("onnxscript")
    return {"dynamo": request.param == "dynamo", "fixed": request.param == "dynamo"}


@pytest.fixture(scope="module", params=NETS)
def net(request, exporter, require, torch):
    """A module, its file and an adapter of each, with images and the layers to look at."""
    family, how, layers = NETS[request.param]
    torch.manual_seed(0)
    if family == "timm":
        model = require("timm").create_model(request.param, num_classes=10, **how)
    else:
        model = getattr(require("torchvision").models, request.param)(num_classes=10, **how)
    images = np.random.default_rng(0).normal(size=(3, 3, 64, 64)).astype(np.float32)
    stirred(model)
    file = exported(model, [images], **exporter)
    return model, file, images, layers


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    scale = float(np.abs(expected).max())
    assert scale > 0
    return float(np.abs(found - expected).max()) / scale


def test_gradients_are_those_of_the_module(net):
    model, file, images, layers = net
    seeds = [of_class(0), of_class(7)]
    asked = [*layers, INPUT]
    expected = registry.adapter(model).run(images, asked, seeds)
    found = backend.adapt(file).run(images, asked, seeds)
    assert relative(found.outputs[""], expected.outputs[""]) < 1e-5
    for name in asked:
        own, other = found.layers[name], expected.layers[name]
        assert relative(own.activations, other.activations) < 1e-5, name
        for gradient, wanted in zip(own.gradients, other.gradients, strict=True):
            assert relative(gradient, wanted) < 1e-5, name


def test_maps_are_those_of_the_module(net):
    model, file, images, layers = net
    for how in ({}, {"layer": layers[-1]}, {"layer": layers[0], "method": "hirescam"}):
        expected = camcore.Explainer(model, **how)(images, target=3)
        found = camcore.Explainer(backend.adapt(file), **how)(images, target=3)
        for own, other in zip(found.raw.values(), expected.raw.values(), strict=True):
            assert relative(own, other) < 1e-5


def test_going_on_from_a_layer_is_that_of_the_module(net):
    model, file, images, layers = net
    adapter, one = backend.adapt(file), images[:1]
    for name in layers[:2]:
        own = adapter.run(one, [name]).layers[name].activations
        altered = np.concatenate([own, 0.5 * own, 0 * own, own[..., ::-1]])
        with adapter.resume(one, name) as head, registry.adapter(model).resume(one, name) as other:
            assert relative(head(altered)[""], other(altered)[""]) < 1e-5, name


@pytest.mark.parametrize(
    ("method", "options", "pool"),
    [
        ("legrad", {}, "token"),
        ("legrad", {"scored": "block"}, "token"),
        ("legrad", {"scored": "block"}, "map"),
        ("relevancy", {}, "token"),
        ("rollout", {}, "token"),
    ],
)
def test_attention_is_that_of_the_module(torch, require, method, options, pool):
    torch.manual_seed(0)
    how = {"img_size": 64, "depth": 2, "num_classes": 10, "global_pool": pool}
    model = stirred(require("timm").create_model("vit_tiny_patch16_224", **how))
    images = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    file = backend.adapt(exported(model, [images]))
    expected, found = (
        camcore.Explainer(one, method=method, **options)(images, target=3) for one in (model, file)
    )
    assert list(found.raw) == list(expected.raw)
    np.testing.assert_allclose(found.maps, expected.maps, rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", ["fullgrad", "scorecam", "ablationcam", "guidedgradcam", "cam"])
def test_other_methods_give_the_same_maps(torch, require, method):
    torch.manual_seed(0)
    model = stirred(require("torchvision").models.resnet18(num_classes=10))
    images = np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32)
    expected = camcore.Explainer(model, method=method)(images, target=3)
    found = camcore.Explainer(backend.adapt(exported(model, [images])), method=method)(
        images, target=3
    )
    assert list(found.raw) == list(expected.raw)
    np.testing.assert_allclose(found.maps, expected.maps, rtol=0, atol=2e-5)


def test_the_layer_of_a_transformer_in_memory_is_found(torch, require):
    """Nothing can refer weakly to a `ModelProto`, by which facts are kept of other models."""
    how = {"image_size": 64, "patch_size": 16, "num_layers": 2, "num_heads": 2, "hidden_dim": 16}
    torch.manual_seed(0)
    model = require("torchvision").models.VisionTransformer(mlp_dim=32, num_classes=10, **how)
    images = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    file = exported(stirred(model), [images])
    (found,), (expected,) = (camcore.explain(one, images, 3).raw.values() for one in (file, model))
    assert relative(found, expected) < 1e-5
