"""Leading components against small arrays whose components are known."""

from __future__ import annotations

import numpy as np
import pytest

from camcore import methods
from camcore.errors import MethodError


def test_eigencam_of_one_pattern_is_that_pattern_times_its_length():
    # Channels 3t and 4t: the component is (3, 4) / 5, the projection 5 (t - mean t).
    t = np.array([[1.0, 2.0], [3.0, 4.0]])
    a = np.stack([3 * t, 4 * t])[None]
    expected = [[[-7.5, -2.5], [2.5, 7.5]]]
    np.testing.assert_allclose(methods.eigencam(a), expected, rtol=1e-14)
    # High where the activations are strong, whatever their sign.
    np.testing.assert_allclose(methods.eigencam(-a), expected, rtol=1e-14)
    np.testing.assert_allclose(methods.eigengradcam(a / 2, np.full_like(a, 2)), expected)


def test_eigencam_of_orthogonal_patterns_is_the_stronger_one():
    rows = np.array([[1.0, 1.0], [-1.0, -1.0]])
    columns = np.array([[1.0, -1.0], [1.0, -1.0]])
    a = np.stack([5 + 2 * rows, 5 + columns])[None]
    np.testing.assert_allclose(methods.eigencam(a), [2 * rows], atol=1e-14)


@pytest.mark.parametrize("shape", [(2, 3, 20), (2, 3, 4, 5), (2, 30, 4, 5), (2, 3, 3, 2, 4)])
def test_eigencam_is_the_first_singular_vector(shape):
    a = np.random.default_rng(len(shape)).normal(size=shape)
    for sample, found in zip(a, methods.eigencam(a), strict=True):
        table = sample.reshape(len(sample), -1).T
        u, s, _ = np.linalg.svd(table - table.mean(axis=0), full_matrices=False)
        expected = u[:, 0] * s[0]
        assert np.linalg.norm(found) == pytest.approx(s[0], rel=1e-12)
        assert abs(found.ravel() @ expected) == pytest.approx(s[0] ** 2, rel=1e-12)
        strength = np.linalg.norm(sample.reshape(len(sample), -1), axis=0)
        assert found.ravel() @ (strength - strength.mean()) > 0


@pytest.mark.parametrize("shape", [(2, 3, 20), (2, 30, 4, 5), (2, 3, 3, 2, 4)])
def test_segeigencam_is_of_the_gradients_strength(shape):
    rng = np.random.default_rng(len(shape))
    a, g = rng.normal(size=shape), rng.normal(size=shape)
    found = methods.segeigencam(a, g)
    np.testing.assert_array_equal(methods.segeigencam(a, -g), found)
    assert np.abs(found - methods.segeigencam(a, np.ones_like(g))).max() > 0.1
    for own, eigengrad in zip(found, methods.eigengradcam(a, np.abs(g)), strict=True):
        sign = np.sign((own * eigengrad).sum())
        np.testing.assert_array_equal(own, sign * eigengrad)
        assert own.max() >= -own.min()
    # As far below zero as above it, the sign is Eigen-CAM's, high where activations are strong.
    tied = methods.segeigencam(np.array([[[1.0, 3.0]]]), np.ones((1, 1, 2)))
    np.testing.assert_array_equal(tied, [[-1, 1]])


def test_segeigencam_is_positive_where_it_is_farthest_from_zero():
    # |g| A is [0, 0, 0, 4] in the one channel: centred [-1, -1, -1, 3]; and with the signs turned.
    a = np.array([[[0.0, 0.0, 0.0, 2.0]], [[0.0, 0.0, 0.0, -2.0]]])
    found = methods.segeigencam(a, np.array([[[0.0, 5.0, 0.0, -2.0]], [[0.0, 0.0, 1.0, 2.0]]]))
    np.testing.assert_allclose(found, [[-1, -1, -1, 3]] * 2, rtol=1e-14)


def test_eigencam_of_constant_activations_is_zero():
    a = np.full((1, 3, 4, 4), 0.1, np.float32)
    np.testing.assert_array_equal(methods.eigencam(a), np.zeros((1, 4, 4)))


@pytest.mark.parametrize(
    ("kernel", "squared"),
    # Centred points -1 and 1: the kernel's entries a (on the diagonal) and b (off it) leave
    # the component (-c, c) with c squared = (a - b) / 2.
    [
        ("linear", (1 - -1) / 2),
        ("sigmoid", (np.tanh(2) - np.tanh(0)) / 2),
        ("rbf", (1 - np.exp(-4)) / 2),
    ],
)
def test_kpcacam_of_two_positions(kernel, squared):
    a = np.array([[[1.0, 3.0]]])
    expected = [[-np.sqrt(squared), np.sqrt(squared)]]
    np.testing.assert_allclose(methods.kpcacam(a, kernel=kernel), expected, rtol=1e-14)


def test_kpcacam_with_a_linear_kernel_is_eigencam():
    a = np.random.default_rng(1).normal(size=(2, 5, 3, 4))
    np.testing.assert_allclose(
        methods.kpcacam(a, kernel="linear"), methods.eigencam(a), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": "poly"}, "kernel='poly'; expected 'sigmoid', 'rbf'"),
        ({"gamma": 0.0}, "gamma=0.0; it must be finite and positive"),
        ({"gamma": np.nan}, "gamma=nan; it must be finite"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(MethodError, match=message):
        methods.kpcacam(np.ones((2, 3, 4, 4)), **options)
