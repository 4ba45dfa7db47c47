"""Orders of positions, with ties each way."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.errors import InputError
from camcore.metrics import order_of, tied_share

TIED = np.array([[2.0, 5.0, 2.0, 5.0, 1.0]])


@pytest.mark.parametrize(
    ("ties", "least", "expected"),
    [
        ("first", False, [1, 3, 0, 2, 4]),
        ("last", False, [3, 1, 2, 0, 4]),
        ("first", True, [4, 0, 2, 1, 3]),
        ("last", True, [4, 2, 0, 3, 1]),
    ],
)
def test_ties_go_as_said(ties, least, expected):
    np.testing.assert_array_equal(order_of(TIED, ties, least=least), [expected])


def test_last_least_first_is_the_reverse_of_first():
    maps = np.random.default_rng(0).integers(0, 5, (3, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(order_of(maps, "last", least=True), order_of(maps)[:, ::-1])
    np.testing.assert_array_equal(order_of(maps, least=True), order_of(maps, "last")[:, ::-1])


def test_random_ties_keep_the_order_of_values_and_fall_alike_in_each_map():
    maps = np.random.default_rng(1).integers(0, 3, (2, 30))
    orders = order_of(maps, "random", seed=3)
    for row, order in zip(maps, orders, strict=True):
        assert np.all(np.diff(row[order]) <= 0)
        assert sorted(order) == list(range(30))
    np.testing.assert_array_equal(order_of(maps[1:], "random", seed=3)[0], orders[1])
    flat = order_of(np.zeros((2, 30)), "random", seed=3)
    np.testing.assert_array_equal(flat[0], flat[1])
    np.testing.assert_array_equal(flat[0], np.random.default_rng(3).permutation(30))
    assert not np.array_equal(flat[0], order_of(np.zeros((1, 30)), "random", seed=4)[0])


def test_ties_of_numpy_are_those_of_the_authors_code():
    maps = np.random.default_rng(2).integers(0, 4, (2, 6, 7)).astype(np.float32)
    expected = np.flip(np.argsort(maps.reshape(-1, 42), axis=1), axis=-1)
    np.testing.assert_array_equal(order_of(maps, "numpy"), expected)
    np.testing.assert_array_equal(order_of(maps, "numpy", least=True), expected[:, ::-1])


def test_integers_without_a_sign_are_ranked():
    np.testing.assert_array_equal(order_of(np.array([[0, 200, 7]], np.uint8)), [[1, 2, 0]])


def test_unknown_ties_are_refused():
    with pytest.raises(InputError, match="ties='middle'; expected one of 'first', 'last'"):
        order_of(TIED, "middle")


def test_share_of_ties_by_hand():
    maps = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 0.0], [7.0, 7.0, 3.0, 3.0]])
    np.testing.assert_array_equal(tied_share(maps), [0, 0.75, 1])
    np.testing.assert_array_equal(tied_share(maps.reshape(3, 2, 2)), [0, 0.75, 1])
    np.testing.assert_array_equal(tied_share(np.array([[4.0]])), [0])
