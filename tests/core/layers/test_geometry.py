"""Where a model's input has its channels is found out by no more passes than tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from camcore.inputs import Inputs
from camcore.layers.geometry import Geometry
from camcore.layers.known import Known
from camcore.layers.layout import Layout
from camcore.testing import Dense, NumpyAdapter, Op, random_network


def test_a_table_is_altered_for_no_model_without_maps():
    flat = NumpyAdapter(fc=Dense(np.eye(3), np.zeros(3)))
    inputs = Inputs(np.ones((2, 3)), "first")
    assert Geometry(flat, flat).laid_out(inputs) is inputs
    assert flat.passes == 1  # the survey


class Tokens(Op):
    """Puts the places of a map behind one another, after class tokens of zeros."""

    def __init__(self, before):
        self.before = before

    def forward(self, x):
        tokens = x.reshape(*x.shape[:2], -1).swapaxes(1, 2)
        return np.pad(tokens, [(0, 0), (self.before, 0), (0, 0)])


@pytest.mark.parametrize(
    ("before", "passes"),
    [
        (0, 1),  # the survey, which has the map that the tokens were cut from
        (1, 0),  # 17 tokens are no grid of square patches
    ],
)
def test_tokens_are_placed_without_altering_the_images(before, passes):
    features = list(random_network().ops.items())[:4]
    model = NumpyAdapter(**dict(features), tokens=Tokens(before))
    images = np.random.default_rng(0).normal(size=(2, 2, 8, 8))
    traced = replace(model.run(images, ["tokens"]).layers["tokens"], channels=None)
    assert traced.activations.shape == (2, 16 + before, 4)
    model.passes = 0
    inputs = Inputs(images, "first", arrays={"": images})
    found = Geometry(model, model).place(model, inputs, "tokens", traced, None, Known())
    assert (found.layout, found.order) == (Layout("tokens", (4, 4), before), (0, 1))
    assert model.passes == passes
