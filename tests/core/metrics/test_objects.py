"""Boxes of objects, as pixels of what the model sees, against masks of the same objects."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.metrics.objects import masks_of, objects_in, pixels_in
from camcore.photos.crop import CentreCrop, Crop


def test_pixels_whose_centres_lie_within():
    edges = np.array([[0, 0, 1, 1], [0.5, 0.5, 2.5, 1.5], [0.6, 0.6, 1.4, 1.4], [-3, 1, 9, 9]])
    # The second begins at a centre, which is within, and ends at one, which is not.
    found = pixels_in(edges, (4, 5))
    np.testing.assert_array_equal(found, [[0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 4, 3]])
    assert pixels_in(np.array([[6.0, 0, 9, 2]]), (4, 5)).shape == (0, 4)


@pytest.mark.parametrize("seed", range(20))
def test_pixels_in_boxes_are_those_of_masks_of_the_same_objects(seed):
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(8, 60, 2).tolist())
    crops = (
        CentreCrop(shape, 16, int(random.integers(16, 24))),
        Crop.whole(shape, (12, 20)),
        Crop(shape, (20, 20), (10, 20), (-5, 0)),
    )
    ends = [np.sort(random.choice(side + 1, (3, 2)), axis=1) for side in shape]
    boxes = np.array([
        [left, top, right, bottom]
        for (top, bottom), (left, right) in zip(*ends, strict=True)
        if top < bottom and left < right
    ])  # fmt: skip
    if not len(boxes):
        return
    mask = np.zeros(shape, bool)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = True
    for crop in crops:
        found = masks_of(objects_in([boxes], crop.grid, 1, [(crop, "a photograph")]), crop.grid)
        np.testing.assert_array_equal(found[0], crop.mask_to_model(mask))
