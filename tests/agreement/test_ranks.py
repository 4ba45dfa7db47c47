"""Signals, images and volumes: with the same weights both frameworks give the same maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import camcore
from camcore.errors import MethodError
from camcore.methods import TABLE, find

CLASSES = 5
BATCH = 2
TARGET = [3, 1]

LAYERS = ["relu1", "relu2"]
HEADS = ["pooled", "flattened"]

# The networks have no attention, and no tokens.
NAMES = [method.name for method in TABLE if method.level in ("layer", "scales", "input")]
SEGMENTING = {"xrai"}
"""Methods that segment the input, which has two spatial axes then."""

# Settings that keep the further passes few.
FEW = {"masks": 12, "cells": 3, "window": 5, "stride": 3, "samples": 2, "steps": 2}

# Adam divides a gradient by its size, and so keeps the rounding of small ones.
ROUNDED = {"opticam": 1e-10}

# No mask shows more of the class than the blurred signal does.
EMPTY = {("groupcam", 1, "pooled")}


@dataclass(frozen=True)
class Shape:
    """Of a network: its input, its kernels, the channels of its two convolutions.

    Between them comes max-pooling, or the second strides.
    """

    channels: int
    size: tuple[int, ...]
    kernel: int
    features: tuple[int, int]
    strided: bool = False

    @property
    def rank(self) -> int:
        return len(self.size)

    @property
    def grid(self) -> tuple[int, ...]:
        """Spatial size after the second convolution."""
        return tuple((side - self.kernel * self.strided) // 2 + self.strided for side in self.size)


# TensorFlow has no pooling of volumes in double precision on a CPU.
SHAPES = {
    "signal": Shape(channels=2, size=(64,), kernel=7, features=(6, 8)),
    "image": Shape(channels=3, size=(14, 18), kernel=3, features=(6, 8)),
    "volume": Shape(channels=1, size=(9, 7, 11), kernel=3, features=(4, 6), strided=True),
}


def drawn(shape: Shape, head: str) -> dict[str, np.ndarray]:
    """Weights by name, in PyTorch's layout; batch statistics that change what they normalise."""
    rng = np.random.default_rng([shape.rank, HEADS.index(head)])
    weights = {}

    def linear(name, outputs, inputs, *kernel):
        scale = np.sqrt(2 / (inputs * np.prod(kernel)))
        weights[f"{name}.weight"] = rng.normal(0, scale, (outputs, inputs, *kernel))
        weights[f"{name}.bias"] = rng.normal(0, 0.3, outputs)

    first, second = shape.features
    kernel = [shape.kernel] * shape.rank
    for name, outputs, inputs in (("1", first, shape.channels), ("2", second, first)):
        linear(f"conv{name}", outputs, inputs, *kernel)
        weights[f"bn{name}.weight"] = rng.uniform(0.5, 1.5, outputs)
        weights[f"bn{name}.bias"] = rng.normal(0, 0.3, outputs)
        weights[f"bn{name}.running_mean"] = rng.normal(0, 0.3, outputs)
        weights[f"bn{name}.running_var"] = rng.uniform(0.5, 2, outputs)
    if head == "pooled":
        linear("fc", CLASSES, second)
    else:
        linear("hidden", 6, second * int(np.prod(shape.grid)))
        linear("fc", CLASSES, 6)
    return weights


def in_torch(torch, shape: Shape, head: str, weights: dict[str, np.ndarray]):
    nn, dims = torch.nn, f"{shape.rank}d"
    conv, norm = getattr(nn, f"Conv{dims}"), getattr(nn, f"BatchNorm{dims}")
    first, second = shape.features
    same = {"padding": "same"}
    layers = {
        "conv1": conv(shape.channels, first, shape.kernel, **same),
        "bn1": norm(first, eps=1e-3),
        "relu1": nn.ReLU(inplace=True),
        "pool": nn.Identity() if shape.strided else getattr(nn, f"MaxPool{dims}")(2),
        "conv2": conv(first, second, shape.kernel, **({"stride": 2} if shape.strided else same)),
        "bn2": norm(second, eps=1e-3),
        "relu2": nn.ReLU(inplace=True),
    }
    if head == "pooled":
        layers["gap"] = getattr(nn, f"AdaptiveAvgPool{dims}")(1)
    layers["flatten"] = nn.Flatten()
    if head == "flattened":
        layers["hidden"] = nn.Linear(weights["hidden.weight"].shape[1], 6)
        layers["tanh"] = nn.Tanh()
    layers["fc"] = nn.Linear(second if head == "pooled" else 6, CLASSES)
    model = nn.Sequential()
    for name, layer in layers.items():
        model.add_module(name, layer)
    state = {name: torch.from_numpy(value) for name, value in weights.items()}
    missing, unknown = model.double().load_state_dict(state, strict=False)
    assert not unknown
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return model


def in_keras(keras, shape: Shape, head: str, weights: dict[str, np.ndarray]):
    layers, dims = keras.layers, f"{shape.rank}D"
    first, second = shape.features
    chain = [keras.Input((*shape.size, shape.channels))]
    for name, features in (("1", first), ("2", second)):
        how = {"strides": 2} if name == "2" and shape.strided else {"padding": "same"}
        chain += [
            getattr(layers, f"Conv{dims}")(features, shape.kernel, name=f"conv{name}", **how),
            layers.BatchNormalization(epsilon=1e-3, name=f"bn{name}"),
            layers.ReLU(name=f"relu{name}"),
        ]
        if name == "1" and not shape.strided:
            chain.append(getattr(layers, f"MaxPooling{dims}")(2))
    if head == "pooled":
        chain.append(getattr(layers, f"GlobalAveragePooling{dims}")())
    else:
        chain += [layers.Flatten(), layers.Dense(6, activation="tanh", name="hidden")]
    model = keras.Sequential([*chain, layers.Dense(CLASSES, name="fc")])
    for name in ("conv1", "bn1", "conv2", "bn2", *["hidden"] * (head != "pooled"), "fc"):
        own = [value for key, value in weights.items() if key.split(".")[0] == name]
        kernel = own[0]
        if name == "hidden":
            # Keras flattens with channels last.
            kernel = np.moveaxis(kernel.reshape(6, second, *shape.grid), 1, -1).reshape(6, -1)
        if kernel.ndim > 1:
            kernel = np.moveaxis(kernel, (0, 1), (-1, -2))
        model.get_layer(name).set_weights([kernel, *own[1:]])
    return model


@pytest.fixture(scope="module", params=SHAPES)
def shape(request) -> Shape:
    return SHAPES[request.param]


@pytest.fixture(scope="module", params=HEADS)
def head(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def pair(torch, keras, double, one_thread, shape, head):
    """The same model and batch, by framework."""
    weights = drawn(shape, head)
    images = np.random.default_rng(shape.rank).normal(size=(BATCH, shape.channels, *shape.size))
    with double():
        keras_model = in_keras(keras, shape, head, weights)
    return {
        "torch": (in_torch(torch, shape, head, weights), images),
        "keras": (keras_model, np.moveaxis(images, 1, -1)),
    }


@pytest.fixture(scope="module")
def explained(pair, head, shape):
    """By framework, what every method says at the last layer."""
    return {
        framework: camcore.explain(model, images, TARGET, "relu2", applicable(head, shape), **FEW)
        for framework, (model, images) in pair.items()
    }


def applicable(head: str, shape: Shape) -> list[str]:
    left_out = {"cam"} if head != "pooled" else set()
    left_out |= SEGMENTING if shape.rank != 2 else set()
    return [name for name in NAMES if name not in left_out]


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference relative to the largest value."""
    assert one.shape == other.shape
    scale = np.abs(one).max()
    assert scale > 1e-6, "the maps agree in being empty"
    return float(np.abs(one - other).max() / scale)


def test_the_models_are_one(pair):
    (torch_model, images), (keras_model, turned) = pair.values()
    import torch

    with torch.no_grad():
        expected = torch_model.eval()(torch.from_numpy(images)).numpy()
    assert apart(expected, keras_model(turned, training=False).numpy()) <= 1e-13


def test_signed_and_shown_maps_agree(explained, shape, head):
    for torch, keras in zip(*(results.values() for results in explained.values()), strict=True):
        ((layer, one),), ((same, other),) = torch.raw.items(), keras.raw.items()
        assert (torch.method, layer) == (keras.method, same)
        if (torch.method, shape.rank, head) in EMPTY:
            assert not one.any()
            assert not other.any()
            continue
        assert apart(one, other) <= ROUNDED.get(torch.method, 1e-12), torch.method
        assert one.dtype == other.dtype == np.float64
        assert torch.maps.shape == keras.maps.shape == (BATCH, *shape.size)
        np.testing.assert_allclose(torch.maps, keras.maps, rtol=0, atol=1e-6)
        assert apart(torch.scores, keras.scores) <= 1e-12


def test_cam_needs_a_pooled_head(pair, head):
    for model, images in pair.values():
        if head == "pooled":
            assert camcore.explain(model, images, TARGET, method="cam").raw["relu2"].any()
        else:
            with pytest.raises(MethodError, match="global average pooling"):
                camcore.explain(model, images, TARGET, "relu2", "cam")


def test_the_last_rectifier_is_chosen(pair):
    for model, images in pair.values():
        assert camcore.Explainer(model).layers(images) == ("relu2",)


def test_regions_that_are_given_may_be_of_any_rank(pair, shape):
    regions = np.zeros((2, *shape.size), bool)
    regions[0, : shape.size[0] // 2] = regions[1, ..., 2:] = True
    torch, keras = (
        camcore.explain(model, images, TARGET, method="xrai", steps=3, regions=regions)
        for model, images in pair.values()
    )
    assert apart(torch.raw["@input"], keras.raw["@input"]) <= 1e-12


@pytest.mark.parametrize("method", ["gradcam", "refinecam"])
def test_joined_layers_agree(pair, shape, method):
    torch, keras = (
        camcore.explain(model, images, TARGET, LAYERS, method) for model, images in pair.values()
    )
    for layer in LAYERS:
        assert apart(torch.raw[layer], keras.raw[layer]) <= 1e-12
    assert torch.maps.shape == (BATCH, *shape.size)
    np.testing.assert_allclose(torch.maps, keras.maps, rtol=0, atol=1e-6)


def test_a_smooth_head_makes_shapleycam_differ_from_gradcam(explained, head):
    for results in explained.values():
        shapley, gradcam = (results[name].raw["relu2"] for name in ("shapleycam", "gradcam"))
        assert (apart(shapley, gradcam) > 1e-3) == (head == "flattened")


def test_guidance_changes_the_gradients(explained):
    for results in explained.values():
        guided, plain = (results[name].raw["@input"] for name in ("guidedbackprop", "saliency"))
        assert apart(guided, plain) > 0.05


def test_options_of_the_table_are_all_used():
    assert set(FEW) <= {option for method in TABLE for option in find(method).takes()}
