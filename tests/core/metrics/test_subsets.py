"""What maps say of sets of positions, on scores that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from camcore.errors import InputError, MethodError
from camcore.metrics import faithfulness_correlation, infidelity, irof, sensitivity_n

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 2, 6, 8))
WEIGHTS = RNG.normal(size=(2, 6, 8))
EXACT = (WEIGHTS * IMAGES).sum(axis=1)
"""Gradient times input of a linear score."""


def linear(_, images):
    return (images * WEIGHTS).sum(axis=(1, 2, 3))


def curved(_, images):
    return np.tanh(linear(_, images) / 5)


def test_the_gradient_of_a_linear_score_is_not_infidel():
    gradients = np.broadcast_to(WEIGHTS, IMAGES.shape)
    for scaled in (True, False):
        np.testing.assert_allclose(
            infidelity(IMAGES, gradients, linear, scaled=scaled), 0, atol=1e-20
        )
    # What is three times too large is as good once it is scaled, and far off as it is.
    np.testing.assert_allclose(infidelity(IMAGES, 3 * gradients, linear), 0, atol=1e-20)
    assert np.all(infidelity(IMAGES, 3 * gradients, linear, scaled=False) > 1)


def test_infidelity_equals_its_definition():
    maps, drawn = RNG.normal(size=(2, 6, 8)), np.random.default_rng(7)
    noise = [0.3 * drawn.standard_normal((2, 6, 8)) for _ in range(20)]
    for image, heat, found in zip(
        IMAGES,
        maps,
        infidelity(IMAGES, maps, curved, draws=20, sigma=0.3, scaled=False, seed=7),
        strict=True,
    ):
        squares = [
            ((heat * one).sum() - (curved(0, image[None]) - curved(0, (image - one)[None]))[0]) ** 2
            for one in noise
        ]
        assert found == pytest.approx(np.mean(squares), rel=1e-12)


def test_scaled_infidelity_is_the_least_over_all_scales():
    maps = RNG.normal(size=(2, 6, 8))
    best = infidelity(IMAGES, maps, curved)
    for scale in (-1, -0.01, 0, 0.01, 0.02, 1):
        other = infidelity(IMAGES, scale * maps, curved, scaled=False)
        assert np.all(best <= other + 1e-12)
    np.testing.assert_allclose(best, infidelity(IMAGES, -7 * maps, curved), rtol=1e-9)
    # Zeros can be scaled to nothing else.
    falls = infidelity(IMAGES, np.zeros_like(maps), curved)
    np.testing.assert_allclose(falls, infidelity(IMAGES, 0 * maps, curved, scaled=False))


@pytest.mark.parametrize("grid", [None, 3, (2, 4)])
@pytest.mark.parametrize("correlation", ["pearson", "spearman"])
def test_gradient_times_input_of_a_linear_score_correlates_wholly(grid, correlation):
    options = {"grid": grid, "correlation": correlation, "subsets": 30}
    found = faithfulness_correlation(IMAGES, EXACT, linear, **options)
    np.testing.assert_allclose(found, 1, atol=1e-12)
    found = faithfulness_correlation(IMAGES, -EXACT, linear, **options)
    np.testing.assert_allclose(found, -1, atol=1e-12)


def test_correlation_equals_scipys_over_the_same_sets():
    maps, image = RNG.random((2, 6, 8)), IMAGES[:1]
    altered = []

    def remember(_, images):
        altered.extend(images)
        return curved(_, images)

    for name, expected in (("pearson", pearsonr), ("spearman", spearmanr)):
        altered.clear()
        options = {"subsets": 25, "share": 0.25, "correlation": name, "baseline": "mean"}
        (found,) = faithfulness_correlation(image, maps[:1], remember, **options)
        sets = [(one != image[0]).any(axis=0) for one in altered[1:]]
        assert [one.sum() for one in sets] == [12] * 25
        said = [maps[0][one].sum() for one in sets]
        falls = curved(0, image) - curved(0, np.stack(altered[1:]))
        assert found == pytest.approx(expected(said, falls).statistic, rel=1e-9)


def test_cells_go_as_a_whole():
    altered = []
    faithfulness_correlation(
        np.ones((1, 1, 7, 9)),
        RNG.random((1, 7, 9)),
        lambda _, images: (altered.extend(images), images.sum(axis=(1, 2, 3)))[1],
        grid=(2, 3),
        share=0.5,
        subsets=10,
    )
    for one in altered[1:]:
        cells = [part for half in np.split(one[0], [4]) for part in np.split(half, [3, 6], axis=1)]
        assert sorted(float(cell.mean()) for cell in cells) == [0, 0, 0, 1, 1, 1]


def test_the_sets_are_the_same_for_every_image():
    maps = RNG.random((2, 6, 8))
    both = faithfulness_correlation(IMAGES, maps, curved, seed=5)
    alone = faithfulness_correlation(IMAGES[1:], maps[1:], curved, seed=5)
    np.testing.assert_allclose(alone, both[1:], rtol=1e-12)
    assert abs(faithfulness_correlation(IMAGES[1:], maps[1:], curved, seed=6)[0] - both[1]) > 1e-3


def test_maps_and_scores_that_do_not_change_correlate_with_nothing():
    assert np.isnan(faithfulness_correlation(IMAGES, np.ones((2, 6, 8)), linear)).all()
    flat = faithfulness_correlation(IMAGES, EXACT, lambda _, images: np.ones(len(images)))
    assert np.isnan(flat).all()


def test_sensitivity_n_is_the_correlation_at_each_size():
    shares = (0.05, 0.3)
    found = sensitivity_n(IMAGES, EXACT + 1, curved, shares=shares, subsets=20, seed=2)
    for column, share in zip(found.T, shares, strict=True):
        one = faithfulness_correlation(IMAGES, EXACT + 1, curved, share=share, subsets=20, seed=2)
        np.testing.assert_array_equal(column, one)
    np.testing.assert_allclose(sensitivity_n(IMAGES, EXACT, linear), 1, atol=1e-12)


def test_sensitivity_n_scores_an_image_itself_once():
    seen = []

    def counted(_, images):
        seen.append(len(images))
        return linear(_, images)

    sensitivity_n(IMAGES, EXACT, counted, shares=(0.1, 0.3, 0.5), subsets=7)
    assert sum(seen) == 2 * (1 + 3 * 7)


def test_irof_by_hand():
    # Segments of [1, 2 | 4, 8 | 5]: means 6, 5, 1.5. From 20 to 8, 3 and 0 of 20.
    image = np.array([[[1.0, 2.0, 4.0, 8.0, 5.0]]])
    segments = np.array([[7, 7, 3, 3, 9]])

    def total(_, images):
        return images.sum(axis=(1, 2))

    found = irof(image, image[:, 0], total, segments, baseline=0.0)
    np.testing.assert_allclose(found, [np.mean([1 - 8 / 20, 1 - 3 / 20, 1])])
    # The other way round: 1.5, 5, 6 leave 17, 12, 0; and what rises above the whole counts as 0.
    found = irof(image, -image[:, 0], total, segments, baseline=0.0)
    np.testing.assert_allclose(found, [np.mean([1 - 17 / 20, 1 - 12 / 20, 1])])
    found = irof(image, image[:, 0], total, segments, baseline=100.0)
    np.testing.assert_array_equal(found, [0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: infidelity(IMAGES, EXACT, linear, sigma=0), InputError, "positive number"),
        (lambda: infidelity(IMAGES, EXACT, linear, draws=0), MethodError, "draws"),
        (lambda: infidelity(IMAGES, EXACT[:1], linear), InputError, "do not fit"),
        (lambda: faithfulness_correlation(IMAGES, EXACT, linear, share=1), InputError, "share=1"),
        (lambda: sensitivity_n(IMAGES, EXACT, linear, shares=(0.1, 1)), InputError, "share=1"),
        (lambda: sensitivity_n(IMAGES, EXACT, linear, shares=()), InputError, "shares is empty"),
        (lambda: faithfulness_correlation(IMAGES, EXACT, linear, grid=7), InputError, "grid=7"),
        (lambda: faithfulness_correlation(IMAGES, EXACT, linear, grid=1), InputError, "one cell"),
        (
            lambda: faithfulness_correlation(IMAGES, EXACT, linear, subsets=1),
            InputError,
            "subsets=2 or more",
        ),
        (
            lambda: faithfulness_correlation(IMAGES, EXACT, linear, correlation="kendall"),
            InputError,
            "'pearson' or 'spearman'",
        ),
        (
            lambda: irof(IMAGES, EXACT, linear, np.zeros((2, 6, 8))),
            InputError,
            "a whole number for each position",
        ),
        (
            lambda: irof(IMAGES, EXACT, lambda _, x: -np.ones(len(x)), np.ones((2, 6, 8), int)),
            InputError,
            "must be positive",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
