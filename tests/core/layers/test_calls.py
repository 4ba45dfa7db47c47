"""A layer's name means all calls that see a frame each, or the one map among several arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from camcore.adapter import LayerName
from camcore.inputs import Inputs
from camcore.layers.calls import Reader
from camcore.testing import random_network

ORDER = (2, 0, 1)
"""The frame that each call of the layer sees."""


class ByFrame:
    """A layer that doubles the frames of videos ``(B, C, T, H, W)`` one by one, out of order."""

    input_channels = "first"

    def layers(self):
        return []

    def run(self, inputs, layers=(), seeds=(), **how):
        calls = [2 * inputs[:, :, frame] for frame in ORDER]
        trace = random_network().run(np.zeros((1, 2, 8, 8)), ["relu2"])
        (like,) = trace.layers.values()
        found = {
            name: replace(like, activations=calls[LayerName.parse(name).index(ran=3)], calls=3)
            for name in layers
        }
        return replace(trace, inputs={"": inputs}, layers=found)


class Beside(ByFrame):
    """A layer that returns one vector a sample beside its map."""

    def run(self, inputs, layers=(), seeds=(), **how):
        leaves = {"0": inputs.mean((2, 3)), "1": 3 * inputs}
        trace = random_network().run(np.zeros((1, 2, 8, 8)), ["relu2"])
        (like,) = trace.layers.values()
        shapes = {path: leaf.shape for path, leaf in leaves.items()}
        found = {
            name: replace(like, activations=leaves[name.partition("@")[2] or "0"], leaves=shapes)
            for name in layers
        }
        return replace(trace, inputs={"": inputs}, layers=found)


def read(adapter, array, name):
    """What a reader makes of one layer."""
    reader = Reader(adapter, adapter, Inputs(array, "first"), None, [name], None)
    return reader.run(array, [name]).layers[name]


def test_calls_that_see_a_frame_each_are_put_together_in_the_order_of_the_frames():
    video = np.random.default_rng(0).normal(size=(2, 4, 3, 5, 5))
    traced = read(ByFrame(), video, "conv")
    by_frame = np.moveaxis(2 * video, 2, 1)  # (B, T, C, H, W)
    np.testing.assert_array_equal(traced.activations, by_frame.reshape(6, 4, 5, 5))
    assert traced.frames == 3


def test_of_several_arrays_the_map_is_meant():
    images = np.random.default_rng(0).normal(size=(2, 4, 5, 5))
    traced = read(Beside(), images, "conv")
    np.testing.assert_array_equal(traced.activations, 3 * images)
    assert traced.frames == 1
