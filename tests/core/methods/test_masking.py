"""Masks made of channels, by hand."""

from __future__ import annotations

import numpy as np

from camcore import methods
from camcore.methods.masking import Masking
from camcore.resize import resize
from camcore.targets import softmax


def test_masking_orders_scaling_and_enlarging():
    channels = np.array([[[0.0, 1.0, 3.0]], [[2.0, 2.0, 2.0]]])
    before = Masking(scaled="before", eps=1.0).masks(channels, (1, 6))
    np.testing.assert_allclose(before, resize([[[0, 0.25, 0.75]], [[0, 0, 0]]], (1, 6)))
    after = Masking().masks(channels, (1, 6))
    np.testing.assert_allclose(after[0], resize(channels[0], (1, 6)) / 3)
    assert not after[1].any()
    assert Masking().scored_channels(channels).tolist() == [0]
    assert Masking(constant=True).scored_channels(channels).tolist() == [0, 1]
    assert Masking(weights="score").weigh(np.array([3.0, 4.0])).tolist() == [3, 4]


def test_gscorecam_scores_the_channels_of_largest_mean_gradient():
    # Means 2, -5, 3; the variances would choose the second.
    activations = np.array([[[0.0, 1.0], [0.0, 9.0], [2.0, 0.0]]])
    gradients = np.array([[[1.0, 3.0], [-5.0, -5.0], [7.0, -1.0]]])
    images, scored = np.array([[[3.0, 1.0]]]), []

    def score(sample, masked):
        scored.append(masked[:, 0])
        return masked.sum(axis=(1, 2))

    maps = methods.gscorecam(activations, gradients, images, score, channels=2)
    np.testing.assert_array_equal(np.concatenate(scored), [[0, 1], [3, 0]])
    w = softmax(np.array([1.0, 3.0]))
    np.testing.assert_allclose(maps, [w[0] * activations[0, 0] + w[1] * activations[0, 2]])
    # The authors' softmax is over all channels, those that were not scored at 0.
    zero = Masking(unscored="zero")
    maps = methods.gscorecam(activations, gradients, images, score, channels=2, masking=zero)
    w = softmax(np.array([1.0, 0.0, 3.0]))
    np.testing.assert_allclose(maps, [w @ activations[0]])
    assert str(zero).endswith("w = softmax, of 0 where not scored")


def test_gscorecam_of_all_channels_is_scorecam():
    rng = np.random.default_rng(0)
    activations, gradients = rng.normal(size=(2, 2, 5, 3, 3))
    images, weights = rng.normal(size=(2, 2, 6, 6)), rng.normal(size=(2, 6, 6))

    def score(sample, masked):
        return (masked * weights).sum(axis=(1, 2, 3))

    expected = methods.scorecam(activations, images, score)
    for channels in (5, 300):
        found = methods.gscorecam(activations, gradients, images, score, channels=channels)
        np.testing.assert_array_equal(found, expected)


def test_sscam_adds_each_channels_own_noise_to_its_mask():
    # Images of ones scored by their sum: a score is the mask's sum plus that of its noise,
    # on average over the draws. Masks [[0, 1/3], [2/3, 1]] and [[1, 0], [0, 1]].
    activations = np.array([[[[1.0, 2.0], [3.0, 4.0]], [[5.0, 2.0], [2.0, 5.0]]]])
    images = np.ones((1, 1, 2, 2))
    streams = [np.random.default_rng([3, channel]) for channel in range(2)]
    noise = [np.mean([rng.normal(size=(2, 2)).sum() for _ in range(4)]) for rng in streams]
    w = softmax(np.array([2 + 0.5 * noise[0], 2 + 0.5 * noise[1]]))
    maps = methods.sscam(
        activations, images, lambda _, x: x.sum((1, 2, 3)), samples=4, sigma=0.5, seed=3
    )
    expected = w[0] * activations[0, 0] + w[1] * activations[0, 1]
    np.testing.assert_allclose(maps, [expected], rtol=1e-13)
