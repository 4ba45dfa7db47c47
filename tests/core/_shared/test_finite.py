"""One value among many that is NaN or infinite is found, wherever it stands."""

from __future__ import annotations

import numpy as np
import pytest

from camcore._shared.finite import is_finite


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("size", [1, 5, 5000, 2**16 - 1, 2**16, 2**16 + 1, 2**16 + 1023])
def test_one_value_that_is_not_finite_is_found(dtype, size):
    values = np.random.default_rng(0).normal(size=size).astype(dtype)
    assert is_finite(values)
    assert is_finite(values[::-1])
    for bad in (np.nan, np.inf, -np.inf):
        for place in (0, size // 2, size - 1):
            spoilt = values.copy()
            spoilt[place] = bad
            assert not is_finite(spoilt)


def test_finite_values_whose_sum_overflows_are_finite():
    for dtype in (np.float32, np.float64):
        assert is_finite(np.full(2**17, np.finfo(dtype).max))
    assert not is_finite(np.array([np.inf, -np.inf] * 2**16))
