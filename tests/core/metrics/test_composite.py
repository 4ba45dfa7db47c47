"""ADCC and ARCC by hand."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.errors import InputError
from camcore.metrics import adcc, arcc


def test_by_hand():
    # 3 / (1/0.8 + 1/0.5 + 1/0.75)
    np.testing.assert_allclose(adcc([0.25], [0.8], [0.5]), [3 / (1.25 + 2 + 4 / 3)])
    # Twice 0.3 of ROAD: 3 / (1/0.6 + 1/0.8 + 1/0.5).
    np.testing.assert_allclose(arcc([0.3], [0.8], [0.5]), [3 / (5 / 3 + 1.25 + 2)])


def test_equal_parts_are_their_mean_and_perfect_ones_are_1():
    np.testing.assert_allclose(adcc([0.3, 0.0], [0.7, 1.0], [0.3, 0.0]), [0.7, 1])
    np.testing.assert_allclose(arcc([0.35, 0.9], [0.7, 1.0], [0.3, 0.0]), [0.7, 1])


def test_one_part_at_its_worst_is_0():
    # Fake-CAM: nothing is dropped, all is coherent, and all of the image is marked.
    np.testing.assert_array_equal(adcc([0.0], [1.0], [1.0]), [0])
    np.testing.assert_array_equal(adcc([1.0, 0.5], [1.0, 0.0], [0.2, 0.2]), [0, 0])
    np.testing.assert_array_equal(arcc([-0.2], [1.0], [0.1]), [0])


def test_undefined_coherency_stays_undefined():
    # The map of a map of ones correlates with nothing: neither 0 nor 0.5.
    assert np.isnan(adcc([0.0, 0.1], [np.nan, np.nan], [1.0, 0.5])).all()
    assert np.isnan(arcc([0.1], [np.nan], [1.0])).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.2], [0.5], [0.5]), "drops goes from 1.2"),
        (([0.2], [0.5], [-0.5]), "complexity goes from -0.5"),
        (([0.2, 0.1], [0.5], [0.5]), r"as many of each; got drops \(2,\)"),
        (([np.nan], [0.5], [0.5]), "drops goes from nan"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(InputError, match=message):
        adcc(*arguments)
