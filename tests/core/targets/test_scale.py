"""What the numbers of an output are taken for."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.targets.scale import Scale, is_distribution


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0.25, 0.75], [1.0, 0.0]], True),
        ([[0.25, 0.75], [0.5, 0.75]], False),
        ([[-0.5, 0.5, 1.0]], False),
        ([[1.0005, 0.0]], False),
        ([[-1.0, 2.0]], False),
        ([[1.0]], False),
        ([[1, 0]], False),
        ([0.25, 0.75], False),
        (np.zeros((0, 2)), False),
    ],
)
def test_a_distribution_is_of_numbers_in_0_to_1_that_sum_to_one(values, expected):
    assert is_distribution(np.array(values)) is expected


def test_numbers_are_before_their_activation_unless_said_otherwise():
    assert Scale("sigmoid") == Scale("sigmoid", applied=False)
    np.testing.assert_array_equal(Scale("sigmoid").sides(np.array([[3.0]])), [[-3, 3]])
    behind = Scale("sigmoid", applied=True).sides(np.array([[0.25]]))
    np.testing.assert_array_equal(behind, [[0.75, 0.25]])
