"""A final softmax or sigmoid is found in the graph, however it is written."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.adapter import NativeScore
from camcore.errors import GradientError
from camcore.targets.scale import Scale


@pytest.fixture
def backend(keras):
    from camcore_tensorflow import backend

    keras.utils.set_random_seed(0)
    return backend


X = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)


def dense(keras, activation=None):
    return keras.layers.Dense(3, activation=activation, name="fc")


def functional(keras, end):
    x = keras.Input((4,))
    return keras.Model(x, end(dense(keras)(keras.layers.Dense(5, name="h")(x))))


def subclassed(keras, end, wrap=lambda call: call):
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.h, self.fc = keras.layers.Dense(5, name="h"), dense(keras)

        @wrap
        def call(self, x):
            return end(self.fc(self.h(x)))

    return Net()


SPELLINGS = {
    "dense": lambda tf, keras: keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(5, name="h"), dense(keras, "softmax")]
    ),
    "activation layer": lambda tf, keras: functional(keras, keras.layers.Activation("softmax")),
    "softmax layer": lambda tf, keras: functional(keras, keras.layers.Softmax()),
    "keras.ops": lambda tf, keras: functional(keras, keras.ops.softmax),
    "keras.activations": lambda tf, keras: subclassed(keras, keras.activations.softmax),
    "tf.nn": lambda tf, keras: subclassed(keras, tf.nn.softmax),
    "nested model": lambda tf, keras: functional(
        keras, keras.Sequential([keras.Input((3,)), keras.layers.Softmax()])
    ),
    "tf.function": lambda tf, keras: subclassed(keras, tf.nn.softmax, tf.function),
    "cast": lambda tf, keras: subclassed(
        keras, lambda y: tf.cast(tf.nn.softmax(tf.cast(y, "float64")), "float32")
    ),
    "reshape": lambda tf, keras: subclassed(
        keras, lambda y: tf.squeeze(tf.reshape(tf.nn.softmax(y), (-1, 1, 3)), 1)
    ),
    "log_softmax": lambda tf, keras: functional(keras, keras.ops.log_softmax),
    "sigmoid": lambda tf, keras: functional(keras, keras.layers.Activation("sigmoid")),
    "sigmoid reshaped": lambda tf, keras: functional(
        keras, lambda y: keras.ops.reshape(keras.ops.sigmoid(y), (-1, 3))
    ),
}


def logits_of(model, x):
    fc = model.get_layer("fc")
    h = model.get_layer("h")(x)
    return h, h.numpy() @ fc.kernel.numpy() + fc.bias.numpy(), fc.kernel.numpy()


def second(leaves):
    weights = np.zeros_like(leaves[""])
    weights[:, 2] = 1
    return {"": weights}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_final_activation_is_left_off(tf, keras, backend, spelling):
    model = SPELLINGS[spelling](tf, keras)
    adapter = backend.adapt(model)
    trace = adapter.run(X, ["h"], [second])
    kind = next((k for k in ("log_softmax", "sigmoid") if spelling.startswith(k)), "softmax")
    assert trace.activation == {"": kind}
    h, logits, kernel = logits_of(model, X)
    np.testing.assert_allclose(trace.outputs[""], logits, atol=1e-6)
    np.testing.assert_allclose(trace.layers["h"].activations, h, atol=1e-6)
    np.testing.assert_allclose(
        trace.layers["h"].gradients[0], np.tile(kernel[:, 2], (2, 1)), atol=1e-6
    )
    whole = adapter.run(X, ["h"], [second], logits=False)
    assert whole.activation == {}
    np.testing.assert_allclose(whole.outputs[""], model(X), atol=1e-6)
    assert np.abs(whole.layers["h"].gradients[0] - kernel[:, 2]).max() > 1e-3


@pytest.mark.parametrize("kind", ["softmax", "log_softmax"])
def test_a_softmax_along_an_inner_axis_is_left_off(tf, keras, backend, kind):
    x = keras.Input((3, 4, 4))
    model = keras.Model(x, getattr(keras.ops, kind)(2 * x, axis=1))
    given = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
    trace = backend.adapt(model).run(given)
    assert trace.activation == {"": kind}
    np.testing.assert_array_equal(trace.outputs[""], 2 * given)


UNTOUCHED = {
    "two axes": lambda tf, keras: keras.layers.Softmax(axis=(1, 2)),
    "everything": lambda tf, keras: lambda x: keras.ops.softmax(x, axis=None),
    "gate": lambda tf, keras: lambda x: x * keras.ops.sigmoid(x),
    "attention": lambda tf, keras: lambda x: keras.ops.matmul(keras.ops.softmax(x), x),
    "mixed by a reshape": lambda tf, keras: (
        lambda x: keras.ops.reshape(keras.ops.softmax(x), (-1, 2, 8))
    ),
    "turned": lambda tf, keras: lambda x: keras.ops.transpose(keras.ops.softmax(x), (0, 2, 1)),
    "rounded": lambda tf, keras: lambda x: keras.ops.round(keras.ops.softmax(x)),
}


@pytest.mark.parametrize("case", UNTOUCHED)
def test_what_is_no_final_activation_stays(tf, keras, backend, case):
    x = keras.Input((4, 4))
    model = keras.Model(x, UNTOUCHED[case](tf, keras)(x))
    given = np.random.default_rng(0).normal(size=(2, 4, 4)).astype(np.float32)
    trace = backend.adapt(model).run(given)
    assert trace.activation == {}
    np.testing.assert_allclose(trace.outputs[""], model(given), atol=1e-6)


def test_each_leaf_is_looked_at_by_itself(keras, backend):
    x = keras.Input((4,))
    outputs = {
        "kind": keras.layers.Dense(3, activation="softmax", name="kind")(x),
        "box": keras.layers.Dense(4, name="box")(x),
        "there": keras.layers.Dense(1, activation="sigmoid", name="there")(x),
    }
    trace = backend.adapt(keras.Model(x, outputs)).run(X)
    assert trace.activation == {"kind": "softmax", "there": "sigmoid"}


def test_a_native_score_sees_the_outputs_as_the_model_returns_them(tf, keras, backend):
    model = SPELLINGS["dense"](tf, keras)
    native = NativeScore(lambda probabilities: tf.math.log(probabilities[:, 2]))
    trace = backend.adapt(model).run(X, ["h"], [native])
    _, logits, kernel = logits_of(model, X)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(trace.native_scores[0], np.log(p[:, 2]), atol=1e-6)
    expected = kernel[:, 2] - p @ kernel.T
    np.testing.assert_allclose(trace.layers["h"].gradients[0], expected, atol=1e-6)


def test_the_activation_itself_has_no_gradient_before_it(keras, backend):
    model = functional(keras, keras.layers.Softmax(name="end"))
    with pytest.raises(GradientError, match=r"'end'.*softmax.*logits=False"):
        backend.adapt(model).run(X, ["end"], [second])
    trace = backend.adapt(model).run(X, ["end"], [second], logits=False)
    np.testing.assert_array_equal(trace.layers["end"].gradients[0], [[0, 0, 1]] * 2)


def test_a_function_that_needs_autograph_stays_whole(tf, keras, backend):
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.h, self.fc = keras.layers.Dense(5, name="h"), dense(keras)

        @tf.function
        def call(self, x):
            y = self.fc(self.h(x))
            if tf.reduce_sum(y) > 1e9:
                y = 2 * y
            return tf.nn.softmax(y)

    model = Net()
    trace = backend.adapt(model).run(X)
    assert trace.activation == {}
    np.testing.assert_allclose(trace.outputs[""], model(X), atol=1e-6)


@pytest.mark.parametrize("logits", [True, False])
def test_an_activation_is_named_to_seeds_too_whether_it_is_left_off_or_on(keras, backend, logits):
    model = keras.Sequential([keras.Input((4,)), dense(keras, "softmax")])
    shown = []
    seed = lambda leaves: shown.append(leaves) or second(leaves)  # noqa: E731
    trace = backend.adapt(model).run(X, ["fc"], [seed], logits=logits, optional=["fc"])
    expected = ({"": "softmax"}, {}) if logits else ({}, {"": "softmax"})
    assert (trace.activation, trace.applied) == expected
    assert [(leaves.activation, leaves.applied) for leaves in shown] == [expected]
    assert np.allclose(trace.outputs[""].sum(1), 1) != logits


def test_the_loss_that_a_model_is_compiled_with_says_what_it_returns(keras, backend):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    assert backend.adapt(model).stated_scales == {}
    model.compile(loss="mse")
    assert backend.adapt(model).stated_scales == {"*": Scale("none")}
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    assert backend.adapt(model).stated_scales == {"*": Scale("sigmoid")}
