"""Names, shapes and channel axes of Keras layers, however the model is put together."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.adapter import Adapter
from camcore.errors import BackendError, InputError, LayerError
from camcore.registry import Backend


@pytest.fixture
def backend(keras):
    from camcore_tensorflow import backend

    keras.utils.set_random_seed(0)
    return backend


def names(adapter):
    return [layer.name for layer in adapter.layers()]


def nested(keras):
    layers = keras.layers
    inner = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, name="conv"),
            layers.ReLU(name="relu"),
        ],
        name="inner",
    )
    outer_in = keras.Input((8, 8, 3), name="outer_in")
    outer = keras.Model(outer_in, layers.MaxPooling2D(name="pool")(inner(outer_in)), name="outer")
    x = keras.Input((8, 8, 3), name="image")
    h = layers.GlobalAveragePooling2D(name="gap")(outer(x))
    return keras.Model(x, layers.Dense(2, name="fc")(h))


def test_nested_layers_are_named_by_their_path(keras, backend):
    adapter = backend.adapt(nested(keras))
    assert names(adapter)[:3] == ["image", "outer", "outer/outer_in"]
    assert {"outer/inner", "outer/inner/conv", "outer/inner/relu", "outer/pool", "gap", "fc"} < set(
        names(adapter)
    )
    kinds = {layer.name: layer.kind for layer in adapter.layers()}
    assert (kinds["outer"], kinds["outer/inner/conv"]) == ("Functional", "Conv2D")


def test_a_survey_gives_shapes_in_the_order_of_finishing(keras, backend):
    records = backend.adapt(nested(keras)).survey(np.zeros((5, 8, 8, 3)))
    found = [(r.layer.name, r.shape, r.channels, r.calls, r.is_output) for r in records]
    assert found == [
        ("outer/inner/conv", (1, 6, 6, 4), "last", 1, False),
        ("outer/inner/relu", (1, 6, 6, 4), "last", 1, False),
        ("outer/inner", (1, 6, 6, 4), "last", 1, False),
        ("outer/pool", (1, 3, 3, 4), "last", 1, False),
        ("outer", (1, 3, 3, 4), "last", 1, False),
        ("gap", (1, 4), None, 1, False),
        ("fc", (1, 2), None, 1, True),
    ]


def test_the_container_of_the_output_is_the_output_too(keras, backend):
    x = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="fc")], name="head")
    shared = keras.layers.Dense(4, name="shared")
    between = keras.layers.ReLU(name="between")
    model = keras.Model(x, inner(shared(between(shared(x)))))
    records = backend.adapt(model).survey(np.zeros((1, 4)))
    assert [(r.layer.name, r.calls, r.is_output) for r in records] == [
        ("between", 1, False),
        ("shared", 2, False),
        ("head/fc", 1, True),
        ("head", 1, True),
    ]


def test_a_survey_computes_nothing_unless_a_shape_depends_on_values(tf, keras, backend):
    ran = []

    class Counting(keras.layers.Layer):
        def call(self, x):
            tf.py_function(lambda: ran.append(1), [], [])
            return x

    class Cropping(keras.layers.Layer):
        def call(self, x):
            return x[:, : tf.cast(tf.reduce_max(x), tf.int32)]

    x = keras.Input((8, 3))
    plain = keras.Model(x, Counting(name="count")(x))
    (record,) = backend.adapt(plain).survey(np.ones((2, 8, 3)))
    assert record.shape == (1, 8, 3)
    assert ran == []
    cropped = keras.Sequential([keras.Input((8, 3)), Cropping(name="crop")])
    (record,) = backend.adapt(cropped).survey(np.full((2, 8, 3), 5))
    assert record.shape == (1, 5, 3)


def test_equal_paths_are_numbered(keras, backend):
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.blocks = [keras.layers.Dense(2, name="fc") for _ in range(3)]
            self.other = keras.layers.Dense(2, name="fc_1")

        def call(self, x):
            for block in self.blocks:
                x = block(x)
            return self.other(x)

    model = Net()
    adapter, x = backend.adapt(model), np.ones((1, 2), np.float32)
    assert names(adapter) == ["fc", "fc_1", "fc_2", "fc_1_1"]
    natives = {layer.name: layer.native for layer in adapter.layers()}
    assert natives["fc_2"] is model.blocks[2]
    trace = adapter.run(x, ["fc", "fc_2"])
    first = model.blocks[0](x)
    np.testing.assert_array_equal(trace.layers["fc"].activations, first)
    np.testing.assert_allclose(
        trace.layers["fc_2"].activations, model.blocks[2](model.blocks[1](first)), rtol=1e-6
    )


def test_layers_within_layers_are_listed(keras, backend):
    layers = keras.layers
    x = keras.Input((5, 4))
    h = layers.Bidirectional(layers.LSTM(3, return_sequences=True, name="lstm"), name="both")(x)
    h = layers.TimeDistributed(layers.Dense(4, name="each"), name="times")(h)
    h = layers.MultiHeadAttention(2, 3, name="attention")(h, h)
    adapter = backend.adapt(keras.Model(x, layers.Flatten()(h)))
    found = set(names(adapter))
    assert {"both/forward_lstm", "both/backward_lstm", "times/each", "attention/query"} <= found
    trace = adapter.run(np.ones((2, 5, 4)), ["both/forward_lstm", "attention/value", "times"])
    assert trace.layers["both/forward_lstm"].activations.shape == (2, 5, 3)
    assert trace.layers["attention/value"].activations.shape == (2, 5, 2, 3)
    assert trace.layers["times"].channels is None


def test_the_channel_axis_is_what_the_layer_says(keras, backend):
    layers = keras.layers
    x = keras.Input((3, 8, 8))
    h = layers.AveragePooling2D(2, data_format="channels_first", name="pool")(x)
    h = layers.ReLU(name="relu")(h)
    h = layers.Reshape((12, 4), name="tokens")(h)
    h = layers.Conv1D(2, 3, name="conv")(h)
    adapter = backend.adapt(keras.Model(x, layers.Flatten(name="flat")(h)))
    channels = {r.layer.name: r.channels for r in adapter.survey(np.zeros((1, 3, 8, 8)))}
    assert channels == {
        "pool": "first",
        "relu": "first",
        "tokens": None,
        "conv": "last",
        "flat": None,
    }
    assert adapter.input_channels == "first"


def test_an_unbuilt_model_is_built_by_its_first_sample(keras, backend):
    layers = keras.layers
    model = keras.Sequential([layers.Conv2D(2, 3, name="conv"), layers.Flatten(), layers.Dense(3)])
    adapter, x = backend.adapt(model), np.ones((4, 5, 5, 1), np.float32)
    trace = adapter.run(x, ["conv"])
    np.testing.assert_allclose(trace.outputs[""], model(x), rtol=1e-6, atol=1e-6)
    assert model(np.ones((7, 5, 5, 1))).shape == (7, 3)


def test_a_saved_model_in_a_layer_is_out_of_reach_unless_other_layers_run(keras, backend, tmp_path):
    layers = keras.layers
    saved, x = str(tmp_path / "saved"), np.zeros((1, 8, 8, 3), np.float32)
    nested(keras).export(saved, verbose=False)
    alone = layers.TFSMLayer(saved, call_endpoint="serve", name="saved")
    image = keras.Input((8, 8, 3), name="image")
    within = keras.Sequential([alone], name="within")
    for model, name in (
        (alone, "the model"),
        (keras.Sequential([alone]), "saved"),
        (keras.Model(image, alone(image)), "saved"),
        (keras.Sequential([image, layers.Rescaling(2.0), layers.ReLU(), alone]), "saved"),
        (keras.Sequential([layers.Normalization(), within]), "within/saved"),
    ):
        with pytest.raises(LayerError, match=rf"A TFSMLayer \({name}\) runs a SavedModel, whose"):
            backend.adapt(model).survey(x)
    first = layers.Conv2D(3, 3, padding="same", name="first")
    records = backend.adapt(keras.Sequential([first, alone])).survey(x)
    assert [record.layer.name for record in records] == ["first", "saved"]


def test_unknown_layers_are_answered_with_those_near(keras, backend):
    adapter, x = backend.adapt(nested(keras)), np.zeros((1, 8, 8, 3))
    with pytest.raises(LayerError, match="outer/inner/conv"):
        adapter.run(x, ["outer/iner/conv"])
    for unknown in ("gap@linear", "@output"):
        with pytest.raises(LayerError, match=f"no layer '{unknown}'"):
            adapter.run(x, [unknown])
    with pytest.raises(LayerError, match=r"'gap#last'.*number of the call"):
        adapter.run(x, ["gap#last"])
    with pytest.raises(LayerError, match="did not run"):
        adapter.run(x, ["image"])


def test_what_is_no_keras_model_on_tensorflow_is_not_owned(keras, backend):
    assert backend.owns(nested(keras))
    assert isinstance(backend, Backend)
    assert isinstance(backend.adapt(nested(keras)), Adapter)
    assert not backend.owns(object())
    with pytest.raises(BackendError, match="object"):
        backend.adapt(object())


def test_inputs_must_be_batches(keras, backend):
    adapter = backend.adapt(nested(keras))
    with pytest.raises(InputError, match="no array"):
        adapter.run(())
    with pytest.raises(InputError, match="batch"):
        adapter.run(3.0)


def test_tf_keras_models_are_served_alike(tf, require):
    keras = require("tf_keras")
    from camcore_tensorflow import backend

    layers = keras.layers
    x = keras.Input((6, 6, 3))
    h = layers.Conv2D(4, 3, activation="relu", name="conv")(x)
    h = layers.BatchNormalization(name="bn")(h)
    inner = keras.Sequential([layers.Conv2D(2, 3, name="conv"), layers.Dropout(0.5)], name="inner")
    h = layers.GlobalAveragePooling2D(name="gap")(inner(h))
    model = keras.Model(x, layers.Dense(3, activation="softmax", name="fc")(h))
    adapter, values = backend.adapt(model), np.random.default_rng(0).normal(size=(2, 6, 6, 3))
    assert {"conv", "bn", "inner", "inner/conv", "gap", "fc"} < set(names(adapter))
    trace = adapter.run(
        values, ["inner", "bn"], [lambda y: {"": np.eye(3, dtype="f")[[1] * len(y[""])]}]
    )
    assert trace.activation == {"": "softmax"}
    np.testing.assert_allclose(
        tf.nn.softmax(trace.outputs[""]), model(values.astype("f"), training=False), atol=1e-6
    )
    kernel = model.get_layer("fc").get_weights()[0]
    np.testing.assert_allclose(
        trace.layers["inner"].gradients[0],
        np.broadcast_to(kernel[:, 1] / 4, (2, 2, 2, 2)),
        rtol=1e-6,
    )
    assert [r.layer.name for r in adapter.survey(values)][-3:] == ["inner", "gap", "fc"]
    with adapter.resume(values[:1], "bn") as head:
        resumed = head(trace.layers["bn"].activations[:1])[""]
    np.testing.assert_allclose(resumed, trace.outputs[""][:1], atol=1e-6)
    assert [bias.layer for bias in adapter.biases()] == [
        "conv@linear",
        "bn",
        "inner/conv",
        "fc@linear",
    ]
    assert "call" not in vars(model.get_layer("bn"))


def test_a_tf_keras_model_without_a_training_argument_runs_in_inference(tf, require):
    keras = require("tf_keras")
    from camcore_tensorflow import backend

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.drop = keras.layers.Dropout(0.5, name="drop")
            self.fc = keras.layers.Dense(2, name="fc")

        def call(self, x):
            return {"y": self.fc(self.drop(x))}

    model, x = Net(), np.ones((2, 4), np.float32)
    trace = backend.adapt(model).run(x, ["drop"])
    np.testing.assert_array_equal(trace.layers["drop"].activations, x)
