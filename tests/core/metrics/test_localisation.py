"""Pointing games and relevance rank, by hand, on any number of axes, and what leaves them be."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camcore.errors import InputError
from camcore.metrics import (
    energy_pointing_game,
    grid_pointing_game,
    pointing_game,
    relevance_rank,
    roc_auc,
)

MAP = np.array([[[1.0, 4.0], [2.0, 1.0]]])
TOP = np.array([[[True, True], [False, False]]])
LEFT = np.array([[[1, 0], [1, 0]]])
EMPTY = np.zeros((1, 2, 2), bool)

quick = settings(max_examples=50, deadline=None)


@st.composite
def maps_and_masks(draw, lowest=-3):
    """Maps of few values, so that many are equal, and masks that are sometimes empty."""
    rank = draw(st.integers(1, 3))
    shape = draw(st.lists(st.integers(1, 4), min_size=rank + 1, max_size=rank + 1))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return random.integers(lowest, 4, shape).astype(float), random.random(shape) < 0.4


def same(one, other):
    """Equal to the last bit; NaN is NaN."""
    np.testing.assert_array_equal(one, other)


def test_a_maximum_hits_or_misses():
    same(pointing_game(MAP, TOP), [1])
    same(pointing_game(MAP, LEFT), [0])
    same(pointing_game(-MAP, LEFT), [1])
    same(pointing_game(MAP, EMPTY), [np.nan])


@pytest.mark.parametrize(("ties", "expected"), [("any", 1), ("first", 0), ("mean", 1 / 3)])
def test_equal_maxima_hit_as_is_said(ties, expected):
    tied = np.array([[[7.0, 7.0], [7.0, 0.0]]])
    same(pointing_game(tied, [[[0, 0], [1, 1]]], ties=ties), [expected])


def test_every_position_of_a_constant_map_is_a_maximum():
    flat = np.zeros((1, 2, 2))
    mask = [[[0, 0], [0, 1]]]
    found = [pointing_game(flat, mask, ties=ties)[0] for ties in ("any", "first", "mean")]
    assert found == [1, 0, 0.25]


@pytest.mark.parametrize(
    ("offset", "tolerance", "hit"),
    [
        ((3, 4), 5, 0),  # 5 away is not less than 5 away
        ((3, 4), 5.01, 1),
        ((0, 4), 5, 1),
        ((-4, 0), 5, 1),
        ((-3, -3), 4, 0),  # a disc, no square
        ((-3, -2), 4, 1),
        ((0, 1), 0, 0),
        ((0, 1), 1, 0),
        ((0, 1), 1.01, 1),
        ((0, 0), 0, 1),
    ],
)
def test_a_maximum_hits_less_than_the_tolerance_away(offset, tolerance, hit):
    maps, masks = np.zeros((1, 12, 13)), np.zeros((1, 12, 13), bool)
    maps[0, 5, 6] = 1
    masks[0, 5 + offset[0], 6 + offset[1]] = True
    same(pointing_game(maps, masks, tolerance=tolerance), [hit])


@pytest.mark.parametrize("sides", [(30,), (9, 14), (5, 7, 6)])
def test_tolerance_is_that_of_distances_from_each_position(sides):
    """TorchRay's rule: the disc around the first maximum touches the mask."""
    random = np.random.default_rng(0)
    maps, masks = random.random((50, *sides)), random.random((50, *sides)) < 0.01
    points = [np.argwhere(one == one.max())[0] for one in maps]
    for tolerance in (1.5, 2, 3.2):
        expected = [
            np.nan if not mask.any() else min(((np.argwhere(mask) - at) ** 2).sum(1)) < tolerance**2
            for mask, at in zip(masks, points, strict=True)
        ]
        assert 0 < np.nanmean(expected) < 1
        same(pointing_game(maps, masks, tolerance=tolerance, ties="first"), expected)


def test_tolerance_may_exceed_the_map():
    masks = np.array([[[0, 0, 0, 1]], [[0, 0, 0, 0]]])
    maps = np.array([[[1.0, 0, 0, 0]], [[1.0, 0, 0, 0]]])
    same(pointing_game(maps, masks, tolerance=1e9), [1, np.nan])


def test_energy_by_hand():
    same(energy_pointing_game(MAP, TOP), [5 / 8])
    same(energy_pointing_game(MAP, LEFT), [3 / 8])
    same(energy_pointing_game(MAP, EMPTY), [np.nan])


@pytest.mark.parametrize(
    ("negative", "expected"), [("clip", 3 / 4), ("keep", (3 - 2) / 2), ("abs", 5 / 6)]
)
def test_negative_energy_counts_as_is_said(negative, expected):
    signed = np.array([[[3.0, -2.0], [1.0, 0.0]]])
    maps, masks = np.concatenate([signed * 2**-900, signed]), np.concatenate([TOP, EMPTY])
    same(energy_pointing_game(maps, masks, negative=negative), [expected, np.nan])


def test_maps_without_energy_point_at_nothing():
    maps = np.stack([np.zeros((2, 2)), -MAP[0], np.array([[1.0, -1.0], [0, 0]])])
    masks = np.repeat(TOP, 3, axis=0)
    same(energy_pointing_game(maps, masks), [0, 0, 1])
    same(energy_pointing_game(maps, masks, negative="abs"), [0, 5 / 8, 1])
    same(energy_pointing_game(maps, masks, negative="keep"), [0, np.nan, np.nan])


def test_energy_of_huge_maps_is_a_share():
    maps = np.full((1, 2, 2), np.finfo(float).max)
    same(energy_pointing_game(maps, TOP), [0.5])
    same(energy_pointing_game(maps * 2**-2000, TOP), [0.0])
    same(energy_pointing_game(np.full((1, 2, 2), 5e-324), TOP), [0.5])


def test_rank_by_hand():
    # The two strongest are 4 and 2.
    same(relevance_rank(MAP, TOP), [0.5])
    same(relevance_rank(MAP, [[[0, 1], [1, 0]]]), [1])
    same(relevance_rank(MAP, [[[1, 0], [0, 1]]]), [0])
    same(relevance_rank(MAP, np.ones((1, 2, 2))), [1])
    same(relevance_rank(MAP, EMPTY), [np.nan])


def test_equal_values_rank_as_is_said():
    tied = np.array([[5.0, 1.0, 1.0, 1.0, 0.0]])
    mask = [[1, 0, 1, 1, 0]]
    # 5, and two of three equal ones, of which the mask has two: 1 + 2 · 2/3, or 1 + 1.
    assert relevance_rank(tied, mask, ties="mean")[0] == pytest.approx((1 + 4 / 3) / 3, abs=1e-15)
    same(relevance_rank(tied, mask), [2 / 3])
    same(relevance_rank(np.zeros((1, 5)), mask, ties="mean"), [3 / 5])


def test_of_equal_values_earlier_positions_are_stronger():
    """Of more positions than a sort leaves in order by chance."""
    random = np.random.default_rng(0)
    row, marked = random.integers(0, 3, 1200).astype(float), random.random(1200) < 0.5
    strongest = sorted(range(1200), key=lambda at: -row[at])[: marked.sum()]
    same(relevance_rank(row[None], marked[None]), [marked[strongest].sum() / marked.sum()])


def test_mean_rank_is_the_mean_over_all_orders():
    row, marked = np.array([3.0, 1, 1, 1, 1, 0]), np.array([True, False, True, True, False, True])
    orders = np.array(list(permutations(range(6))))
    found = relevance_rank(row[orders], marked[orders])
    assert np.unique(found).tolist() == [0.5, 0.75]
    expected = relevance_rank(row[None], marked[None], ties="mean")
    assert expected == pytest.approx([found.mean()], abs=1e-14)


def test_roc_area_by_hand():
    # Of 3 and 1 in the mask and 2, 1 and 0 outside: 3 wins all, 1 wins one and ties one.
    found = roc_auc([[3.0, 1.0, 2.0, 1.0, 0.0]], [[1, 1, 0, 0, 0]])
    np.testing.assert_allclose(found, [(3 + 1.5) / 6], rtol=1e-15)
    maps, masks = np.array([[0.0, 1.0, 2.0]] * 4), [[0, 0, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1]]
    np.testing.assert_array_equal(roc_auc(maps, masks), [1, 0, np.nan, np.nan])
    np.testing.assert_array_equal(roc_auc(np.ones((1, 2, 3)), [[[1, 0, 0]] * 2]), [0.5])


def test_roc_area_is_scikit_learns(require):
    metrics = require("sklearn.metrics")
    rng = np.random.default_rng(0)
    maps, masks = np.round(rng.normal(size=(6, 3, 4, 5)), 1), rng.random((6, 3, 4, 5)) < 0.3
    pairs = zip(masks.reshape(6, -1), maps.reshape(6, -1), strict=True)
    expected = [metrics.roc_auc_score(*pair) for pair in pairs]
    np.testing.assert_allclose(roc_auc(maps, masks), expected, rtol=1e-12)


def test_grid_by_hand():
    maps = np.arange(16.0).reshape(1, 4, 4) - 3
    # Positive: 1 … 12; the last cell has 7, 8, 11 and 12.
    same(grid_pointing_game(maps, 3, grid=2), [38 / 78])
    same(grid_pointing_game(maps, 0, grid=2), [(1 + 2) / 78])
    # Row by row: the second of two by four cells is the second column of the upper half.
    same(grid_pointing_game(maps, 1, grid=(2, 4)), [2 / 78])
    cells = [grid_pointing_game(maps, k, grid=(4, 2))[0] for k in range(8)]
    assert sum(cells) == pytest.approx(1, abs=1e-15)


def test_grid_takes_a_cell_for_each_map_and_any_number_of_axes():
    line = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [0.0, -1.0, 0.0]])
    same(grid_pointing_game(line, [0, 2, 1]), [1 / 6, 3 / 6, 0])
    volume = np.zeros((1, 4, 2, 6))
    volume[0, 3, 0, 5] = 1
    found = [grid_pointing_game(volume, cell, grid=(2, 2, 3))[0] for cell in range(12)]
    assert found == [0.0] * 8 + [1.0] + [0.0] * 3


def test_a_map_that_tells_no_cells_apart_scores_one_over_their_number():
    assert grid_pointing_game(np.ones((1, 9, 6)), 4)[0] == pytest.approx(1 / 9, abs=1e-16)


ALL = [
    pytest.param(lambda m, k: pointing_game(m, k, tolerance=2), id="pointing"),
    pytest.param(lambda m, k: pointing_game(m, k, ties="mean"), id="pointing, mean"),
    pytest.param(energy_pointing_game, id="energy"),
    pytest.param(lambda m, k: energy_pointing_game(m, k, negative="abs"), id="energy, abs"),
    pytest.param(relevance_rank, id="rank"),
    pytest.param(lambda m, k: relevance_rank(m, k, ties="mean"), id="rank, mean"),
]


@pytest.mark.parametrize("measure", ALL)
@quick
@given(maps_and_masks())
def test_values_are_shares_of_samples_alone_at_any_scale(measure, given):
    maps, masks = given
    found = measure(maps, masks)
    assert found.dtype == np.float64
    same(np.isnan(found), ~masks.reshape(len(maps), -1).any(axis=1))
    shares = found[~np.isnan(found)]
    assert ((shares >= 0) & (shares <= 1)).all()
    same(measure(maps * 2.0**40, masks.astype(np.uint8)), found)
    one_by_one = [measure(maps[i : i + 1], masks[i : i + 1])[0] for i in range(len(maps))]
    same(one_by_one, found)
    # An axis of length 1 is no axis.
    same(measure(maps[:, None], masks[:, None]), found)


@quick
@given(maps_and_masks())
def test_the_order_of_positions_matters_to_first_ones_alone(given):
    maps, masks = given
    shuffled = np.random.default_rng(0).permutation(maps[0].size)
    rows, marked = (array.reshape(len(maps), -1) for array in (maps, masks))
    for measure, ties in (
        (pointing_game, "mean"),
        (pointing_game, "any"),
        (relevance_rank, "mean"),
    ):
        here = measure(rows[:, shuffled], marked[:, shuffled], ties=ties)
        same(here, measure(rows, marked, ties=ties))


@quick
@given(maps_and_masks(lowest=0))
def test_energy_within_and_without_is_all_of_it(given):
    maps, masks = given
    both = energy_pointing_game(maps, masks) + energy_pointing_game(maps, ~masks)
    both = both[~np.isnan(both)]
    expected = (maps.reshape(len(maps), -1).sum(axis=1) > 0)[
        [0 < mask.sum() < mask.size for mask in masks]
    ]
    assert both == pytest.approx(expected.astype(float), abs=1e-15)


@pytest.mark.parametrize("measure", [pointing_game, energy_pointing_game, relevance_rank])
@pytest.mark.parametrize(
    ("maps", "masks", "message"),
    [
        (np.full((1, 2, 2), np.nan), TOP, r"Maps must be finite.*\(0, 0, 0\)"),
        (MAP[0, 0], TOP, r"Maps of shape \(2,\) cannot be measured; pass \(B, \*S\)"),
        (np.zeros((0, 2, 2)), np.zeros((0, 2, 2)), r"shape \(0, 2, 2\) cannot be measured"),
        (MAP.astype(complex), TOP, "must be real numbers; got dtype complex128"),
        (MAP, TOP[0], r"Masks of shape \(2, 2\) do not fit maps of shape \(1, 2, 2\)"),
        (MAP, TOP * 255, "must be True or False, or 1 or 0; got other values, of dtype int64"),
        (MAP, TOP * np.nan, "must be True or False, or 1 or 0"),
        (MAP, np.array([[["a", "b"], ["", ""]]]), "must be True or False, or 1 or 0"),
    ],
)
def test_wrong_arrays_are_refused(measure, maps, masks, message):
    with pytest.raises(InputError, match=message):
        measure(maps, masks)


@pytest.mark.parametrize(
    ("measure", "options", "message"),
    [
        (pointing_game, {"ties": "last"}, "ties='last'; expected one of 'any', 'first', 'mean'"),
        (pointing_game, {"tolerance": -1}, "tolerance=-1; expected a number of positions"),
        (pointing_game, {"tolerance": np.nan}, "tolerance=nan"),
        (pointing_game, {"tolerance": np.inf}, "tolerance=inf"),
        (relevance_rank, {"ties": "any"}, "ties='any'; expected one of 'first', 'mean'"),
        (energy_pointing_game, {"negative": "drop"}, "expected one of 'clip', 'keep', 'abs'"),
    ],
)
def test_wrong_options_are_refused(measure, options, message):
    with pytest.raises(InputError, match=message):
        measure(MAP, TOP, **options)


@pytest.mark.parametrize(
    ("cell", "grid", "message"),
    [
        (0, 3, r"A grid of \(3, 3\) cells does not divide maps of \(2, 2\)"),
        (0, (2,), r"A grid of \(2,\) cells does not divide"),
        (0, 0, r"A grid of \(0, 0\) cells does not divide"),
        (4, 2, r"cell goes from 4 to 4; \(2, 2\) cells count from 0 to 3"),
        (-1, 2, "cell goes from -1 to -1"),
        (0.5, 2, "dtype float64; expected one whole number, or one for each of 1 maps"),
        ([0, 1], 2, r"cell of shape \(2,\)"),
    ],
)
def test_wrong_cells_are_refused(cell, grid, message):
    with pytest.raises(InputError, match=message):
        grid_pointing_game(MAP, cell, grid=grid)
