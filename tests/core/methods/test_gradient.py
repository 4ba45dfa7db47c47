"""Methods that weight by gradients, against their equations by hand."""

from __future__ import annotations

import numpy as np
import pytest

from camcore import methods
from camcore.errors import InputError, MethodError

# Means of the gradients over space: 1 and -1. Sums of the activations: 10 and 2.
A = np.array([[[[1.0, 2.0], [3.0, 4.0]], [[2.0, 0.0], [-1.0, 1.0]]]])


G = np.array([[[[1.0, -1.0], [2.0, 2.0]], [[-4.0, 0.0], [2.0, -2.0]]]])


BY_HAND = {
    # 1 * A1 - 1 * A2
    "gradcam": [[-1, 2], [4, 3]],
    # g1 A1 = [[1, -2], [6, 8]], g2 A2 = [[-8, 0], [-2, -2]]
    "hirescam": [[-7, -2], [4, 6]],
    "elementwise_gradcam": [[1, 0], [6, 8]],
    # relu(g1) A1 = [[1, 0], [6, 8]], relu(g2) A2 = [[0, 0], [-2, 0]]
    "layercam": [[1, 0], [4, 8]],
    # w1 = (1 - 2 + 6 + 8) / 10 = 1.3, w2 = (-8 + 0 - 2 - 2) / 2 = -6
    "xgradcam": [[-10.7, 2.6], [9.9, -0.8]],
    # alpha g = g / (2 + sum(A) g) where g > 0:
    # w1 = 1/12 + 2/22 + 2/22 = 35/132, w2 = 2/6 = 44/132
    "gradcampp": [[123 / 132, 70 / 132], [61 / 132, 184 / 132]],
}


@pytest.mark.parametrize("name", BY_HAND)
def test_equals_the_hand_computation(name):
    maps = getattr(methods, name)(A, G)
    np.testing.assert_allclose(maps, [BY_HAND[name]], rtol=1e-14, atol=1e-14)


def test_cam_weights_channels_by_the_head():
    maps = methods.cam(A, np.array([[2.0, -1.0]]))
    np.testing.assert_array_equal(maps, [[[0, 4], [7, 7]]])


def test_gradcampp_evaluates_alpha_as_the_paper_writes_it():
    rng = np.random.default_rng(0)
    a, g = rng.normal(size=(2, 3, 4, 5, 5))
    total = a.sum(axis=(2, 3), keepdims=True)
    alpha = g**2 / (2 * g**2 + total * g**3)
    weights = (alpha * np.maximum(g, 0)).sum(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(methods.gradcampp(a, g), (weights * a).sum(axis=1), rtol=1e-10)


def test_gradcampp_is_zero_where_its_denominator_is():
    # 2 + sum(A) g = 2 - 2 * 1 = 0 everywhere.
    a = np.full((1, 1, 2, 2), -0.5)
    np.testing.assert_array_equal(methods.gradcampp(a, np.ones_like(a)), np.zeros((1, 2, 2)))


def test_xgradcam_leaves_out_a_channel_that_sums_to_zero():
    a = np.array([[[[1.0, -1.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]]])
    # w1 = 0 (its sum is 0), w2 = (-4 + 0 + 2 - 2) / 4 = -1
    np.testing.assert_array_equal(methods.xgradcam(a, G), [[[-1, -1], [-1, -1]]])


def test_segxrescam_pools_gradients_over_windows():
    # Over one window: the largest gradients are 2 and 2, the means 1 and -1.
    np.testing.assert_array_equal(methods.segxrescam(A, G), [[[6, 4], [4, 10]]])
    np.testing.assert_array_equal(methods.segxrescam(A, G, pool="mean"), [BY_HAND["gradcam"]])
    np.testing.assert_array_equal(methods.segxrescam(A, G, window=1), [BY_HAND["hirescam"]])
    # The last window of an axis is cut short.
    nine = np.arange(1.0, 10).reshape(1, 1, 3, 3)
    largest = [[[5, 5, 6], [5, 5, 6], [8, 8, 9]]]
    mean = [[[3, 3, 4.5], [3, 3, 4.5], [7.5, 7.5, 9]]]
    np.testing.assert_array_equal(methods.segxrescam(np.ones_like(nine), nine), largest)
    np.testing.assert_array_equal(methods.segxrescam(np.ones_like(nine), nine, pool="mean"), mean)


def test_shapleycam_subtracts_half_the_curvature():
    # w1 = 1 - 2/2 = 0, w2 = -1 - 0
    curvature = np.stack([np.full((2, 2), 2.0), np.zeros((2, 2))])[None]
    np.testing.assert_array_equal(methods.shapleycam(A, G, curvature), [[[-2, 0], [1, -1]]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: methods.segxrescam(A, G, window=0), "window=0, pool='max'; a positive integer"),
        (lambda: methods.segxrescam(A, G, pool="min"), "window=2, pool='min'"),
    ],
)
def test_options_out_of_range_are_named(call, message):
    with pytest.raises(MethodError, match=message):
        call()


@pytest.mark.parametrize(
    ("given", "made"), [(np.float16, np.float32), (np.int64, np.float32), (np.float64, np.float64)]
)
def test_half_precision_and_integers_become_single(given, made):
    maps = methods.gradcam(A.astype(given), G.astype(given))
    assert maps.dtype == made
    np.testing.assert_array_equal(maps, [BY_HAND["gradcam"]])


@pytest.mark.parametrize(
    ("activations", "gradients", "message"),
    [
        (A, G[:, :1], r"activations \(1, 2, 2, 2\) and gradients \(1, 1, 2, 2\) differ in shape"),
        (A[0, 0], G[0, 0], r"activations must be \(batch, channels, \*spatial\).*got \(2, 2\)"),
        (A[:0], G[:0], r"none of them empty; got \(0, 2, 2, 2\)"),
        (A + 1j, G, "activations must be real numbers; got dtype complex128"),
        (A, G > 0, "gradients must be real numbers; got dtype bool"),
    ],
)
def test_arrays_that_do_not_fit_are_named(activations, gradients, message):
    for name in BY_HAND:
        with pytest.raises(InputError, match=message):
            getattr(methods, name)(activations, gradients)


def test_cam_names_weights_that_do_not_fit():
    with pytest.raises(InputError, match=r"\(batch, channels\) = \(1, 2\); got \(2,\)"):
        methods.cam(A, np.ones(2))


@pytest.mark.parametrize("name", [*BY_HAND, "eigengradcam", "segxrescam"])
def test_zeros_give_zeros(name):
    for a, g in [(A, 0 * G), (0 * A, G), (0 * A, 0 * G)]:
        np.testing.assert_array_equal(getattr(methods, name)(a, g), np.zeros((1, 2, 2)))
