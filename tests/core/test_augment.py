"""Averaging over views: each map comes back to the input's frame before it is averaged."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore.augment import FLIPS_AND_SCALES, Crop, Flip, Multiply, Zoom, crops
from camcore.errors import InputError
from camcore.resize import resize
from camcore.targets import Probability
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
    ("at", "expected", "shown"),
    # Four places on half of the line: two in each of the input's.
    [
        (0, [1.5, 5, 0, 0], [1, 1, 0, 0]),
        (0.5, [0, 1.5, 5, 0], [0, 1, 1, 0]),
        (1, [0, 0, 1.5, 5], [0, 0, 1, 1]),
        # From 0.5 to 2.5: half of the first place, and so on.
        (0.25, [0.5, 3, 3, 0], [0.5, 1, 0.5, 0]),
    ],
)
def test_a_parts_map_is_laid_where_the_part_is(at, expected, shown):
    crop = Crop(2, (at,))
    np.testing.assert_allclose(crop.undo(np.array([[1.0, 2, 4, 6]]), (4,)), [expected])
    np.testing.assert_allclose(crop.undo(np.ones((1, 4)), (4,)), [shown])


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_part_of_a_map_comes_back_as_it_was(rank):
    maps = np.random.default_rng(rank).normal(size=(2, *[4] * rank))
    large = maps
    for axis in range(1, rank + 1):
        large = large.repeat(2, axis)
    crop = Crop(2.0, (0.5, 0.0, 1.0)[:rank])
    window = (slice(2, 6), slice(0, 4), slice(4, 8))[:rank]
    found = crop.undo(large[(slice(None), *window)], maps.shape[1:])
    np.testing.assert_allclose(found, maps * crop.undo(np.ones_like(maps), maps.shape[1:]))
    assert (found != 0).sum() == 2 * 2**rank


def test_a_part_is_cut_out_of_the_enlarged_input():
    found = Crop(1.5, (1.0, 0.5)).view(PHOTOS)
    np.testing.assert_array_equal(found, resize(PHOTOS, (12, 12))[..., 4:, 2:10])


def test_windows_slide_from_edge_to_edge():
    assert [c.corner for c in crops([1.5], rank=1)] == [(0,), (1,)]
    assert [c.corner for c in crops([2.0], rank=1)] == [(0,), (0.5,), (1,)]
    assert [c.corner for c in crops([2.2], step=1, rank=1)] == [(0,), (0.5,), (1,)]
    assert [len(crops(rank=rank)) for rank in (1, 2, 3)] == [2 + 3, 4 + 9, 8 + 27]
    assert {c.scale for c in crops()} == {1.5, 2.0}


def test_parts_count_by_their_score_where_they_are():
    target = Probability(1)
    total, whole = raw(PHOTOS, target), camcore.explain(NETWORK, PHOTOS, target).scores
    shown = np.ones_like(total)
    for crop in crops():
        part = crop.view(PHOTOS)
        share = camcore.explain(NETWORK, part, target).scores / whole
        share = share[:, None, None]
        total = total + share * crop.undo(raw(part, target), (4, 4))
        shown = shown + share * crop.undo(np.ones((2, 4, 4)), (4, 4))
    found = raw(PHOTOS, target, augment=crops())
    np.testing.assert_allclose(found, total / shown, rtol=1e-12, atol=1e-15)
    # Other views keep their weight of 1.
    both = raw(PHOTOS, target, augment=[*crops(), Flip()])
    flipped = np.flip(raw(np.flip(PHOTOS, -1), target), -1)
    np.testing.assert_allclose(both, (total + flipped) / (shown + 1), rtol=1e-12, atol=1e-15)


def test_a_part_of_negative_score_does_not_count():
    crop = Crop(2, (0.5,))
    weights = crop.weight(np.array([-1.0, 0.0, 3.0]), np.array([2.0, 2.0, 2.0]))
    np.testing.assert_array_equal(weights, [0, 0, 1.5])
    with pytest.raises(InputError, match=r"input's own, which is -2\. .*targets\.Probability"):
        crop.weight(np.ones(2), np.array([1.0, -2.0]))


def test_a_part_is_one_pass():
    network = random_network(head="gap")
    explainer = camcore.Explainer(network, layer="relu2", augment=crops())
    explainer(PHOTOS, Probability(1))
    before = network.passes
    explainer(PHOTOS, Probability(1))
    assert network.passes - before == 1 + 13


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Flip(1), r"Flip\(axis=1\) .* count from the end"),
        (lambda: Flip(-3).view(PHOTOS), r"Flip\(axis=-3\) does not fit images with 2 spatial axes"),
        (lambda: Zoom(0), r"Zoom\(factor=0\) .* a positive number"),
        (lambda: Zoom(float("nan")), r"Zoom\(factor=nan\)"),
        (lambda: Crop(1, (0.5,)), r"Crop\(scale=1\) is no part of the input; .* above 1"),
        (lambda: Crop(float("inf"), (0.5,)), r"Crop\(scale=inf\) is no part"),
        (lambda: Crop(2, (0.5, 1.5)), r"Crop\(corner=\(0.5, 1.5\)\) does not lie in the input"),
        (lambda: Crop(2, ()), r"Crop\(corner=\(\)\) does not lie in the input"),
        (lambda: Crop(2, (0.5,)).view(PHOTOS), r"has 1 numbers for 2 spatial axes; pass one for"),
        (lambda: crops(step=0), r"step=0; a share of the window's side"),
        (lambda: crops(rank=0), r"rank=0; the number of spatial axes"),
        (lambda: crops([0.5]), r"Crop\(scale=0.5\) is no part of the input"),
    ],
)
def test_views_that_cannot_be_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
