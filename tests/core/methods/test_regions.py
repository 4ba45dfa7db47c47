"""XRAI: which regions come first, what they get, and what is segmented."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from noisy import IMAGES

from camcore import methods
from camcore.errors import InputError, MethodError, MissingExtraError
from camcore.methods.regions import gathered, segmented

ROWS = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0]], bool)


@pytest.mark.parametrize(
    ("least", "expected"),
    # Means are 3/2, 3 and 4. The third, 4, is first; of the others the first still has 3/2 and
    # the second adds a 2. Nothing covers the last.
    [
        (1, [1, 2, 4, -6]),
        # Only the first and second are large enough: the second, 3, then the first adds one
        # place, which is too few, and shares a mean with the last.
        (2, [-2.5, 3, 3, -2.5]),
        # None is.
        (3, [0.25] * 4),
    ],
)
def test_regions_are_taken_by_the_mean_of_what_they_add(least, expected):
    values = np.array([1.0, 2.0, 4.0, -6.0])
    np.testing.assert_allclose(gathered(values, ROWS, least), expected, rtol=1e-14)


def test_regions_may_be_of_any_rank_and_keep_the_sum():
    rng = np.random.default_rng(0)
    for shape in ((12,), (4, 5), (3, 4, 5)):
        values, regions = rng.normal(size=shape), rng.random((6, *shape)) > 0.6
        found = gathered(values, regions, 2)
        assert found.shape == shape
        assert len(np.unique(found)) > 2
        np.testing.assert_allclose(found.sum(), values.sum(), rtol=1e-12)
        flat = gathered(values.ravel(), regions.reshape(6, -1), 2)
        np.testing.assert_array_equal(found.ravel(), flat)


def test_integrated_gradients_are_those_of_the_darkest_and_the_brightest_baseline():
    # Of the score Σ x³ / 3, at even steps whose ends count in full; a region for each place.
    regions = np.eye(16, dtype=bool).reshape(16, 4, 4)
    maps = methods.xrai(IMAGES, lambda x: x**2, steps=3, regions=regions, min_pixels=1)
    for found, image in zip(maps, IMAGES, strict=True):
        both = [
            (image - end) * sum((end + t * (image - end)) ** 2 for t in (0, 0.5, 1)) / 3
            for end in (image.min(), image.max())
        ]
        np.testing.assert_allclose(found, np.mean(both, axis=0).max(axis=0), rtol=1e-12)


def test_an_image_of_one_value_has_a_map_of_zeros(require):
    require("skimage")
    maps = methods.xrai(np.full((1, 3, 20, 20), 7.0), lambda x: x, steps=2)
    np.testing.assert_array_equal(maps, np.zeros((1, 20, 20)))


def test_segments_cover_everything_at_every_scale(require):
    require("skimage")
    np.testing.assert_array_equal(segmented(np.full((3, 40, 60), 7.0)), np.ones((6, 40, 60)))
    image = np.zeros((3, 40, 60))
    image[:, :, 30:] = 1
    regions = segmented(image)
    assert regions.dtype == bool
    assert regions.any(axis=0).all()
    # Each has grown by five places, so that a place lies in several.
    assert regions.sum(axis=0).min() >= 6
    # The edge parts most of them.
    alone = [one for one in regions if one[:, :25].any() != one[:, 35:].any()]
    assert len(alone) > len(regions) / 2
    # Scaled or shifted, an image has the same segments.
    np.testing.assert_array_equal(segmented(8 * image - 4), regions)


def test_scikit_image_is_asked_for_where_it_is_needed_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(MissingExtraError, match=r"segmenting images .*camcore\[metrics\]"):
        methods.xrai(IMAGES, lambda x: x, steps=2)
    options = {"regions": np.ones((1, 4, 4), bool), "min_pixels": 16}
    assert methods.xrai(IMAGES, lambda x: x, steps=2, **options).shape == (2, 4, 4)


@pytest.mark.parametrize("shape", [(1, 2, 9), (1, 2, 4, 5, 6)])
def test_what_cannot_be_segmented_needs_regions(shape):
    with pytest.raises(MethodError, match=rf"two spatial axes .* of {len(shape) - 2}\. Give reg"):
        methods.xrai(np.ones(shape), lambda x: x)


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        (np.ones((2, 4, 4)), r"array of bool \(N, 4, 4\); got float64 \(2, 4, 4\)"),
        (np.ones((2, 5, 4), bool), r"got bool \(2, 5, 4\)"),
        (np.ones((4, 4), bool), r"got bool \(4, 4\)"),
        (np.ones((0, 4, 4), bool), r"got bool \(0, 4, 4\)"),
    ],
)
def test_regions_that_do_not_fit_are_named(regions, message):
    with pytest.raises(InputError, match=message):
        methods.xrai(IMAGES, lambda x: x, regions=regions)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 1}, "steps=1; a path has at least its 2 ends"),
        ({"steps": 2.5}, r"steps=2\.5; it must be a whole"),
        ({"min_pixels": 0}, "min_pixels=0; it must be at least 1"),
        (
            {"steps": 2, "min_pixels": 17, "regions": np.ones((1, 4, 4), bool)},
            "min_pixels=17; the largest of the regions has 16 places, .* Give a smaller",
        ),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(MethodError, match=message):
        methods.xrai(IMAGES, lambda x: x, **options)
