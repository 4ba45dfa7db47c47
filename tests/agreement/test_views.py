"""Averages over views, leading components and concepts are the same in both frameworks."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore.augment import FLIPS_AND_SCALES, Flip, Zoom, crops
from camcore.targets import Probability

CLASSES = 5
TARGET = [3, 1]
VIEWS = (*FLIPS_AND_SCALES, Flip(-2), Zoom(1.25))
FEW = {"masks": 8, "cells": 3, "window": 5, "stride": 4, "samples": 2, "steps": 2}
SMOOTHED = ["cam", "gradcam", "gradcampp", "xgradcam", "hirescam", "layercam", "shapleycam"]
VIEWED = [*SMOOTHED, "eigencam", "scorecam", "ablationcam", "smoothgradcampp", "guidedgradcam"]
AT_THE_INPUT = ["occlusion", "rise", "saliency", "smoothgrad", "integratedgradients", "fullgrad"]


@pytest.fixture(scope="module")
def pair(torch, keras, double):
    """A network for images of any size, with the same weights in double precision."""
    rng = np.random.default_rng(0)
    kernels = [rng.normal(0, (9 * c) ** -0.5, (3, 3, c, f)) for c, f in ((3, 6), (6, 8))]
    kernels.append(rng.normal(size=(8, CLASSES)))
    biases = [rng.normal(0, 0.3, kernel.shape[-1]) for kernel in kernels]
    images = rng.normal(size=(2, 12, 16, 3))
    with double():
        layers = keras.layers
        keras_model = keras.Sequential(
            [
                keras.Input((None, None, 3)),
                layers.Conv2D(6, 3, padding="same", name="conv1"),
                layers.ReLU(),
                layers.AveragePooling2D(2),
                layers.Conv2D(8, 3, padding="same", name="conv2"),
                layers.ReLU(name="relu"),
                layers.GlobalAveragePooling2D(),
                layers.Dense(CLASSES, name="fc"),
            ]
        )
    for name, kernel, bias in zip(("conv1", "conv2", "fc"), kernels, biases, strict=True):
        keras_model.get_layer(name).set_weights([kernel, bias])
    nn = torch.nn
    torch_model = nn.Sequential()
    for name, layer in {
        "conv1": nn.Conv2d(3, 6, 3, padding=1),
        "relu1": nn.ReLU(inplace=True),
        "pool": nn.AvgPool2d(2),
        "conv2": nn.Conv2d(6, 8, 3, padding=1),
        "relu": nn.ReLU(inplace=True),
        "gap": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(8, CLASSES),
    }.items():
        torch_model.add_module(name, layer)
    torch_model.double().load_state_dict(
        {
            f"{name}.{part}": torch.from_numpy(value)
            for name, kernel, bias in zip(("conv1", "conv2", "fc"), kernels, biases, strict=True)
            for part, value in (
                ("weight", np.moveaxis(kernel, (-1, -2), (0, 1)).copy()),
                ("bias", bias),
            )
        }
    )
    return (torch_model, np.moveaxis(images, -1, 1)), (keras_model, images)


def agree(pair, methods, **options):
    """One result by method, after comparing the two frameworks'."""
    taken = {name for method in methods for name in camcore.methods.find(method).takes()}
    few = {name: value for name, value in FEW.items() if name in taken}
    ours, theirs = (
        camcore.explain(model, images, TARGET, "relu", methods, **few, **options)
        for model, images in pair
    )
    for method in methods:
        ((layer, one),) = ours[method].raw.items()
        other = theirs[method].raw[layer]
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-10 * np.abs(other).max())
        np.testing.assert_allclose(ours[method].maps, theirs[method].maps, rtol=0, atol=1e-6)
    return ours


def test_leading_components_agree(pair):
    smooth = agree(pair, SMOOTHED, eigen_smooth=True)
    plain = agree(pair, SMOOTHED)
    for method in SMOOTHED:
        assert np.abs(smooth[method].maps - plain[method].maps).max() > 1e-2


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_each_view_agrees(pair, view):
    agree(pair, ["gradcam", "scorecam"], augment=[view])


def test_averages_over_views_agree(pair):
    viewed = agree(pair, VIEWED, augment=VIEWS)
    for method, plain in agree(pair, VIEWED).items():
        assert np.abs(viewed[method].maps - plain.maps).max() > 1e-3


def test_parts_that_count_by_their_score_agree(pair):
    about = (Probability(TARGET), "relu", ["gradcam", "saliency"])
    ours, theirs = (
        camcore.explain(model, images, *about, augment=crops()) for model, images in pair
    )
    for method in about[-1]:
        ((layer, one),) = ours[method].raw.items()
        other = theirs[method].raw[layer]
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-10 * np.abs(other).max())
        plain = camcore.explain(*pair[0], *about)[method].raw[layer]
        assert np.abs(one - plain).max() > 1e-2 * np.abs(plain).max()


def test_averages_over_views_agree_at_the_input(pair):
    agree(pair, AT_THE_INPUT, augment=[Flip(), Zoom(1.25)])


def test_leading_components_of_views_agree(pair):
    agree(pair, SMOOTHED, augment=FLIPS_AND_SCALES, eigen_smooth=True)


def test_concepts_agree(pair, require):
    require("sklearn")
    ours, theirs = (camcore.factorise(model, images, 3, "relu") for model, images in pair)
    for part in ("maps", "raw", "concepts", "scores"):
        one, other = getattr(ours, part), getattr(theirs, part)
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6 * np.abs(other).max())
