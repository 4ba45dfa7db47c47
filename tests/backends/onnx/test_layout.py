"""Files whose channels come last, as tf2onnx writes them."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from onnx_files import file_of

import camcore
from camcore_onnx import backend

IMAGES = np.random.default_rng(0).normal(size=(3, 16, 16, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def keras_file(require, tf, keras):
    """A Keras model, and the file that tf2onnx makes of it."""
    convert = require("tf2onnx").convert
    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(6, 3, padding="same", name="conv1"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(max_value=6, name="relu1"),
            layers.MaxPooling2D(name="pool"),
            layers.Conv2D(8, 3, padding="same", strides=2, activation="relu", name="conv2"),
            layers.GlobalAveragePooling2D(name="gap"),
            layers.Dense(5, activation="softmax", name="fc"),
        ]
    )
    signature = [tf.TensorSpec((None, 16, 16, 3), tf.float32, name="image")]
    function = tf.function(lambda image: model(image, training=False), input_signature=signature)
    file, _ = convert.from_function(function, input_signature=signature, opset=17)
    return model, file


def test_maps_are_those_of_the_keras_model(keras_file):
    model, file = keras_file
    adapter = backend.adapt(file)
    assert adapter.input_channels == "last"
    for target in range(5):
        expected = camcore.Explainer(model, layer="conv2")(IMAGES, target=target)
        (layer,) = (one.name for one in adapter.layers() if one.name.endswith("conv2_1/Relu"))
        found = camcore.Explainer(adapter, layer=layer)(IMAGES, target=target)
        own, other = found.raw[layer], expected.raw["conv2"]
        np.testing.assert_allclose(own, other, rtol=0, atol=1e-6 * np.abs(other).max())
        assert found.activation == expected.activation == "softmax"
    assert list(camcore.Explainer(adapter)(IMAGES, target=0).raw) == [layer]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (["n", 3, 32, 32], "first"),
        (["n", 32, 32, 3], "last"),
        (["n", 1, 28, 28], "first"),
        (["n", 28, 28, 1], "last"),
        (["n", "c", "h", "w"], "first"),
        (["n", 7], "first"),
    ],
)
def test_channels_are_read_off_the_shape(shape, expected):
    node = helper.make_node("Relu", ["x"], ["y"], name="relu")
    assert backend.adapt(file_of([node], {"x": shape}, ["y"])).input_channels == expected


def test_channels_are_read_off_the_first_transposition():
    node = helper.make_node("Transpose", ["x"], ["y"], name="turn", perm=[0, 3, 1, 2])
    assert backend.adapt(file_of([node], {"x": ["n", 8, 8, 12]}, ["y"])).input_channels == "last"


def test_layers_say_where_their_channels_are():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Transpose", ["r"], ["t"], name="turn", perm=[0, 2, 3, 1]),
        helper.make_node("Sigmoid", ["t"], ["y"], name="after"),
    ]
    weights = np.ones((4, 3, 1, 1), np.float32)
    adapter = backend.adapt(file_of(nodes, {"x": ["n", 3, 4, 4]}, ["y"], {"w": weights}))
    records = adapter.survey(np.ones((2, 3, 4, 4), np.float32))
    assert {record.layer.name: record.channels for record in records} == {
        "conv": "first",
        "relu": "first",
        "turn": None,
        "after": None,
    }
