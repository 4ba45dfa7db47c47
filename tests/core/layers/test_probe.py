"""Altered inputs tell whose the rows of a layer are, and where its tokens lie."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from camcore.inputs import Inputs
from camcore.layers import probe
from camcore.layers.layout import Layout


class Layer:
    """A model of one layer, which is a function of the images."""

    def __init__(self, function):
        self.function = function

    def run(self, images, layers=(), **how):
        found = {name: SimpleNamespace(activations=self.function(images)) for name in layers}
        return SimpleNamespace(inputs={"": images}, layers=found)


ROWS = {
    "sample by sample": (lambda x: x.reshape(-1, *x.shape[2:]), False),
    "frame by frame": (lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:]), True),
    "mixed": (lambda x: np.tile(x.mean((0, 1)), (len(x) * x.shape[1], 1, 1)), None),
}


@pytest.mark.parametrize("order", ROWS)
def test_an_altered_video_tells_whether_rows_are_frame_by_frame(order):
    layer, expected = ROWS[order]

    videos = np.random.default_rng(0).normal(size=(2, 3, 4, 4))  # (B, T, H, W)
    inputs = Inputs(videos, "first", arrays={"": videos})
    assert probe.frames_first(Layer(layer), inputs, "conv", layer(videos)) is expected


AXES = {
    "batch first": (lambda x: x.mean(-1), 0),
    "batch second": (lambda x: x.mean(-1).swapaxes(0, 1), 1),
    "batch last": (lambda x: np.moveaxis(x.mean(-1), 0, -1), 2),
    "positions": (lambda x: np.ones((len(x), 4, len(x))), None),
    "all samples mixed": (lambda x: np.ones((len(x), len(x))) * x.mean(), None),
}


@pytest.mark.parametrize("kind", AXES)
def test_an_altered_sample_tells_which_axis_carries_the_batch(kind):
    layer, axis = AXES[kind]
    images = np.random.default_rng(0).normal(size=(4, 4, 4, 3))  # any axis may be the batch's
    inputs = Inputs(images, "first", arrays={"": images})
    assert probe.batch_axis(Layer(layer), inputs, "conv", layer(images)) == axis


@pytest.mark.parametrize(
    ("layer", "axis"),
    [
        (lambda x: x.mean(-1), 0),
        (lambda x: x.mean(-1).swapaxes(0, 1), 1),
        (lambda x: np.ones((1, 1, 3)), None),
        (lambda x: x[:, None, :, 0, 0] * np.ones((1, len(x), 1)), None),
    ],
)
def test_one_sample_given_twice_tells_which_axis_carries_the_batch(layer, axis):
    image = np.random.default_rng(0).normal(size=(1, 1, 4, 3))
    inputs = Inputs(image, "first", arrays={"": image})
    assert probe.batch_axis(Layer(layer), inputs, "conv", layer(image)) == axis


def tokens(images):
    """Cut images ``(B, C, 8, 12)`` into patches of 2 x 4, rows of the grid after one another."""
    cut = images.reshape(len(images), 2, 4, 2, 3, 4)
    return np.moveaxis(cut.mean((3, 5)).reshape(len(images), 2, 12), 1, 2)


def mixed(found):
    """Pass on to all tokens alike some of what each holds, as attention does."""
    return found + found.mean(axis=1, keepdims=True)


TOKENS = {
    "patches": (tokens, (True, Layout("tokens", (4, 3), 0))),
    "patches after two others": (
        lambda x: np.pad(tokens(x), [(0, 0), (2, 0), (0, 0)]),
        (True, Layout("tokens", (4, 3), 2)),
    ),
    "patches before another": (
        lambda x: np.pad(tokens(x), [(0, 0), (0, 1), (0, 0)]),
        (True, Layout("tokens", (4, 3), 0)),
    ),
    "mixed patches": (lambda x: mixed(tokens(x)), (True, Layout("tokens", (4, 3), 0))),
    "the batch second": (
        lambda x: tokens(x).swapaxes(0, 1),
        (True, Layout("tokens", (4, 3), 0)),
    ),
    "columns after one another": (
        lambda x: tokens(x).reshape(-1, 4, 3, 2).swapaxes(1, 2).reshape(-1, 12, 2),
        (True, None),
    ),
    "from the last to the first": (lambda x: tokens(x)[:, ::-1], (True, None)),
    "positions": (lambda x: np.ones((len(x), 12, 2)), (False, None)),
}


@pytest.mark.parametrize("batch", [1, 3, 4])
@pytest.mark.parametrize("kind", TOKENS)
def test_altered_corners_tell_where_the_patches_lie(kind, batch):
    layer, expected = TOKENS[kind]
    images = np.random.default_rng(0).normal(size=(batch, 2, 8, 12))
    inputs = Inputs(images, "first")
    count = layer(images).shape[0 if kind == "the batch second" else 1]
    assert probe.patches(Layer(layer), inputs, "blocks", count) == expected
