"""Group-CAM: its runs of channels, its blur and its weights, by hand."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore import methods
from camcore.errors import MethodError
from camcore.methods.groups import gaussian_blur
from camcore.testing import random_network

HALVES = 1 / np.sqrt(2 * np.log(2))
"""The deviation whose Gaussian is 1/2 at one position from its middle."""


def test_blur_by_hand():
    # Kernel [1, 2, 1] / 4; beyond the border positions 1 and 2 again.
    line = np.array([[[4.0, 8.0, 0.0, 16.0]]])
    np.testing.assert_allclose(gaussian_blur(line, 3, HALVES), [[[6, 5, 6, 8]]], rtol=1e-14)
    both = gaussian_blur(line[..., None] * np.array([1.0, 3.0]), 3, HALVES)
    # Along the second axis 1 and 3 become 2 and 2.
    np.testing.assert_allclose(both[0, 0], np.outer([6, 5, 6, 8], [2, 2]), rtol=1e-14)


@pytest.mark.parametrize("shape", [(2, 1, 60), (1, 2, 9, 14), (1, 1, 5, 4, 3), (1, 1, 1, 7)])
def test_blur_keeps_what_is_constant_whatever_its_size(shape):
    flat = np.full(shape, 3.0, np.float32)
    blurred = gaussian_blur(flat, 51, 50.0)
    assert blurred.dtype == np.float32
    np.testing.assert_allclose(blurred, flat, rtol=1e-5)


def test_weights_are_what_masks_show_more_than_the_blur():
    # Gradients of mean 1, -1, 1 and 1 in runs of two: S1 = relu(A1 - A2) = [0, 2, 3] and
    # S2 = A3 + A4 = [2, 1, 0], masks [0, 2/3, 1] and [1, 1/2, 0].
    activations = np.array([[[1.0, 2.0, 3.0], [2.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]])
    gradients = np.ones_like(activations) * np.array([1.0, -1.0, 1.0, 1.0])[:, None]
    # The image [4, 8, 0] blurred by [1, 2, 1] / 4 is [6, 5, 4], of which the score sees
    # the second less the third: 1. Seen through the masks it is [6, 7, 0] and [4, 6.5, 4].
    images, given = np.array([[[4.0, 8.0, 0.0]]]), []

    def score(sample, altered):
        given.append(altered)
        return altered[:, 0, 1] - altered[:, 0, 2]

    maps = methods.groupcam(
        activations, gradients, images, score, groups=2, side=3, sigma=HALVES, batch_size=1
    )
    np.testing.assert_allclose(
        np.concatenate(given)[:, 0], [[6, 5, 4], [6, 7, 0], [4, 6.5, 4]], rtol=1e-14
    )
    s1, s2 = np.array([0.0, 2.0, 3.0]), np.array([2.0, 1.0, 0.0])
    np.testing.assert_allclose(maps, [(7 - 1) * s1 + (2.5 - 1) * s2], rtol=1e-14)


def test_what_shows_less_than_the_blur_has_no_weight():
    activations, images = np.array([[[1.0, 2.0, 3.0]]]), np.array([[[4.0, 8.0, 0.0]]])
    maps = methods.groupcam(
        activations, np.ones((1, 1, 3)), images, lambda _, x: -x[:, 0, 1], side=3, sigma=HALVES
    )
    np.testing.assert_array_equal(maps, np.zeros((1, 3)))


@pytest.mark.parametrize(("groups", "scored"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 5), (99, 5)])
def test_runs_are_of_one_length_but_the_last(groups, scored):
    rng, sizes = np.random.default_rng(0), []

    def score(sample, altered):
        sizes.append(len(altered))
        return np.arange(len(altered)) + 1.0

    a, g = rng.random((1, 5, 3, 3)), np.ones((1, 5, 3, 3))
    methods.groupcam(a, g, rng.random((1, 2, 6, 6)), score, groups=groups)
    assert sizes == [1, scored]  # the blur, and a mask for each run


@pytest.mark.parametrize(("rank", "seed"), [(1, 3), (2, 2), (3, 3)])
def test_one_group_is_gradcam_as_it_is_shown(rank, seed):
    network = random_network(rank, head="deep")
    images = np.random.default_rng(seed).normal(size=(6, 2, *[8] * rank))
    explainer = camcore.Explainer(network, layer="relu2", method="groupcam", groups=1)
    gradcam = camcore.explain(network, images, 2, "relu2", "gradcam")
    explainer(images, 2)
    before = network.passes
    group = explainer(images, 2)
    passes = network.passes - before
    shown = group.raw["relu2"].reshape(6, -1).any(axis=1)
    assert shown.any()
    np.testing.assert_allclose(group.maps[shown], gradcam.maps[shown], rtol=0, atol=1e-6)
    # The one traced, and of each sample that has a mask its blur and its image.
    assert passes == 1 + 2 * gradcam.maps.reshape(6, -1).any(axis=1).sum()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": 0}, "groups=0; it must be at least 1"),
        ({"side": 4}, "side=4; a kernel has a middle, so it must be odd"),
        ({"sigma": 0.0}, "sigma=0.0; it must be finite and positive"),
        ({"sigma": np.inf}, "sigma=inf; it must be finite"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    arrays = np.ones((1, 2, 3, 3)), np.ones((1, 2, 3, 3)), np.ones((1, 1, 6, 6))
    with pytest.raises(MethodError, match=message):
        methods.groupcam(*arrays, lambda *_: pytest.fail("scored"), **options)
