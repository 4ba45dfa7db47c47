"""A Keras model's own errors arrive as they are, from one run of the model."""

from __future__ import annotations

import numpy as np
import pytest

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
                raise error("the model's own")
            return self.head(self.fc(x))

    switch = {"fails": False, "raised": 0}
    model = Net()
    model(X)
    return model, switch


def run(adapter):
    adapter.run(X, ["fc"])


def resume(adapter):
    with adapter.resume(X[:1], "fc"):
        pass


def survey(adapter):
    adapter.survey(X)


@pytest.mark.parametrize("verb", [run, resume, survey])
@pytest.mark.parametrize("error", ERRORS)
def test_a_models_error_arrives_unchanged_and_once(tf, keras, error, verb):
    model, switch = failing(keras, error)
    switch["fails"] = True
    with pytest.raises(error, match="the model's own"):
        verb(adapt(model))
    assert switch["raised"] == 1


@pytest.mark.parametrize("error", ERRORS)
def test_another_batch_size_runs_a_failing_model_once(tf, keras, error):
    model, switch = failing(keras, error)
    adapter = adapt(model)
    adapter.run(X, ["fc"])
    switch["fails"] = True
    with pytest.raises(error, match="the model's own"):
        adapter.run(X[:2], ["fc"])
    assert switch["raised"] == 1
    switch["fails"] = False
    np.testing.assert_allclose(adapter.run(X[:2]).outputs[""], model(X[:2]), atol=1e-6)


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
