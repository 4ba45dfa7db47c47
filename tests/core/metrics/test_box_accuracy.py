"""Boxes around maps against those of objects, by hand and against sets of pixels."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.errors import InputError
from camcore.metrics import (
    BoxAccuracy,
    boxes_of,
    max_box_accuracy,
    top1_localisation,
)
from camcore.resize import resize

# A region of four pixels and, stronger, one of two, apart from each other.
HEAT = np.zeros((6, 8))
HEAT[1:3, 1:3] = 0.5
HEAT[4, 5:7] = 1
OBJECT = [1, 1, 2, 2]

pytestmark = pytest.mark.usefixtures("_opencv")


@pytest.fixture
def _opencv(require):
    require("cv2")


def smooth(random, count, sides=(24, 30)):
    """Maps of a coarse layer, enlarged, from 0 to 1."""
    coarse = np.maximum(random.normal(size=(count, 1, 5, 5)), 0)
    fine = resize(coarse, sides)[:, 0]
    return fine / fine.max(axis=(1, 2), keepdims=True)


def some_boxes(random, counts, sides=(24, 30)):
    """Boxes of several objects an image."""
    ends = [np.sort(random.integers(0, sides[::-1], (n, 2, 2)), axis=1) for n in counts]
    return [end.reshape(-1, 4) for end in ends]


def test_box_accuracy_by_hand():
    # From 0.5 on (127 of 255) only the pair is marked. Each box ends one pixel beyond, so
    # (1, 1, 3, 3) has 9 pixels, 4 of them the object's.
    found = max_box_accuracy(HEAT[None], [OBJECT], thresholds=[0, 0.49, 0.5, 1], iou=(0.4, 0.5))
    np.testing.assert_array_equal(found.values, [[4 / 9, 4 / 9, 0, 0]])
    np.testing.assert_array_equal(found.accuracy, [[1, 1, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(found.best, [1, 0])
    np.testing.assert_array_equal(found.best_thresholds, [0, 0])
    assert found.score == 0.5
    assert max_box_accuracy(HEAT[None], [OBJECT], iou=4 / 9).score == 1
    # The pair is (5, 4, 7, 5): 3 by 2 pixels of the object's 2 by 1.
    pair = max_box_accuracy(HEAT[None], [[5, 4, 6, 4]], thresholds=[0, 0.5])
    np.testing.assert_array_equal(pair.values, [[0, 2 / 6]])
    every = max_box_accuracy(HEAT[None], [[5, 4, 6, 4]], thresholds=[0, 0.5], contours="all")
    np.testing.assert_array_equal(every.values, [[2 / 6, 2 / 6]])


def test_thresholds_are_a_hundredth_apart_and_end_where_nothing_is_above():
    found = max_box_accuracy(HEAT[None], [OBJECT])
    np.testing.assert_array_equal(found.thresholds, np.arange(101) * 0.01)
    np.testing.assert_array_equal(found.values[0, :50], [4 / 9] * 50)
    np.testing.assert_array_equal(found.values[0, 50:], [0] * 51)
    np.testing.assert_array_equal(found.iou, [0.5])


def test_the_best_threshold_is_that_of_the_data_set():
    # One fits at a low threshold alone, the other at a high one alone.
    maps = np.stack([HEAT, HEAT])
    found = max_box_accuracy(maps, [[1, 1, 3, 3], [5, 4, 7, 5]], thresholds=[0, 0.5])
    np.testing.assert_array_equal(found.values, [[1, 0], [0, 1]])
    assert found.score == 0.5
    np.testing.assert_array_equal(found.best_thresholds, [0])


def test_parts_of_a_data_set_are_joined():
    maps = np.stack([HEAT, HEAT])
    boxes = [[1, 1, 3, 3], [5, 4, 7, 5]]
    parts = [max_box_accuracy(maps[i : i + 1], boxes[i : i + 1]) for i in (0, 1)]
    joined, whole = BoxAccuracy.concatenate(parts), max_box_accuracy(maps, boxes)
    np.testing.assert_array_equal(joined.values, whole.values)
    assert joined.score == whole.score == 0.5
    # Each has a threshold at which it fits; there is none that fits both.
    assert [part.score for part in parts] == [1, 1]
    other = max_box_accuracy(maps, boxes, iou=0.3)
    with pytest.raises(InputError, match="Box accuracies of other iou cannot be joined"):
        BoxAccuracy.concatenate([whole, other])
    with pytest.raises(InputError, match="pass one or more"):
        BoxAccuracy.concatenate([])


def test_samples_without_objects_do_not_count():
    found = max_box_accuracy(np.stack([HEAT, HEAT]), [[], [[1, 1, 3, 3]]], thresholds=[0, 0.5])
    np.testing.assert_array_equal(found.values, [[np.nan, np.nan], [1, 0]])
    np.testing.assert_array_equal(found.accuracy, [[1, 0]])
    none = max_box_accuracy(HEAT[None], [np.zeros((0, 4))])
    assert np.isnan([none.score, *none.best_thresholds, *none.best]).all()


def test_a_map_of_zeros_has_the_first_pixel_for_a_box():
    found = max_box_accuracy(np.zeros((1, 4, 4)), [[0, 0, 1, 1]], thresholds=3)
    np.testing.assert_array_equal(found.values, [[1 / 4] * 3])


def test_a_box_ends_where_the_map_does():
    found = max_box_accuracy(np.ones((1, 4, 6)), [[0, 0, 5, 3]], thresholds=[0, 0.99])
    np.testing.assert_array_equal(found.values, [[1, 1]])


def pixels(box, sides):
    left, top, right, bottom = box
    marked = np.zeros(sides, bool)
    marked[top : bottom + 1, left : right + 1] = True
    return marked


def polygon(points):
    """The area of a polygon through the centres of pixels."""
    x, y = points[:, 0, 0].astype(float), points[:, 0, 1].astype(float)
    return abs(np.sum(x * np.roll(y, 1) - y * np.roll(x, 1))) / 2


@pytest.mark.parametrize("contours", ["largest", "all"])
def test_values_are_those_of_the_definition_on_smooth_maps(contours, require):
    """wsolevaluation's convention, written out with sets of pixels and areas of polygons."""
    cv2 = require("cv2")
    random = np.random.default_rng(0)
    sides = (24, 30)
    maps, objects = smooth(random, 50), some_boxes(random, random.integers(1, 4, 50))
    thresholds = np.arange(0, 1, 0.01)
    expected = np.zeros((50, 100))
    for row, one, truth in zip(expected, maps, objects, strict=True):
        image = np.floor(one * 255).astype(int)
        for k, threshold in enumerate(thresholds):
            marked = (image > int(threshold * image.max())).astype(np.uint8)
            mode = cv2.RETR_LIST if contours == "all" else cv2.RETR_EXTERNAL
            outlines = cv2.findContours(marked, mode, cv2.CHAIN_APPROX_NONE)[0]
            if contours == "largest":
                areas = [polygon(outline) for outline in outlines]
                outlines = [outlines[int(np.argmax(areas))]]
                if areas.count(max(areas)) > 1:
                    row[k] = np.nan  # of equal ones either counts
                    continue
            for outline in outlines:
                (left, top), (right, bottom) = outline[:, 0].min(0), outline[:, 0].max(0)
                box = (left, top, min(right + 1, 29), min(bottom + 1, 23))
                here = pixels(box, sides)
                for other in truth:
                    there = pixels(other, sides)
                    row[k] = max(row[k], (here & there).sum() / (here | there).sum())
    found = max_box_accuracy(maps, objects, thresholds=thresholds, contours=contours).values
    known = ~np.isnan(expected)
    assert known.mean() > 0.95
    assert len(np.unique(found)) > 500
    np.testing.assert_array_equal(found[known], expected[known])


def test_parts_are_joined_by_their_rows():
    random = np.random.default_rng(1)
    maps, objects = smooth(random, 8), some_boxes(random, [1, 2, 0, 1, 3, 1, 1, 2])
    whole = max_box_accuracy(maps, objects, iou=(0.1, 0.3, 0.5))
    parts = [max_box_accuracy(maps[i : i + 4], objects[i : i + 4]) for i in (0, 4)]
    values = np.concatenate([part.values for part in parts])
    np.testing.assert_array_equal(values, whole.values)
    joined = BoxAccuracy(whole.thresholds, values, whole.iou)
    assert joined.score == whole.score > 0


def test_top1_by_hand():
    # At 0.2 the larger region's box is the object; at 0.6 the pair's lies apart.
    maps = np.stack([HEAT] * 3)
    objects = [[OBJECT], [[5, 4, 6, 4], OBJECT], []]
    right = [True, True, True]
    np.testing.assert_array_equal(top1_localisation(maps, objects, right), [1, 1, np.nan])
    at_high = top1_localisation(maps, objects, right, threshold=0.6)
    np.testing.assert_array_equal(at_high, [0, 1, np.nan])
    wrong = top1_localisation(maps, objects, [True, False, False])
    np.testing.assert_array_equal(wrong, [1, 0, np.nan])


@pytest.mark.parametrize(("right", "expected"), [(2, 1), (3, 1), (4, 1), (5, 0)])
def test_top1_takes_half_the_union(right, expected):
    # 2 by 2 pixels of 2 by (right): 4/4, 4/6, 4/8, 4/10.
    object_ = [1, 1, right, 2]
    np.testing.assert_array_equal(top1_localisation(HEAT[None], [object_], [True]), [expected])
    found = top1_localisation(HEAT[None], [object_], [True], iou=0.4)
    np.testing.assert_array_equal(found, [1])


def test_top1_boxes_are_those_of_boxes_of():
    random = np.random.default_rng(2)
    maps = smooth(random, 20)
    for threshold in (0.15, 0.2):
        own = [boxes_of(one, threshold)[0] - [0, 0, 1, 1] for one in maps]
        fits = top1_localisation(maps, own, np.ones(20, bool), threshold=threshold, iou=1)
        np.testing.assert_array_equal(fits, np.ones(20))


def test_a_map_of_zeros_localises_nothing():
    assert top1_localisation(np.zeros((1, 4, 4)), [[0, 0, 3, 3]], [True]).tolist() == [0]


@pytest.mark.parametrize(
    "measure",
    [
        max_box_accuracy,
        lambda maps, boxes: top1_localisation(maps, boxes, np.ones(len(maps), bool)),
    ],
)
@pytest.mark.parametrize(
    ("maps", "boxes", "message"),
    [
        (np.full((1, 6, 8), np.nan), [OBJECT], "Maps must be finite"),
        (HEAT, [OBJECT] * 6, r"Maps of shape \(6, 8\) have no boxes; give \(B, H, W\)"),
        (-HEAT[None], [OBJECT], r"in \[0, 1\]"),
        (HEAT[None], [OBJECT, OBJECT], "Boxes of 2 samples do not fit 1 maps"),
        (HEAT[None], None, "Boxes of 0 samples do not fit 1 maps"),
        (HEAT[None], [[1, 1, 2]], r"Boxes of sample 0 have shape \(3,\); expected \(n, 4\)"),
        (HEAT[None], [["a"]], "Boxes of sample 0 are no array of numbers"),
        (HEAT[None], [[OBJECT, [1]]], "Boxes of sample 0 are no array of numbers"),
        (HEAT[None], [[3, 1, 2, 2]], "or end before they start"),
        (HEAT[None], [[1, 1, 2, 7]], "do not lie on a map of 6 by 8"),
        (HEAT[None], [[1, 1, 9, 2]], "do not lie on a map of 6 by 8"),
        (HEAT[None], [[-1, 1, 2, 2]], "do not lie on a map of 6 by 8"),
        (HEAT[None], [[np.nan, 1, 2, 2]], "do not lie on a map of 6 by 8"),
    ],
)
def test_wrong_arrays_are_refused(measure, maps, boxes, message):
    with pytest.raises(InputError, match=message):
        measure(maps, boxes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contours": "outer"}, "contours='outer'; expected 'largest' or 'all'"),
        ({"iou": 0}, "iou=0; expected a number above 0 and at most 1"),
        ({"iou": ()}, r"iou=\(\); expected"),
        ({"iou": (0.5, 1.1)}, r"iou=\(0.5, 1.1\)"),
        ({"thresholds": 1}, "thresholds=1; expected 2 or more of them"),
        ({"thresholds": (-0.1,)}, r"thresholds=\(-0.1,\)"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        max_box_accuracy(HEAT[None], [OBJECT], **options)


def test_max_box_accuracy_refuses_maps_beyond_one():
    with pytest.raises(InputError, match="Maps go from 0 to 2; expected"):
        max_box_accuracy(2 * HEAT[None], [OBJECT])


@pytest.mark.parametrize("right", [[1], [True, True], True])
def test_top1_wants_to_know_which_class_is_right(right):
    with pytest.raises(InputError, match="expected True or False for each of 1 maps"):
        top1_localisation(HEAT[None], [OBJECT], right)


def test_top1_takes_one_iou():
    with pytest.raises(InputError, match=r"iou=\(0.3, 0.5\); expected one number"):
        top1_localisation(HEAT[None], [OBJECT], [True], iou=(0.3, 0.5))
