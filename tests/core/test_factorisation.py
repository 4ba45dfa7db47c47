"""Concepts that a batch is made of are found again, and the head says what they vote for."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

import camcore
from camcore.errors import LayerError, MethodError, MissingExtraError, TargetError
from camcore.testing import Conv, Dense, GlobalAveragePool, NumpyAdapter, random_network

# Each concept has a channel and positions of its own, so no other factors make the batch.
CONCEPTS = np.array([[1.0, 2, 0, 0, 0, 1], [0, 0, 3, 1, 0, 1], [0, 0, 0, 0, 2, 1]])
RNG = np.random.default_rng(0)
PLACES = RNG.random((2, 3, 4, 4)) * (RNG.random((2, 3, 4, 4)) < 0.6)
IMAGES = np.einsum("bkij,kc->bcij", PLACES, CONCEPTS)
IMAGES.setflags(write=False)
HEAD = Dense(RNG.normal(size=(2, 6)), np.array([0.5, -0.5]))


def network(**ops):
    """Its first layer shows the images as they are."""
    conv = Conv(np.eye(6)[:, :, None, None], np.zeros(6))
    return NumpyAdapter(conv=conv, **(ops or {"pool": GlobalAveragePool(), "fc": HEAD}))


@pytest.fixture(autouse=True)
def _sklearn(require):
    require("sklearn")


@pytest.fixture
def found():
    return camcore.factorise(network(), IMAGES, 3, "conv")


def order(concepts):
    """Which found concept is each of the given ones, by cosine; at most 1e-5 below 1."""
    unit = concepts / np.linalg.norm(concepts, axis=1, keepdims=True)
    cosines = CONCEPTS / np.linalg.norm(CONCEPTS, axis=1, keepdims=True) @ unit.T
    np.testing.assert_allclose(cosines.max(axis=1), 1, atol=1e-5)
    return cosines.argmax(axis=1)


def test_known_factors_are_recovered(found):
    assert found.layer == "conv"
    which = order(found.concepts)
    assert sorted(which) == [0, 1, 2]
    # Up to the scale that a concept and its places share.
    places = found.raw[:, which]
    scale = np.sqrt((PLACES**2).sum(axis=(0, 2, 3)) / (places**2).sum(axis=(0, 2, 3)))
    np.testing.assert_allclose(places * scale.reshape(3, 1, 1), PLACES, atol=2e-3)
    made = np.einsum("bkij,kc->bcij", found.raw, found.concepts)
    np.testing.assert_allclose(made, IMAGES, atol=5e-3)


def test_maps_are_between_zero_and_one_and_strongest_at_one(found):
    assert found.maps.shape == found.raw.shape == (2, 3, 4, 4)
    assert found.maps.dtype == np.float32
    assert found.maps.min() >= 0
    np.testing.assert_array_equal(found.maps.max(axis=(2, 3)), np.ones((2, 3)))
    highest = found.raw.max(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(found.maps, found.raw / highest, rtol=1e-6, atol=1e-7)


def test_a_concept_is_the_same_in_every_image(found):
    alone = camcore.factorise(network(), IMAGES[:1], 3, "conv")
    for one, both in zip(order(alone.concepts), order(found.concepts), strict=True):
        np.testing.assert_allclose(alone.maps[0, one], found.maps[0, both], atol=5e-3)


def test_scores_are_the_heads_for_a_layer_full_of_the_concept(found):
    strongest = found.raw.max(axis=(0, 2, 3))[:, None] * found.concepts
    np.testing.assert_allclose(found.scores, HEAD.forward(strongest), rtol=1e-12)


def test_negative_activations_are_shifted_and_scored_as_they_are(found):
    lowered = camcore.factorise(network(), IMAGES - 5, 3, "conv")
    assert lowered.raw.min() >= 0
    made = np.einsum("bkij,kc->bcij", lowered.raw, lowered.concepts)
    np.testing.assert_allclose(made, IMAGES, atol=5e-3)
    strongest = lowered.raw.max(axis=(0, 2, 3))[:, None] * lowered.concepts - 5
    np.testing.assert_allclose(lowered.scores, HEAD.forward(strongest), rtol=1e-12)


def test_the_seed_decides(found):
    again = camcore.factorise(network(), IMAGES, 3, "conv", seed=0)
    np.testing.assert_array_equal(again.raw, found.raw)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_layer_that_does_not_vary_has_finite_maps(value):
    flat = camcore.factorise(network(), np.full_like(IMAGES, value), 2, "conv")
    assert np.all(np.isfinite(flat.raw))
    assert flat.maps.min() >= 0
    assert flat.maps.max() == (value > 0)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_maps_have_the_inputs_size_in_any_rank(rank):
    images = np.random.default_rng(rank).normal(size=(2, 2, *[8] * rank))
    result = camcore.factorise(random_network(rank), images, 2)
    assert result.layer == "relu2"
    assert result.raw.shape == (2, 2, *[4] * rank)
    assert result.maps.shape == (2, 2, *[8] * rank)
    assert result.scores.shape == (2, 5)


def test_dense_outputs_score_no_concept():
    segmenter = network(last=Conv(RNG.normal(size=(4, 6, 1, 1)), np.zeros(4)))
    result = camcore.factorise(segmenter, IMAGES, 3, "conv")
    order(result.concepts)
    assert result.scores is None


class Several(NumpyAdapter):
    """Returns boxes beside the scores."""

    def run(self, *arguments, **options):
        trace = super().run(*arguments, **options)
        return replace(trace, outputs=self.both(trace.outputs))

    @contextmanager
    def resume(self, *arguments, **options):
        with super().resume(*arguments, **options) as head:
            yield lambda activations: self.both(head(activations))

    def both(self, leaves):
        return {"boxes": np.zeros((len(leaves[""]), 7, 4)), "scores": leaves[""]}


def test_factorise_scores_the_chosen_output(found):
    detector = Several(**network().ops)
    with pytest.raises(TargetError, match=r"2 outputs: 'boxes' .* output='...'"):
        camcore.factorise(detector, IMAGES, 3, "conv")
    chosen = camcore.factorise(detector, IMAGES, 3, "conv", output="scores")
    np.testing.assert_array_equal(chosen.scores, found.scores)
    assert camcore.factorise(detector, IMAGES, 3, "conv", output="boxes").scores is None


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"concepts": "3"}, MethodError, "concepts='3' .* allows 1 to 6"),
        ({"concepts": 0}, MethodError, "concepts=0 .* the layer 'conv' allows 1 to 6"),
        ({"concepts": 7}, MethodError, r"concepts=7 .* \(6 channels, 32 positions\)"),
        (
            {"layer": ["conv", "fc"]},
            MethodError,
            "The layers conv, fc cannot be factorised at once",
        ),
        ({"layer": "pool"}, LayerError, r"Layer 'pool': .* has no spatial extent"),
    ],
)
def test_factorise_refuses_what_it_cannot_factorise(options, error, message):
    with pytest.raises(error, match=message):
        camcore.factorise(network(), IMAGES, **{"concepts": 3, "layer": "conv", **options})


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.decomposition", None)
    with pytest.raises(MissingExtraError, match=r'pip install "camcore\[dff\]"'):
        camcore.factorise(network(), IMAGES)


def test_one_concept_is_enough():
    one = camcore.factorise(network(), IMAGES, 1, "conv")
    assert one.raw.shape[:2] == (len(IMAGES), 1)
    assert one.maps.max() == pytest.approx(1)
