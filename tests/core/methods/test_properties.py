"""What holds for arrays of any shape, size and memory layout."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camcore import methods

quick = settings(max_examples=40, deadline=None)


OF_GRADIENTS = [
    "gradcam",
    "hirescam",
    "elementwise_gradcam",
    "layercam",
    "xgradcam",
    "gradcampp",
    "eigengradcam",
    "segeigencam",
    "segxrescam",
]


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
