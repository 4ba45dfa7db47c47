"""A layer's name means all calls that see a frame each, or the one map among several arrays."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from camcore.adapter import Layer, LayerName
from camcore.errors import GradientError, LayerError, MethodError
from camcore.inputs import Inputs
from camcore.layers.calls import Reader
from camcore.testing import random_network

ORDER = (2, 0, 1)
"""The frame that each call of the layer sees."""


class Repeats:
    """A layer that runs several times in a pass; it returns what `calls` makes of the inputs.

    Its gradients are three and five times what it returns.
    """

    input_channels = "first"

    def __init__(self, calls, **fields):
        self.calls, self.fields = calls, fields

    def layers(self):
        return [Layer("conv", "Conv2d", None)]

    def run(self, inputs, layers=(), seeds=(), **how):
        calls = self.calls(inputs)
        trace = random_network().run(np.zeros((1, 2, 8, 8)), ["relu2"])
        (like,) = trace.layers.values()
        found = {}
        for name in layers:
            one = calls[LayerName.parse(name).index(ran=len(calls))]
            gradients = (3 * one, 5 * one) if seeds else ()
            fields = {"gradients": gradients, "calls": len(calls), **self.fields}
            found[name] = replace(like, activations=one, **fields)
        native = inputs if isinstance(inputs, dict) else {"": inputs}
        return replace(trace, inputs=native, layers=found)


def by_frame(video):
    """Double the frames of videos ``(B, C, T, H, W)`` one by one, out of order."""
    return [2 * video[:, :, frame] for frame in ORDER]


class Beside(Repeats):
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


def read(adapter, inputs, name, seeds=(), said=None):
    """What a reader makes of one layer."""
    reader = Reader(adapter, adapter, Inputs(inputs, "first"), None, [name], said)
    return reader.run(inputs, [name], seeds).layers[name]


@pytest.fixture
def video():
    return np.random.default_rng(0).normal(size=(2, 4, 3, 5, 5))


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(2, 4, 8, 8))


def rows(video):
    """The frames of ``(B, C, T, H, W)`` as rows, sample by sample."""
    return np.moveaxis(video, 2, 1).reshape(-1, *video.shape[1:2], *video.shape[3:])


def test_calls_that_see_a_frame_each_are_put_together_in_the_order_of_the_frames(video):
    traced = read(Repeats(by_frame), video, "conv", [None])
    np.testing.assert_array_equal(traced.activations, rows(2 * video))
    assert traced.frames == 3
    assert len(traced.gradients) == 2
    for factor, gradients in zip((3, 5), traced.gradients, strict=True):
        np.testing.assert_array_equal(gradients, rows(factor * 2 * video))


def test_a_frame_that_the_score_does_not_depend_on_has_no_gradient(video):
    class SomeFrames(Repeats):
        def run(self, inputs, layers=(), seeds=(), **how):
            frames = [ORDER[LayerName.parse(name).index(ran=3)] for name in layers]
            if seeds and 1 in frames:
                raise GradientError("The score does not depend on some layer.")
            return super().run(inputs, layers, seeds, **how)

    traced = read(SomeFrames(by_frame), video, "conv", [None])
    np.testing.assert_array_equal(traced.activations, rows(2 * video))
    others = video * (np.arange(3) != 1)[:, None, None]
    np.testing.assert_array_equal(traced.gradients[0], rows(6 * others))


def test_second_derivatives_of_frames_one_by_one_are_refused(video):
    model = Repeats(by_frame, hessian_products=(np.ones(1),))
    with pytest.raises(MethodError, match="second derivatives of all frames together"):
        read(model, video, "conv", [None])


def test_of_calls_that_see_the_whole_the_last_is_meant_with_a_warning(images):
    model = Repeats(lambda images: [images, 2 * images])
    expected = (
        "Layer 'conv' runs 2 times in a pass; its last call is explained. Say which is meant: "
        "layer='conv#0' to 'conv#1', or several in a list."
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(expected)}$"):
        traced = read(model, images, "conv")
    np.testing.assert_array_equal(traced.activations, 2 * images)
    np.testing.assert_array_equal(read(model, images, "conv#0").activations, images)


def test_calls_that_see_a_part_each_are_refused(images):
    halves = Repeats(lambda images: [images[..., :4], images[..., 4:]])
    with pytest.raises(LayerError, match=r"runs 2 times in a pass and sees a part of the input"):
        read(halves, images, "conv")
    assert read(halves, images, "conv#0").activations.shape == (2, 4, 8, 4)


def test_of_calls_on_several_inputs_that_on_the_one_that_is_said_is_meant(images):
    pair = {"left": images, "right": images + 1}
    towers = Repeats(lambda inputs: [inputs["left"], 2 * inputs["right"]])
    for said, expected in [("left", images), ("right", 2 * images + 2)]:
        np.testing.assert_array_equal(read(towers, pair, "conv", said=said).activations, expected)
    alone = Repeats(lambda inputs: [inputs["left"], inputs["left"]])
    with pytest.raises(LayerError, match="'conv' does not depend on the input 'right'"):
        read(alone, pair, "conv", said="right")


def test_of_several_arrays_the_map_is_meant(images):
    traced = read(Beside(None), images, "conv")
    np.testing.assert_array_equal(traced.activations, 3 * images)
    assert traced.frames == 1
    vector = read(Beside(None), images, "conv@0")
    np.testing.assert_array_equal(vector.activations, images.mean((2, 3)))


def test_what_is_said_of_a_pass_reaches_the_adapter(images):
    calls = []

    class Noting(Beside):
        def run(self, inputs, layers=(), seeds=(), **how):
            calls.append(("run", *layers, how))
            return super().run(inputs, layers, seeds, **how)

        def resume(self, inputs, layer, *, logits=True):
            calls.append(("resume", layer, {"logits": logits}))

        def gradients_from(self, inputs, layer, *, logits=True):
            calls.append(("gradients_from", layer, {"logits": logits}))

        def gradients_between(self, inputs, pulls):
            calls.append(("gradients_between", *pulls.items(), {}))
            return {name: cotangent for name, (_, cotangent) in pulls.items()}

        def gradients_beyond(self, inputs, layer, later, *, logits=True):
            calls.append(("gradients_beyond", layer, later, {"logits": logits}))

    model = Noting(None)
    reader = Reader(model, model, Inputs(images, "first"), None, ["conv"], None)
    reader.run(images, ["conv"], logits=False, second_order=True)
    reader.resume(images, "conv", logits=False)
    reader.gradients_from(images, "conv", logits=False)
    assert reader.gradients_between(images, {"conv": ("fc", 3.0)}) == {"conv": 3.0}
    reader.gradients_beyond(images, "conv", "fc", logits=False)
    how = {"logits": False, "second_order": True}
    assert calls == [
        ("run", "conv", how),
        ("run", "conv@1", how),
        ("resume", "conv@1", {"logits": False}),
        ("gradients_from", "conv@1", {"logits": False}),
        ("gradients_between", ("conv@1", ("fc", 3.0)), {}),
        ("gradients_beyond", "conv@1", "fc", {"logits": False}),
    ]
