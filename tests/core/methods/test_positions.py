"""Recipro-CAM by hand, and what average pooling makes of it."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest

import camcore
from camcore import methods
from camcore.testing import random_network

KERNEL = np.array([1.0, 2.0, 1.0]) / 4


def kept(given):
    """A context that writes down what it is to score, and scores the first sum over space."""

    @contextmanager
    def resume(sample):
        def score(activations):
            given.append(activations.copy())
            return activations.reshape(*activations.shape[:2], -1).sum(axis=2)[:, 0] + sample

        yield score

    return resume


def test_each_position_is_scored_alone_with_all_its_channels():
    activations = np.arange(1.0, 13.0).reshape(1, 2, 2, 3)
    given = []
    maps = methods.reciprocam(activations, kept(given), batch_size=4)
    np.testing.assert_array_equal(maps, activations[:, 0])
    assert [len(batch) for batch in given] == [4, 2]
    for place, altered in enumerate(np.concatenate(given)):
        expected = np.zeros((2, 2, 3))
        expected[:, place // 3, place % 3] = activations[0, :, place // 3, place % 3]
        np.testing.assert_array_equal(altered, expected)


def test_smooth_masks_keep_part_of_the_neighbours_and_nothing_beyond_the_edge():
    given = []
    methods.reciprocam(np.ones((1, 1, 3, 3)), kept(given), smooth=True)
    ((corner, edge, *_),) = (batch[:, 0] for batch in given)
    np.testing.assert_array_equal(corner, np.array([[4, 2, 0], [2, 1, 0], [0, 0, 0]]) / 16)
    np.testing.assert_array_equal(edge, np.array([[2, 4, 2], [1, 2, 1], [0, 0, 0]]) / 16)
    np.testing.assert_array_equal(given[0][4, 0], np.outer(KERNEL, KERNEL))


def test_an_axis_of_one_position_has_no_neighbours():
    line = np.array([[[[1.0, 2.0, 4.0, 8.0]]]])
    maps = methods.reciprocam(line, kept([]), smooth=True)
    np.testing.assert_array_equal(maps, [[[1, 2.25, 4.5, 5]]])
    np.testing.assert_array_equal(
        methods.reciprocam(line[:, :, 0], kept([]), smooth=True), maps[:, 0]
    )


def test_samples_are_scored_each_for_itself():
    activations = np.ones((2, 1, 2), np.float32)
    maps = methods.reciprocam(activations, kept([]))
    assert maps.dtype == np.float32
    np.testing.assert_array_equal(maps, [[1, 1], [2, 2]])


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_under_average_pooling_it_is_cam_over_the_positions_and_the_bias(rank, smooth):
    network = random_network(rank, head="gap")
    images = np.random.default_rng(rank).normal(size=(3, 2, *[8] * rank))
    about = (network, images, [2, 0, 4], "relu2")
    found = camcore.explain(*about, "reciprocam", smooth=smooth).raw["relu2"]
    cam = camcore.explain(*about, "cam").raw["relu2"]
    if smooth:
        for axis in range(1, rank + 1):
            cam = np.apply_along_axis(np.convolve, axis, cam, KERNEL, "same")
    bias = network.ops["fc"].bias[[2, 0, 4]].reshape(3, *[1] * rank)
    np.testing.assert_allclose(found, cam / 4**rank + bias, rtol=0, atol=1e-12)


def test_only_what_follows_the_layer_is_run_again():
    network = random_network(head="deep")
    images = np.random.default_rng(0).normal(size=(1, 2, 8, 8))
    explainer = camcore.Explainer(network, layer="relu2", method="reciprocam", batch_size=5)
    ran = []

    @contextmanager
    def resume(*args, **options):
        with type(network).resume(network, *args, **options) as head:
            yield lambda altered: ran.append(len(altered)) or head(altered)

    network.resume = resume
    before = network.passes
    explainer(images, 1)
    assert ran == [5, 5, 5, 1]
    assert network.passes - before == 2  # the one traced, and the one that is resumed
