"""Robustness on maps whose change is known beforehand, and against captum."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.errors import InputError, MethodError
from camcore.metrics.robustness import (
    average_sensitivity,
    coherency,
    max_sensitivity,
    other_classes,
    random_logit,
)

IMAGES = np.random.default_rng(0).normal(size=(3, 2, 2, 2))
IMAGES.setflags(write=False)


def noise(seed, draws, radius=0.02, shape=(2, 2, 2)):
    return [np.random.default_rng([seed, d]).uniform(-radius, radius, shape) for d in range(draws)]


def summed(_, images):
    return images.sum(axis=1)


def test_sensitivities_of_a_linear_map_by_hand():
    maps = summed(0, IMAGES)
    changes = np.array([np.linalg.norm(one.sum(axis=0)) for one in noise(0, 4)])
    ratios = changes / np.linalg.norm(maps.reshape(3, -1), axis=1)[:, None]
    found = [
        measure(IMAGES, maps, summed, draws=4) for measure in (max_sensitivity, average_sensitivity)
    ]
    np.testing.assert_allclose(found, [ratios.max(axis=1), ratios.mean(axis=1)], rtol=1e-12)


def test_one_draw_of_a_map_by_hand():
    # The noise moves the one value of each 1 x 1 map by d; relative to 2 and 0.1.
    images = np.array([2, 0.1]).reshape(2, 1, 1, 1)
    (d,) = noise(5, 1, 0.5, (1, 1, 1))
    found = max_sensitivity(images, images[:, 0], summed, radius=0.5, draws=1, seed=5)
    np.testing.assert_allclose(found, [abs(d.item()) / 2, abs(d.item()) / 0.1], rtol=1e-12)


@pytest.mark.parametrize("measure", [max_sensitivity, average_sensitivity])
def test_maps_that_stay_are_insensitive_and_zero_maps_are_undefined(measure):
    maps = np.ones((3, 2, 2))
    maps[1] = 0

    def fixed(sample, images):
        return np.repeat(maps[sample : sample + 1], len(images), axis=0)

    with np.errstate(all="raise"):
        found = measure(IMAGES, maps, fixed)
    np.testing.assert_array_equal(found, [0, np.nan, 0])


@pytest.mark.parametrize("measure", [max_sensitivity, average_sensitivity])
def test_neither_the_batch_nor_its_size_matters(measure):
    maps, sizes = summed(0, IMAGES) ** 3, []

    def cubed(sample, images):
        sizes.append(len(images))
        return summed(sample, images) ** 3

    whole = measure(IMAGES, maps, cubed, draws=5, batch_size=2)
    assert sizes == [2, 2, 1] * 3
    np.testing.assert_array_equal(whole, measure(IMAGES, maps, cubed, draws=5))
    alone = [measure(IMAGES[i : i + 1], maps[i : i + 1], cubed, draws=5)[0] for i in range(3)]
    np.testing.assert_array_equal(whole, alone)
    assert (measure(IMAGES, maps, cubed, draws=5, seed=1) != whole).all()


def test_noise_stays_within_the_radius_and_in_the_images_type():
    images, seen = IMAGES.astype(np.float32), []

    def keep(sample, altered):
        seen.append(np.abs(altered - images[sample]).max())
        assert altered.dtype == np.float32
        return altered[:, 0]

    max_sensitivity(images, images[:, 0], keep, radius=0.5, draws=50)
    assert 0.45 < max(seen) <= 0.5 + 1e-6


def test_coherency_by_hand():
    maps = [[[0.0, 1], [2, 3]]] * 3 + [[[1.0, 1], [1, 1]]]
    masked = [[[0.0, 1], [2, 3]], [[3.0, 2], [1, 0]], [[0.0, 1], [0, 1]], [[0.0, 1], [2, 3]]]
    # r = 1, -1, 1 / sqrt 5, and none of a constant map.
    expected = [1, 0, (1 / np.sqrt(5) + 1) / 2, np.nan]
    np.testing.assert_allclose(coherency(maps, masked), expected, rtol=1e-14, atol=1e-15)


def test_random_logit_is_the_similarity_of_two_classes_maps(require):
    maps, others = np.random.default_rng(0).random((2, 2, 8, 8))
    expected = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(maps, others, strict=True)]
    np.testing.assert_allclose(random_logit(maps, others, similarity="pearson"), expected)
    # 2 x 2: ranks 1, 2, 3, 4 against 2, 1, 4, 3.
    found = random_logit([[[0.0, 1], [2, 3]]], [[[1.0, 0], [3, 2]]], similarity="spearman")
    np.testing.assert_allclose(found, [0.6], rtol=1e-14)
    require("skimage")
    np.testing.assert_array_equal(random_logit(maps, maps), [1, 1])
    assert (random_logit(maps, others) < 0.5).all()


def test_other_classes_are_any_but_the_own():
    own = np.repeat(np.arange(4), 500)
    drawn = other_classes(own, 4)
    assert (drawn != own).all()
    counts = np.array([np.bincount(drawn[own == k], minlength=4) for k in range(4)])
    assert (np.abs(counts + np.eye(4) * 500 / 3 - 500 / 3) < 50).all()
    np.testing.assert_array_equal(drawn, other_classes(own, 4))
    np.testing.assert_array_equal(other_classes([0, 1], 2), [1, 0])


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_sensitivity_does_not_mind_the_maps_scale(scale):
    with np.errstate(over="raise", invalid="raise"):
        found = max_sensitivity(
            IMAGES, scale * summed(0, IMAGES), lambda s, x: scale * summed(s, x)
        )
    np.testing.assert_allclose(found, max_sensitivity(IMAGES, summed(0, IMAGES), summed))


MAPS = IMAGES[:, 0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: max_sensitivity(IMAGES, MAPS, summed, radius=0), InputError, "radius=0; pass a"),
        (lambda: max_sensitivity(IMAGES, MAPS, summed, draws=0), MethodError, "draws=0; it must"),
        (
            lambda: average_sensitivity(IMAGES, MAPS, summed, batch_size=0),
            MethodError,
            "batch_size=0; it must be at least 1",
        ),
        (
            lambda: max_sensitivity(IMAGES, MAPS[:1], summed),
            InputError,
            r"\(3, 2, 2, 2\) and maps of shape \(1, 2, 2\) do not fit",
        ),
        (lambda: max_sensitivity(IMAGES[0, 0], MAPS, summed), InputError, "images must be"),
        (lambda: max_sensitivity(IMAGES, MAPS * np.nan, summed), InputError, "Maps must be finite"),
        (
            lambda: max_sensitivity(IMAGES, MAPS, lambda _, x: x),
            InputError,
            r"Maps of altered images must be of shape \(10, 2, 2\); got \(10, 2, 2, 2\)",
        ),
        (
            lambda: max_sensitivity(IMAGES, MAPS, lambda _, x: x[:, 0] * np.nan),
            InputError,
            "Maps of altered images must be finite",
        ),
        (lambda: coherency(MAPS, MAPS[:1]), InputError, "cannot be compared"),
        (
            lambda: random_logit(MAPS, MAPS, similarity="mse"),
            InputError,
            "There is no similarity 'mse'",
        ),
        (lambda: other_classes([0, 4], 4), InputError, r"Classes \[0, 4\] of count=4"),
        (lambda: other_classes([0], 1), InputError, "pass at least 2 classes"),
        (lambda: other_classes([0.5], 3), InputError, "pass one whole number a sample"),
    ],
)
def test_what_cannot_be_measured_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
