"""Signed maps: zero is the middle colour, and signs mirror one another."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore.errors import InputError
from camcore.viz import signed_map, signed_overlay


def test_zero_is_the_middle_colour_and_signs_mirror_one_another():
    picture = signed_map([[-2.0, -1.0, 0.0, 1.0, 2.0]])[0, 0].astype(int)
    assert np.ptp(picture[2]) <= 2
    assert picture[2].min() > 240
    assert picture[0, 2] > picture[0, 0]
    assert picture[4, 0] > picture[4, 2]
    clipped = signed_map([[-9.0, 1.0]], limit=2)[0, 0]
    assert np.array_equal(clipped, picture[[0, 3]])
    assert np.array_equal(signed_map(np.zeros((2, 2)))[0, 0, 0], picture[2])


def test_a_signed_overlay_is_grey_where_there_is_nothing_to_say():
    photo = np.full((1, 3, 3), [200, 100, 50], np.uint8)
    values = np.array([[0.0, 4.0, -1.0]])
    drawn = signed_overlay(photo, values, alpha=0.5)[0, 0].astype(float)
    grey = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    colours = signed_map(values)[0, 0].astype(float)
    for pixel, colour, weight in zip(drawn, colours, (0, 0.5, 0.125), strict=True):
        assert pixel == pytest.approx((1 - weight) * grey + weight * colour, abs=0.51)


def test_a_signed_overlay_changes_in_proportion_to_the_value_near_zero():
    dark = np.zeros((1, 5, 3), np.uint8)
    values = np.array([[-0.08, -0.04, 0.0, 0.04, 0.08]])
    change = signed_overlay(dark, values, limit=1)[0, 0].astype(float).mean(axis=1)
    colours = signed_map(values, limit=1)[0, 0].astype(float).mean(axis=1)
    assert change == pytest.approx(0.85 * np.abs(values[0]) * colours, abs=0.5)
    assert change[[0, 4]] / change[[1, 3]] == pytest.approx([2, 2], rel=0.1)


def test_signed_maps_that_cannot_be_drawn_are_named():
    with pytest.raises(InputError, match="NaN"):
        signed_map([[np.nan]])
    with pytest.raises(InputError, match=r"\(B, H, W\)"):
        signed_map(np.zeros((2, 2, 2, 2)))
    with pytest.raises(InputError, match="limit is -1"):
        signed_map([[1.0]], limit=-1)
    with pytest.raises(InputError, match="diverging"):
        signed_map([[1.0]], colormap="nothing")
    with pytest.raises(InputError, match="2 images and 1 maps"):
        signed_overlay(np.zeros((2, 4, 4, 3)), np.zeros((4, 4)))


def test_the_default_colours_are_perceptually_even(require):
    """Lightness rises in near-equal steps; jet's does not even rise."""
    lab = require("skimage.color").rgb2lab
    even, uneven = (
        lab(camcore.viz.colour_table(name)[None])[0]
        for name in (camcore.Recipe("x", "y").overlay.colormap, "jet")
    )
    steps = np.diff(even[:, 0])
    assert steps.min() > 0
    pace = np.linalg.norm(np.diff(even, axis=0), axis=1)
    assert pace.std() / pace.mean() < 0.35
    assert np.diff(uneven[:, 0]).min() < 0
    signs = lab(signed_map(np.linspace(-1, 1, 255)[None])[0] / 255)[..., :][0, :, 0]
    assert (np.diff(signs[:128]) > -0.2).all()
    assert (np.diff(signs[127:]) < 0.2).all()
    assert np.abs(signs - signs[::-1]).max() < 12
