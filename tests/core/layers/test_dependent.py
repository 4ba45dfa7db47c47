"""Whether a score has a gradient at a place of a layer's map."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.adapter import LayerTrace
from camcore.inputs import Inputs
from camcore.layers.dependent import has_gradient
from camcore.layers.layout import Layout

INPUTS = Inputs(np.ones((1, 2, 8, 8)), "first")


def first(count, wanted):
    """The class token stands before four patches."""
    return Layout("tokens", (2, 2), count - 4)


def last(count, wanted):
    """The class token stands behind four patches."""
    return Layout("tokens", (2, 2), 0)


def at(shape, *place):
    """A gradient at one place."""
    gradient = np.zeros(shape)
    gradient[place] = 1
    return gradient


@pytest.mark.parametrize(
    ("gradients", "read", "expected"),
    [
        ([at((1, 3, 4, 4), 0, 1, 2, 3)], first, True),
        ([np.zeros((1, 3, 4, 4))], first, False),
        ([np.zeros((1, 3, 4, 4)), at((1, 3, 4, 4), 0, 1, 2, 3)], first, True),
        ([at((1, 5, 3), 0, 0)], first, False),
        ([at((1, 5, 3), 0, 4)], first, True),
        ([at((1, 5, 3), 0, 4)], last, False),
        ([at((1, 5, 3), 0, 0)], last, True),
        ([at((5, 1, 3), 0)], first, False),  # tokens before the batch
        ([at((5, 1, 3), 4)], first, True),
        ([at((1, 3), 0, 1)], first, True),  # no map at all
        ([np.zeros((1, 3))], first, False),
        ([], first, False),
    ],
)
def test_a_gradient_counts_where_the_map_is(gradients, read, expected):
    traced = LayerTrace(np.ones((1, 3, 4, 4)), tuple(gradients))
    assert has_gradient(traced, INPUTS, read) is expected
