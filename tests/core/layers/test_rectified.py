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
    "Relu_(x), as another framework writes it": ([("Relu_", "x", "y")], X),
    "relu(dropout(x))": ([("dropout", "x", "y"), ("relu", "y", "z")], X),
    "relu(x), where its shape was used": ([("shape", "x", "n"), ("relu", "x", "y")], X),
    "relu(x * x)": ([("mul", "xx", "y"), ("relu", "y", "z")], set()),
    "relu(relu(x))": ([("relu", "x", "y"), ("relu", "y", "z")], set()),
    "relu(x * w), w of another layer": ([("mul", "xw", "y"), ("relu", "y", "z")], set()),
    "relu(x + relu(w))": ([("relu", "w", "v"), ("add", "xv", "y"), ("relu", "y", "z")], X),
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


def test_what_the_model_puts_in_a_tensors_place_is_followed_instead():
    follow = Rectified({})
    follow.start("x", "layer")
    follow.replace("x", "y")
    follow.replace("c", "d")  # not of a layer
    assert [tensor for tensor in "xycd" if follow.follows(tensor)] == ["x", "y"]
    assert follow.see("relu", "y", "z") == X


def test_a_layer_that_returns_what_another_returned_is_rectified_with_it():
    follow = Rectified({})
    follow.start("x", "layer")
    follow.start("x", "container")
    assert follow.see("relu", "x", "y") == {"layer", "container"}
    follow.start("y", "after")  # a rectified output is the next layer's own
    assert follow.see("relu", "y", "z") == {"after"}


def test_another_use_of_a_tensor_ends_what_is_known_of_it():
    follow = Rectified({})
    follow.start("x", "layer")
    assert follow.see("conv2d", "x", "y") == frozenset()
    assert not follow.follows("x")
    assert follow.see("relu", "x", "z") == frozenset()
