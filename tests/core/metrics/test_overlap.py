"""Intersection over union and PxAP, by hand and against plain counts of pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camcore.errors import InputError
from camcore.metrics import (
    OverlapCurve,
    PixelHistograms,
    iou,
    iou_curve,
    pixel_histograms,
    px_ap,
)
from camcore.resize import resize

MAP = np.array([[[1.0, 0.5], [0.25, 0.0]]])
TOP = np.array([[[True, True], [False, False]]])
LEFT = np.array([[[1, 0], [1, 0]]])
EMPTY = np.zeros((1, 2, 2), bool)


def same(one, other):
    """Equal to the last bit; NaN is NaN."""
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("mask", "threshold", "expected"),
    [
        (TOP, 0.5, 2 / 2),
        (TOP, 0.51, 1 / 2),
        (TOP, 0.25, 2 / 3),
        (LEFT, 0.5, 1 / 3),
        (LEFT, 0.25, 2 / 3),
        (1 - LEFT, 1, 0 / 3),
        (EMPTY, 0.5, np.nan),
    ],
)
def test_iou_by_hand(mask, threshold, expected):
    same(iou(MAP, mask, threshold), [expected])
    same(iou(7 * MAP.reshape(1, 4), mask.reshape(1, 4), threshold), [expected])
    same(iou(MAP[None].reshape(1, 1, 2, 2), mask.reshape(1, 1, 2, 2), threshold), [expected])


def test_a_map_of_zeros_marks_nothing_and_a_constant_one_everything():
    maps = np.stack([np.zeros((2, 2)), np.ones((2, 2))])
    for threshold in (0.01, 1):
        same(iou(maps, np.repeat(TOP, 2, axis=0), threshold), [0, 0.5])


def test_curve_by_hand():
    maps, masks = np.concatenate([MAP, MAP, MAP]), np.concatenate([TOP, LEFT, EMPTY])
    curve = iou_curve(maps, masks, thresholds=4)
    same(curve.thresholds, [0.25, 0.5, 0.75, 1])
    same(curve.values, [[2 / 3, 1, 1 / 2, 1 / 2], [2 / 3, 1 / 3, 1 / 2, 1 / 2], [np.nan] * 4])
    # 2/3 at 1/4 and (1 + 1/3) / 2 at 1/2 are equal: the lower counts.
    assert curve.mean == pytest.approx([2 / 3, 2 / 3, 1 / 2, 1 / 2], abs=1e-15)
    assert curve.best == pytest.approx(2 / 3, abs=1e-15)
    alone = iou_curve(MAP, TOP, thresholds=4)
    assert (alone.best, alone.best_threshold) == (1, 0.5)
    assert iou_curve(MAP, TOP, thresholds=[0.75, 1]).best_threshold == 0.75
    assert len(iou_curve(maps, masks).thresholds) == 100
    for column, threshold in zip(iou_curve(maps, masks).values.T, range(1, 101), strict=True):
        same(column, iou(maps, masks, threshold / 100))


def test_curve_without_a_mask_has_no_best():
    curve = iou_curve(MAP, EMPTY)
    assert np.isnan(curve.mean).all()
    assert np.isnan([curve.best, curve.best_threshold]).all()


def test_curves_of_parts_are_joined_by_their_rows():
    maps, masks = np.random.default_rng(0).random((2, 6, 5, 4))
    masks = masks > 0.6
    whole = iou_curve(maps, masks)
    parts = [iou_curve(maps[part], masks[part]) for part in (slice(4), slice(4, None))]
    joined = OverlapCurve(whole.thresholds, np.concatenate([part.values for part in parts]))
    same(joined.values, whole.values)
    assert (joined.best, joined.best_threshold) == (whole.best, whole.best_threshold)


def test_pixels_are_counted_by_hand():
    counts = pixel_histograms(MAP, TOP, bins=4)
    same(counts.inside, [0, 0, 1, 0, 1])
    same(counts.outside, [1, 1, 0, 0, 0])
    assert counts.average_precision == px_ap(MAP, TOP, bins=4) == 1
    # Strongest first: a hit of 1, 1 of 2, 2 of 3, so 1/2 · 1 + 1/2 · 2/3.
    assert px_ap(MAP, LEFT) == pytest.approx(5 / 6, abs=1e-15)
    # Of two thresholds below 1, 1/4 and 0 fall into one bin: 1/2 · 1 + 1/2 · 2/4.
    assert px_ap(MAP, LEFT, bins=2) == 0.75
    assert px_ap(MAP.reshape(1, 4), LEFT.reshape(1, 4), bins=2) == 0.75
    assert px_ap(MAP.reshape(1, 2, 1, 2), LEFT.reshape(1, 2, 1, 2), bins=2) == 0.75


def test_a_value_on_an_edge_belongs_to_the_bin_above():
    values = np.arange(1000) * 0.001
    same(pixel_histograms(values[None], np.ones((1, 1000))).inside, [1] * 1000 + [0])


def test_regions_to_ignore_do_not_count_outside_masks():
    # Without the upper right, which ranks second: hits 1 of 1 and 2 of 2.
    assert px_ap(MAP, LEFT, 1 - LEFT) == 1
    assert px_ap(MAP, LEFT, np.ones((1, 2, 2))) == 1
    assert px_ap(MAP, LEFT, LEFT) == px_ap(MAP, LEFT)


def test_histograms_of_parts_add_up():
    random = np.random.default_rng(0)
    maps, masks, ignore = random.random((7, 4, 5)), *(random.random((2, 7, 4, 5)) < 0.3)
    whole = px_ap(maps, masks, ignore)
    parts = [
        pixel_histograms(maps[part], masks[part], ignore[part])
        for part in (slice(1), slice(1, 4), slice(4, None))
    ]
    assert sum(parts[1:], parts[0]).average_precision == whole
    means = [part.average_precision for part in parts]
    assert abs(np.mean(means) - whole) > 1e-3
    with pytest.raises(InputError, match="Histograms of 1000 and 10 bins"):
        _ = parts[0] + pixel_histograms(maps, masks, bins=10)


def test_a_constant_map_has_the_masks_share_and_no_mask_no_precision():
    for value in (0, 0.3, 1):
        assert px_ap(np.full((2, 4), value), [[1, 0, 0, 0], [1, 1, 0, 0]]) == 3 / 8
    assert np.isnan(px_ap(MAP, EMPTY))


def test_px_ap_is_the_area_under_precision_and_recall_of_each_threshold():
    """wsolevaluation's definition, threshold by threshold on 50 smooth maps."""
    random = np.random.default_rng(0)

    def smooth():
        coarse = np.maximum(random.normal(size=(50, 1, 5, 5)), 0)
        fine = resize(coarse, (24, 24))[:, 0]
        return fine / fine.max(axis=(1, 2), keepdims=True)

    maps, masks, ignore = smooth(), smooth() > 0.6, smooth() > 0.7
    counted = masks | ~ignore
    area, recall = 0.0, 0.0
    for threshold in [1, *(np.arange(1000) * 0.001)[::-1]]:
        found = (maps >= threshold) & counted
        hits = (found & masks).sum()
        if found.any():
            area += hits / found.sum() * (hits / masks.sum() - recall)
        recall = hits / masks.sum()
    assert 0.05 < area < 0.95
    assert px_ap(maps, masks, ignore) == pytest.approx(area, abs=1e-14)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 4), min_size=2, max_size=4))
def test_values_are_shares_that_scale_does_not_change(seed, shape):
    random = np.random.default_rng(seed)
    maps, masks = random.integers(0, 4, shape) / 4, random.random(shape) < 0.4
    found = iou_curve(maps, masks, thresholds=8).values
    same(iou_curve(maps * 2.0**300, masks, thresholds=8).values, found)
    same(np.isnan(found).any(axis=1), ~masks.reshape(len(maps), -1).any(axis=1))
    known = np.append(found[~np.isnan(found)], px_ap(maps, masks) if masks.any() else 0)
    assert ((known >= 0) & (known <= 1)).all()
    # A mask is itself.
    same(iou(masks, masks, 1), np.where(masks.reshape(len(maps), -1).any(axis=1), 1, np.nan))
    assert px_ap(masks, masks) == 1 or not masks.any()


@pytest.mark.parametrize("measure", [iou, iou_curve, px_ap, pixel_histograms])
@pytest.mark.parametrize(
    ("maps", "masks", "message"),
    [
        (np.full((1, 2, 2), np.nan), TOP, "Maps must be finite"),
        (MAP[0, 0], TOP, r"Maps of shape \(2,\) cannot be measured"),
        (MAP, TOP[0], r"Masks of shape \(2, 2\) do not fit maps of shape \(1, 2, 2\)"),
        (MAP, TOP * 2, "Masks must be True or False, or 1 or 0"),
        (-MAP, TOP, r"in \[0, 1\]"),
    ],
)
def test_wrong_arrays_are_refused(measure, maps, masks, message):
    with pytest.raises(InputError, match=message):
        measure(maps, masks)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: iou(MAP, TOP, 0), "threshold=0; expected a share"),
        (lambda: iou_curve(MAP, TOP, thresholds=0), "thresholds=0; expected 1 or more of them"),
        (lambda: iou_curve(MAP, TOP, thresholds=[]), r"thresholds=\[\]; expected how many, or a"),
        (lambda: iou_curve(MAP, TOP, thresholds=[0.5, 1.5]), r"a list of numbers in \[0, 1\]"),
        (lambda: iou_curve(MAP, TOP, thresholds=[0.0]), "threshold=0.0; expected a share"),
        (lambda: iou_curve(MAP, TOP, thresholds=[np.nan]), "expected how many"),
        (lambda: px_ap(2 * MAP, TOP), r"Maps go from 0 to 2; expected values in \[0, 1\]"),
        (lambda: px_ap(MAP, TOP, TOP[0]), r"Regions to ignore of shape \(2, 2\) do not fit"),
        (lambda: px_ap(MAP, TOP, bins=0), "bins=0; expected 1 or more"),
    ],
)
def test_wrong_options_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_histograms_are_whole_numbers():
    counts = PixelHistograms(np.array([0, 2]), np.array([1, 1]))
    assert (counts + counts).inside.tolist() == [0, 4]
    assert counts.average_precision == 2 / 3


def test_px_ap_is_that_of_wsolevaluation():
    """Histograms of 1000 thresholds, precision and recall from the top bin down, as its code."""
    rng = np.random.default_rng(3)
    maps = np.round(rng.random((4, 12, 9)), 3)
    maps[0, 0, :2] = 0, 1
    masks, ignore = (rng.random((4, 12, 9)) < share for share in (0.3, 0.2))
    edges = np.append(np.arange(0, 1, 0.001), [1.0, 2.0, 3.0])
    inside, outside = (
        np.histogram(maps[some], bins=edges)[0][::-1].cumsum() for some in (masks, ~masks & ~ignore)
    )
    with np.errstate(invalid="ignore"):
        precision, recall = inside / (inside + outside), inside / inside[-1]
    found = inside + outside > 0
    area = (precision[1:] * np.diff(recall))[found[1:]].sum()
    assert px_ap(maps, masks, ignore) == pytest.approx(area, rel=1e-12)
