"""Complexity measures by hand, at the ends of their ranges, and at any scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from camcore.errors import InputError
from camcore.metrics import effective_complexity, entropy, l1_complexity, sparseness

MAP = np.array([[[0.5, -0.25], [0.25, 0.0]]])
OF_ANY_SCALE = [entropy, sparseness, effective_complexity]
ALL = [l1_complexity, *OF_ANY_SCALE]

real = st.floats(-1, 1, allow_subnormal=False).map(lambda x: 0.0 if abs(x) < 1e-9 else x)
shapes = arrays.array_shapes(min_dims=2, max_dims=4, max_side=4)
some_maps = arrays.arrays(np.float64, shapes, elements=real)


def test_by_hand():
    np.testing.assert_array_equal(l1_complexity(MAP), [0.25])
    # Shares 1/2, 1/4, 1/4, 0.
    assert entropy(MAP) == pytest.approx([1.5 * np.log(2)], abs=1e-15)
    # (-3 · 0 - 1/4 + 1/4 + 3 · 1/2) / (4 · 1).
    np.testing.assert_array_equal(sparseness(MAP), [0.375])
    np.testing.assert_array_equal(effective_complexity(MAP), [3])
    np.testing.assert_array_equal(effective_complexity(MAP, eps=0.5), [1])
    np.testing.assert_array_equal(effective_complexity(MAP, eps=0.49), [3])
    np.testing.assert_array_equal(effective_complexity(MAP, eps=0), [3])


@pytest.mark.parametrize("sides", [(7,), (2, 3), (2, 3, 4)])
def test_ends_of_the_ranges(sides):
    count = int(np.prod(sides))
    zeros, ones, point = np.zeros(sides), np.ones(sides), np.zeros(sides)
    point.flat[-1] = -1
    maps = np.stack([zeros, ones, point])
    assert l1_complexity(maps) == pytest.approx([0, 1, 1 / count], abs=1e-16)
    assert entropy(maps) == pytest.approx([np.nan, np.log(count), 0], abs=1e-14, nan_ok=True)
    assert not np.signbit(entropy(maps)[2])
    expected = [np.nan, 0, 1 - 1 / count]
    assert sparseness(maps) == pytest.approx(expected, abs=1e-15, nan_ok=True)
    np.testing.assert_array_equal(effective_complexity(maps), [0, count, 1])


def test_gini_is_the_mean_difference_of_two_values():
    """Its other definition: Σ_i Σ_j |x_i - x_j| / (2 P² mean)."""
    rows = np.random.default_rng(0).normal(size=(5, 40))
    sizes = np.abs(rows)
    gaps = np.abs(sizes[:, :, None] - sizes[:, None]).sum(axis=(1, 2))
    assert sparseness(rows) == pytest.approx(gaps / (2 * 40**2 * sizes.mean(axis=1)), abs=1e-14)


def test_a_maps_count_does_not_depend_on_the_others():
    maps = np.stack([MAP[0], 1e6 * MAP[0]])
    np.testing.assert_array_equal(effective_complexity(maps), [3, 3])
    np.testing.assert_array_equal(effective_complexity(maps, eps=0.49), [3, 3])


@pytest.mark.parametrize("measure", OF_ANY_SCALE)
@settings(max_examples=50, deadline=None)
@given(some_maps, st.sampled_from([2.0**-500, -1.0, 2.0**900]))
def test_scale_sign_and_place_change_nothing(measure, maps, scale):
    found = measure(maps)
    np.testing.assert_array_equal(measure(maps * scale), found)
    rows = maps.reshape(len(maps), -1)
    shuffled = rows[:, np.random.default_rng(0).permutation(rows.shape[1])]
    np.testing.assert_allclose(measure(shuffled), found, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(measure(maps[:1]), found[:1])
    known = found[~np.isnan(found)]
    assert (known >= 0).all()
    np.testing.assert_array_equal(np.isnan(found), ~rows.any(axis=1) & (measure(rows * 0) != 0))


@pytest.mark.parametrize("measure", ALL)
@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (np.array([[0.0, np.nan]]), r"Maps must be finite.*\(0, 1\)"),
        (np.array([[0.0, np.inf]]), "Maps must be finite"),
        (np.array([0.0, 1.0]), r"Maps of shape \(2,\) cannot be measured"),
        (np.zeros((1, 0)), r"Maps of shape \(1, 0\) cannot be measured"),
        (np.array([["a"]]), "must be real numbers"),
    ],
)
def test_wrong_maps_are_refused(measure, maps, message):
    with pytest.raises(InputError, match=message):
        measure(maps)


@pytest.mark.parametrize("value", [1.001, -1.5])
def test_the_share_of_maps_beyond_one_is_refused(value):
    with pytest.raises(InputError, match=r"expected values in \[-1, 1\].*normalise"):
        l1_complexity([[0.0, value]])


@pytest.mark.parametrize("eps", [-1e-9, 1, np.nan])
def test_a_wrong_share_is_refused(eps):
    with pytest.raises(InputError, match=rf"eps={eps}; expected a share"):
        effective_complexity(MAP, eps=eps)
