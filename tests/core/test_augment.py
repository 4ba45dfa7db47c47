"""Averaging over views: each map comes back to the input's frame before it is averaged."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore.augment import FLIPS_AND_SCALES, Flip, Multiply, Zoom
from camcore.errors import InputError
from camcore.resize import resize
from camcore.testing import random_network

PHOTOS = np.random.default_rng(0).normal(size=(2, 2, 8, 8))
NETWORK = random_network(head="gap")  # takes inputs of any size


def raw(images, target=1, **options):
    return camcore.explain(NETWORK, images, target, "relu2", **options).raw["relu2"]


@pytest.mark.parametrize("axis", [-1, -2])
def test_a_mirrored_views_map_is_mirrored_back(axis):
    mirrored = np.flip(raw(np.flip(PHOTOS, axis)), axis)
    expected = (raw(PHOTOS) + mirrored) / 2
    np.testing.assert_allclose(raw(PHOTOS, augment=[Flip(axis)]), expected, rtol=1e-12)


def test_a_brighter_views_map_stays_where_it_is():
    expected = (raw(PHOTOS) + raw(1.5 * PHOTOS)) / 2
    np.testing.assert_allclose(raw(PHOTOS, augment=[Multiply(1.5)]), expected, rtol=1e-12)


def test_a_larger_views_map_is_brought_to_the_same_size():
    larger = resize(raw(resize(PHOTOS, (12, 12))), (4, 4))
    expected = (raw(PHOTOS) + larger) / 2
    np.testing.assert_allclose(raw(PHOTOS, augment=[Zoom(1.5)]), expected, rtol=1e-12)


def test_views_have_equal_shares():
    views = [
        raw(PHOTOS),
        np.flip(raw(np.flip(PHOTOS, -1)), -1),
        raw(0.9 * PHOTOS),
        raw(1.1 * PHOTOS),
    ]
    found = raw(PHOTOS, augment=FLIPS_AND_SCALES)
    np.testing.assert_allclose(found, sum(views) / 4, rtol=1e-12, atol=1e-14)


def test_views_explain_the_class_that_the_image_itself_is_taken_for():
    predicted = camcore.explain(NETWORK, PHOTOS).classes
    turned = camcore.explain(NETWORK, -20 * PHOTOS).classes
    assert np.any(turned != predicted), "the view changes no prediction, so nothing is tested"
    found = raw(PHOTOS, None, augment=[Multiply(-20)])
    expected = raw(PHOTOS, predicted, augment=[Multiply(-20)])
    np.testing.assert_array_equal(found, expected)


def test_views_leave_the_images_alone():
    images = PHOTOS.copy()
    images.setflags(write=False)
    raw(images, augment=(*FLIPS_AND_SCALES, Zoom(0.8)))
    np.testing.assert_array_equal(images, PHOTOS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Flip(1), r"Flip\(axis=1\) .* count from the end"),
        (lambda: Flip(-3).view(PHOTOS), r"Flip\(axis=-3\) does not fit images with 2 spatial axes"),
        (lambda: Zoom(0), r"Zoom\(factor=0\) .* a positive number"),
        (lambda: Zoom(float("nan")), r"Zoom\(factor=nan\)"),
    ],
)
def test_views_that_cannot_be_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
