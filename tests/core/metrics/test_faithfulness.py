"""Faithfulness on additive scores, where every curve is known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.errors import InputError, MethodError
from camcore.metrics.faithfulness import (
    Curve,
    average_drop,
    average_gain,
    deletion,
    drop,
    gain,
    increase_in_confidence,
    increased,
    insertion,
    masked_scores,
    win,
)
from camcore.metrics.removal import road

LINE = np.array([[[1.0, 2.0, 4.0, 8.0]]])
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 3, 4, 5))
MAPS = RNG.random(size=(2, 4, 5))
for array in (LINE, IMAGES, MAPS):
    array.setflags(write=False)


def total(_, images):
    return images.reshape(len(images), -1).sum(axis=1)


def curved(sample, images):
    return np.tanh(total(sample, images) + sample)


def test_deletion_and_insertion_by_hand():
    # 8 goes first: 15, 7, 3, 1, 0. Trapezoids of width 1/4: 11 + 5 + 2 + 1/2.
    deleted = deletion(LINE, LINE[:, 0], total, steps=4)
    np.testing.assert_array_equal(deleted.fractions, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_array_equal(deleted.scores, [[15, 7, 3, 1, 0]])
    np.testing.assert_array_equal(deleted.auc, [18.5 / 4])
    # 8 comes first: 0, 8, 12, 14, 15.
    inserted = insertion(LINE, LINE[:, 0], total, steps=4, baseline=0.0)
    np.testing.assert_array_equal(inserted.scores, [[0, 8, 12, 14, 15]])
    np.testing.assert_array_equal(inserted.auc, [41.5 / 4])
    # The worst order, to a baseline of 1 instead: 15, 15, 14, 11, 4.
    worst = deletion(LINE, -LINE[:, 0], total, steps=4, baseline=1.0)
    np.testing.assert_array_equal(worst.scores, [[15, 15, 14, 11, 4]])


def test_equal_importance_goes_in_the_order_of_the_array():
    maps = np.array([[1.0, 3.0, 1.0, 3.0]])
    # Second, fourth, first, third.
    curve = deletion(LINE, maps, total, steps=4)
    np.testing.assert_array_equal(curve.scores, [[15, 13, 5, 4, 0]])
    np.testing.assert_array_equal(
        deletion(LINE, np.zeros((1, 4)), total, steps=4).scores, [[15, 14, 12, 8, 0]]
    )


@pytest.mark.parametrize(
    ("steps", "fractions", "scores"),
    [
        (1, [0, 1], [15, 0]),
        (2, [0, 0.5, 1], [15, 3, 0]),
        # After 4/3 and 8/3 positions, rounded.
        (3, [0, 0.25, 0.75, 1], [15, 7, 1, 0]),
    ],
)
def test_steps_take_whole_positions(steps, fractions, scores):
    curve = deletion(LINE, LINE[:, 0], total, steps=steps)
    np.testing.assert_array_equal(curve.fractions, fractions)
    np.testing.assert_array_equal(curve.scores, [scores])


def test_a_position_goes_with_all_its_channels_to_its_own_baseline():
    seen = []

    def remember(_, images):
        seen.extend(images)
        return np.zeros(len(images))

    images = np.arange(8.0).reshape(1, 2, 2, 2)
    deletion(images, np.array([[[0.0, 1.0], [0.0, 0.0]]]), remember, baseline=-images, steps=4)
    expected = images[0].copy()
    expected[:, 0, 1] = [-1, -5]
    np.testing.assert_array_equal(seen[0], images[0])
    np.testing.assert_array_equal(seen[1], expected)
    np.testing.assert_array_equal(seen[-1], -images[0])


@pytest.mark.parametrize("baseline", [0.0, 0.3, 2 * IMAGES])
def test_curves_lead_from_the_image_to_the_baseline_and_back(baseline):
    whole = [curved(i, image[None])[0] for i, image in enumerate(IMAGES)]
    none = np.broadcast_to(baseline, IMAGES.shape)
    bare = [curved(i, image[None])[0] for i, image in enumerate(none)]
    deleted = deletion(IMAGES, MAPS, curved, baseline=baseline, steps=7).scores
    inserted = insertion(IMAGES, MAPS, curved, baseline=baseline, steps=7).scores
    np.testing.assert_allclose(deleted[:, [0, -1]].T, [whole, bare], rtol=1e-14)
    np.testing.assert_allclose(inserted[:, [0, -1]].T, [bare, whole], rtol=1e-14)
    # Deleting by a map is inserting into the image by it.
    swapped = insertion(none, MAPS, curved, baseline=IMAGES, steps=7)
    np.testing.assert_allclose(deleted, swapped.scores, rtol=1e-14)
    # Deleting the least important first is inserting backwards.
    backwards = deletion(IMAGES, -MAPS, curved, baseline=baseline, steps=5).scores
    forwards = insertion(IMAGES, MAPS, curved, baseline=baseline, steps=5).scores
    np.testing.assert_allclose(backwards, forwards[:, ::-1], rtol=1e-12)


def test_of_an_additive_score_both_areas_make_the_whole():
    areas = [c(IMAGES, MAPS, total, steps=20, baseline=0.0).auc for c in (deletion, insertion)]
    np.testing.assert_allclose(sum(areas), IMAGES.sum(axis=(1, 2, 3)), rtol=1e-12)


def test_no_order_deletes_an_additive_score_faster_than_its_own():
    own = IMAGES.sum(axis=1)
    best = deletion(IMAGES, own, total, steps=20).auc
    for maps in (MAPS, -own, np.zeros_like(MAPS)):
        assert np.all(deletion(IMAGES, maps, total, steps=20).auc > best)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_no_more_than_the_batch_size_is_scored_at_once(batch_size):
    sizes = []

    def counted(sample, images):
        sizes.append(len(images))
        return curved(sample, images)

    curve = deletion(IMAGES, MAPS, counted, steps=6, batch_size=batch_size)
    assert max(sizes) == min(batch_size, 7)
    assert sum(sizes) == 2 * 7
    np.testing.assert_allclose(curve.scores, deletion(IMAGES, MAPS, curved, steps=6).scores)


def test_area_is_that_of_trapezoids():
    curve = Curve(np.array([0, 0.25, 1]), np.array([[1.0, 1, 1], [1, 0, 0], [0, 0, 2], [0, 1, 0]]))
    np.testing.assert_array_equal(curve.auc, [1, 1 / 8, 3 / 4, 1 / 2])


def test_a_map_of_ones_keeps_the_score_and_of_zeros_takes_it():
    whole = np.array([curved(i, image[None])[0] for i, image in enumerate(IMAGES)])
    kept = masked_scores(IMAGES, np.ones((2, 4, 5)), curved)
    np.testing.assert_array_equal(kept, whole)
    np.testing.assert_array_equal(masked_scores(IMAGES, 0 * MAPS, total), [0, 0])
    assert average_drop(whole + 2, kept + 2) == 0
    assert increase_in_confidence(whole, kept) == 0


def test_masking_multiplies_every_channel():
    found = masked_scores(IMAGES, MAPS, total)
    np.testing.assert_allclose(found, np.einsum("bcij,bij->b", IMAGES, MAPS), rtol=1e-12)
    # Photographs as they come are not truncated.
    photos = np.full((1, 3, 2, 2), 200, np.uint8)
    np.testing.assert_allclose(masked_scores(photos, np.full((1, 2, 2), 0.5), total), [1200])


def test_drop_increase_and_win_by_hand():
    y, o = [0.8, 0.5, 0.25, 0.4], [0.2, 0.75, 0.25, 0.3]
    # Drops 3/4, none, none, 1/4.
    assert average_drop(y, o) == pytest.approx(25, rel=1e-14)
    assert increase_in_confidence(y, o) == 25
    # More than the other keeps in two of four; a tie is nobody's.
    assert win(o, [0.1, 0.8, 0.25, 0.2]) == 50
    assert win([0.1, 0.8, 0.25, 0.2], o) == 25


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: deletion(IMAGES, MAPS[:1], total),
            InputError,
            r"\(2, 3, 4, 5\) and maps of shape \(1, 4, 5\)",
        ),
        (
            lambda: insertion(IMAGES, IMAGES, total),
            InputError,
            r"pass \(B, C, \*S\) and \(B, \*S\)",
        ),
        (lambda: deletion(IMAGES[0, 0], MAPS, total), InputError, r"images must be \(batch, ch"),
        (lambda: deletion(IMAGES, MAPS, total, steps=0), InputError, "steps=0 .* pass 1 to 20"),
        (lambda: deletion(IMAGES, MAPS, total, steps=21), InputError, "steps=21 .* pass 1 to 20"),
        (
            lambda: deletion(IMAGES, MAPS, total, baseline=np.zeros(3), steps=2),
            InputError,
            r"shape \(3,\); pass one number, or an image for each: \(2, 3, 4, 5\)",
        ),
        (lambda: deletion(IMAGES, MAPS / 0, total, steps=2), InputError, "pass finite maps"),
        (lambda: masked_scores(IMAGES, MAPS * np.nan, total), InputError, "pass finite maps"),
        (
            lambda: deletion(IMAGES, MAPS, total, steps=2, batch_size=0),
            MethodError,
            "batch_size=0; it must be at least 1",
        ),
        (lambda: masked_scores(IMAGES, MAPS[:, 0], total), InputError, r"maps of shape \(2, 5\)"),
        (
            lambda: average_drop([1, 0], [1, 1]),
            InputError,
            "smallest score is 0.0, .* positive. Score",
        ),
        (lambda: average_drop([1], [1, 1]), InputError, r"shape \(1,\) and \(2,\) .* one length"),
        (lambda: increase_in_confidence([], []), InputError, r"shape \(0,\) and \(0,\)"),
        (lambda: win([[1]], [[1]]), InputError, r"shape \(1, 1\) and \(1, 1\)"),
    ],
)
def test_metrics_refuse_arrays_that_do_not_fit(call, error, message):
    with np.errstate(divide="ignore"), pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("curve", [deletion, insertion])
@pytest.mark.parametrize("baseline", [0.1, np.full((2, 3, 4, 5), 0.1)], ids=["number", "images"])
def test_altered_images_are_of_the_images_own_type(curve, baseline):
    images, seen = IMAGES.astype(np.float32), []

    def score(sample, altered):
        seen.append((sample, altered.copy()))
        return np.zeros(len(altered))

    curve(images, MAPS, score, steps=2, baseline=baseline)
    assert {altered.dtype for _, altered in seen} == {np.dtype(np.float32)}
    for sample, altered in seen:
        kept = altered == images[sample]
        assert set(altered[~kept].tolist()) <= {float(np.float32(0.1))}
        assert {round(float(k), 1) for k in kept.mean((1, 2, 3))} <= {0.0, 0.5, 1.0}


def test_a_baseline_of_another_shape_is_refused_whatever_its_size():
    for wrong in (np.zeros(5), np.zeros((4, 5)), np.zeros((1, 3, 4, 5))):
        with pytest.raises(InputError, match="The baseline has shape"):
            deletion(IMAGES, MAPS, total, steps=2, baseline=wrong)


def test_ties_go_as_said():
    maps = np.array([[1.0, 3.0, 1.0, 3.0]])
    # Fourth, second, third, first.
    curve = deletion(LINE, maps, total, steps=4, ties="last")
    np.testing.assert_array_equal(curve.scores, [[15, 7, 5, 1, 0]])
    np.testing.assert_array_equal(curve.tied, [1])
    assert not curve.empty[0]
    flat = deletion(LINE, np.ones((1, 4)), total, steps=4)
    assert flat.empty[0]


def test_steps_can_be_numbers_of_positions():
    curve = deletion(LINE, LINE[:, 0], total, steps=[0, 1, 4])
    np.testing.assert_array_equal(curve.fractions, [0, 0.25, 1])
    np.testing.assert_array_equal(curve.scores, [[15, 7, 0]])
    assert curve.forwards == 3


def test_a_curve_can_stop_early():
    curve = deletion(LINE, LINE[:, 0], total, steps=4, up_to=0.5)
    np.testing.assert_array_equal(curve.fractions, [0, 0.25, 0.5])
    np.testing.assert_array_equal(curve.scores, [[15, 7, 3]])
    # Its mean height up to there.
    np.testing.assert_allclose(curve.auc, [(11 + 5) / 2])


def test_scores_between_two_steps_lie_on_a_line():
    curve = deletion(LINE, LINE[:, 0], total, steps=4)
    np.testing.assert_allclose(curve.at(0.25), [7])
    np.testing.assert_allclose(curve.at(0.375), [5])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": [1, 4]}, "rise from 0"),
        ({"steps": [0, 2, 2]}, "rise from 0"),
        ({"steps": [0, 5]}, "to 4 at most"),
        ({"steps": [0.0, 0.5]}, "whole numbers"),
        ({"steps": 4, "up_to": 0.0}, "no share of the positions"),
        ({"steps": 2, "up_to": 0.4}, "below the first of 2 steps"),
        ({"steps": 2, "start": [1.0, 2.0]}, "Known scores must be of shape"),
    ],
)
def test_bad_steps(options, message):
    with pytest.raises(InputError, match=message):
        deletion(LINE, LINE[:, 0], total, **options)


def test_inserts_into_the_blurred_image_unless_told_otherwise():
    from camcore.metrics import blurred

    given = insertion(IMAGES, MAPS, total, steps=5)
    np.testing.assert_array_equal(
        given.scores, insertion(IMAGES, MAPS, total, steps=5, baseline=blurred(IMAGES)).scores
    )
    np.testing.assert_allclose(given.scores[:, 0], total(0, blurred(IMAGES)), rtol=1e-12)


def test_what_is_not_kept_is_the_baseline():
    ones = np.ones_like(IMAGES)
    masked = masked_scores(IMAGES, MAPS, total, baseline=1.0)
    expected = (IMAGES * MAPS[:, None] + ones * (1 - MAPS[:, None])).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(masked, expected, rtol=1e-12)


@pytest.mark.parametrize("maps", [MAPS - 0.5, 2 * MAPS])
def test_maps_that_are_no_shares_do_not_mask(maps):
    with pytest.raises(InputError, match=r"must lie in \[0, 1\]; they go from"):
        masked_scores(IMAGES, maps, total)


def test_drop_gain_and_increase_of_each_image_by_hand():
    scores, masked = [0.5, 0.8, 0.2, 1.0], [0.4, 0.9, 0.2, 1.0]
    np.testing.assert_allclose(drop(scores, masked), [0.2, 0, 0, 0])
    np.testing.assert_allclose(gain(scores, masked), [0, 0.5, 0, 0])
    np.testing.assert_array_equal(increased(scores, masked), [False, True, False, False])
    assert average_drop(scores, masked) == pytest.approx(5)
    assert average_gain(scores, masked) == pytest.approx(12.5)
    assert increase_in_confidence(scores, masked) == 25


def test_rounding_is_no_increase():
    assert not increased([0.3], [0.3 * (1 + 2e-7)])[0]
    assert increased([0.3], [0.3 * (1 + 2e-7)], rounding=0)[0]
    assert increased([0.3], [0.3001])[0]


def test_gain_is_of_probabilities():
    for scores, masked in (([3.0], [0.5]), ([0.5], [-0.1])):
        with pytest.raises(InputError, match="the average gain is of probabilities"):
            gain(scores, masked)


SIZES = [(12,), (4, 5), (2, 3, 4)]


def additive(size, batch=3):
    """Images of one channel, maps in another order, and a score that sums what is there."""
    rng = np.random.default_rng(len(size))
    images = rng.normal(size=(batch, 1, *size))
    return images, rng.permuted(images[:, 0].reshape(batch, -1), axis=1).reshape(batch, *size)


@pytest.mark.parametrize("size", SIZES)
def test_areas_of_additive_scores_by_hand(size):
    images, maps = additive(size)
    values, heat = images.reshape(3, -1), maps.reshape(3, -1)
    count = values.shape[1]
    # What goes as the i-th stays for i - 1/2 of the steps, and is there for the others.
    place = np.argsort(np.argsort(-heat, axis=1), axis=1) + 0.5
    deleted = deletion(images, maps, total, steps=count)
    inserted = insertion(images, maps, total, steps=count, baseline=0.0)
    expected = (values * place).sum(axis=1) / count
    np.testing.assert_allclose(deleted.auc, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(inserted.auc, values.sum(axis=1) - expected, rtol=0, atol=1e-12)
    # Its own order is the best, and its areas those of the sorted values.
    best = insertion(images, images[:, 0], total, steps=count, baseline=0.0).auc
    ordered = -np.sort(-values, axis=1) @ (count - np.arange(count) - 0.5) / count
    np.testing.assert_allclose(best, ordered, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("measured", ["deletion", "insertion", "masked", "road"])
def test_a_batch_is_its_samples(size, measured):
    images, maps = additive(size)
    shares = (maps - maps.min()) / np.ptp(maps)

    def measure(some):
        rows = range(3)[some]

        def score(sample, altered):
            return np.tanh(total(sample, altered) + rows[sample])

        if measured == "masked":
            return masked_scores(images[some], shares[some], score)[:, None]
        if measured == "road":
            found = road(images[some], maps[some], score, shares=[0.2, 0.6], ties="random", seed=4)
            return np.concatenate([found.most, found.least], axis=1)
        trace = deletion if measured == "deletion" else insertion
        return trace(images[some], maps[some], score, steps=5, ties="random", seed=4).scores

    alone = [measure(slice(i, i + 1)) for i in range(3)]
    np.testing.assert_allclose(measure(slice(None)), np.concatenate(alone), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_of_a_random_order_both_ways_are_alike(size):
    images, _ = additive(size, batch=60)
    maps = np.random.default_rng(7).random((60, *size))
    found = road(images, maps, total, shares=[0.2, 0.5, 0.8])
    gaps = found.combined
    # The mean of sixty is within four of its standard errors of nothing; of a good order, not.
    assert abs(gaps.mean()) < 4 * gaps.std(ddof=1) / np.sqrt(60)
    own = road(images, images[:, 0], total, shares=[0.2, 0.5, 0.8]).combined
    assert own.mean() > 8 * own.std(ddof=1) / np.sqrt(60)


@pytest.mark.parametrize("call", [deletion, insertion, masked_scores, road])
def test_a_map_smaller_than_its_image_says_how_to_enlarge_it(call):
    with pytest.raises(InputError, match=r"explanation\.at\(\(4, 5\)\)\.maps brings maps to"):
        call(IMAGES, MAPS[:, ::2, ::2], total)
