"""Opti-CAM: its gradient, its steps, and what it promises of the score."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore import methods
from camcore.errors import MethodError
from camcore.methods.optimisation import _masked, _pulled_back
from camcore.postprocess import normalise
from camcore.resize import resize
from camcore.targets import softmax
from camcore.testing import random_network


def curved(weights):
    """A curved score of images, and its gradient."""

    def score(images):
        return np.tanh((images * weights).reshape(len(images), -1).sum(axis=1) / 5)

    def gradient(images):
        slope = (1 - score(images) ** 2) / 5
        return slope.reshape(-1, *[1] * (images.ndim - 1)) * weights

    return score, gradient


@pytest.mark.parametrize(
    ("small", "large"), [((5,), (13,)), ((3, 5), (7, 9)), ((4, 4), (3, 2)), ((2, 3, 2), (4, 5, 6))]
)
def test_the_gradient_is_that_of_finite_differences(small, large):
    rng = np.random.default_rng(len(small))
    features = rng.normal(size=(2, 4, *small))
    images, weights = rng.normal(size=(2, 2, 3, *large))
    score, gradient = curved(weights)
    u = rng.normal(size=(2, 4))
    maps, masked = _masked(u, features, images)
    found = _pulled_back((gradient(masked) * images).sum(axis=1)[:2], maps, u, features)
    expected = np.zeros_like(u)
    for channel in range(4):
        step = 1e-6 * np.eye(4)[channel]
        up, down = (score(_masked(u + d, features, images)[1]) for d in (step, -step))
        expected[:, channel] = (up - down) / 2e-6
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7 * np.abs(expected).max() + 1e-9)


def of_one_range(rng, channels):
    """Channels whose smallest value is 0 at one place, and their largest 1 at another."""
    features = rng.uniform(0.2, 0.8, size=(2, channels, 6))
    features[..., 0], features[..., 5] = 0, 1
    return features


def test_a_linear_score_is_highest_under_the_best_channel_alone():
    rng = np.random.default_rng(0)
    features, weights = of_one_range(rng, 5), rng.normal(size=(2, 1, 6))
    images = np.ones((2, 1, 6))
    maps = methods.opticam(
        features,
        images,
        lambda x: np.broadcast_to(weights, x.shape),
        lambda sample, x: (x * weights[sample]).sum(axis=(1, 2)),
        steps=1000,
    )
    best = (features * weights).sum(axis=2).argmax(axis=1)
    assert best[0] != best[1]
    np.testing.assert_allclose(maps, features[[0, 1], best], rtol=0, atol=1e-3)


def test_the_first_step_is_as_long_as_the_rate_along_each_channel():
    rng = np.random.default_rng(1)
    features, weights = of_one_range(rng, 3), rng.normal(size=(2, 1, 6))
    maps = methods.opticam(
        features,
        np.ones((2, 1, 6)),
        lambda x: np.broadcast_to(weights, x.shape),
        lambda sample, x: (x * weights[sample]).sum(axis=(1, 2)),
        steps=1,
        rate=0.25,
    )
    # Adam's first step is the rate along the gradient's sign: of what a channel has more than
    # the mean of all.
    worth = (features * weights).sum(axis=2)
    u = 0.25 * np.sign(worth - worth.mean(axis=1, keepdims=True))
    np.testing.assert_allclose(maps, np.einsum("bc,bcs->bs", softmax(u), features), atol=1e-6)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_score_under_the_mask_never_falls(rank):
    network = random_network(rank, head="deep", channels=6)
    images = np.random.default_rng(rank).normal(size=(3, 2, *[8] * rank))
    about = (network, images, [1, 3, 0], "relu2")
    scores = []
    for steps in (0, 1, 4, 12):
        raw = camcore.explain(*about, "opticam", steps=steps).raw["relu2"]
        if not steps:
            mean = camcore.explain(*about, "activations").raw["relu2"]
            np.testing.assert_allclose(raw, mean, rtol=0, atol=1e-15)
        masks = normalise(resize(raw, [8] * rank, leading=1), "min_max")
        outputs = network.run(images * masks[:, None]).outputs[""]
        scores.append(outputs[np.arange(3), [1, 3, 0]])
    assert np.all(np.diff(scores, axis=0) >= -1e-12)
    assert np.all(scores[-1] > scores[0] + 1e-3)


def test_a_step_is_one_pass_back_and_a_score_for_each_sample():
    network = random_network(head="deep")
    images = np.random.default_rng(0).normal(size=(2, 2, 8, 8))
    explainer = camcore.Explainer(network, layer="relu2", method="opticam", steps=3)
    explainer(images, 1)
    before = network.passes
    explainer(images, 1)
    assert network.passes - before == 1 + 3 * (1 + 2) + 2


def test_channels_that_do_not_vary_have_no_gradient():
    flat = np.ones((1, 3, 2, 2))
    maps = methods.opticam(
        flat, np.ones((1, 1, 4, 4)), np.ones_like, lambda _, x: x.sum((1, 2, 3)), steps=2
    )
    np.testing.assert_allclose(maps, np.ones((1, 2, 2)), rtol=1e-14)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": -1}, "steps=-1; it must be a whole number of at least 0"),
        ({"steps": 1.5}, "steps=1.5; it must be a whole number"),
        ({"rate": 0.0}, "rate=0.0; it must be finite and positive"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(MethodError, match=message):
        methods.opticam(np.ones((1, 2, 3)), np.ones((1, 1, 3)), len, len, **options)
