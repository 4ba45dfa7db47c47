"""What a layer returned is followed by the names of operations to where it is rectified."""

from __future__ import annotations

import pytest

from camcore.layers.rectified import Rectified

X = frozenset(["layer"])

# Of x, which the layer returned, each step makes the next tensor: a name and what it is given.
STEPS = {
    "relu(x)": ([("relu", "x", "y")], X),
    "relu(2 * x)": ([("mul", "x", "y"), ("relu", "y", "z")], X),
    "relu(x + x)": ([("add", "xx", "y"), ("relu", "y", "z")], X),
    "relu(x + w), w of another layer": ([("add", "xw", "y"), ("relu", "y", "z")], X | {"other"}),
    "relu(x + c), c not a layer's": ([("add", "xc", "y"), ("relu", "y", "z")], X),
    "x * sigmoid(x)": ([("sigmoid", "x", "y"), ("mul", "xy", "z")], X),
    "x * sigmoid(w), w of another layer": ([("sigmoid", "w", "y"), ("mul", "xy", "z")], set()),
    "x * c, c not a layer's": ([("mul", "xc", "y"), ("relu", "y", "z")], set()),
    "relu(softmax(x))": ([("softmax", "x", "y"), ("relu", "y", "z")], set()),
    "relu(exp(x))": ([("exp", "x", "y"), ("relu", "y", "z")], set()),
}


@pytest.mark.parametrize("formula", STEPS)
def test_a_rectified_output_is_known_by_the_layers_it_comes_from(formula):
    steps, expected = STEPS[formula]
    follow = Rectified({})
    follow.start("x", "layer")
    follow.start("w", "other")
    for name, given, made in steps:
        found = follow.see(name, given, made)
    assert found == expected
