"""Methods that look at activations alone, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from camcore import methods
from camcore.errors import InputError, MethodError
from camcore.methods.table import TABLE

# Means of the gradients over space: 1 and -1. Sums of the activations: 10 and 2.
A = np.array([[[[1.0, 2.0], [3.0, 4.0]], [[2.0, 0.0], [-1.0, 1.0]]]])


@pytest.mark.parametrize(
    "row", [row for row in TABLE if row.needs == ("activations",)], ids=lambda row: row.name
)
def test_activations_without_space_are_named(row):
    with pytest.raises(InputError, match=r"^activations must be \(batch, .* got \(2, 3\)"):
        row.function(np.ones((2, 3)))


def test_fem_keeps_what_stands_out_by_two_deviations():
    # Mean 1, deviation sqrt(8): above 1 + 5.66 is the 9 alone, one position of nine.
    a = np.zeros((1, 1, 3, 3))
    a[0, 0, 1, 2] = 9
    one = np.zeros((1, 3, 3))
    one[0, 1, 2] = 1
    np.testing.assert_allclose(methods.fem(a), one, rtol=1e-15)
    np.testing.assert_allclose(methods.fem(a, reading="fraction"), one, rtol=1e-15)
    np.testing.assert_allclose(methods.fem(3 * a), 3 * one, rtol=1e-15)
    # A second channel of 3 with one 12: mean 4, deviation sqrt(8), above 9.66 the 12 alone.
    b = np.full((1, 1, 3, 3), 3.0)
    b[0, 0, 0, 0] = 12
    both, twelve = np.concatenate([a, b], axis=1), (b[0] == 12)
    np.testing.assert_allclose(methods.fem(both), one + 4 * twelve, rtol=1e-15)
    fraction = methods.fem(both, reading="fraction")
    np.testing.assert_allclose(fraction, one + b[0] / 9, rtol=1e-15)
    # A channel that is constant stands out nowhere.
    constant = np.concatenate([a, np.full_like(a, 5)], axis=1)
    np.testing.assert_array_equal(methods.fem(constant), one)


def test_baselines_do_not_look_at_the_score():
    np.testing.assert_array_equal(methods.activation_map(A), [[[1.5, 1], [1, 2.5]]])
    drawn = methods.random_map(np.zeros((2, 3, 4, 5)), seed=7)
    np.testing.assert_array_equal(drawn[0], np.random.default_rng(7).random((4, 5)))
    np.testing.assert_array_equal(drawn[1], drawn[0])


def test_an_unknown_reading_of_fem_is_named():
    with pytest.raises(MethodError, match=r"reading='both'; FEM has .*'mean' and"):
        methods.fem(A, reading="both")
