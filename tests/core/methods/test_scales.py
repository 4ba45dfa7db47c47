"""Poly-CAM by hand, and the layers that it goes through."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import camcore
from camcore import Explainer
from camcore.augment import Flip
from camcore.errors import InputError, MethodError
from camcore.methods import polycam, scorecam
from camcore.methods.scales import CLIPPED, refined
from camcore.recipes import find_recipe
from camcore.resize import resize
from camcore.targets import Class, Probability
from camcore.testing import NumpyAdapter, random_network
from camcore.testing.network import Conv, Dense, GlobalAveragePool, Op, ReLU

COARSE = np.array([[[1.0, 0.0], [0.0, 2.0]]])
"""Two channels, whose masks are (1, 0) and (0, 1)."""
IMAGE = np.array([[[3.0, 5.0]]])


def total(_, images):
    """The score: all of the image."""
    return images.sum(axis=(1, 2))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        # Under the masks 3 and 5 are left.
        ("increase", [3, 10]),
        # And without them 5 and 3, of 8.
        ("decrease", [3, 10]),
        ("both", [6, 20]),
    ],
)
def test_one_layer_by_hand(change, expected):
    (found,) = polycam([COARSE], IMAGE, [8.0], total, change=change)
    np.testing.assert_allclose(found, [expected], rtol=1e-12)


def test_a_channel_without_which_the_score_rises_weighs_nothing():
    def harmed(_, images):
        return 10 - images.sum(axis=(1, 2))

    # p(x) = 2; without the channels 5 and 7, under them 7 and 5.
    (found,) = polycam([COARSE], IMAGE, [2.0], harmed, change="decrease")
    np.testing.assert_array_equal(found, [[0, 0]])
    (found,) = polycam([COARSE], IMAGE, [2.0], harmed)
    np.testing.assert_allclose(found, [[7 + 2 - 5, 0]], rtol=1e-12)
    (found,) = polycam([COARSE], IMAGE, [2.0], harmed, change="increase")
    np.testing.assert_allclose(found, [[7, 2 * 5]], rtol=1e-12)


def test_refined_by_hand():
    # Halfway between 1 and 3, and 2 and 2, the coarse layer sees 2 and 2, also when enlarged.
    fine, coarse = np.array([[1.0, 3, 2, 2]]), np.array([[3.0, 10]])
    found = refined(fine, coarse)
    np.testing.assert_allclose(found, [[0.5 * 3, 1.5 * 4.75, 8.25, 10]], rtol=1e-12)
    # Nothing that it sees, nothing that it adds.
    np.testing.assert_array_equal(refined(0 * fine, coarse), [[0, 0, 0, 0]])


def test_a_layer_that_is_alike_everywhere_changes_nothing():
    coarse = np.random.default_rng(0).random((2, 3, 4))
    found = refined(np.full((2, 6, 8), 7.0), coarse)
    np.testing.assert_allclose(found, resize(coarse, (6, 8)), rtol=1e-12)


def test_one_layer_is_scorecam_weighted_by_the_score():
    network, images = random_network(), np.random.default_rng(0).normal(size=(2, 2, 8, 8))
    masking = replace(CLIPPED, scaled="after", outliers=0.0)
    options = {"masking": masking, "target": Probability([3, 1]), "layer": "relu2"}
    ours = camcore.explain(network, images, method="polycam", change="increase", **options)
    theirs = camcore.explain(network, images, method="scorecam", **options)
    np.testing.assert_allclose(
        ours.raw["relu2"], np.maximum(theirs.raw["relu2"], 0), rtol=0, atol=1e-15
    )


def test_layers_are_joined_from_the_last_to_the_first():
    rng = np.random.default_rng(1)
    layers = [rng.random((2, 3, side, side)) for side in (8, 4, 2)]
    images = rng.random((2, 1, 8, 8))

    def score(_, altered):
        return altered.mean(axis=(1, 2, 3)) ** 2

    scores = score(0, images)
    found = polycam(layers, images, scores, score)
    alone = [polycam([one], images, scores, score)[0] for one in layers]
    second = refined(alone[1], alone[2])
    for ours, expected in zip(found, (refined(alone[0], second), second, alone[2]), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_what_is_shown_is_the_first_and_all_are_kept():
    network, images = strided(), np.random.default_rng(2).normal(size=(2, 2, 22, 22))
    found = camcore.explain(network, images, [1, 0], method="polycam")
    assert [*found.raw] == ["relu1", "relu2", "relu3"]
    assert [maps.shape[1:] for maps in found.raw.values()] == [(20, 20), (8, 8), (2, 2)]
    large = resize(found.raw["relu1"], (22, 22))
    peak = large.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found.maps, large / peak, rtol=0, atol=1e-6)
    assert Explainer(network, method="polycam").layers(images) == ("relu1", "relu2", "relu3")
    backwards = camcore.explain(network, images, [1, 0], ["relu3", "relu1"], "polycam")
    assert [*backwards.raw] == ["relu1", "relu3"]
    assert not np.array_equal(backwards.maps, found.maps)


def test_it_explains_the_probability_of_a_class():
    network, images = strided(), np.random.default_rng(2).normal(size=(2, 2, 22, 22))
    by_class = camcore.explain(network, images, [1, 0], method="polycam")
    by_share = camcore.explain(network, images, Probability([1, 0]), method="polycam")
    np.testing.assert_array_equal(by_class.maps, by_share.maps)
    other = camcore.explain(network, images, Class([1, 0]) * 1, method="polycam")
    assert not np.allclose(by_class.maps, other.maps)


def test_of_one_number_it_explains_the_number():
    network, images = random_network(classes=1), np.random.default_rng(2).normal(size=(2, 2, 8, 8))
    about = (network, images)
    found = camcore.explain(*about, layer="relu2", method="polycam").raw["relu2"]
    same = camcore.explain(*about, Class(0) * 1, "relu2", "polycam").raw["relu2"]
    np.testing.assert_array_equal(found, same)
    assert found.max() > 0


def test_views_are_undone_at_each_layer():
    network, images = strided(), np.random.default_rng(2).normal(size=(1, 2, 22, 22))
    turned = camcore.explain(network, images[..., ::-1], 1, method="polycam")
    plain = camcore.explain(network, images, 1, method="polycam")
    both = camcore.explain(network, images, 1, method="polycam", augment=[Flip()])
    for name, maps in both.raw.items():
        expected = (plain.raw[name] + turned.raw[name][..., ::-1]) / 2
        np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-12)


def test_few_channels_are_those_of_largest_variance():
    few = polycam([COARSE], IMAGE, [8.0], total, channels=1)[0]
    np.testing.assert_allclose(few, [[0, 20]], rtol=1e-12)


def test_bad_input_is_refused():
    about = (IMAGE, [8.0], total)
    with pytest.raises(InputError, match="from the largest map to the smallest; got"):
        polycam([COARSE, np.ones((1, 2, 4))], *about)
    with pytest.raises(InputError, match="from the largest map to the smallest"):
        polycam([], *about)
    with pytest.raises(MethodError, match="change='up'; expected"):
        polycam([COARSE], *about, change="up")
    with pytest.raises(InputError, match=r"outliers=50; a percentage in \[0, 50\)"):
        polycam([COARSE], *about, masking=replace(CLIPPED, outliers=50))
    with pytest.raises(InputError, match="scores"):
        polycam([COARSE], IMAGE, [8.0, 1.0], total)


def test_divided_by_its_largest_value_a_mask_starts_at_its_least():
    channels = np.array([[2.0, 4.0], [0.0, 0.0], [-4.0, 2.0], [-2.0, -1.0]])
    masks = replace(CLIPPED, outliers=0, scale="shifted").masks(channels, (2,))
    np.testing.assert_array_equal(masks, [[0, 0.5], [0, 0], [0, 1], [0, 1]])


def test_scorecam_by_the_same_masks_differs():
    """The masks are clipped and enlarged after they are scaled."""
    rng = np.random.default_rng(3)
    activations, images = rng.random((1, 3, 4, 4)), rng.random((1, 1, 8, 8))

    def score(_, altered):
        return altered.mean(axis=(1, 2, 3))

    ours = scorecam(activations, images, score, masking=replace(CLIPPED, weights="softmax"))
    assert np.abs(ours - scorecam(activations, images, score)).max() > 1e-6


def test_what_the_recipe_says_of_it():
    said = find_recipe("authors").describe()
    assert "(x - min) / max, min and max at 0.1 % and 99.9 % -> resize" in said


class MeanPool(Op):
    """Means of two by two."""

    def forward(self, x):
        return x.reshape(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3] // 2, 2).mean(axis=(3, 5))

    def pull_back(self, x, cotangent):
        return cotangent.repeat(2, axis=2).repeat(2, axis=3) / 4


def strided():
    """Three convolutions, whose maps have sides of 20, 8 and 2."""
    rng = np.random.default_rng(5)
    layers = {}
    for i, (out, into) in enumerate([(3, 2), (4, 3), (5, 4)], 1):
        layers[f"conv{i}"] = Conv(rng.normal(size=(out, into, 3, 3)) / 3, np.zeros(out))
        layers[f"relu{i}"] = ReLU()
        layers[f"pool{i}"] = MeanPool() if i < 3 else GlobalAveragePool()
    return NumpyAdapter(**layers, fc=Dense(rng.normal(size=(3, 5)), np.zeros(3)))
