"""A Keras model's own errors arrive as they are, from one run of the model."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.errors import GradientError
from camcore.registry import adapter as adapt

X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


class OwnError(Exception):
    """An error of no kind that a framework knows."""


ERRORS = (ValueError, RuntimeError, KeyError, TypeError, OwnError)


def failing(keras, error):
    """A model that can be told to raise, and how often it did."""

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.fc = keras.layers.Dense(2, name="fc")
            self.head = keras.layers.Dense(2, name="head")

        def call(self, x):
            if switch["fails"]:
                switch["raised"] += 1
                raise error(switch["text"])
            return self.head(self.fc(x))

    switch = {"fails": False, "raised": 0, "text": "the model's own"}
    model = Net()
    model(X)
    return model, switch


def run(adapter):
    adapter.run(X, ["fc"])


def resume(adapter):
    with adapter.resume(X[:1], "fc"):
        pass


def survey(adapter):
    adapter.survey(X[:1])  # of several it asks again, whether the model takes them together


@pytest.mark.parametrize("verb", [run, resume, survey])
@pytest.mark.parametrize("error", ERRORS)
def test_a_models_error_arrives_unchanged_and_once(tf, keras, error, verb):
    model, switch = failing(keras, error)
    switch["fails"] = True
    with pytest.raises(error, match="the model's own"):
        verb(adapt(model))
    assert switch["raised"] == 1


@pytest.mark.parametrize("text", ["its own", "its own: None", "unknown, (None, 4): its own"])
@pytest.mark.parametrize("error", ERRORS)
def test_another_batch_size_runs_a_failing_model_once(tf, keras, error, text):
    model, switch = failing(keras, error)
    adapter = adapt(model)
    adapter.run(X, ["fc"])
    switch |= {"fails": True, "text": text}
    with pytest.raises(error, match="its own"):
        adapter.run(X[:2], ["fc"])
    assert switch["raised"] == 1
    switch["fails"] = False
    np.testing.assert_allclose(adapter.run(X[:2]).outputs[""], model(X[:2]), atol=1e-6)


OWN_ERRORS = {
    "adds to None": (TypeError, lambda x, tf: x + (None + 1)),
    "counts to None": (TypeError, lambda x, tf: x + len(range(None))),
    "measures None": (TypeError, lambda x, tf: x + len(None)),
    "multiplies by None": (ValueError, lambda x, tf: x * None),
    "converts None": (ValueError, lambda x, tf: tf.convert_to_tensor(None)),
}


@pytest.mark.parametrize("mistake", OWN_ERRORS)
def test_another_batch_size_meets_a_mistake_with_none_once(tf, keras, mistake):
    error, make = OWN_ERRORS[mistake]

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.fc = keras.layers.Dense(2, name="fc")

        def call(self, x):
            calls.append(x.shape[-1])
            return make(self.fc(x), tf) if failing else self.fc(x)

    calls, failing = [], []
    model = Net()
    adapter = adapt(model)
    adapter.run(X, ["fc"])
    calls.clear()
    failing.append(True)
    with pytest.raises(error, match="None"):
        adapter.run(X[:2], ["fc"])
    assert calls == [4]


WANTS_BATCH = {
    "counts": lambda tf, x: tf.stack([x[i] for i in range(x.shape[0])]),
    "unpacks": lambda tf, x: (lambda b, c: tf.reshape(x, (int(b), c)))(*x.shape),
    "unstacks": lambda tf, x: tf.stack(tf.unstack(x)),
    "fills": lambda tf, x: x + tf.zeros(x.shape),
    "refuses": lambda tf, x: _refuse(x) if x.shape[0] is None else x,
    "asserts": lambda tf, x: x * (1 if int(x.shape.as_list()[0]) else 0),
}


def _refuse(x):
    raise RuntimeError("the batch must be known")


@pytest.mark.parametrize("way", WANTS_BATCH)
def test_a_model_that_wants_its_batch_size_is_told(tf, keras, way):
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.fc = keras.layers.Dense(2, name="fc")

        def call(self, x):
            return self.fc(WANTS_BATCH[way](tf, x))

    model = Net()
    for size in (3, 2, 1, 2):
        outputs = adapt(model).run(X[:size], ["fc"]).outputs[""]
        np.testing.assert_allclose(outputs, model(X[:size]), atol=1e-6)
    assert adapt(model).traces <= 4


def test_an_error_while_running_from_the_layer_on_arrives(tf, keras):
    def fail(values):
        raise OwnError("half-way")

    x = keras.Input((4,))
    h = keras.layers.Dense(4, name="h")(x)
    own = keras.layers.Lambda(
        lambda t: tf.ensure_shape(tf.numpy_function(fail, [t], t.dtype), t.shape)
    )
    model = keras.Model(x, own(h))
    with pytest.raises(tf.errors.OpError, match="half-way"), adapt(model).resume(X[:1], "h"):
        pass


def test_control_flow_on_tensors_outside_a_function_is_met_once(tf, keras):
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.fc, self.checks = keras.layers.Dense(2, name="fc"), False

        def call(self, x):
            calls.append(1)
            y = self.fc(x)
            return 2 * y if self.checks and tf.reduce_sum(y) > 0 else y

    calls = []
    model = Net()
    model(X)
    model.checks = True
    calls.clear()
    with pytest.raises(tf.errors.OperatorNotAllowedInGraphError):
        adapt(model).run(X)
    assert len(calls) == 1


def test_an_activation_that_is_bound_anew_each_time_compiles_once(tf, keras):
    class Own(keras.layers.Layer):
        def rectify(self, x):
            return tf.nn.relu(x)

        @property
        def activation(self):
            return self.rectify

        def call(self, x):
            return self.activation(x)

    x = keras.Input((4,))
    adapter = adapt(keras.Model(x, Own(name="own")(x)))
    for _ in range(3):
        np.testing.assert_array_equal(adapter.run(X, ["own"]).outputs[""], np.maximum(X, 0))
    assert adapter.traces == 1


def test_an_operation_without_a_derivative_is_named(tf, keras):
    class Normalised(keras.layers.Layer):
        def call(self, x):
            return tf.nn.local_response_normalization(x)

    layers = keras.layers
    model = keras.Sequential(
        [layers.Conv2D(4, 3, name="conv"), Normalised(), layers.Flatten(), layers.Dense(2)]
    )
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    seed = [lambda leaves: {"": np.eye(1, 2, dtype=np.float32).repeat(2, 0)}]
    trace = adapt(model).run(x, ["conv"], seed)
    assert np.isfinite(trace.layers["conv"].gradients[0]).all()
    with pytest.raises(
        GradientError, match=r"'conv': the model has no second derivative .*LRNGrad"
    ):
        adapt(model).run(x, ["conv"], seed, second_order=True)
