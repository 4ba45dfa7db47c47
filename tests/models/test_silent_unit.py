"""One unit that tells two classes: its sides are classes 0 and 1, each other's negative."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import camcore
from camcore.errors import TargetError
from camcore.targets import (
    Class,
    Contrast,
    Counterfactual,
    LogProbability,
    Probability,
    Segmentation,
    top,
)

IMAGES = np.random.default_rng(0).normal(size=(3, 3, 16, 16)).astype(np.float32)
IMAGES *= np.reshape([0.2, 1, 1.4], (3, 1, 1, 1)).astype(np.float32)
RNG = np.random.default_rng(1)
KERNEL = RNG.normal(size=(6, 3, 3, 3)).astype(np.float32)
HEAD = RNG.normal(size=(1, 6)).astype(np.float32)


class Net:
    """A small network in one framework: what it says, and plain code for its gradients."""

    def __init__(self, model, inputs, layer):
        self.model, self.inputs, self.layer = model, inputs, layer

    def explain(self, target=None, **options):
        return camcore.explain(self.model, self.inputs, target, self.layer, **options)


def torch_net(torch, end="sigmoid", *, shape="(B, 1)", head="pool"):
    nn = torch.nn

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.see = nn.Sequential(nn.Conv2d(3, 6, 3, bias=False), nn.ReLU())
            self.say = nn.Linear(6, 1) if head == "pool" else nn.Conv2d(6, 1, 1)

        def forward(self, x):
            x = self.see(x)
            z = self.say(x.mean((2, 3)) if head == "pool" else x)
            z = z[:, 0] if shape == "(B,)" else z
            p = {"sigmoid": torch.sigmoid, "mean of sigmoids": torch.sigmoid}.get(end, lambda z: z)
            y = p(z)
            return (y + p(z)) / 2 if end == "mean of sigmoids" else y

    model = Model().eval()
    with torch.no_grad():
        model.see[0].weight.copy_(torch.from_numpy(KERNEL))
        model.say.weight.copy_(torch.from_numpy(HEAD.reshape(model.say.weight.shape)))
        model.say.bias.fill_(float(BIAS))
    return Net(model, IMAGES, "see")


def keras_net(keras, end="sigmoid", *, shape="(B, 1)", head="pool", module=None):
    layers = (module or keras).layers
    x = (module or keras).Input((16, 16, 3))
    seen = layers.Conv2D(6, 3, use_bias=False, activation="relu", name="see")(x)
    if head == "pool":
        say = layers.Dense(1, activation="sigmoid" if "sigmoid" in end else None, name="say")
        y = say(layers.GlobalAveragePooling2D()(seen))
    else:
        say = layers.Conv2D(1, 1, activation="sigmoid" if "sigmoid" in end else None, name="say")
        y = say(seen)
    if shape == "(B,)":
        y = layers.Reshape(())(y)
    if end == "mean of sigmoids":
        y = layers.Average()([y, y])
    model = (module or keras).Model(x, y)
    model.get_layer("see").set_weights([KERNEL.transpose(2, 3, 1, 0)])
    say.set_weights([HEAD.T.reshape(say.get_weights()[0].shape), BIAS[None]])
    return Net(model, IMAGES.transpose(0, 2, 3, 1), "see")


def activations():
    """What the convolution sees, ``(B, 6, 14, 14)``, in plain NumPy."""
    windows = np.lib.stride_tricks.sliding_window_view(IMAGES.astype(float), (3, 3), (2, 3))
    return np.maximum(np.einsum("bchwij,ocij->bohw", windows, KERNEL, optimize=True), 0)


A = activations()
BIAS = np.float32(-np.median(A.mean((2, 3)) @ HEAD[0]) - 0.5)
"""Puts logits on both sides of zero."""
Z = A.mean((2, 3)) @ HEAD[0] + BIAS
P = 1 / (1 + np.exp(-Z))
FOR_ONE = np.einsum("bchw,c->bhw", A, HEAD[0]) / A[0, 0].size
"""Grad-CAM of the logit z by hand: the gradient of z is the head over the number of places."""
SIDE = (Z > 0).astype(int)
SIGN = np.where(SIDE, 1, -1)


@pytest.fixture(params=["torch", "keras", "tf_keras"])
def net(request, require):
    """Make the network in one framework."""
    if request.param == "torch":
        return partial(torch_net, request.getfixturevalue("torch"))
    keras = request.getfixturevalue("keras")
    return partial(keras_net, keras, module=require(request.param))


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-6 * np.abs(expected).max())


def by(factor):
    """Scale each sample's map."""
    return FOR_ONE * np.broadcast_to(factor, 3)[:, None, None]


def test_both_sides_are_predicted():
    assert sorted(set(SIDE)) == [0, 1]


@pytest.mark.parametrize("shape", ["(B, 1)", "(B,)"])
@pytest.mark.parametrize(
    ("target", "options", "classes", "scores", "factor"),
    [
        (None, {}, SIDE, SIGN * Z, SIGN),
        (0, {}, 0, -Z, -1),
        (1, {}, 1, Z, 1),
        ([0, 1, 1], {}, [0, 1, 1], Z * [-1, 1, 1], [-1, 1, 1]),
        (Counterfactual(0), {}, 0, Z, 1),
        (Probability(1), {}, 1, P, P * (1 - P)),
        (Probability(0), {}, 0, 1 - P, -P * (1 - P)),
        (Probability(), {}, SIDE, np.maximum(P, 1 - P), SIGN * P * (1 - P)),
        (LogProbability(0), {}, 0, np.log(1 - P), -P),
        (LogProbability(1), {}, 1, np.log(P), 1 - P),
        (Contrast(0, against=1, gamma=0.5), {}, 0, -1.5 * Z, -1.5),
        (Class(1) - Class(0), {}, None, 2 * Z, 2),
        (None, {"score": "output"}, SIDE, np.maximum(P, 1 - P), SIGN * P * (1 - P)),
        (0, {"score": "output"}, 0, 1 - P, -P * (1 - P)),
        (1, {"score": "output"}, 1, P, P * (1 - P)),
        (Probability(0), {"score": "output"}, 0, 1 - P, -P * (1 - P)),
        (LogProbability(1), {"score": "output"}, 1, np.log(P), 1 - P),
    ],
)
def test_a_side_is_a_class(net, target, options, classes, scores, factor, shape):
    one = net(shape=shape)
    result = one.explain(target, **options)
    close(result.raw["see"], by(factor))
    np.testing.assert_allclose(result.scores, scores, rtol=2e-5)
    if classes is not None:
        np.testing.assert_array_equal(result.classes, np.broadcast_to(classes, 3))
    np.testing.assert_allclose(result.probabilities, np.stack([1 - P, P], 1), rtol=2e-5)
    best = [[(int(s), float(max(p, 1 - p)))] for s, p in zip(SIDE, P, strict=True)]
    for (found,), (expected,) in zip(result.top(1), best, strict=True):
        assert found[0] == expected[0]
        assert found[1] == pytest.approx(expected[1], rel=2e-5)
    whole = camcore.Explanation.concatenate([result[:1], result[1:]])
    np.testing.assert_array_equal(whole.probabilities, result.probabilities)


@pytest.mark.parametrize("said", [{}, {"activation": "sigmoid"}, {"activation": "none"}])
@pytest.mark.parametrize("shape", ["(B, 1)", "(B,)"])
def test_a_logit_without_its_sigmoid_is_a_number_unless_it_is_said(net, shape, said):
    """As trained by BCEWithLogits or ``from_logits=True``, or a regression: only a word tells."""
    one = net("logit", shape=shape)
    known = said.get("activation") == "sigmoid"
    result = one.explain(**said)
    np.testing.assert_array_equal(result.classes, SIDE if known else [0, 0, 0])
    close(result.raw["see"], by(SIGN if known else 1))
    np.testing.assert_allclose(result.scores, SIGN * Z if known else Z, rtol=2e-5)
    if known:
        np.testing.assert_allclose(result.probabilities, np.stack([1 - P, P], 1), rtol=2e-5)
        close(one.explain(0, **said).raw["see"], -FOR_ONE)
        close(one.explain(Probability(0), **said).raw["see"], by(-P * (1 - P)))
        return
    assert result.probabilities is None
    if not said or shape == "(B, 1)":
        assert result.is_raw_number
        assert "classes=[0, 0, 0] (one raw number)" in repr(result)
    with pytest.raises(TargetError, match=r"Class 1 .* 1 classes, .* say so: activation='sigmoid'"):
        one.explain(1, **said)
    with pytest.raises(TargetError, match=r"one number\. If .* say so: activation='sigmoid'"):
        one.explain(Probability(0), **said)


def test_probabilities_made_out_of_sight_are_said_with_the_output(net):
    """A mean of sigmoids ends in no sigmoid."""
    one = net("mean of sigmoids")
    bare = one.explain()
    assert bare.is_raw_number
    close(bare.raw["see"], by(P * (1 - P)))
    result = one.explain(score="output", activation="sigmoid")
    np.testing.assert_array_equal(result.classes, SIDE)
    close(result.raw["see"], by(SIGN * P * (1 - P)))
    np.testing.assert_allclose(result.probabilities, np.stack([1 - P, P], 1), rtol=2e-5)
    with pytest.raises(TargetError, match=r"are probabilities, but they are from -\d.* to \d"):
        net("logit").explain(score="output", activation="sigmoid")


def test_what_is_said_may_not_contradict_the_model(net):
    with pytest.raises(TargetError, match=r"activation='softmax' was said, but .* in a sigmoid"):
        net().explain(activation="softmax")
    with pytest.raises(TargetError, match=r"one number a sample, whose softmax is always 1"):
        net("logit").explain(activation="softmax")
    plain = net().explain(activation="none")
    np.testing.assert_array_equal(plain.classes, [0, 0, 0])
    np.testing.assert_allclose(plain.scores, P, rtol=2e-5)
    close(plain.raw["see"], by(P * (1 - P)))


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("scorecam", {}),
        ("ablationcam", {}),
        ("occlusion", {"window": 5, "stride": 5}),
        ("rise", {"masks": 12, "cells": 4, "seed": 0}),
        ("layercam", {}),
        ("integratedgradients", {"steps": 4}),
    ],
)
def test_further_passes_follow_the_side(net, method, options):
    """The negated logit of class 1 is what class 0 is; the predicted side is either."""
    one = net()
    sides = [one.explain(side, method=method, **options) for side in (0, 1)]
    negated = one.explain(-Class(1), method=method, **options)
    predicted = one.explain(method=method, **options)
    (raw,) = predicted.raw.values()
    maps = [next(iter(side.raw.values())) for side in sides]
    (expected,) = negated.raw.values()
    np.testing.assert_allclose(maps[0], expected, rtol=0, atol=2e-6 * np.abs(expected).max())
    chosen = np.stack([maps[side][i] for i, side in enumerate(SIDE)])
    np.testing.assert_allclose(raw, chosen, rtol=0, atol=2e-6 * np.abs(chosen).max())
    np.testing.assert_array_equal(predicted.classes, SIDE)


def test_both_ranks_and_the_curve_follow_the_side(net):
    one = net()
    ranked = one.explain(top(2))
    for rank, result in enumerate(ranked):
        np.testing.assert_array_equal(result.classes, SIDE if rank == 0 else 1 - SIDE)
        close(result.raw["see"], by(SIGN if rank == 0 else -SIGN))
    explainer = camcore.Explainer(one.model, layer="see")
    evidence = explainer.evidence(one.inputs)
    scores = [evidence.score_images(i, evidence.images[i : i + 1])[0] for i in range(3)]
    np.testing.assert_allclose(scores, SIGN * Z, rtol=2e-5)
    black = [evidence.score_images(i, 0 * evidence.images[i : i + 1])[0] for i in range(3)]
    np.testing.assert_allclose(black, SIGN * BIAS, rtol=2e-5)
    close(one.explain(method="cam").raw["see"], by(SIGN) * A[0, 0].size)
    close(net(shape="(B,)").explain(0, method="cam").raw["see"], by(-1) * A[0, 0].size)
    # The other side is the only class to contrast with: z + 0.6 z.
    close(one.explain(method="finercam").raw["see"], 1.6 * by(SIGN))


def test_one_channel_of_a_segmentation_is_foreground_and_background(net):
    z = np.einsum("bchw,c->bhw", A, HEAD[0]) + BIAS
    one = net(head="places")
    places = np.zeros((14, 14), bool)
    places[3:6, 2:9] = True
    for index, sign in ((1, 1), (0, -1)):
        result = one.explain(Segmentation(index, places))
        np.testing.assert_allclose(result.scores, sign * z[:, places].sum(1), rtol=2e-4)
        expected = sign * np.einsum("bchw,c->bhw", A, HEAD[0]) * (places.sum() / A[0, 0].size)
        close(result.raw["see"], expected)
    found = one.explain(Segmentation(mask=places))
    np.testing.assert_array_equal(found.classes, (z > 0)[:, places].mean(1) > 0.5)


@pytest.mark.parametrize("name", ["pytorch-grad-cam", "tf-keras-vis"])
def test_recipes_keep_their_libraries_numbers(net, name):
    """``BinaryClassifierOutputTarget`` and ``BinaryScore`` negate the output for class 0."""
    one = net()
    for side, sign in ((0, -1), (1, 1)):
        result = one.explain(side, recipe=name)
        close(result.raw["see"], by(sign * P * (1 - P)))


def test_the_librarys_own_binary_target(torch, require):
    library = require("pytorch_grad_cam")
    targets = require("pytorch_grad_cam.utils.model_targets")
    one = torch_net(torch)
    for side in (0, 1):
        with library.GradCAM(one.model, [one.model.see]) as method:
            wanted = [targets.BinaryClassifierOutputTarget(side)] * 3
            theirs = method(torch.from_numpy(IMAGES), wanted)
        ours = one.explain(side, recipe="pytorch-grad-cam").maps
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", ["(B, 1)", "(B,)"])
def test_class_names_of_a_unit(net, require, shape):
    require("matplotlib")
    result = net(shape=shape).explain()
    photos = np.zeros((3, 16, 16, 3))
    drawing = result.figure(photos, names=["cat", "dog"])
    rows = [axes.get_ylabel() for axes in drawing.axes if axes.get_ylabel()]
    shares = [f"({max(p, 1 - p):.1%})" for p in P]
    assert rows[:3] == [f"{('cat', 'dog')[s]} {q}" for s, q in zip(SIDE, shares, strict=True)]
    texts = [axes.texts[0].get_text() for axes in drawing.axes if axes.texts]
    expected = [f"{('cat', 'dog')[s]}  {max(p, 1 - p):.1%}" for s, p in zip(SIDE, P, strict=True)]
    assert texts[:3] == expected
    raw = net("logit", shape=shape).explain().figure(photos, names=["cat", "dog"])
    said = [axes.get_ylabel().replace("\n", " ") for axes in raw.axes if axes.get_ylabel()]
    assert all(one.startswith("the number that the model gives (score ") for one in said[:3])
