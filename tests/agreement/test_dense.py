"""Segmentations and embeddings: the NumPy targets give what each framework's autograd gives."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import camcore
from camcore.targets import Segmentation, Similarity

CLASSES = 4
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 3, 12, 10))
MASK = np.zeros((12, 10))
MASK[2:7, 3:9] = 1
MASKS = np.stack([MASK, RNG.random((12, 10))])
KERNELS = [RNG.normal(0, (9 * c) ** -0.5, (f, c, 3, 3)) for c, f in ((3, 6), (6, 5), (5, CLASSES))]
BIASES = [RNG.normal(0, 0.3, len(kernel)) for kernel in KERNELS]
REFERENCE = RNG.normal(size=(CLASSES, 12, 10))
NAMES = ("conv1", "conv2", "score")


def in_torch(torch, last=None):
    nn = torch.nn
    model = nn.Sequential()
    for name, kernel, bias in zip(NAMES, KERNELS, BIASES, strict=True):
        conv = nn.Conv2d(*kernel.shape[1::-1], 3, padding=1).double()
        conv.load_state_dict({"weight": torch.from_numpy(kernel), "bias": torch.from_numpy(bias)})
        model.add_module(name, conv)
        if name != "score":
            model.add_module(name.replace("conv", "relu"), nn.ReLU(inplace=True))
    if last is not None:
        model.add_module("last", last)
    return model


def in_keras(keras, activation=None):
    layers = keras.layers
    chain = [keras.Input((None, None, 3))]
    for name, kernel in zip(NAMES, KERNELS, strict=True):
        how = {"activation": activation} if name == "score" else {}
        chain.append(layers.Conv2D(len(kernel), 3, padding="same", name=name, **how))
        if name != "score":
            chain.append(layers.ReLU(name=name.replace("conv", "relu")))
    model = keras.Sequential(chain)
    for name, kernel, bias in zip(NAMES, KERNELS, BIASES, strict=True):
        model.get_layer(name).set_weights([kernel.transpose(2, 3, 1, 0), bias])
    return model


@pytest.fixture(scope="module")
def segmenters(torch, keras, double):
    """The same network in both frameworks, without and with a softmax over classes at its end."""
    with double():
        bare, ended = in_keras(keras), in_keras(keras, "softmax")
    return {
        "torch": SimpleNamespace(
            bare=in_torch(torch), ended=in_torch(torch, torch.nn.Softmax(1)), images=IMAGES, axis=1
        ),
        "keras": SimpleNamespace(
            bare=bare, ended=ended, images=np.moveaxis(IMAGES, 1, -1), axis=-1
        ),
    }


@pytest.fixture(params=["torch", "keras"])
def own(request, segmenters):
    return segmenters[request.param]


@pytest.fixture(scope="module")
def direct(torch):
    """Activations, gradients and scores of a class in a region, by PyTorch's autograd alone."""

    def compute(classes, mask):
        model = in_torch(torch)
        features = model[:4](torch.from_numpy(IMAGES)).detach().requires_grad_()
        scores = model[4:](features)[range(2), classes]
        scores = (scores * torch.from_numpy(np.broadcast_to(mask, (2, 12, 10)).copy())).sum((1, 2))
        (gradients,) = torch.autograd.grad(scores.sum(), features)
        return features.detach().numpy(), gradients.numpy(), scores.detach().numpy()

    return compute


TARGETS = {
    "everywhere": (Segmentation(1), [1, 1], np.ones((12, 10))),
    "a mask": (Segmentation(2, MASK > 0), [2, 2], MASK),
    "one each": (Segmentation([3, 0], MASKS), [3, 0], MASKS),
}


@pytest.mark.parametrize("case", TARGETS)
def test_segmentations_equal_the_direct_computation(own, direct, case):
    target, classes, mask = TARGETS[case]
    activations, gradients, scores = direct(classes, mask)
    results = camcore.explain(own.bare, own.images, target, "relu2", ["gradcam", "hirescam"])
    for name, result in results.items():
        expected = getattr(camcore.methods, name)(activations, gradients)
        np.testing.assert_allclose(result.raw["relu2"], expected, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(result.scores, scores, rtol=1e-12)
        np.testing.assert_array_equal(result.classes, classes)
        assert result.maps.shape == (2, 12, 10)


def test_the_predicted_class_is_the_one_most_positions_have(own):
    result = camcore.explain(own.bare, own.images, Segmentation(mask=MASK), "relu2")
    predicted = result.outputs.argmax(axis=own.axis)[:, MASK > 0]
    expected = [np.bincount(one, minlength=CLASSES).argmax() for one in predicted]
    np.testing.assert_array_equal(result.classes, expected)
    named = camcore.explain(own.bare, own.images, Segmentation(expected, MASK), "relu2")
    np.testing.assert_array_equal(result.maps, named.maps)


FURTHER = {
    "scorecam": {},
    "ablationcam": {},
    "occlusion": {"window": 4, "stride": 3},
    "saliency": {},
    "integratedgradients": {"steps": 2},
    "shapleycam": {},
}


@pytest.mark.parametrize("method", FURTHER)
def test_methods_with_further_passes_agree(segmenters, method):
    maps = []
    for own in segmenters.values():
        result = camcore.explain(
            own.bare, own.images, Segmentation([3, 0], MASKS), "relu2", method, **FURTHER[method]
        )
        (raw,) = result.raw.values()
        maps.append(raw)
    np.testing.assert_allclose(*maps, rtol=0, atol=1e-10 * np.abs(maps[0]).max())


def test_scores_before_a_softmax_over_classes_are_explained(own):
    target = Segmentation(1, MASK)
    bare = camcore.explain(own.bare, own.images, target, "relu2")
    ended = camcore.explain(own.ended, own.images, target, "relu2")
    assert ended.activation == "softmax"
    np.testing.assert_allclose(ended.raw["relu2"], bare.raw["relu2"], rtol=1e-10, atol=1e-12)
    output = camcore.explain(own.ended, own.images, target, "relu2", score="output")
    assert np.all(output.scores < MASK.sum())
    assert np.abs(output.raw["relu2"] - bare.raw["relu2"]).max() > 1e-3


def test_similarity_equals_the_direct_computation(torch, own):
    """The scores at all positions are taken for an embedding."""
    model = in_torch(torch)
    features = model[:4](torch.from_numpy(IMAGES)).detach().requires_grad_()
    other = torch.from_numpy(REFERENCE.ravel())[None]
    scores = torch.nn.functional.cosine_similarity(model[4:](features).flatten(1), other)
    (gradients,) = torch.autograd.grad(scores.sum(), features)
    expected = camcore.methods.gradcam(features.detach().numpy(), gradients.numpy())
    target = Similarity(np.moveaxis(REFERENCE[None], 1, own.axis)[0])
    result = camcore.explain(own.bare, own.images, target, "relu2")
    np.testing.assert_allclose(result.raw["relu2"], expected, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(result.scores, scores.detach().numpy(), rtol=1e-12)
    assert result.classes is None
