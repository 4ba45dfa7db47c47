"""Distances between maps, by hand and against SciPy."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.errors import InputError
from camcore.metrics.agreement import (
    SIMILARITIES,
    Pair,
    find_similarity,
    hog_similarity,
    largest_difference,
    pearson,
    spearman,
)


@pytest.fixture
def pair():
    random = np.random.default_rng(0)
    first = random.normal(size=(3, 7, 7))
    # Ties, as a rectified map has them.
    return np.maximum(first, 0), np.maximum(first + random.normal(size=first.shape), 0)


def test_largest_difference_by_hand():
    first = np.array([[[1.0, 2.0], [3.0, -8.0]], [[0.0, 0.0], [0.0, 0.0]]])
    second = first.copy()
    second[0, 1, 0] = 5.0
    assert largest_difference(first, second).tolist() == [2.0, 0.0]
    assert largest_difference(first, second, relative=True).tolist() == [0.25, 0.0]


def test_spearman_by_hand():
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5.
    result = spearman([[10.0, 20.0, 20.0, 99.0]], [[1.0, 2.0, 3.0, 4.0]])
    assert result == pytest.approx([4.5 / np.sqrt(4.5 * 5)], abs=1e-15)


def test_pearson_by_hand():
    assert pearson([[0.0, 1.0, 2.0]], [[0.0, 1.0, 5.0]]) == pytest.approx(
        [5 / np.sqrt(2 * 14)], abs=1e-15
    )


def test_pearson_and_spearman_are_scipys(pair, require):
    stats = require("scipy.stats")
    for ours, theirs in ((pearson, stats.pearsonr), (spearman, stats.spearmanr)):
        expected = [theirs(a.ravel(), b.ravel()).statistic for a, b in zip(*pair, strict=True)]
        assert ours(*pair) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_a_map_agrees_with_itself_at_any_scale(pair, scale):
    maps = pair[0]
    for measure in (pearson, spearman):
        assert measure(maps * scale, maps) == pytest.approx(np.ones(3), abs=1e-12)
        assert measure(-maps * scale, maps) == pytest.approx(-np.ones(3), abs=1e-12)
    assert (largest_difference(maps * scale, maps * scale, relative=True) == 0).all()


def test_ranks_do_not_mind_a_monotone_change(pair):
    assert spearman(np.exp(3 * pair[0]), pair[1]) == pytest.approx(spearman(*pair), abs=1e-12)


def test_a_constant_map_correlates_with_nothing():
    flat, slope = np.full((1, 4), 0.1), np.arange(4.0)[None]
    with np.errstate(all="raise"):
        for measure in (pearson, spearman):
            assert np.isnan(measure(flat, slope)).all()
            assert np.isnan(measure(slope, flat)).all()
    assert largest_difference(flat * 0, flat * 0, relative=True).tolist() == [0.0]


@pytest.mark.parametrize("measure", [pearson, spearman, largest_difference])
def test_shapes_that_differ_are_named(measure):
    with pytest.raises(InputError, match=r"\(1, 3\) and \(1, 4\)"):
        measure(np.ones((1, 3)), np.ones((1, 4)))


def test_numbers_of_a_pair_are_an_images_or_the_worst():
    measures = {"pearson": [0.5, np.nan], "spearman": [np.nan, np.nan], "overlap": [0.25, 0.75]}
    arrays = {name: np.array(values) for name, values in measures.items()}
    maps = (np.zeros((2, 3)), np.zeros((2, 3)))
    pair = Pair(("a", "b"), maps, largest=np.array([0.1, 0.4]), ssim=None, **arrays)
    of_first = {"largest": 0.1, "pearson": 0.5, "spearman": np.nan, "ssim": None, "overlap": 0.25}
    assert pair.numbers(0) == pytest.approx(of_first, nan_ok=True)
    assert pair.numbers() == pytest.approx({**of_first, "largest": 0.4}, nan_ok=True)


def test_zeros_beside_values_correlate_with_nothing_and_values_with_themselves():
    maps = np.array([[0.0, 0.0, 0.0], [0.1, 0.2, 0.4]])
    with np.errstate(all="raise"):
        for measure in (pearson, spearman):
            found = measure(maps, [[1.0, 2.0, 5.0], [0.1, 0.2, 0.4]])
            assert np.isnan(found[0])
            assert found[1] == pytest.approx(1, abs=1e-12)


def test_absolute_spearman_ranks_magnitudes():
    # Signed ranks 1, 4, 2, 3 against 4, 1, 2, 3: covariance -4, variances 5. Magnitudes 4, 3, 1, 2
    # against 4, 3, 1, 2.
    first, second = [[[-4.0, 3.0], [-1.0, 2.0]]], [[[4.0, -3.0], [-1.0, 2.0]]]
    assert spearman(first, second) == pytest.approx([-0.8], abs=1e-15)
    assert spearman(first, second, absolute=True) == pytest.approx([1], abs=1e-15)
    assert find_similarity("absolute-spearman")(first, second) == pytest.approx([1], abs=1e-15)
    assert find_similarity("spearman")(first, second) == pytest.approx([-0.8], abs=1e-15)


def test_histograms_of_a_slope_along_either_axis_have_nothing_in_common(require):
    require("skimage")
    # Each has three equal entries of 81, of its own direction: r = -(3 / 81) / (1 - 3 / 81).
    slope = np.tile([0.0, 1.0, 2.0], (3, 1))
    assert hog_similarity([slope], [slope.T]) == pytest.approx([-1 / 26], abs=1e-12)
    assert hog_similarity([slope], [slope]) == pytest.approx([1], abs=1e-12)


def test_histograms_are_skimages_and_do_not_mind_a_maps_scale(require):
    hog = require("skimage.feature").hog
    first, second = np.random.default_rng(0).random((2, 3, 48, 50))
    expected = []
    for pair in zip(first, second, strict=True):
        scaled = [(one - one.min()) / np.ptp(one) for one in pair]
        described = [hog(one, pixels_per_cell=(16, 16)) for one in scaled]
        expected.append(np.corrcoef(*described)[0, 1])
    assert hog_similarity(first, second) == pytest.approx(expected, abs=1e-12)
    assert hog_similarity(1e6 * first - 3, second) == pytest.approx(expected, abs=1e-6)
    by_nine = hog_similarity(first[:, :28, :28], second[:, :28, :28])
    same = hog_similarity(first[:, :28, :28], second[:, :28, :28], cell=9)
    assert by_nine.tolist() == same.tolist()
    assert hog_similarity(first, second, cell=5) != pytest.approx(expected, abs=1e-3)


def test_histograms_of_maps_without_gradients_are_not_defined(require):
    require("skimage")
    assert np.isnan(hog_similarity(np.ones((1, 6, 6)), np.arange(36.0).reshape(1, 6, 6))).all()
    assert np.isnan(hog_similarity([[[1.0, 2], [3, 4]]], [[[1.0, 2], [3, 4]]])).all()


@pytest.mark.parametrize("name", ["pearson", "spearman", "ssim", "hog"])
def test_similarities_by_name_do_not_mind_a_maps_scale(name, require):
    require("skimage")
    first, second = np.random.default_rng(1).normal(size=(2, 2, 16, 16))
    measure = SIMILARITIES[name]
    assert measure(first, 100 * first - 7) == pytest.approx([1, 1], abs=1e-12)
    assert measure(first, 100 * second - 7) == pytest.approx(measure(first, second), abs=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hog_similarity(np.ones((1, 9)), np.ones((1, 9))), r"shape \(1, 9\) have no hist"),
        (lambda: hog_similarity(np.ones((1, 9, 9)), np.ones((1, 9, 8))), "cannot be compared"),
        (
            lambda: hog_similarity(np.ones((1, 9, 9)), np.ones((1, 9, 9)), cell=4),
            "cell=4: three cells must fit .* pass 1 to 3",
        ),
        (lambda: hog_similarity(*[np.ones((1, 9, 9))] * 2, cell=0), "cell=0: three cells"),
        (lambda: find_similarity("spearmen"), "no similarity 'spearmen'. Did you mean 'spearman'"),
    ],
)
def test_what_has_no_similarity_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
