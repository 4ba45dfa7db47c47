"""The network that studies train is the same in PyTorch and in Keras, and so is its training."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

from camcore import registry
from camcore.metrics.sanity import randomiser
from camcore.studies.sanity import SHAPES, drawn

FRAMEWORKS = ("torch", "tensorflow")
NARROW = {
    "conv1": ((4, 1, 5, 5), (4,)),
    "conv2": ((6, 4, 3, 3), (6,)),
    "fc1": ((12, 6 * 4 * 4), (12,)),
    "fc2": ((5, 12), (5,)),
}
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.uniform(size=(7, 1, 16, 16)).astype(np.float32)
LABELS = np.array([0, 1, 2, 3, 4, 0, 1])


@pytest.fixture(scope="module")
def train(torch, keras):
    return {name: import_module(f"camcore_{name}.small_cnn").train for name in FRAMEWORKS}


def parameters(shapes, bias=0.1):
    """Glorot's kernels, and biases that show where they are added."""
    random = np.random.default_rng(1)
    return {
        name: [
            drawn(np.zeros(kernel), random),
            random.normal(0, bias, biases).astype(np.float32),
        ]
        for name, (kernel, biases) in shapes.items()
    }


def outputs(network, images):
    adapter = registry.adapter(network)
    shown = images if adapter.input_channels == "first" else np.moveaxis(images, 1, -1)
    return adapter.run(shown).outputs[""]


def by_hand(weights, images):
    """The logits by NumPy alone."""
    x = images
    for name in ("conv1", "conv2"):
        kernel, bias = weights[name]
        ring = kernel.shape[-1] // 2
        padded = np.pad(x, ((0, 0), (0, 0), (ring, ring), (ring, ring)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[-2:], (2, 3))
        x = np.einsum("bchwkl,ockl->bohw", windows, kernel) + bias[:, None, None]
        b, c, h, w = x.shape
        x = np.maximum(x, 0).reshape(b, c, h // 2, 2, w // 2, 2).max((3, 5))
    kernel, bias = weights["fc1"]
    x = np.maximum(x.reshape(len(x), -1) @ kernel.T + bias, 0)
    kernel, bias = weights["fc2"]
    return x @ kernel.T + bias


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_logits_are_those_computed_by_hand(train, framework):
    weights = parameters(NARROW)
    network = train[framework](weights, [])
    expected = by_hand({k: [a.astype(np.float64) for a in v] for k, v in weights.items()}, IMAGES)
    assert np.ptp(expected) > 0.5
    np.testing.assert_allclose(outputs(network, IMAGES), expected, atol=1e-5)


def test_both_have_the_same_layers_parameters_and_logits(train):
    """As the study has them, in full size."""
    weights = parameters(SHAPES)
    networks = {name: of(weights, []) for name, of in train.items()}
    every = {}
    for name, network in networks.items():
        adapter = registry.adapter(network)
        found = adapter.parameters()
        assert list(found) == list(SHAPES)
        for layer, arrays in found.items():
            for array, expected in zip(arrays, weights[layer], strict=True):
                np.testing.assert_array_equal(array, expected)
        every[name] = [layer.name for layer in adapter.layers()]
    layers = ["conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "flatten"]
    layers += ["fc1", "relu3", "fc2"]
    assert [name for name in every["torch"] if name] == layers
    reordered = [name for name in every["tensorflow"] if name in layers]
    assert reordered == layers
    images = RANDOM.uniform(size=(5, 1, 28, 28)).astype(np.float32)
    one, other = (outputs(network, images) for network in networks.values())
    assert one.shape == (5, 10)
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_same_draw_gives_the_same_network(train):
    weights = parameters(NARROW)
    one, other = (
        outputs(randomiser(of(weights, []), draw=drawn)(["fc1", "conv2"], 3), IMAGES)
        for of in train.values()
    )
    np.testing.assert_allclose(one, other, atol=1e-5)
    assert np.abs(one - by_hand(weights, IMAGES)).max() > 0.05


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_adam_first_steps_along_the_sign_of_the_gradient(train, framework):
    """Of the last bias it is the mean of probabilities less one at the label."""
    weights = parameters(NARROW)
    network = train[framework](weights, [(IMAGES, LABELS)], rate=0.01)
    logits = by_hand(weights, IMAGES)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    error = odds / odds.sum(axis=1, keepdims=True) - np.eye(5)[LABELS]
    gradient = error.mean(axis=0)
    assert np.abs(gradient).min() > 1e-3
    moved = registry.adapter(network).parameters()["fc2"][1] - weights["fc2"][1]
    np.testing.assert_allclose(moved, -0.01 * np.sign(gradient), rtol=1e-4)


def test_training_is_the_same_in_both_and_repeats_itself(train):
    weights = parameters(NARROW)
    batches = [(IMAGES, LABELS), (IMAGES[:3], LABELS[:3])] * 5
    found = {name: outputs(of(weights, batches, rate=0.01), IMAGES) for name, of in train.items()}
    np.testing.assert_allclose(found["torch"], found["tensorflow"], atol=1e-4)
    assert np.abs(found["torch"] - by_hand(weights, IMAGES)).max() > 0.2
    for name, of in train.items():
        again = outputs(of(weights, batches, rate=0.01), IMAGES)
        np.testing.assert_allclose(again, found[name], atol=1e-5)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_what_it_begins_with_is_not_written_to(train, framework):
    weights = parameters(NARROW)
    before = {name: [array.copy() for array in arrays] for name, arrays in weights.items()}
    train[framework](weights, [(IMAGES, LABELS)])
    for name, arrays in weights.items():
        for array, kept in zip(arrays, before[name], strict=True):
            np.testing.assert_array_equal(array, kept)
