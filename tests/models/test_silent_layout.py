"""The input's channel axis is not where images have it, or absent: read off the model, or said."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import camcore
from camcore.errors import InputError
from camcore.resize import resize

RNG = np.random.default_rng(0)

# All that alters the input or looks at it, each in its own way.
AT_INPUT = {
    "saliency": {},
    "gradienttimesinput": {},
    "smoothgrad": {"samples": 2},
    "integratedgradients": {"steps": 3},
    "occlusion": {"window": 5, "stride": 4},
    "rise": {"masks": 6, "cells": 3},
    "scorecam": {"channels": 3},
    "smoothgradcampp": {"samples": 2},
}


@dataclass
class Case:
    """A network on ``(B, C, *S)``, and what is done to that before the user has it.

    Parameters
    ----------
    usual : tuple of int
        Shape of the input that the network itself takes, channels first.
    moved : tuple of int
        The axes of the user's input, by where they are in the usual one; an axis of length 1
        that is left out is not there.
    axes : str
        The user's layout.
    """

    usual: tuple[int, ...]
    moved: tuple[int, ...]
    axes: str

    @property
    def lost(self) -> tuple[int, ...]:
        return tuple(axis for axis in range(len(self.usual)) if axis not in self.moved)

    def given(self, array):
        """What the user has, of an array ``(B, C, *S)``."""
        return np.ascontiguousarray(array.transpose(*self.moved, *self.lost)).reshape(
            [array.shape[axis] for axis in self.moved]
        )

    def spatial(self, maps):
        """Maps ``(B, *S)`` of the network, in the order of the user's axes."""
        return maps.transpose(0, *(axis - 1 for axis in self.moved if axis > 1))


CASES = {
    "spectrogram": Case((2, 1, 24, 24), (0, 2, 3), "BHW"),
    "spectrogram seen turned": Case((2, 1, 20, 20), (0, 3, 2), "BHW"),
    "bands last": Case((2, 6, 16, 16), (0, 2, 3, 1), "BHWC"),
    "colours last": Case((2, 3, 16, 12), (0, 2, 3, 1), "BHWC"),
    "steps of 20 bands": Case((2, 20, 20), (0, 2, 1), "BTC"),
    "volume without channels": Case((2, 1, 8, 8, 8), (0, 2, 3, 4), "BDHW"),
    "clip, colours third": Case((2, 3, 6, 10, 10), (0, 2, 1, 3, 4), "BTCHW"),
    "waveform": Case((2, 1, 80), (0, 2), "BT"),
}


def torch_network(torch, case):
    """Two convolutions on the usual input, inside what takes the user's."""
    torch.manual_seed(0)
    nn = torch.nn
    rank = len(case.usual) - 2
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[rank - 1]

    class Usual(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = conv(case.usual[1], 6, 3, 1, 1)
            self.second = conv(6, 8, 3, 2, 1)
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            x = torch.relu(self.second(torch.relu(self.first(x))))
            return self.head(x.flatten(2).mean(2))

    class Inside(nn.Module):
        def __init__(self):
            super().__init__()
            self.usual = Usual()

        def forward(self, x):
            x = x.reshape(*x.shape, *[1] * len(case.lost))
            back = np.argsort([*case.moved, *case.lost]).tolist()
            return self.usual(x.permute(back))

    return Inside().eval()


def keras_network(keras, case):
    """The same in Keras, channels last inside."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    rank = len(case.usual) - 2
    conv = (layers.Conv1D, layers.Conv2D, layers.Conv3D)[rank - 1]
    pool = getattr(layers, f"GlobalAveragePooling{rank}D")
    shape = [case.usual[axis] for axis in case.moved[1:]]
    given = keras.Input(shape)
    order = [*case.moved[1:], *case.lost]
    x = layers.Reshape([case.usual[axis] for axis in order])(given)
    last = [*range(2, rank + 2), 1]
    x = layers.Permute([order.index(axis) + 1 for axis in last])(layers.Rescaling(0.5)(x))
    x = conv(6, 3, padding="same", activation="relu", name="first")(x)
    x = conv(8, 3, 2, padding="same", name="second")(x)
    return keras.Model(given, layers.Dense(4)(pool()(layers.Activation("relu")(x))))


def plain_torch(torch, model, case, array):
    """Activations and gradients ``(B, C, *S)`` of class 1 at the second convolution."""
    kept = []
    hook = model.usual.second.register_forward_hook(lambda m, a, out: kept.append(out))
    with hook, torch.enable_grad():
        score = model(torch.from_numpy(case.given(array)))[:, 1].sum()
        (gradients,) = torch.autograd.grad(score, kept[0])
    return kept[0].detach().numpy(), gradients.numpy()


def plain_keras(keras, model, case, array):
    """The same by a tape."""
    tf = pytest.importorskip("tensorflow")
    to_layer = keras.Model(model.inputs, model.get_layer("second").output)
    kept = to_layer(case.given(array))
    with tf.GradientTape() as tape:
        tape.watch(kept)
        out = kept
        for layer in model.layers[model.layers.index(model.get_layer("second")) + 1 :]:
            out = layer(out)
        score = tf.reduce_sum(out[:, 1])
    gradients = tape.gradient(score, kept)
    return tuple(np.moveaxis(one.numpy(), -1, 1) for one in (kept, gradients))


def made(request, framework, case):
    """A model, and how to run it plainly."""
    library = request.getfixturevalue(framework)
    network, plain = {
        "torch": (torch_network, plain_torch),
        "keras": (keras_network, plain_keras),
    }[framework]
    model = network(library, case)
    return model, lambda array: plain(library, model, case, array)


def image(case):
    return RNG.normal(size=case.usual).astype(np.float32)


def cam(activations, gradients):
    """Grad-CAM as its paper has it, signed."""
    space = tuple(range(2, activations.ndim))
    return (gradients.mean(space, keepdims=True) * activations).sum(1)


IN_KERAS = ("spectrogram", "steps of 20 bands", "volume without channels", "waveform")
BOTH = [("torch", name) for name in CASES] + [("keras", name) for name in IN_KERAS]


@pytest.mark.parametrize(("framework", "name"), BOTH)
@pytest.mark.parametrize("layer", ["named", "chosen"])
def test_maps_lie_over_the_spatial_axes_alone(request, framework, name, layer):
    """Raw maps by plain framework code, shown ones by one resize of it, in the user's order."""
    case = CASES[name]
    model, plain = made(request, framework, case)
    array = image(case)
    second = "usual.second" if framework == "torch" else "second"
    result = camcore.explain(model, case.given(array), 1, second if layer == "named" else None)
    if layer == "named" or second in result.raw:
        expected = cam(*plain(array))
        raw = result.raw[second]
        np.testing.assert_allclose(
            raw, case.spatial(expected), rtol=0, atol=2e-6 * np.abs(expected).max()
        )
        shown = resize(np.maximum(raw, 0), case.spatial(array[:, 0]).shape[1:], leading=1)
        shown /= shown.max(axis=tuple(range(1, shown.ndim)), keepdims=True)
        np.testing.assert_allclose(result.maps, shown, rtol=0, atol=1e-5)
    assert result.maps.shape == case.spatial(array[:, 0]).shape
    assert result.frame == "input"


@pytest.mark.parametrize("name", ["spectrogram seen turned", "bands last", "clip, colours third"])
@pytest.mark.parametrize("method", AT_INPUT)
def test_what_alters_the_input_does_so_along_its_spatial_axes(torch, name, method):
    """What the network itself gives on its usual input, in the user's order."""
    case = CASES[name]
    model = torch_network(torch, case)
    array = image(case)[:1]
    layer = "first" if method == "scorecam" else "second"
    options = {"method": method, **AT_INPUT[method]}
    found = camcore.explain(model, case.given(array), 1, f"usual.{layer}", **options)
    expected = camcore.explain(model.usual, array, 1, layer, **options)
    if method in ("smoothgrad", "smoothgradcampp", "rise") and "turned" in name:
        assert found.maps.shape == case.spatial(expected.maps).shape  # drawn along other axes
        return
    np.testing.assert_allclose(found.maps, case.spatial(expected.maps), rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", CASES)
def test_a_layout_that_is_said_is_the_one_that_is_seen(torch, name):
    case = CASES[name]
    model, array = torch_network(torch, case), image(case)
    seen = camcore.explain(model, case.given(array), 1, "usual.second")
    said = camcore.explain(model, case.given(array), 1, "usual.second", input_layout=case.axes)
    np.testing.assert_array_equal(said.maps, seen.maps)


def test_bytes_with_colours_last_are_read_as_pictures(torch):
    """A network that permutes and scales them itself."""
    case = Case((2, 3, 16, 16), (0, 2, 3, 1), "BHWC")
    model = torch_network(torch, case)
    inner = model.usual.forward
    model.usual.forward = lambda x: inner(x.float() / 255)
    pictures = RNG.integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)
    usual = np.moveaxis(pictures, -1, 1).astype(np.float32)
    found = camcore.explain(model, pictures, 1, method="occlusion", window=5, stride=4)
    expected = camcore.explain(model.usual, usual, 1, method="occlusion", window=5, stride=4)
    np.testing.assert_allclose(found.maps, expected.maps, rtol=0, atol=1e-5)


def test_a_network_that_mixes_all_at_once_is_asked_about(torch):
    """Nothing of a multilayer perceptron tells whether (28, 28) are two axes or one of channels."""
    nn = torch.nn
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(1), nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
    digits = RNG.normal(size=(2, 28, 28)).astype(np.float32)
    with pytest.raises(
        InputError,
        match=r"\(2, 28, 28\) may be laid out as 'BHW', 'BCT' or 'BTC', .* input_layout='BHW'",
    ):
        camcore.explain(model, digits, 1, method="saliency")
    found = camcore.explain(model, digits, 1, method="saliency", input_layout="BHW")
    tensor = torch.from_numpy(digits).requires_grad_()
    (gradients,) = torch.autograd.grad(model(tensor)[:, 1].sum(), tensor)
    np.testing.assert_allclose(found.raw["@input"], gradients.abs().numpy(), rtol=1e-6)
    signal = camcore.explain(model, digits, 1, method="saliency", input_layout="BCT")
    np.testing.assert_allclose(signal.raw["@input"], gradients.abs().amax(1).numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("HWC", "does not begin with the batch, B"),
        ("BHH", "names an axis twice"),
        ("BC", "has no spatial axis"),
        ("bhw", "has small letters"),
        (("B", "H"), "is no string of letters"),
        ("BTCHW", r"names 5 axes; the model's inputs have the shapes \(2, 1, 8, 8\)"),
    ],
)
def test_a_layout_that_does_not_fit_is_refused(torch, said, message):
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(1)).eval()
    with pytest.raises(InputError, match=message):
        camcore.explain(model, np.zeros((2, 1, 8, 8), np.float32), 1, input_layout=said)


@pytest.mark.parametrize("shape", [(2, 3, 16, 16), (2, 1, 16, 20), (2, 3, 40), (2, 1, 6, 12, 12)])
def test_images_with_a_layer_named_cost_no_further_pass(torch, shape):
    model = torch_network(torch, Case(shape, tuple(range(len(shape))), ""))
    passes = []
    model.register_forward_hook(lambda *_: passes.append(1))
    camcore.explain(model, RNG.normal(size=shape).astype(np.float32), 1, "usual.second")
    assert len(passes) == 1


def test_a_model_is_looked_at_once(torch):
    case = CASES["spectrogram"]
    model = torch_network(torch, case)
    passes = []
    model.register_forward_hook(lambda *_: passes.append(1))
    camcore.explain(model, case.given(image(case)), 1, "usual.second")
    assert len(passes) > 1
    passes.clear()
    camcore.explain(model, case.given(image(case)), 1, "usual.second")
    assert len(passes) == 1
