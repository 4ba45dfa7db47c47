"""A Keras model is left as it was found, nothing outlives it and nothing is compiled twice."""

from __future__ import annotations

import functools
import gc
import weakref
from dataclasses import dataclass

import numpy as np
import pytest

from camcore.adapter import INPUT, NativeScore
from camcore.errors import LayerError


@pytest.fixture
def backend(keras):
    from camcore_tensorflow import backend

    keras.utils.set_random_seed(0)
    return backend


def seed(leaves):
    weights = np.zeros_like(leaves[""])
    weights[:, 0] = 1
    return {"": weights}


def net(keras):
    """Batch statistics, a regulariser, nesting and dropout: what has state to disturb."""
    layers = keras.layers
    inner = keras.Sequential(
        [
            keras.Input((6, 6, 4)),
            layers.Conv2D(4, 3, activation="relu", activity_regularizer="l2", name="conv"),
            layers.BatchNormalization(name="bn"),
            layers.Dropout(0.5, name="drop"),
        ],
        name="inner",
    )
    x = keras.Input((8, 8, 3))
    h = layers.Conv2D(4, 3, name="first")(x)
    h = layers.GlobalAveragePooling2D()(inner(h))
    model = keras.Model(x, layers.Dense(3, activation="softmax", name="fc")(h))
    model.get_layer("first").trainable = False
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def all_layers(model):
    return [model, *model._flatten_layers(include_self=False)]


def state(model):
    """Everything on the model and its layers, by identity, containers by their content."""

    def held(value):
        if isinstance(value, dict):
            return {key: id(item) for key, item in value.items()}
        if isinstance(value, (list, set)):
            return sorted(map(id, value)) if isinstance(value, set) else list(map(id, value))
        return id(value)

    attributes = [
        {key: (id(value), held(value)) for key, value in vars(layer).items()}
        for layer in all_layers(model)
    ]
    flags = [layer.trainable for layer in all_layers(model)]
    return attributes, [weight.tobytes() for weight in model.get_weights()], flags


X = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)


def test_every_verb_leaves_the_model_as_it_was(keras, backend):
    model = net(keras)
    before, adapter = state(model), backend.adapt(model)
    adapter.layers()
    adapter.survey(X)
    trace = adapter.run(X, ["first", "inner/conv", "inner/conv@linear", INPUT], [seed])
    adapter.run(X, ["inner"], [seed], second_order=True, rectifier="guided")
    with adapter.resume(X[:1], "inner/conv") as head:
        head(trace.layers["inner/conv"].activations)
    adapter.classifier()
    adapter.biases()
    assert state(model) == before
    assert model.losses == []


def test_a_call_that_raises_leaves_the_model_as_it_was(keras, backend):
    model = net(keras)
    adapter, before = backend.adapt(model), state(model)

    def failing(leaves):
        raise RuntimeError("seed")

    with pytest.raises(RuntimeError, match="seed"):
        adapter.run(X, ["inner/bn"], [failing])
    with pytest.raises(ZeroDivisionError):
        adapter.run(X, ["inner/bn"], [NativeScore(lambda y: 1 / 0)])
    with pytest.raises(LayerError):
        adapter.run(X, ["first#7"], [seed])
    with pytest.raises(ValueError, match="incompatible"):
        adapter.run(X[:, :5], ["first"], [seed])
    with pytest.raises(ValueError, match="incompatible"):
        adapter.survey(X[:, :5])
    assert state(model) == before
    assert adapter.run(X, ["inner/bn"], [seed]).layers


def test_a_model_that_raises_half_way_and_keeps_tensors_is_cleaned(keras, backend):
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.one, self.two = keras.layers.Dense(3), keras.layers.Dense(3)
            self.fail, self.last, self.seen = False, None, []

        def call(self, x):
            self.last = h = self.one(x)
            self.seen.append(h)
            if self.fail:
                raise FloatingPointError("half-way")
            return self.two(h)

    x = np.ones((2, 4), np.float32)
    for verb in ("run", "survey"):
        model = Net()
        model(x)
        use, before = getattr(backend.adapt(model), verb), state(model)
        model.fail = True
        with pytest.raises(FloatingPointError, match="half-way"):
            use(x)
        model.fail = False
        assert state(model) == before
        use(x)
        assert state(model) == before
        assert model.last.numpy().shape == (2, 3)


def test_a_patched_call_is_put_back_not_taken_off(keras, backend):
    model = net(keras)
    first = model.get_layer("first")
    original = first.call

    def patched(*args, **kwargs):
        return 2 * original(*args, **kwargs)

    first.call = patched
    trace = backend.adapt(model).run(X, ["first"], [seed])
    assert vars(first)["call"] is patched
    np.testing.assert_allclose(trace.layers["first"].activations, 2 * original(X), atol=1e-6)


def test_nothing_outlives_the_model(keras, backend):
    model = net(keras)
    adapter = backend.adapt(model)
    holding = NativeScore(lambda y, model=model: y[:, 0] * model.get_layer("fc").kernel[0, 0])
    adapter.survey(X)
    adapter.run(X, ["first", INPUT], [seed, holding])
    adapter.run(X[:2], ["first", INPUT], [seed, holding])
    with adapter.resume(X[:1], "inner/conv") as head:
        head(np.zeros((2, 4, 4, 4)))
    kept = [weakref.ref(layer) for layer in all_layers(model)]
    del model, adapter, holding, head
    gc.collect()
    assert [ref() for ref in kept if ref() is not None] == []


def counting(keras):
    """A model that counts how often Python runs its call."""

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv = keras.layers.Conv2D(2, 3, name="conv")
            self.fc = keras.layers.Dense(3, name="fc")

        def call(self, x):
            calls.append(1)
            return self.fc(keras.ops.mean(self.conv(x), (1, 2)))

    calls = []
    return Net(), calls


def test_another_target_and_another_adapter_compile_nothing(keras, backend):
    model, calls = counting(keras)
    model(X)
    calls.clear()
    for k in range(4):

        def other(leaves, k=k):
            return {"": np.full_like(leaves[""], k)}

        trace = backend.adapt(model).run(X, ["conv"], [other])
        assert np.abs(trace.layers["conv"].gradients[0]).max() > 0 or k == 0
        assert (len(calls), backend.adapt(model).traces) == (1, 1)
    score = NativeScore(lambda y: y[:, 0])
    for _ in range(3):
        backend.adapt(model).run(X, ["conv"], [score])
    assert len(calls) == 2


def test_other_batch_sizes_compile_once_more(keras, backend):
    model, calls = counting(keras)
    model(X)
    calls.clear()
    adapter = backend.adapt(model)
    for size, compiled in [(4, 1), (4, 1), (1, 2), (3, 2), (4, 2), (2, 2), (1, 2)]:
        trace = adapter.run(X[:size], ["conv"], [seed])
        assert trace.layers["conv"].gradients[0].shape == (size, 6, 6, 2)
        assert len(calls) == compiled
    for size in (4, 2, 1):
        adapter.survey(X[:size])
        with adapter.resume(X[:1], "conv") as head:
            head(np.zeros((size, 6, 6, 2)))
    assert len(calls) == 4


def test_a_model_for_one_batch_size_at_a_time_is_compiled_for_each(keras, backend):
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.fc = keras.layers.Dense(2, name="fc")

        def call(self, x):
            return keras.ops.stack([self.fc(x[i : i + 1])[0] for i in range(x.shape[0])])

    model = Net()
    adapter = backend.adapt(model)
    for size in (2, 3, 1, 3):
        x = np.random.default_rng(size).normal(size=(size, 4)).astype(np.float32)
        np.testing.assert_allclose(adapter.run(x).outputs[""], model(x), atol=1e-6)


def test_new_weights_are_seen_and_a_new_activation_too(keras, backend):
    model = net(keras)
    adapter = backend.adapt(model)
    old = adapter.run(X, ["first"], [seed], logits=False)
    model.get_layer("fc").set_weights([w + 1 for w in model.get_layer("fc").get_weights()])
    traces = adapter.traces
    new = adapter.run(X, ["first"], [seed], logits=False)
    assert adapter.traces == traces
    np.testing.assert_allclose(new.outputs[""], model(X), atol=1e-6)
    for scale in (2.0, 3.0, 4.0):
        model.get_layer("fc").activation = lambda y, scale=scale: scale * y
        linear = adapter.run(X, ["first"], [seed], logits=False)
        np.testing.assert_allclose(linear.outputs[""], model(X), rtol=1e-6)
        gc.collect()
    assert not np.allclose(old.outputs[""], linear.outputs[""])


def test_traces_and_outputs_are_the_callers_to_change(keras, backend):
    model, x = net(keras), X.copy()
    adapter = backend.adapt(model)

    def greedy(leaves):
        leaves[""][:] = 0
        return seed(leaves)

    clean = adapter.run(x, ["first"], [seed])
    for array in (clean.outputs[""], clean.layers["first"].activations, clean.inputs[""]):
        array += 1
    np.testing.assert_array_equal(x, X)
    again = adapter.run(x, ["first"], [seed])
    np.testing.assert_array_equal(again.outputs[""] + 1, clean.outputs[""])
    with pytest.raises(ValueError, match="read-only"):
        adapter.run(x, ["first"], [greedy])


def targets_written_anew(weights):
    by = 2.0
    return [
        NativeScore(lambda y: by * y[:, 0] + tf_sum(y)),
        NativeScore(lambda y, weights=weights: tf_sum(weights * y)),
    ]


def tf_sum(y):
    import tensorflow as tf

    return tf.reduce_sum(y, -1)


def test_a_score_written_anew_compiles_nothing_until_a_value_in_it_changes(tf, keras, backend):
    model, _ = counting(keras)
    adapter = backend.adapt(model)
    weights = np.ones(3, np.float32)
    for _ in range(5):
        for target in targets_written_anew(weights):
            adapter.run(X, ["conv"], [target])
    assert adapter.traces == 2
    weights[1] = 5
    trace = adapter.run(X, ["conv"], [targets_written_anew(weights)[1]])
    assert adapter.traces == 3
    np.testing.assert_allclose(trace.native_scores[0], model(X).numpy() @ weights, rtol=1e-5)
    for scale in (2.0, 3.0, 2.0):
        trace = adapter.run(X, ["conv"], [NativeScore(lambda y, scale=scale: scale * y[:, 0])])
        np.testing.assert_allclose(trace.native_scores[0], scale * model(X)[:, 0], rtol=1e-6)
    assert adapter.traces == 5
    for scale in (2.0, 3.0):
        constant = tf.constant([scale, 0.0, 0.0])
        trace = adapter.run(X, ["conv"], [NativeScore(lambda y, c=constant: tf_sum(c * y))])
        np.testing.assert_allclose(trace.native_scores[0], scale * model(X)[:, 0], rtol=1e-6)
    variable = tf.Variable([1.0, 0, 0])
    score = NativeScore(lambda y: tf_sum(variable * y))
    for scale in (1.0, 4.0):
        variable.assign([scale, 0, 0])
        trace = adapter.run(X, ["conv"], [score])
        np.testing.assert_allclose(trace.native_scores[0], scale * model(X)[:, 0], rtol=1e-6)
    assert adapter.traces == 8


ANEW = {
    "bound method": lambda layer: layer.rectify,
    "partial": lambda layer: functools.partial(layer.rectify),
    "lambda": lambda layer: lambda x: layer.rectify(x),
    "method of a list's item": lambda layer: layer.kept[0].__call__,
    "object without a hash": lambda layer: layer.kept[1],
}


@pytest.mark.parametrize("made", ANEW)
def test_an_activation_that_a_property_makes_anew_compiles_once(tf, keras, backend, made):
    @dataclass
    class Rectifier:
        above: float = 0.0

        def __call__(self, x):
            return tf.maximum(x, self.above)

    class Own(keras.layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.kept = [tf.nn.relu, Rectifier()]

        def rectify(self, x):
            return tf.nn.relu(x)

        @property
        def activation(self):
            return ANEW[made](self)

        def call(self, x):
            return self.activation(x)

    x = keras.Input((4,))
    adapter = backend.adapt(keras.Model(x, Own(name="own")(x)))
    given = X.reshape(-1, 4)
    for _ in range(3):
        trace = adapter.run(given, ["own", "own@linear"], [seed])
        np.testing.assert_array_equal(trace.outputs[""], np.maximum(given, 0))
        np.testing.assert_array_equal(trace.layers["own@linear"].activations, given)
        gc.collect()
    assert adapter.traces == 1


def of_keras(keras, tf, layer, name, value):
    return layer.add_weight(shape=(), initializer="ones", trainable=False, name=name)


def of_tensorflow(keras, tf, layer, name, value):
    return tf.Variable(value, trainable=False, name=name)


ASSIGNING = {
    "reads after": lambda tf, v, x: (v.assign(0.5 * v + tf.reduce_mean(x)), x * v)[1],
    "uses what it returns": lambda tf, v, x: x * tf.convert_to_tensor(v.assign_add(1.0)),
    "in a loop": lambda tf, v, x: tf.while_loop(
        lambda i, y: i < 3,
        lambda i, y: (i + 1, y * tf.convert_to_tensor(v.assign_add(1.0))),
        [0, x],
    )[1],
    "beside": lambda tf, v, x: (v.assign_add(1.0), x)[1],
}


@pytest.mark.parametrize("make", [of_keras, of_tensorflow])
@pytest.mark.parametrize("way", ASSIGNING)
def test_variables_that_a_call_assigns_are_left_as_they_were(tf, keras, backend, way, make):
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv = keras.layers.Conv2D(2, 3, name="conv")
            self.fc = keras.layers.Dense(3, name="fc")
            self.state = make(keras, tf, self, "state", 1.0)

        def call(self, x):
            h = ASSIGNING[way](tf, self.state, self.conv(x))
            return self.fc(keras.ops.mean(h, (1, 2)))

    model = Net()
    model(X)
    adapter = backend.adapt(model)
    for start in (1.0, 3.0):
        model.state.assign(start)
        expected = model(X)
        model.state.assign(start)
        for _ in range(2):
            trace = adapter.run(X, ["conv"], [seed])
            np.testing.assert_allclose(trace.outputs[""], expected, rtol=1e-5)
            assert float(model.state.numpy()) == start
        with adapter.resume(X[:1], "conv") as head:
            head(trace.layers["conv"].activations[:1])
        adapter.survey(X)
        assert float(model.state.numpy()) == start
