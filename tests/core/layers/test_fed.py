"""Which layers an input feeds."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from camcore.errors import InputError
from camcore.inputs import Inputs
from camcore.layers.fed import fed, pictured

RNG = np.random.default_rng(0)
PAIR = {"left": RNG.normal(size=(2, 3, 4, 4)), "right": RNG.normal(size=(2, 3, 4, 4))}


class Two:
    """A layer for each of two images, one for both, and one that sees neither."""

    def run(self, inputs, layers=(), **how):
        left, right = (inputs[path].reshape(2, 3, -1).mean(2) for path in ("left", "right"))
        found = {"first": left, "second": right, "both": left + right, "none": np.ones(2)}
        layers = {name: SimpleNamespace(activations=found[name]) for name in layers}
        return SimpleNamespace(inputs=inputs, layers=layers)


@pytest.mark.parametrize(
    ("path", "expected"), [("left", {"first", "both"}), ("right", {"second", "both"})]
)
def test_an_input_feeds_the_layers_that_change_with_it(path, expected):
    inputs = Inputs(PAIR, "first")
    assert fed(Two(), Two(), inputs, ["first", "second", "both", "none"], path) == expected


def test_what_an_input_feeds_is_remembered_by_input():
    model, inputs = Two(), Inputs(PAIR, "first")
    found = [fed(model, model, inputs, ["first"], path) for path in ("left", "right", "left")]
    assert found == [{"first"}, set(), {"first"}]


UNLIKE = {**PAIR, "right": RNG.normal(size=(2, 3, 4, 4, 4))}


@pytest.mark.parametrize(
    ("pair", "layers", "alters", "chosen"),
    [
        (PAIR, ["first"], True, "left"),
        (PAIR, ["second", "none"], True, "right"),
        (PAIR, ["both"], False, None),  # either would do
        (UNLIKE, ["first"], False, "left"),
        (UNLIKE, ["second"], False, "right"),
    ],
)
def test_the_input_that_feeds_the_layers_is_chosen(pair, layers, alters, chosen):
    model, inputs = Two(), Inputs(pair, "first")
    assert pictured(model, model, inputs, layers, alters).chosen == chosen


@pytest.mark.parametrize(
    ("third", "layers"), [(False, ["both"]), (False, ["none"]), (False, []), (True, ["both"])]
)
def test_of_several_inputs_those_that_feed_the_layers_are_listed(third, layers):
    pair = {"other": np.ones((2, 3, 6, 6)), **PAIR} if third else PAIR
    with pytest.raises(InputError) as caught:
        pictured(Two(), Two(), Inputs(pair, "first"), layers, alters=True)
    assert str(caught.value) == (
        "2 inputs of the model have spatial extent: 'left' (2, 3, 4, 4), 'right' (2, 3, 4, 4). Say "
        "which one the map lies over and the method alters: input='left'."
    )
