"""Maps that know nothing of the model, by hand and against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.errors import InputError, MethodError
from camcore.metrics import (
    CONTROLS,
    centre_maps,
    edge_maps,
    ones_maps,
    random_maps,
    reversed_maps,
)
from camcore.metrics.faithfulness import deletion, insertion
from camcore.resize import resize

SHAPES = [(2, 3, 9), (2, 3, 6, 11), (2, 1, 3, 8, 5)]


@pytest.mark.parametrize("shape", SHAPES)
def test_controls_are_maps_in_range_of_any_rank(shape):
    images = np.random.default_rng(0).normal(size=shape)
    images.setflags(write=False)
    for name, control in CONTROLS.items():
        assert control.name == name
        maps = control.function(images if control.made_of == "images" else images[:, 0])
        assert maps.shape == (shape[0], *shape[2:])
        assert maps.dtype == np.float64
        if control.made_of == "images":
            assert maps.min() >= 0
            assert maps.max() <= 1
        one_by_one = [
            control.function(
                images[i : i + 1] if control.made_of == "images" else images[i : i + 1, 0]
            )
            for i in range(2)
        ]
        np.testing.assert_array_equal(maps, np.concatenate(one_by_one))


def test_every_control_is_in_the_table():
    assert list(CONTROLS) == ["random", "ones", "centre", "edges", "reversed"]


def test_random_maps_are_seeded_noise_of_low_resolution_enlarged():
    images = np.zeros((2, 3, 14, 28))
    expected = resize(np.random.default_rng(3).random((7, 7)), (14, 28))
    np.testing.assert_array_equal(random_maps(images, seed=3), [expected, expected])
    assert np.abs(random_maps(images, seed=4) - expected).max() > 0.1
    np.testing.assert_array_equal(
        random_maps(np.zeros((1, 1, 2, 9)), grid=4), [resize(random(2, 4), (2, 9))]
    )


def random(*size):
    return np.random.default_rng(0).random(size)


def test_ones_are_one_but_at_the_first_corner():
    np.testing.assert_array_equal(ones_maps(np.zeros((1, 3, 2, 2))), [[[0, 1], [1, 1]]])


def test_the_centre_is_a_gaussian_by_hand():
    # Of four positions at -3/2, -1/2, 1/2, 3/2, each as long as the deviation.
    maps = centre_maps(np.zeros((1, 1, 4)))
    np.testing.assert_allclose(maps, [[np.exp(-1), 1, 1, np.exp(-1)]], rtol=1e-14)
    # Of 2 x 2 every one is as near.
    np.testing.assert_array_equal(centre_maps(np.zeros((1, 1, 2, 2))), np.ones((1, 2, 2)))
    maps = centre_maps(np.zeros((1, 1, 3, 5)), spread=0.5)
    assert np.unravel_index(maps[0].argmax(), (3, 5)) == (1, 2)
    np.testing.assert_allclose(maps[0, 0, 0], np.exp(-((1 / 1.5) ** 2 + (2 / 2.5) ** 2) / 2))


def test_edges_by_hand():
    # Slopes, the border continued: 0.5 across and 1 down at each of the four.
    np.testing.assert_allclose(edge_maps(np.array([[[[0.0, 1], [2, 3]]]])), np.ones((1, 2, 2)))
    # A step along a line: central differences 0, 1/2, 1/2, 0.
    np.testing.assert_array_equal(edge_maps(np.array([[[0.0, 0, 1, 1]]])), [[0, 1, 1, 0]])
    np.testing.assert_array_equal(edge_maps(np.full((1, 2, 3, 3), 5.0)), np.zeros((1, 3, 3)))


@pytest.mark.parametrize("shape", SHAPES[1:])
def test_edges_are_skimages_sobel_of_the_mean_channel(shape, require):
    sobel = require("skimage.filters").sobel
    images = np.random.default_rng(0).normal(size=shape)
    found = edge_maps(images)
    for image, edges in zip(images, found, strict=True):
        expected = sobel(image.mean(axis=0), mode="nearest")
        np.testing.assert_allclose(edges, expected / expected.max(), rtol=1e-12, atol=1e-14)


def test_a_reversed_map_keeps_its_range_and_turns_its_order():
    np.testing.assert_array_equal(reversed_maps([[[0.0, 1], [0.25, 0.5]]]), [[[1, 0], [0.75, 0.5]]])
    np.testing.assert_array_equal(reversed_maps([[2, -1, 7]]), [[4, 7, -1]])
    maps = np.random.default_rng(0).random((2, 4, 4))
    np.testing.assert_allclose(reversed_maps(reversed_maps(maps)), maps, rtol=1e-15)


def test_inserting_by_a_reversed_map_is_what_deleting_by_the_map_leaves():
    # Of an additive score: what the last steps insert, the first steps delete.
    images = np.random.default_rng(0).random((2, 1, 4, 4))

    def total(_, altered):
        return altered.reshape(len(altered), -1).sum(axis=1)

    backwards = insertion(images, reversed_maps(images[:, 0]), total, baseline=0.0, steps=16)
    deleted = deletion(images, images[:, 0], total, steps=16)
    np.testing.assert_allclose(backwards.scores, deleted.scores[:, ::-1], atol=1e-12)


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_edges_do_not_mind_the_images_scale(scale):
    images = np.random.default_rng(0).normal(size=(2, 3, 5, 6))
    with np.errstate(over="raise", invalid="raise"):
        np.testing.assert_allclose(edge_maps(scale * images), edge_maps(images), rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: random_maps(np.zeros((2, 3))), InputError, r"images must be \(batch, channels"),
        (lambda: random_maps(np.zeros((1, 1, 3)), grid=0), MethodError, "grid=0; it must be at"),
        (lambda: ones_maps(np.zeros((2, 3))), InputError, r"images must be \(batch, channels"),
        (lambda: centre_maps(np.zeros((2, 3))), InputError, r"images must be \(batch, channels"),
        (lambda: centre_maps(np.zeros((1, 1, 3)), spread=0), InputError, "spread=0; pass a posit"),
        (lambda: edge_maps(np.zeros((2, 3))), InputError, r"images must be \(batch, channels"),
        (lambda: edge_maps(np.full((1, 1, 3), np.nan)), InputError, "Images must be finite"),
        (lambda: reversed_maps(np.zeros(3)), InputError, r"shape \(3,\) cannot be reversed"),
        (lambda: reversed_maps([[np.inf, 0]]), InputError, "Maps must be finite"),
    ],
)
def test_what_has_no_control_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
