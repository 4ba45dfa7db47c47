"""Methods against their equations by hand, and what holds for arrays of any shape and size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camcore import methods
from camcore.errors import InputError, MethodError
from camcore.methods.table import find
from camcore.recipes import formulas as variants

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


def test_fem_keeps_what_stands_out_by_two_deviations():
    # Mean 1, deviation sqrt(8): above 1 + 5.66 is the 9 alone, one position of nine.
    a = np.zeros((1, 1, 3, 3))
    a[0, 0, 1, 2] = 9
    one = np.zeros((1, 3, 3))
    one[0, 1, 2] = 1
    np.testing.assert_allclose(methods.fem(a), one, rtol=1e-15)
    np.testing.assert_allclose(methods.fem(a, reading="mean"), one, rtol=1e-15)
    np.testing.assert_allclose(methods.fem(3 * a), 3 * one, rtol=1e-15)
    # A second channel of 3 with one 12: mean 4, deviation sqrt(8), above 9.66 the 12 alone.
    b = np.full((1, 1, 3, 3), 3.0)
    b[0, 0, 0, 0] = 12
    both, twelve = np.concatenate([a, b], axis=1), (b[0] == 12)
    np.testing.assert_allclose(methods.fem(both), one + b[0] / 9, rtol=1e-15)
    np.testing.assert_allclose(methods.fem(both, reading="mean"), one + 4 * twelve, rtol=1e-15)


def test_baselines_do_not_look_at_the_score():
    np.testing.assert_array_equal(methods.activation_map(A), [[[1.5, 1], [1, 2.5]]])
    drawn = methods.random_map(np.zeros((2, 3, 4, 5)), seed=7)
    np.testing.assert_array_equal(drawn[0], np.random.default_rng(7).random((4, 5)))
    np.testing.assert_array_equal(drawn[1], drawn[0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: methods.fem(A, reading="both"), "reading='both'; FEM has .*'fraction' and"),
        (lambda: methods.kpcacam(A, kernel="poly"), "kernel='poly'; expected 'sigmoid', 'rbf'"),
        (lambda: methods.segxrescam(A, G, window=0), "window=0, pool='max'; a positive integer"),
        (lambda: methods.segxrescam(A, G, pool="min"), "window=2, pool='min'"),
    ],
)
def test_options_out_of_range_are_named(call, message):
    with pytest.raises(MethodError, match=message):
        call()


def test_keras_io_averages_gradients_over_the_batch():
    a = np.concatenate([A, A[..., ::-1]])
    # Means over space (1, -1) and (3, 1); over the batch (2, 0).
    g = np.concatenate([G, G + 2])
    expected = [[[2, 4], [6, 8]], [[4, 2], [8, 6]]]
    np.testing.assert_array_equal(variants.gradcam_batch_mean(a, g), expected)
    np.testing.assert_array_equal(variants.gradcam_batch_mean(A, G), methods.gradcam(A, G))


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


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Grad-CAM++", "gradcampp"),
        ("gradcam++", "gradcampp"),
        ("GradCAMpp", "gradcampp"),
        ("grad_cam", "gradcam"),
        ("Element-wise Grad-CAM", "elementwisegradcam"),
        ("EIGEN CAM", "eigencam"),
        (find("cam"), "cam"),
    ],
)
def test_methods_are_found_whatever_their_case_and_punctuation(typed, name):
    assert find(typed).name == name


def test_an_unknown_method_is_answered_with_near_ones():
    with pytest.raises(MethodError, match=r"no method 'gradcamm'. Did you mean .*Grad-CAM.*\?"):
        find("gradcamm")
    with pytest.raises(MethodError, match=r"no method 'zzz'. There are CAM, Grad-CAM, .*\.$"):
        find("zzz")
    with pytest.raises(MethodError, match="named by a string; got int"):
        find(3)


def test_every_row_of_the_table_can_be_called_by_its_label():
    names = [method.name for method in methods.TABLE]
    assert len(set(names)) == len(names)
    for method in methods.TABLE:
        assert find(method.label) is find(method.name) is method
        assert set(method.needs).isdisjoint(method.takes())
        assert set(method.options) <= set(method.takes())


quick = settings(max_examples=40, deadline=None)

OF_GRADIENTS = [*BY_HAND, "eigengradcam", "segxrescam"]
HOMOGENEOUS = [name for name in OF_GRADIENTS if name != "gradcampp"]


@st.composite
def shapes(draw):
    rank = draw(st.integers(1, 3))
    batch, channels = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    return (batch, channels, *draw(st.lists(st.integers(1, 4), min_size=rank, max_size=rank)))


@st.composite
def pairs(draw, dtype=np.float64):
    """Activations as after a ReLU, with zeros, and gradients of either sign."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(shapes())
    activations = np.maximum(rng.normal(0.5, 1, size=shape), 0)
    return activations.astype(dtype), rng.normal(size=shape).astype(dtype)


def bound(activations, gradients):
    """No map of these can exceed it; rounding is measured against it."""
    positions = activations[0].size
    return float(np.abs(activations).max()) * float(np.abs(gradients).max()) * positions + 1e-300


def close(one, other, scale, rounding=1e-13):
    np.testing.assert_allclose(one, other, rtol=0, atol=rounding * scale)


def views(array):
    """The same values, laid out in memory in every way that frameworks hand over."""
    read_only = array.copy()
    read_only.setflags(write=False)
    spread = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    spread[..., ::2] = array
    return {
        "read-only": read_only,
        "every other": spread[..., ::2],
        "channels last": np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1),
        "reversed": array[..., ::-1].copy()[..., ::-1],
        "Fortran": np.asfortranarray(array),
    }


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", OF_GRADIENTS)
@quick
@given(data=st.data())
def test_inputs_are_not_altered_and_their_memory_layout_does_not_matter(name, dtype, data):
    a, g = data.draw(pairs(dtype))
    method = getattr(methods, name)
    expected = method(a, g)
    rounding = 1e-5 if expected.dtype == np.float32 else 1e-13
    assert expected.shape == (len(a), *a.shape[2:])
    for kind, seen in views(a).items():
        before = seen.copy()
        found = method(seen, views(g)[kind])
        assert found.dtype == expected.dtype
        close(found, expected, bound(a, g), rounding)
        np.testing.assert_array_equal(seen, before)
        assert not np.shares_memory(found, seen)


@pytest.mark.parametrize("name", OF_GRADIENTS)
@quick
@given(pair=pairs())
def test_a_batch_is_its_samples_one_by_one(name, pair):
    a, g = pair
    method = getattr(methods, name)
    single = [method(a[i : i + 1], g[i : i + 1]) for i in range(len(a))]
    close(method(a, g), np.concatenate(single), bound(a, g))


@pytest.mark.parametrize("name", OF_GRADIENTS)
@quick
@given(pair=pairs(), seed=st.integers(0, 99))
def test_the_order_of_channels_does_not_matter(name, pair, seed):
    a, g = pair
    order = np.random.default_rng(seed).permutation(a.shape[1])
    method = getattr(methods, name)
    close(method(a[:, order], g[:, order]), method(a, g), bound(a, g), 1e-11)


@pytest.mark.parametrize("name", [n for n in OF_GRADIENTS if n != "segxrescam"])
@quick
@given(pair=pairs())
def test_a_mirrored_layer_gives_the_mirrored_map(name, pair):
    a, g = pair
    method = getattr(methods, name)
    close(method(a[..., ::-1], g[..., ::-1]), method(a, g)[..., ::-1], bound(a, g), 1e-11)


@pytest.mark.parametrize("name", HOMOGENEOUS)
@quick
@given(pair=pairs(), factor=st.floats(1e-6, 1e6))
def test_maps_scale_with_the_gradients(name, pair, factor):
    a, g = pair
    method = getattr(methods, name)
    close(method(a, factor * g), factor * method(a, g), factor * bound(a, g))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OF_GRADIENTS)
@quick
@given(data=st.data())
def test_extreme_values_neither_overflow_nor_become_nan(name, dtype, data):
    a, g = data.draw(pairs(dtype))
    up = data.draw(st.integers(-30, 30))
    down = data.draw(st.integers(-30, 30 - max(up, 0)))
    a, g = a * dtype(10.0**up), g * dtype(10.0**down)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        maps = getattr(methods, name)(a, g)
    assert np.all(np.isfinite(maps))
    smallest = np.finfo(maps.dtype).smallest_subnormal
    assert np.abs(maps).max() <= 1.001 * bound(a, g) + a[0].size * smallest


@pytest.mark.parametrize("name", OF_GRADIENTS)
def test_zeros_give_zeros(name):
    for a, g in [(A, 0 * G), (0 * A, G), (0 * A, 0 * G)]:
        np.testing.assert_array_equal(getattr(methods, name)(a, g), np.zeros((1, 2, 2)))
