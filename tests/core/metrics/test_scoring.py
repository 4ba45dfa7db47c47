"""Batches filled across samples, and forward passes counted."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.errors import InputError, MethodError
from camcore.metrics import deletion, insertion, masked_scores
from camcore.metrics.scoring import Scorer

IMAGES = np.random.default_rng(0).normal(size=(8, 2, 3, 4))
MAPS = np.random.default_rng(1).random((8, 3, 4))


class Sums:
    """Sums up pixels, times one more than the sample; remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, sample, images):
        return self.many(np.full(len(images), sample), images)

    def many(self, samples, images):
        self.asked.append(samples.tolist())
        return images.sum(axis=(1, 2, 3)) * (samples + 1)


def alone(sample, images):
    return images.sum(axis=(1, 2, 3)) * (sample + 1)


def test_batches_hold_images_of_several_samples():
    sums = Sums()
    curve = deletion(IMAGES, MAPS, sums, steps=10, batch_size=32)
    # 8 samples of 11 images each in 3 calls, not in 8.
    assert [len(samples) for samples in sums.asked] == [32, 32, 24]
    assert sums.asked[0][:12] == [0] * 11 + [1]
    assert curve.forwards == 88
    plain = deletion(IMAGES, MAPS, alone, steps=10, batch_size=32)
    np.testing.assert_allclose(curve.scores, plain.scores, rtol=1e-14)
    assert plain.forwards == 88


@pytest.mark.parametrize("batch_size", [1, 2, 7, 11, 1000])
def test_the_size_of_batches_changes_nothing(batch_size):
    expected = deletion(IMAGES, MAPS, alone, steps=5)
    for score in (alone, Sums()):
        found = deletion(IMAGES, MAPS, score, steps=5, batch_size=batch_size)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-14)


def test_deletion_and_insertion_share_the_scores_of_images_and_baselines():
    sums = Sums()
    images = sums.many(np.arange(8), IMAGES)
    bare = np.zeros(8)
    sums.asked.clear()
    given = {"steps": 6, "baseline": 0.0}
    deleted = deletion(IMAGES, MAPS, sums, start=images, end=bare, **given)
    inserted = insertion(IMAGES, MAPS, sums, start=bare, end=images, **given)
    # 2 (K − 1) a sample, beside the two of images and baselines.
    assert sum(map(len, sums.asked)) == deleted.forwards + inserted.forwards == 8 * 2 * 5
    for curve, asked in ((deleted, deletion), (inserted, insertion)):
        np.testing.assert_allclose(curve.scores, asked(IMAGES, MAPS, alone, **given).scores)


def test_masked_images_are_scored_together():
    sums = Sums()
    scores = masked_scores(IMAGES, MAPS, sums, batch_size=5)
    assert [len(samples) for samples in sums.asked] == [5, 3]
    expected = (IMAGES * MAPS[:, None]).sum(axis=(1, 2, 3)) * np.arange(1, 9)
    np.testing.assert_allclose(scores, expected, rtol=1e-14)


def test_one_batch_of_altered_images_is_held_at_most():
    held = []

    def images():
        for sample in range(20):
            one = np.full((1, 2, 2), float(sample))
            yield sample, one
            one[:] = -1  # altered in place once it was taken

    def keep(sample, batch):
        held.append(batch)
        return batch[:, 0, 0, 0]

    keep.many = lambda samples, batch: keep(None, batch)
    scores = Scorer(keep, 6)(images())
    np.testing.assert_array_equal(scores, np.arange(20))
    # Each call has arrays of its own, so that whoever scores may keep them.
    np.testing.assert_array_equal(np.concatenate(held)[:, 0, 0, 0], np.arange(20))


def test_nothing_to_score_is_no_pass():
    score = Scorer(alone)
    assert score([]).shape == (0,)
    assert score.forwards == 0


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda n: np.zeros((n, 2)), r"must be of shape \(5,\); got \(5, 2\)"),
        (lambda n: np.full(n, np.nan), "Scores of altered images must be finite"),
    ],
)
def test_answers_that_are_no_scores_are_refused(answer, message):
    with pytest.raises(InputError, match=message):
        deletion(IMAGES, MAPS, lambda _, images: answer(len(images)), steps=4)


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(MethodError, match="batch_size"):
        deletion(IMAGES, MAPS, alone, steps=4, batch_size=0)
