"""Which layers an input feeds."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from camcore.inputs import Inputs
from camcore.layers.fed import fed

RNG = np.random.default_rng(0)
PAIR = {"left": RNG.normal(size=(2, 3, 4, 4)), "right": RNG.normal(size=(2, 3, 4, 4))}


class Two:
    """A layer for each of two images, one for both, and one that sees neither."""

    def run(self, inputs, layers=(), **how):
        left, right = inputs["left"], inputs["right"]
        found = {"first": left, "second": right, "both": left + right, "none": np.ones(2)}
        layers = {name: SimpleNamespace(activations=found[name]) for name in layers}
        return SimpleNamespace(inputs=inputs, layers=layers)


@pytest.mark.parametrize(
    ("path", "expected"), [("left", {"first", "both"}), ("right", {"second", "both"})]
)
def test_an_input_feeds_the_layers_that_change_with_it(path, expected):
    inputs = Inputs(PAIR, "first")
    assert fed(Two(), Two(), inputs, ["first", "second", "both", "none"], path) == expected
