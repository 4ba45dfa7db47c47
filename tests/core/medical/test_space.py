"""Affines: checked, named, and of grids of another size."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.errors import InputError
from camcore.medical.space import (
    check_affine,
    check_affines,
    letters,
    millimetres,
    orientation,
    resized_affine,
    spacing_of,
)


def test_affines_that_say_no_place_are_named(oblique):
    assert np.array_equal(check_affine(oblique.tolist()), oblique)
    with pytest.raises(InputError, match=r"shape \(3, 3\)"):
        check_affine(np.eye(3))
    with pytest.raises(InputError, match="last row"):
        check_affine(oblique.T)
    with pytest.raises(InputError, match="NaN"):
        check_affine(np.where(oblique == 31.5, np.nan, oblique))
    with pytest.raises(InputError, match=r"singular.*0\.0\] mm"):
        check_affine(np.diag([1.0, 2, 0, 1]))
    flat = oblique.copy()
    flat[:3, 2] = flat[:3, 1]
    with pytest.raises(InputError, match="singular"):
        check_affine(flat)
    assert np.array_equal(check_affines(oblique, 3)[2], oblique)
    with pytest.raises(InputError, match="2 affines for 3 volumes"):
        check_affines(np.stack([oblique] * 2), 3)


def test_tiny_voxels_are_no_singular_affine():
    assert np.array_equal(check_affine(np.diag([1e-4, 1e-4, 1e-4, 1])).diagonal()[:3], [1e-4] * 3)


def test_an_oblique_affine_by_hand(oblique, require):
    nibabel = require("nibabel")
    assert spacing_of(oblique) == pytest.approx((0.8, 1.5, 3), rel=1e-12)
    assert orientation(oblique).tolist() == [[0, -1], [1, 1], [2, 1]]
    # At 20° about z the first axis runs to the left, and so far to the back.
    assert letters(oblique[:3, 0]) == "LA"
    assert nibabel.aff2axcodes(oblique) == ("L", "A", "S")


def test_nearest_axes_are_those_that_nibabel_finds(require):
    orientations, rng = require("nibabel.orientations"), np.random.default_rng(0)
    for _ in range(200):
        turn = np.eye(4)
        axis = rng.normal(size=3)
        axis /= np.linalg.norm(axis)
        angle = np.deg2rad(rng.uniform(0, 35))
        cross = np.cross(np.eye(3), axis)
        turn[:3, :3] += np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
        grid = np.eye(4)[:, [*rng.permutation(3), 3]] * [*rng.choice([-1, 1], 3), 1]
        affine = turn @ grid @ np.diag([*rng.uniform(0.3, 6, 3), 1])
        assert np.array_equal(orientation(affine), orientations.io_orientation(affine))


@pytest.mark.parametrize(
    ("direction", "name"),
    [
        ((1, 0, 0), "R"),
        ((-3, 0, 0), "L"),
        ((0, 2, 0), "A"),
        ((0, -1, 0.2), "P"),
        ((0, 0, 1), "S"),
        ((0, 0.5, -1), "IA"),
        ((0.9, -0.5, 0.4), "RPS"),
    ],
)
def test_directions_have_letters(direction, name):
    assert letters(direction) == name


def test_places_are_said_without_signs():
    assert millimetres(0, -12.34) == "L 12.3 mm"
    assert millimetres(1, 0.05) == "A 0.1 mm"
    assert millimetres(2, -0.04) == "0.0 mm"


def test_a_grid_of_another_size_over_the_same_field_of_view(oblique):
    size, new = (7, 9, 5), (14, 3, 8)
    moved = resized_affine(oblique, size, new)
    for corner in np.ndindex(2, 2, 2):
        edge = np.array([(s if c else 0) - 0.5 for c, s in zip(corner, size, strict=True)])
        same = np.array([(s if c else 0) - 0.5 for c, s in zip(corner, new, strict=True)])
        assert moved @ [*same, 1] == pytest.approx(oblique @ [*edge, 1], abs=1e-10)
    assert np.array_equal(resized_affine(oblique, size, size), oblique)
