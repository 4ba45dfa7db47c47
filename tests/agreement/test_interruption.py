"""Stopped in the middle of its many passes, a method leaves the model as it was."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore.targets import Class

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 8, 8, 3)).astype(np.float32)
FEW = {"masks": 40, "cells": 3, "window": 4, "stride": 2, "steps": 9, "samples": 9}
# At which of its calls the target is interrupted: the first is the traced pass.
METHODS = {
    "scorecam": 2,
    "sscam": 5,
    "iscam": 5,
    "ablationcam": 2,
    "occlusion": 3,
    "rise": 4,
    "smoothgrad": 4,
    "smoothgradcampp": 4,
    **dict.fromkeys(("smoothgradsq", "vargrad", "integratedgradients", "idgi"), 4),
    **dict.fromkeys(("gradientshap", "guidedig", "blurig", "xrai"), 4),
    "shapleycam": 2,
    "guidedgradcam": 2,
    "deconvnet": 2,
    "fullgrad": 2,
}


class Interrupted(Class):
    """Ctrl-C while the score is being computed."""

    def __init__(self, index, at):
        super().__init__(index)
        self.left = [at]  # shared with the settled copies

    def __call__(self, outputs):
        self.left[0] -= 1
        if not self.left[0]:
            raise KeyboardInterrupt
        return super().__call__(outputs)


@pytest.fixture(scope="module")
def torch_net(torch):
    nn = torch.nn
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
    model = nn.Sequential(features, nn.Dropout(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    # A hidden layer: without one Ablation-CAM needs no further pass to interrupt.
    model.extend([nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5)])
    features[0].weight.requires_grad_(False)
    model[1].eval()
    return model, np.moveaxis(IMAGES, -1, 1), "0.2"


@pytest.fixture(scope="module")
def keras_net(keras):
    layers = keras.layers
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.ReLU(name="relu"),
            layers.Dropout(0.5),
            layers.GlobalAveragePooling2D(),
            layers.Dense(6, activation="tanh"),
            layers.Dense(5),
        ]
    )
    model.layers[0].trainable = False
    return model, IMAGES, "relu"


@pytest.fixture(params=["torch_net", "keras_net"])
def net(request):
    return request.getfixturevalue(request.param)


def parts(model):
    if hasattr(model, "named_modules"):
        return [module for _, module in model.named_modules()]
    return [model, *model._flatten_layers(include_self=False)]


def state(model):
    """All that hangs on the model and its parts, by identity, and its weights by value."""

    def held(value):
        if isinstance(value, dict):
            return list(map(id, value)), list(map(id, value.values()))
        return list(map(id, value)) if isinstance(value, list) else None

    attributes = [{k: (id(v), held(v)) for k, v in vars(part).items()} for part in parts(model)]
    if not hasattr(model, "parameters"):
        return attributes, [weight.tobytes() for weight in model.get_weights()]
    weights = [
        (p._version, p.requires_grad, p.grad, p.detach().numpy().tobytes())
        for p in (*model.parameters(), *model.buffers())
    ]
    return attributes, weights


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_method_leaves_the_model_as_it_was(net, method):
    model, images, layer = net
    taken = camcore.methods.find(method).takes()
    options = {name: value for name, value in FEW.items() if name in taken}
    options |= {"batch_size": 3} if "batch_size" in taken else {}
    explainer = camcore.Explainer(model, layer=layer, method=method, **options)
    expected = explainer(images, 1).maps
    before = state(model)
    target = Interrupted(1, METHODS[method])
    with pytest.raises(KeyboardInterrupt):
        explainer(images, target)
    assert target.left == [0], "stopped elsewhere"
    assert state(model) == before
    np.testing.assert_array_equal(explainer(images, 1).maps, expected)
    assert state(model) == before


def test_a_model_interrupted_in_its_own_pass_is_as_it_was(torch, torch_net):
    model, images, layer = torch_net
    passes = []

    def stop(*_):
        passes.append(None)
        if len(passes) == 3:
            raise KeyboardInterrupt

    hook = model[0][1].register_forward_pre_hook(stop)
    try:
        before = state(model)
        with pytest.raises(KeyboardInterrupt):
            camcore.explain(model, images, 1, layer, "scorecam", batch_size=1)
        assert len(passes) == 3
        assert state(model) == before
    finally:
        hook.remove()
