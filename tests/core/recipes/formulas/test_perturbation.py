"""Components and alterations as libraries make them, written out in float64."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest

import camcore
from camcore import methods
from camcore.errors import MethodError
from camcore.recipes import pytorch_grad_cam, tf_explain, torchcam
from camcore.testing import random_network


def test_components_are_the_papers_up_to_their_sign(pair):
    for one, other in (
        (pytorch_grad_cam.eigencam_svd(pair[0]), methods.eigencam(pair[0])),
        (pytorch_grad_cam.eigengradcam_svd(*pair), methods.eigengradcam(*pair)),
        (pytorch_grad_cam.kpcacam_peaked(pair[0]), methods.kpcacam(pair[0])),
    ):
        for mine, paper in zip(one, other, strict=True):
            sign = np.sign(np.vdot(mine, paper))
            np.testing.assert_allclose(mine, sign * paper, atol=1e-12)
    peaked = pytorch_grad_cam.kpcacam_peaked(-pair[0])
    assert np.all(peaked.max(axis=(1, 2)) >= -peaked.min(axis=(1, 2)))


def linear(head):
    """A head that is linear in the activations, as `Evidence.resume` gives it."""

    @contextmanager
    def resume(sample):
        yield lambda altered: (altered * head).reshape(len(altered), -1).sum(axis=1)

    return resume


def test_ablation_sets_rectified_channels_to_zero(pair):
    activations, head = pair
    activations[:, :, 0, 0] = 0
    scores = (activations * head[0]).reshape(2, -1).sum(axis=1)
    mine = pytorch_grad_cam.ablationcam_sinking(activations, scores, linear(head[0]))
    paper = methods.ablationcam(activations, scores, linear(head[0]))
    np.testing.assert_allclose(mine, paper, rtol=1e-6)


def test_ablation_sinks_each_channel_of_a_batch_further(pair):
    seen = []

    @contextmanager
    def resume(sample):
        yield lambda altered: seen.append(altered.copy()) or np.zeros(len(altered))

    activations = pair[1][:1]
    pytorch_grad_cam.ablationcam_sinking(activations, np.ones(1), resume, batch_size=2)
    lowest = activations.min()
    assert [batch.shape[0] for batch in seen] == [2, 1]
    np.testing.assert_array_equal(seen[0][0, 0], lowest - 1e7)
    np.testing.assert_array_equal(seen[0][1, 1], lowest - 1e7 - 1e7)
    np.testing.assert_array_equal(seen[1][0, 2], lowest - 1e7)
    np.testing.assert_array_equal(seen[0][1, 0], activations[0, 0])


def test_iscam_strengths_add_up(pair):
    images = np.ones((1, 1, 3, 2))
    seen = []

    def score(sample, masked):
        seen.append(masked.max())
        return masked.sum(axis=(1, 2, 3))

    torchcam.iscam_cumulative(pair[0][:1], images, score, steps=4)
    np.testing.assert_allclose(seen, [1 / 4, 3 / 4, 6 / 4, 10 / 4])


def test_patches_stand_for_squares_of_the_input():
    images = np.ones((1, 2, 4, 5))
    maps = tf_explain.patches(
        images, lambda _, x: x[:, 0].mean(axis=(1, 2)), window=2, baseline=0.0
    )
    np.testing.assert_allclose(maps, [[[4 / 20, 4 / 20, 2 / 20]] * 2])
    with pytest.raises(MethodError, match="larger than the input"):
        tf_explain.patches(images, lambda _, x: x, window=5)
    network, photos = random_network(), np.random.default_rng(0).normal(size=(1, 2, 8, 8))
    how = {"method": "occlusion", "recipe": "tf-explain", "window": 4, "baseline": 0.0}
    (found,) = camcore.explain(network, photos, 1, **how).raw.values()
    photos[:, :, 4:, :4] = 0
    assert found[0, 1, 0] == pytest.approx(1 - network.run(photos).outputs[""][0, 1])


def test_smoothed_eigencam_is_the_papers_eigencam():
    images = np.random.default_rng(0).normal(size=(2, 2, 8, 8))
    network = random_network()
    options = {"method": "eigencam", "recipe": "pytorch-grad-cam", "eigen_smooth": True}
    smoothed = camcore.explain(network, images, 1, "relu2", **options)
    paper = camcore.explain(network, images, 1, "relu2", "eigencam")
    np.testing.assert_allclose(smoothed.raw["relu2"], paper.raw["relu2"], rtol=0, atol=1e-12)
