"""Steps to the shown map, by hand."""

from __future__ import annotations

import numpy as np

from camcore.recipes import Levels, Stretch

RAW = np.array([[[-1.0, 2.0], [4.0, 3.0]]])


def test_stretch_multiplies_what_is_constant():
    constant = np.full((1, 2, 2), 3.0)
    np.testing.assert_array_equal(Stretch()(constant, (2, 2)), constant)
    np.testing.assert_array_equal(Stretch(0, 4)(RAW, (2, 2)), [[[0, 2.4], [4, 3.2]]])
    assert (str(Stretch()), str(Stretch(0, 4))) == (
        "1 - (x - min) / (max - min)",
        "0 .. 4 from min .. max",
    )


def test_levels_cut_down_to_whole_ones():
    maps = np.array([[[0, 0.26], [0.99, 1]]])
    np.testing.assert_array_equal(Levels(4)(maps, (2, 2)), [[[0, 0.25], [0.75, 1]]])
    assert str(Levels()) == "floor(255 x) / 255"
