"""Passes that the metrics of a batch make, counted, and shared where they are the same."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.metrics import TABLE, deletion, insertion
from camcore.metrics.case import Case, Counted

SAMPLES, STEPS = 5, 6
IMAGES = np.random.default_rng(0).normal(size=(SAMPLES, 2, 6, 6))
MAPS = np.random.default_rng(1).random((SAMPLES, 6, 6))


class Probabilities:
    """Gives numbers in (0, 1), and remembers how many images it was asked at once."""

    def __init__(self):
        self.sizes = []

    def __call__(self, sample, images):
        return self.many(np.full(len(images), sample), images)

    def many(self, samples, images):
        self.sizes.append(len(images))
        return 1 / (1 + np.exp(-images.mean(axis=(1, 2, 3)) - samples))


def case(probabilities, known=None, **options):
    scores = probabilities.many(np.arange(SAMPLES), IMAGES)
    probabilities.sizes.clear()
    return Case(
        IMAGES,
        MAPS,
        Counted(probabilities),
        lambda sample, images: MAPS[[sample]] + images.mean(axis=1),
        scores,
        steps=STEPS,
        known={} if known is None else known,
        **options,
    )


@pytest.fixture
def probabilities():
    return Probabilities()


def test_deletion_and_insertion_take_two_passes_a_step(probabilities):
    known = {}
    first = case(probabilities, known)
    areas = [TABLE[name](first) for name in ("deletion", "insertion")]
    # The score of the image is known, that of each baseline is asked once.
    assert first.score_images.forwards == sum(probabilities.sizes) == 2 * STEPS * SAMPLES
    # Another map of the same images has the baselines' too.
    second = case(probabilities, known)
    again = [TABLE[name](second) for name in ("deletion", "insertion")]
    assert second.score_images.forwards == 2 * (STEPS - 1) * SAMPLES
    for found, trace in zip(zip(areas, again, strict=True), (deletion, insertion), strict=True):
        expected = trace(IMAGES, MAPS, probabilities, steps=STEPS).auc
        np.testing.assert_allclose(found, [expected, expected], rtol=1e-14)


@pytest.mark.parametrize("batch_size", [4, 7, 32])
def test_batches_are_filled_across_samples(probabilities, batch_size):
    for name in ("deletion", "average_drop", "road"):
        one = case(probabilities, batch_size=batch_size)
        TABLE[name](one)
        full, rest = divmod(sum(probabilities.sizes), batch_size)
        passes = {"deletion": STEPS, "average_drop": 1, "road": 18}[name]
        assert sum(probabilities.sizes) == passes * SAMPLES
        # ROAD removes the most and the least relevant one after the other.
        runs = 2 if name == "road" else 1
        assert len(probabilities.sizes) <= full + bool(rest) + runs - 1
        assert max(probabilities.sizes) == min(batch_size, passes // runs * SAMPLES)


def test_one_masked_pass_serves_drop_gain_increase_and_adcc(probabilities):
    one = case(probabilities)
    for name in ("average_drop", "average_gain", "increase", "adcc"):
        TABLE[name](one)
    assert one.score_images.forwards == SAMPLES
    assert probabilities.sizes == [SAMPLES]


def test_one_road_serves_arcc_too(probabilities):
    one = case(probabilities)
    for name in ("road", "arcc"):
        TABLE[name](one)
    assert one.score_images.forwards == 18 * SAMPLES


def test_metrics_of_maps_alone_make_no_pass(probabilities):
    one = case(probabilities)
    for metric in TABLE.values():
        if not {"scores", "masks", "boxes"} & set(metric.needs):
            metric(one)
    assert one.score_images.forwards == 0
    assert probabilities.sizes == []
