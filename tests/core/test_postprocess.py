"""Scaling and joining of maps, by hand and for any values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from camcore.errors import InputError
from camcore.postprocess import fuse, normalise, relu, without_evidence

MAPS = np.array([[[-1.0, 2.0], [4.0, 3.0]], [[0.0, 0.0], [0.0, 0.0]]])

any_maps = st.sampled_from([np.float16, np.float32, np.float64]).flatmap(
    lambda dtype: hnp.arrays(
        dtype,
        hnp.array_shapes(min_dims=2, max_dims=4, max_side=4),
        elements=hnp.from_dtype(
            np.dtype(dtype), min_value=-1e4, max_value=1e4, allow_nan=False, allow_infinity=False
        ),
    )
)


def test_relu_keeps_what_is_positive():
    np.testing.assert_array_equal(relu(MAPS)[0], [[0, 2], [4, 3]])


@pytest.mark.parametrize(
    ("scale", "eps", "expected"),
    [
        ("max", 0, [[-0.25, 0.5], [1, 0.75]]),
        ("max", 1, [[-0.2, 0.4], [0.8, 0.6]]),
        ("min_max", 0, [[0, 0.6], [1, 0.8]]),
        ("min_max", 5, [[0, 0.3], [0.5, 0.4]]),
    ],
)
def test_maps_are_scaled_each_by_its_own_extremes(scale, eps, expected):
    scaled = normalise(MAPS, scale, eps=eps)
    np.testing.assert_allclose(scaled[0], expected, rtol=1e-15)
    np.testing.assert_array_equal(scaled[1], np.zeros((2, 2)))
    np.testing.assert_array_equal(normalise(MAPS[:1], scale, eps=eps), scaled[:1])


@pytest.mark.parametrize("value", [-3.0, 0.0, 7.0])
def test_a_constant_map_never_divides_by_zero(value):
    constant = np.full((1, 3, 3), value, np.float32)
    with np.errstate(all="raise"):
        assert normalise(constant, "min_max").max() == 0
        assert normalise(constant, "max").max() == (value > 0)


@settings(max_examples=100, deadline=None)
@given(maps=any_maps)
def test_scaled_maps_are_within_zero_and_one(maps):
    before = maps.copy()
    maps.setflags(write=False)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        scaled = [
            normalise(relu(maps)),
            normalise(maps, "min_max"),
            normalise(maps, "min_max", eps=1e-7),
        ]
    for found in scaled:
        assert found.dtype == maps.dtype
        assert found.min() >= 0
        assert found.max() <= 1
    positive = (before > 0).reshape(len(before), -1).any(axis=1)
    highest = scaled[0].reshape(len(before), -1).max(axis=1)
    np.testing.assert_array_equal(highest, positive)
    np.testing.assert_array_equal(maps, before)


@pytest.mark.parametrize("size", [1e-30, 1e30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_size_of_a_map_does_not_matter(size, dtype):
    maps = (MAPS * size).astype(dtype)
    for scale in ("max", "min_max"):
        np.testing.assert_allclose(normalise(maps, scale), normalise(MAPS, scale), rtol=1e-6)


def test_the_smallest_number_is_still_evidence():
    tiny = np.zeros((1, 2, 2), np.float32)
    tiny[0, 1, 1] = np.nextafter(np.float32(0), np.float32(1))
    np.testing.assert_array_equal(normalise(tiny), [[[0, 0], [0, 1]]])


def test_integers_are_scaled_as_single_precision():
    scaled = normalise(np.array([[[1, 2], [4, 3]]]))
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled, [[[0.25, 0.5], [1, 0.75]]])


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("mean", [[0.5, 0.25], [0.75, 0.25]]),
        ("max", [[1, 0.5], [1, 0.5]]),
        ("product", [[0, 0], [0.5, 0]]),
        ("sum", [[1, 0.5], [1.5, 0.5]]),
    ],
)
def test_layers_are_joined_element_by_element(how, expected):
    layers = [np.array([[[0, 0.5], [1, 0.5]]]), np.array([[[1, 0], [0.5, 0]]])]
    np.testing.assert_array_equal(fuse(layers, how), [expected])
    np.testing.assert_array_equal(fuse(layers[:1], how), layers[0])


MIXERS = {
    "root": lambda x: np.prod(x, axis=0) ** (1 / len(x)),
    "exp_mean": lambda x: 1 / np.log(np.mean(np.exp(1 / x), axis=0)),
    "log_exp": lambda x: (np.log(len(x)) + 1) / np.log(np.sum(np.exp(1 / x), axis=0)),
}
"""Of RefineCAM's authors, as they write them."""


@pytest.mark.parametrize("how", MIXERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mixers_are_those_of_the_authors_and_need_no_large_numbers(how, dtype):
    maps = np.random.default_rng(0).uniform(0.01, 1, size=(3, 2, 4, 5))
    found = fuse([*maps.astype(dtype)], how)
    assert found.dtype == dtype
    np.testing.assert_allclose(
        found, MIXERS[how](maps), rtol=2e-6 if dtype == np.float32 else 1e-12
    )
    # Where all agree on 1 it is 1, and where one is 0 it is; small ones are not 0 before.
    ends = [np.array([[1, 0, 1e-4]], dtype), np.array([[1, 1, 1e-4]], dtype)]
    np.testing.assert_allclose(fuse(ends, how)[0, :2], [1, 0], rtol=1e-6)
    assert fuse(ends, how)[0, 2] > 9e-5
    np.testing.assert_array_equal(fuse([-0.0 * ends[0], ends[1]], how), np.zeros((1, 3)))
    with pytest.raises(InputError, match=rf"negative values have no '{how}'; rectify them"):
        fuse([-MAPS - 1, MAPS], how)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: normalise(MAPS, "sum"), "There is no scale 'sum'; choose one of 'max'"),
        (lambda: fuse([MAPS], "median"), "There is no fusion 'median'; choose from mean, max"),
        (
            lambda: fuse([MAPS, MAPS[:, :1]]),
            r"Maps of shapes \[\(2, 1, 2\), \(2, 2, 2\)\] cannot be fused",
        ),
        (lambda: fuse([]), r"Maps of shapes \[\] cannot be fused"),
    ],
)
def test_unknown_scales_fusions_and_shapes_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_a_sample_is_without_evidence_where_no_layer_has_any():
    one = np.array([[[0.0, -1.0]], [[0.0, 2.0]], [[-1.0, -2.0]], [[0.0, 0.0]]])
    other = np.array([[[3.0]], [[0.0]], [[-1.0]], [[5e-324]]])
    assert without_evidence([one]).tolist() == [True, False, True, True]
    assert without_evidence([one, other]).tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ("max", [0, 1 / 9, 2 / 9, 5 / 9, 1, 1]),
        ("min_max", [0, 0, 1 / 8, 4 / 8, 1, 1]),
        # Of what is above the tenth percentile, over the ninetieth.
        ("shifted", [0, 0, 1 / 9, 4 / 9, 8 / 9, 1]),
    ],
)
def test_extremes_are_percentiles_where_outliers_are_cut_off(scale, expected):
    found = normalise(np.arange(11.0)[None], scale, outliers=10)
    np.testing.assert_allclose(found[0, [0, 1, 2, 5, 9, 10]], expected, rtol=1e-12)


@pytest.mark.parametrize("outliers", [-1, 50])
def test_outliers_are_a_percentage(outliers):
    with pytest.raises(InputError, match=r"a percentage in \[0, 50\) is expected"):
        normalise(MAPS, outliers=outliers)


def test_what_is_shifted_without_a_positive_value_is_one_above_its_least():
    found = normalise(np.array([[-2.0, -1.0], [0, 0], [-1, -1], [-4, 2], [1, 2]]), "shifted")
    np.testing.assert_array_equal(found, [[0, 1], [0, 0], [0, 0], [0, 1], [0, 0.5]])
