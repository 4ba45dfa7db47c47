"""Masks and boxes around what a map points at, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.errors import InputError
from camcore.metrics import boxes_of, mask_of

HEAT = np.array(
    [
        [0.0, 0.9, 0.0, 0.0, 0.4],
        [0.8, 0.0, 0.0, 0.5, 0.5],
        [0.0, 0.0, 0.0, 0.5, 0.0],
        [1.0, 0.0, 0.0, 0.0, 0.0],
    ]
)


def test_a_mask_holds_what_reaches_the_share_of_the_peak():
    np.testing.assert_array_equal(mask_of(HEAT, 0.8), (HEAT == 0.8) | (HEAT == 0.9) | (HEAT == 1))
    np.testing.assert_array_equal(mask_of(HEAT / 4, 0.8), mask_of(HEAT, 0.8))
    np.testing.assert_array_equal(mask_of(HEAT, 1), HEAT == 1)
    assert mask_of(np.zeros((2, 3, 4))).sum() == 0


def test_boxes_go_around_connected_regions_largest_first(require):
    require("cv2")
    np.testing.assert_array_equal(boxes_of(HEAT, 0.5), [[3, 1, 5, 3]])
    every = boxes_of(HEAT, 0.5, "all")
    np.testing.assert_array_equal(every, [[3, 1, 5, 3], [0, 0, 2, 2], [0, 3, 1, 4]])
    np.testing.assert_array_equal(boxes_of(HEAT, 0.4), [[3, 0, 5, 3]])
    assert boxes_of(np.zeros((4, 5))).shape == (0, 4)


@pytest.mark.parametrize(
    ("heat", "threshold", "component", "message"),
    [
        (HEAT, 0, "all", "threshold=0; expected a share"),
        (HEAT, 1.1, "all", "threshold=1.1; expected a share"),
        (-HEAT, 0.5, "all", "values below 0 or not finite"),
        (np.full((2, 2), np.nan), 0.5, "all", "values below 0 or not finite"),
        (HEAT[None], 0.5, "all", r"shape \(1, 4, 5\) has no boxes"),
        (HEAT, 0.5, "smallest", "component='smallest'"),
    ],
)
def test_wrong_arguments_are_refused(heat, threshold, component, message):
    with pytest.raises(InputError, match=message):
        boxes_of(heat, threshold, component)
