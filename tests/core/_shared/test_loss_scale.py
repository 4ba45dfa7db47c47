"""The scale that float16 gradients are pulled back at, on arithmetic that can be seen through."""

from __future__ import annotations

import numpy as np
import pytest

from camcore._shared.loss_scale import ScaledCotangents, pairs_in_range, pulled_in_range
from camcore.errors import CamcoreWarning


def chain(first, *factors, most=36, tried=None):
    """Pull a gradient back through a factor in float32 and others in float16."""
    scaled = ScaledCotangents({"": np.array([[1.3e-3], [7e-4]], np.float32)})

    def pull(exponent):
        if tried is not None:
            tried.append(exponent)
        with np.errstate(over="ignore", invalid="ignore"):
            gradient = (scaled.at(exponent)[""] * np.float32(first)).astype(np.float16)
            for factor in factors:
                gradient = gradient * np.float16(factor)
        return [scaled.undo({"layer": gradient.astype(np.float32)}, exponent)]

    return pulled_in_range(pull, 2, most)[0]["layer"][:, 0]


@pytest.mark.parametrize(
    ("factors", "tried"),
    [
        ((0.5,), [12, 6]),  # what is in range anyhow
        ((2**-14, 2**-4), [12, 6]),  # unscaled, two bits would be left of it
        ((2**-30, 2**4), [12, 6, 18]),
        ((2**9, 2**-10), [12, 6, 0]),  # overflows on the way
        ((2**-14, 2**-14), [12, 6, 18]),
    ],
)
def test_a_power_of_two_brings_gradients_into_range(factors, tried):
    seen = []
    found = chain(*factors, tried=seen)
    exact = np.prod(np.array(factors, np.float64)) * np.array([1.3e-3, 7e-4])
    np.testing.assert_allclose(found, exact, rtol=np.finfo(np.float16).eps)
    assert seen == tried


def test_what_no_scale_brings_into_range_is_said():
    with pytest.warns(CamcoreWarning, match=r"'layer' are zero or .* samples 0, 1, at any scale"):
        chain(1, 2**-14, 2**-14, 2**-7, most=14)


def test_the_sample_that_is_lost_is_named():
    scaled = ScaledCotangents({"": np.array([[1.0], [1e-9]])})

    def pull(exponent):
        halves = scaled.at(exponent)[""].astype(np.float16) * np.float16(2**-14)
        return [scaled.undo({"layer": halves.astype(np.float32)}, exponent)]

    with pytest.warns(CamcoreWarning, match="in sample 1, at any scale"):
        (found,) = pulled_in_range(pull, 2, 14)
    assert found["layer"][0, 0] == 2**-14


def test_what_is_infinite_at_any_scale_stays_so():
    assert np.isinf(chain(1, np.inf)).all()


def test_products_that_are_nothing_beside_the_gradient_are_not_missed():
    gradient = np.ones((1, 3), np.float32)
    tiny = {12: 2e-9, 6: 0.0}
    pulled = lambda e: [{"a": gradient}, {"a": np.full((1, 3), tiny[e], np.float32)}]  # noqa: E731
    np.testing.assert_array_equal(pulled_in_range(pulled, 1, 36)[0]["a"], gradient)


def test_each_pair_of_layers_has_a_scale_of_its_own():
    """At one scale for both, the weaker would be lost where the stronger just fits."""
    given = {"strong": np.full((2, 3), 3e4), "weak": np.full((2, 3), 3e-9)}

    def pull(scaled):
        with np.errstate(over="ignore"):
            halves = {n: a.astype(np.float16) * np.float16(0.5) for n, a in scaled.items()}
        return {name: array.astype(np.float64) for name, array in halves.items()}

    found = pairs_in_range(pull, given, 2, 14)
    for name, cotangent in given.items():
        np.testing.assert_allclose(found[name], 0.5 * cotangent, rtol=1e-3)
