"""Half and double precision, autocast, and models that are being trained."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from architectures import by_hand, dtypes
from architectures.convolutional import torch_images, torchvision
from architectures.shapes_keras import headed, pictures, seeded

import camcore


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference relative to the largest value."""
    assert one.shape == other.shape
    scale = np.abs(other).max()
    assert scale > 0
    return float(np.abs(one - other).max() / scale)


BY_FORMULA = {
    "gradcam": lambda a, g: (g.mean((2, 3), keepdims=True) * a).sum(1),
    "hirescam": lambda a, g: (g * a).sum(1),
    "layercam": lambda a, g: (np.maximum(g, 0) * a).sum(1),
    "activations": lambda a, g: a.mean(1),
}


@pytest.mark.parametrize("row", dtypes.ARCHITECTURES, ids=str, scope="module")
def test_maps_are_those_of_plain_code_in_the_same_dtype(row, model):
    inputs = row.inputs(2)
    found = camcore.explain(model, inputs, row.target, method=[*BY_FORMULA])
    activations, gradients = by_hand.evidence(row, model, inputs)
    wide = np.float64 if "float64" in row.name else np.float32
    for method, formula in BY_FORMULA.items():
        raw = found[method].raw[row.layer]
        assert (raw.dtype, found[method].maps.dtype) == (wide, np.float32)
        assert apart(raw, formula(activations, gradients)) < 10 * np.finfo(wide).eps


@pytest.fixture(scope="module")
def resnet(torch, require):
    require("torchvision")
    return torchvision("resnet18")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_autocast_around_the_call_is_autocast_of_the_model(torch, resnet, dtype):
    images = torch_images(2)
    row = dtypes.row("resnet18", "torch", 0, make=None, inputs=None, layer="layer4")
    with torch.autocast("cpu", getattr(torch, dtype)):
        found = camcore.explain(resnet, images, 3)
        ablated = camcore.explain(resnet, images[:1], 3, method="ablationcam", layer="layer4")
        expected = by_hand.gradcam(row, resnet, images)
        scores = resnet(images)[:, 3]
    assert scores.dtype == getattr(torch, dtype)
    np.testing.assert_array_equal(found.scores, scores.detach().float())
    assert apart(found.raw["layer4"], expected) < 1e-6
    assert np.isfinite(ablated.maps).all()
    single = camcore.explain(resnet, images, 3).raw["layer4"]
    assert 1e-4 < apart(single, expected) < 0.1


def test_training_goes_on_within_the_same_autocast(torch):
    model = torchvision("resnet18").train()
    images, caches = torch_images(2), []
    hook = model.conv1.register_forward_hook(
        lambda *_: caches.append(torch.is_autocast_cache_enabled())
    )
    with torch.autocast("cpu", torch.bfloat16):
        camcore.explain(model, images, 3)
        assert not any(caches)
        assert torch.is_autocast_cache_enabled()
        hook.remove()
        loss = model(images).float().square().mean()
    loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_a_torch_model_in_train_mode_is_explained_in_eval_and_stays_in_train(torch, require):
    require("torchvision")
    model, images = torchvision("mobilenet_v2"), torch_images(2)
    expected = camcore.explain(model, images, 3, method=["gradcam", "scorecam"], layer="features.1")
    model.train()
    model.features[2].eval()
    modes = [module.training for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    found = camcore.explain(model, images, 3, method=["gradcam", "scorecam"], layer="features.1")
    for method, one in found.items():
        np.testing.assert_array_equal(one.raw["features.1"], expected[method].raw["features.1"])
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(state[name], now) for name, now in model.state_dict().items())
    with torch.no_grad():
        trained = model(images)[:, 3]
    assert apart(trained.numpy(), found["gradcam"].scores) > 0.1


def test_a_keras_model_is_explained_in_inference_while_it_is_trained(keras):
    layers = seeded().layers
    body = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(4, 3, strides=2, name="conv"),
            layers.BatchNormalization(momentum=0.5, name="norm"),
            layers.Dropout(0.5, name="drop"),
        ],
        name="body",
    )
    model = headed(keras, body)
    inputs, labels = pictures(8), np.arange(8) % 4
    maps = []

    def explain(epoch, logs):
        before = model.get_weights()
        maps.append(camcore.explain(model, inputs, 3).raw["body"])
        for old, new in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)

    explain(0, {})
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(
        inputs, labels, epochs=2, verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=explain)],
    )  # fmt: skip
    row = dtypes.row(
        "", "keras", 0, make=None, inputs=None, layer="body",
        arrange=lambda activations: np.moveaxis(np.asarray(activations), -1, 1),
    )  # fmt: skip
    assert apart(maps[-1], by_hand.gradcam(row, model, inputs)) < 1e-5
    assert apart(maps[0], maps[-1]) > 1e-3
    assert apart(np.asarray(model(inputs, training=True)), np.asarray(model(inputs))) > 1e-3
