"""Running a Keras model from a layer on gives what the whole model would, in numbers."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.adapter import INPUT
from camcore.errors import GradientError, InputError, LayerError


@pytest.fixture
def backend(keras):
    from camcore_tensorflow import backend

    keras.utils.set_random_seed(0)
    return backend


def alterations(activations, n=6):
    """N alterations of one sample's activations: a different scale for each and each entry."""
    rng = np.random.default_rng(3)
    return activations * rng.uniform(-1, 2, size=(n, *activations.shape[1:]))


def whole(model, layer, x, altered):
    """The plain model, eagerly, once for each alteration, the layer's call replaced."""
    results = []
    for one in altered:
        layer.__dict__["call"] = lambda *args, one=one, **kwargs: one[None].astype(x.dtype)
        try:
            results.append(model(x, training=False))
        finally:
            del layer.__dict__["call"]
    return np.concatenate(results)


def whole_gradients(model, layer, x, altered, weights):
    """Gradients of the weighted outputs by the plain model, eagerly, one alteration at a time."""
    import tensorflow as tf

    rows = []
    for one, w in zip(altered, weights, strict=False):
        at = tf.constant(one[None].astype(x.dtype))
        layer.__dict__["call"] = lambda *args, at=at, **kwargs: tf.identity(at)
        try:
            with tf.GradientTape() as tape:
                tape.watch(at)
                score = tf.reduce_sum(model(x, training=False) * w)
        finally:
            del layer.__dict__["call"]
        rows.append(tape.gradient(score, at))
    return np.concatenate(rows)


def check(backend, model, layer, path, x):
    adapter = backend.adapt(model)
    own = adapter.run(x, [path]).layers[path].activations
    altered = alterations(own)
    with adapter.resume(x, path, logits=False) as head:
        np.testing.assert_allclose(head(own)[""], model(x), rtol=0, atol=1e-12)
        expected = whole(model, layer, x, altered)
        np.testing.assert_allclose(head(altered)[""], expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(head(altered[:2])[""], expected[:2], rtol=0, atol=1e-12)
    weights = np.random.default_rng(5).normal(size=expected.shape)
    with adapter.gradients_from(x, path, logits=False) as pull:
        for some in (altered, altered[:2]):
            found = pull(some, lambda leaves: {"": weights[: len(leaves[""])]})
            gradients = whole_gradients(model, layer, x, some, weights)
            np.testing.assert_allclose(found, gradients, rtol=0, atol=1e-12)
    assert np.abs(gradients).max() > 1e-3
    assert np.abs(expected - expected[:1]).max() > 1e-3


DOUBLE = {"dtype": "float64"}


def concatenating(layers):
    return lambda a, b: layers.Concatenate(**DOUBLE)([a, b])


def adding(layers):
    return lambda a, b: layers.Add(**DOUBLE)([a, b])


@pytest.mark.parametrize("join", [adding, concatenating])
def test_a_residual_that_bypasses_the_layer(keras, backend, join):
    layers = keras.layers
    x = keras.Input((6, 6, 3), **DOUBLE)
    a = layers.Conv2D(4, 3, padding="same", activation="relu", name="a", **DOUBLE)(x)
    b = layers.Conv2D(4, 3, padding="same", activation="relu", name="b", **DOUBLE)(a)
    c = layers.Conv2D(4, 3, padding="same", name="c", **DOUBLE)(join(layers)(a, b))
    d = layers.Flatten(**DOUBLE)(join(layers)(c, x) if join is concatenating else c)
    model = keras.Model(x, layers.Dense(3, activation="softmax", name="fc", **DOUBLE)(d))
    given = np.random.default_rng(0).normal(size=(1, 6, 6, 3))
    check(backend, model, model.get_layer("b"), "b", given)


def test_a_layer_within_a_nested_model_and_loops_on_both_sides(keras, backend):
    layers = keras.layers
    x = keras.Input((5, 3), **DOUBLE)
    h = layers.LSTM(4, return_sequences=True, name="lstm", **DOUBLE)(x)
    inner_in = keras.Input((5, 4), **DOUBLE)
    middle = layers.Dense(4, activation="tanh", name="middle", **DOUBLE)(inner_in)
    inner = keras.Model(inner_in, layers.Add(**DOUBLE)([inner_in, middle]), name="inner")
    h = layers.Concatenate(**DOUBLE)([inner(h), h])
    h = layers.Bidirectional(layers.GRU(3, **DOUBLE), name="gru", **DOUBLE)(h)
    model = keras.Model(x, layers.Dense(2, **DOUBLE)(h))
    given = np.random.default_rng(0).normal(size=(1, 5, 3))
    check(backend, model, inner.get_layer("middle"), "inner/middle", given)


def test_sizes_read_off_the_batch_and_operations_outside_layers(tf, keras, backend):
    class Net(keras.Model):
        def __init__(self):
            super().__init__(**DOUBLE)
            self.one = keras.layers.Dense(6, name="one", **DOUBLE)
            self.two = keras.layers.Dense(6, name="two", **DOUBLE)
            self.fc = keras.layers.Dense(2, name="fc", **DOUBLE)

        def call(self, x):
            size = tf.shape(x)[0]
            bypass = tf.sin(x)
            h = tf.reshape(self.two(self.one(x)), (size, 2, 3))
            steps = tf.tile(tf.constant([[[1.0], [2.0]]], tf.float64), (size, 1, 1))
            return self.fc(tf.reshape(h * steps, (size, 6))) + bypass[:, :2]

    model = Net()
    given = np.random.default_rng(0).normal(size=(1, 4))
    model(given)
    check(backend, model, model.two, "two", given)


def test_what_comes_before_the_layer_is_computed_once(tf, keras, backend):
    counts = {"before": 0, "after": 0}

    class Counting(keras.layers.Layer):
        def call(self, x):
            def count(values):
                counts[self.name] += 1
                return values

            y = tf.numpy_function(count, [x], x.dtype)
            return tf.ensure_shape(y, x.shape)

    x = keras.Input((3,))
    h = Counting(name="before")(x)
    middle = keras.layers.Dense(3, name="middle")(h)
    y = Counting(name="after")(keras.layers.Add()([h, middle]))
    adapter = backend.adapt(keras.Model(x, y))
    with adapter.resume(np.ones((1, 3)), "middle") as head:
        started = counts.copy()
        for _ in range(5):
            head(np.ones((4, 3), np.float32))
    assert started["before"] == 1
    assert counts["before"] == 1
    assert counts["after"] == started["after"] + 5


def test_a_batch_axis_that_is_not_the_first_is_computed_anew(tf, keras, backend):
    class TimeMajor(keras.Model):
        def __init__(self):
            super().__init__(**DOUBLE)
            self.one = keras.layers.Dense(3, name="one", **DOUBLE)

        def call(self, x):
            turned = tf.transpose(tf.sin(x), (1, 0, 2))
            total = tf.transpose(tf.cumsum(turned, axis=0), (1, 0, 2))
            return tf.reduce_sum(self.one(x) * total, axis=1)

    model = TimeMajor()
    given = np.random.default_rng(0).normal(size=(1, 5, 3))
    model(given)
    check(backend, model, model.one, "one", given)


def test_logits_are_taken_before_the_softmax(keras, backend):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(5, name="h"),
            keras.layers.Dense(3, activation="softmax", name="fc"),
        ]
    )
    altered = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    with backend.adapt(model).resume(np.ones((1, 4)), "h") as head:
        found = head(altered)[""]
    kernel, bias = model.get_layer("fc").get_weights()
    np.testing.assert_allclose(found, altered @ kernel + bias, atol=1e-6)


def test_only_a_layer_that_runs_once_can_be_resumed_from(tf, keras, backend):
    shared = keras.layers.Dense(4, name="shared")
    x = keras.Input((4,))
    unused = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)], name="unused")

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.used = keras.Model(x, shared(shared(x)), name="used")
            self.unused = unused

        def call(self, x):
            return self.used(x)

    adapter = backend.adapt(Net())
    for name, message in [
        ("used/shared", "runs 2 times"),
        ("unused", "did not run"),
        ("used/shared#0", "runs once"),
        (INPUT, "runs once"),
    ]:
        with pytest.raises(LayerError, match=message), adapter.resume(np.ones((1, 4)), name):
            pass


def test_samples_that_are_mixed_cannot_be_resumed(tf, keras, backend):
    x = keras.Input((4,))
    h = keras.layers.Dense(4, name="h")(x)
    mixed = keras.layers.Lambda(lambda t: t - tf.reduce_sum(t, axis=0, keepdims=True) / 3)(h)
    adapter = backend.adapt(keras.Model(x, mixed))
    with pytest.raises(LayerError, match="mixes"), adapter.resume(np.ones((1, 4)), "h"):
        pass


def test_activations_must_have_the_layers_shape(keras, backend):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, name="h")])
    expected = r"\(None, 5\).*\(2, 4\)"
    with (
        backend.adapt(model).resume(np.ones((1, 4)), "h") as head,
        pytest.raises(InputError, match=expected),
    ):
        head(np.ones((2, 4)))


def test_a_score_that_does_not_depend_on_the_layer_has_no_gradient(tf, keras, backend):
    x = keras.Input((4,))
    h = keras.layers.Dense(4, name="h")(x)
    cut = keras.layers.Lambda(lambda t: tf.stop_gradient(t) * 2)(h)
    beside = keras.layers.Dense(3, name="beside")(x)
    model = keras.Model(x, [keras.layers.Dense(3)(cut), beside])
    with (
        pytest.raises(GradientError, match="does not depend on layer 'h'"),
        backend.adapt(model).gradients_from(np.ones((1, 4)), "h") as pull,
    ):
        pull(np.ones((2, 4)), lambda leaves: {"0": np.ones_like(leaves["0"])})
    through = keras.Model(x, [keras.layers.Dense(3)(h), beside])
    with backend.adapt(through).gradients_from(np.ones((1, 4)), "h") as pull:
        ones = {path: np.ones((2, 3), np.float32) for path in ("0", "1")}
        both = pull(np.ones((2, 4)), lambda leaves: ones)
        alone = pull(np.ones((2, 4)), lambda leaves: {"0": ones["0"]})
        np.testing.assert_array_equal(both, alone)
        with pytest.raises(GradientError, match="does not depend on layer 'h'"):
            pull(np.ones((2, 4)), lambda leaves: {"1": ones["1"]})


def test_gradients_run_what_comes_before_the_layer_once(tf, keras, backend):
    counts = {"before": 0, "after": 0}

    class Counting(keras.layers.Layer):
        def call(self, x):
            def count(values):
                counts[self.name] += 1
                return values

            beside = tf.numpy_function(count, [tf.stop_gradient(x)], x.dtype)
            return x + 0 * tf.ensure_shape(beside, x.shape)

    x = keras.Input((3,))
    middle = keras.layers.Dense(3, name="middle")(Counting(name="before")(x))
    adapter = backend.adapt(keras.Model(x, Counting(name="after")(middle)))
    with adapter.gradients_from(np.ones((1, 3)), "middle") as pull:
        started = counts.copy()
        for _ in range(5):
            found = pull(np.ones((4, 3), np.float32), lambda leaves: {"": 2 * leaves[""]})
            np.testing.assert_array_equal(found, np.full((4, 3), 2))
    assert counts == {"before": 1, "after": started["after"] + 5}


def test_gradients_too_small_for_float16_are_pulled_back_at_a_larger_scale(keras, backend):
    h = keras.Input((4,), dtype="float16")
    middle = keras.layers.Dense(4, name="middle", dtype="float16")(h)
    small = keras.layers.Rescaling(1e-5, dtype="float16")(middle)
    model = keras.Model(h, keras.layers.Dense(2, name="fc", dtype="float16")(small))
    kernel = model.get_layer("fc").get_weights()[0].astype(np.float32)
    with backend.adapt(model).gradients_from(np.ones((1, 4)), "middle") as pull:
        found = pull(np.ones((3, 4)), lambda leaves: {"": np.tile([1e-2, 0], (3, 1))})
    scale = np.float32(np.float16(1e-5))
    expected = np.tile(1e-2 * scale * kernel[:, 0], (3, 1))
    np.testing.assert_allclose(found, expected, rtol=5e-3, atol=0)
    cotangent = np.tile([1e-2, 0], (3, 1))
    between = backend.adapt(model).gradients_between(np.ones((3, 4)), {"middle": ("fc", cotangent)})
    np.testing.assert_allclose(between["middle"], expected, rtol=5e-3, atol=0)
