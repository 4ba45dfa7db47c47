"""Ablation-CAM on ResNet-50 resumes from the layer, and equals running the whole model."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore import methods
from camcore.targets import Probability

CHANNELS = np.random.default_rng(0).choice(2048, 64, replace=False)


@pytest.fixture(scope="module")
def photograph(photographs) -> np.ndarray:
    """Standardised, ``(1, 3, 224, 224)``."""
    photo = photographs["chelsea"][30:254, 100:324] / 255
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return ((photo - mean) / std).transpose(2, 0, 1)[None].astype(np.float32)


def torch_scores(torch, photograph):
    """Score of the predicted class, and with each channel taken out by the whole model."""
    torch.manual_seed(0)
    from torchvision.models import resnet50

    model = resnet50(weights=None).eval()
    images = torch.from_numpy(photograph)

    def whole(mask: np.ndarray) -> np.ndarray:
        zeroing = model.layer4[-1].register_forward_hook(
            lambda module, given, output: output * torch.from_numpy(mask)[:, :, None, None]
        )
        with torch.no_grad():
            scores = model(images.expand(len(mask), -1, -1, -1)).numpy()
        zeroing.remove()
        return scores

    return model, photograph, "layer4.2", whole


def keras_scores(keras, photograph):
    """The same in Keras, by an altered call of the layer."""
    keras.utils.set_random_seed(0)
    model = keras.applications.ResNet50(weights=None, classifier_activation=None)
    images = np.ascontiguousarray(photograph.transpose(0, 2, 3, 1))
    layer = model.get_layer("conv5_block3_out")

    def whole(mask: np.ndarray) -> np.ndarray:
        call = layer.call
        layer.__dict__["call"] = lambda x: call(x) * mask[:, None, None]
        try:
            return model(np.repeat(images, len(mask), axis=0), training=False).numpy()
        finally:
            del layer.__dict__["call"]

    return model, images, "conv5_block3_out", whole


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_resuming_equals_the_whole_model(framework, request, photograph):
    make = {"torch": torch_scores, "keras": keras_scores}[framework]
    model, images, layer, whole = make(request.getfixturevalue(framework), photograph)
    explainer = camcore.Explainer(model, layer=layer, method="ablationcam", progress=False)
    evidence = explainer.evidence(images)
    predicted = int(evidence.scored.classes[0])

    ablated = np.repeat(evidence.activations, len(CHANNELS), axis=0)
    ablated[np.arange(len(CHANNELS)), CHANNELS] = 0
    with evidence.resume(0) as score:
        resumed = score(ablated)
    mask = np.ones((len(CHANNELS), 2048), np.float32)
    mask[np.arange(len(CHANNELS)), CHANNELS] = 0
    expected = np.concatenate([whole(part)[:, predicted] for part in np.split(mask, 8)])
    np.testing.assert_allclose(resumed, expected, rtol=1e-5)

    # The map is the channels' sum by those very weights.
    weights = np.zeros(2048)
    with evidence.resume(0) as score:
        for start in range(0, 2048, 256):
            part = np.repeat(evidence.activations, 256, axis=0)
            part[np.arange(256), np.arange(start, start + 256)] = 0
            weights[start : start + 256] = 1 - score(part) / evidence.scores[0]
    expected = np.einsum("c,chw->hw", weights, evidence.activations[0].astype(float))
    replayed = methods.ablationcam(evidence.activations, evidence.scores, evidence.resume)
    np.testing.assert_allclose(replayed[0], expected, atol=1e-5 * np.abs(expected).max())


def torch_network(torch, double):
    """ResNet-18 in double precision, and two images."""
    torch.manual_seed(0)
    from torchvision.models import resnet18

    return resnet18(weights=None).double().eval(), torch.randn(2, 3, 64, 64).double(), "layer4"


def keras_network(keras, double):
    """A small network in double precision, and two images."""
    with double():
        keras.utils.set_random_seed(0)
        images = keras.Input((16, 16, 3))
        last = keras.layers.Conv2D(32, 3, activation="relu", name="last")(images)
        pooled = keras.layers.GlobalAveragePooling2D()(last)
        model = keras.Model(images, keras.layers.Dense(5, activation="softmax")(pooled))
    return model, np.random.default_rng(0).normal(size=(2, 16, 16, 3)), "last"


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_behind_pooling_and_a_linear_layer_nothing_is_replayed(
    framework, request, double, monkeypatch
):
    make = {"torch": torch_network, "keras": keras_network}[framework]
    model, images, layer = make(request.getfixturevalue(framework), double)
    explainer = camcore.Explainer(model, layer=layer, method="ablationcam", progress=False)
    evidence = explainer.evidence(images)
    replayed = methods.ablationcam(evidence.activations, evidence.scores, evidence.resume)

    kind, calls = type(evidence.adapter), []
    resume = kind.resume

    def counted(*given, **options):
        calls.append(given)
        return resume(*given, **options)

    monkeypatch.setattr(kind, "resume", counted)
    (raw,) = explainer(images).raw.values()
    assert calls == []
    np.testing.assert_allclose(raw, replayed, atol=1e-9 * np.abs(replayed).max())
    assert np.abs(replayed).max() > 1e-3
    explainer(images, Probability(1))
    assert len(calls) == 2
