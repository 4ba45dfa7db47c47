"""Keras on TensorFlow: many threads explain one model, and none disturbs another."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import camcore
from camcore.registry import adapter as adapt

THREADS, CALLS, LIMIT_S = 8, 25, 120
METHODS = ("gradcam", "layercam", "eigencam", "ablationcam", "guidedbackprop")


def small_model(tf, keras):
    """A model with a tf.function of its own around a layer."""
    layers = keras.layers

    class Block(layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.conv = layers.Conv2D(4, 3, padding="same", activation="relu", name="inner")

        @tf.function
        def call(self, x):
            return self.conv(x)

    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 3))
    h = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(x)
    h = layers.GlobalAveragePooling2D()(Block(name="block")(h))
    return keras.Model(x, layers.Dense(3, activation="softmax", name="fc")(h))


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype(np.float32)


def explain(model, images, call):
    """Explain by a method, class and batch size that the call's number picks."""
    batch = images[: 1 + call % 3]
    method = METHODS[call % len(METHODS)]
    result = camcore.explain(model, batch, layer="block/inner", method=method, target=call % 2)
    return result.maps


def at_once(work):
    """Let threads start together; what they give, or the first error, within a bounded time."""
    start = threading.Barrier(THREADS)

    def begin(thread):
        start.wait(LIMIT_S)
        return work(thread)

    with ThreadPoolExecutor(THREADS) as pool:
        futures = [pool.submit(begin, thread) for thread in range(THREADS)]
        return [future.result(LIMIT_S) for future in futures]


def test_threads_give_the_maps_of_one(tf, keras, images):
    alone = small_model(tf, keras)
    expected = [explain(alone, images, call) for call in range(CALLS)]
    model = small_model(tf, keras)
    before = {name: id(value) for name, value in vars(model).items()}
    found = at_once(lambda _: [explain(model, images, call) for call in range(CALLS)])
    for maps in found:
        for one, other in zip(maps, expected, strict=True):
            np.testing.assert_array_equal(one, other)
    assert {name: id(value) for name, value in vars(model).items()} == before


def test_the_users_own_forward_runs_beside_as_ever(tf, keras, images):
    model = small_model(tf, keras)
    plain = model(images, training=False).numpy()
    calling = tf.function(lambda x: x + 1)
    switched, wrong = [], []

    def work(thread):
        for call in range(CALLS):
            if thread % 2:
                switched.append(tf.config.functions_run_eagerly())
                wrong.append(np.abs(model(images, training=False).numpy() - plain).max())
                assert calling(tf.constant(1.0)) == 2
            else:
                adapt(small_model(tf, keras) if call < 3 else model).run(images, ["conv"])

    at_once(work)
    assert not any(switched)
    assert max(wrong) == 0
    assert calling.experimental_get_tracing_count() == 1


def test_a_function_of_the_model_is_opened_up_for_the_tracing_thread_alone(tf, keras, images):
    inside, outside = threading.Event(), threading.Event()
    ran_as_python = []

    @tf.function
    def own(x):
        ran_as_python.append(threading.get_ident())
        return x + 1

    class Waiting(keras.Model):
        def call(self, x):
            inside.set()
            outside.wait(LIMIT_S)
            return own(x)

    model = Waiting()
    model.built = True
    own(tf.constant(images))
    ran_as_python.clear()
    with ThreadPoolExecutor(1) as pool:
        tracing = pool.submit(adapt(model).run, images)
        assert inside.wait(LIMIT_S)
        own(tf.constant(images))
        assert ran_as_python == []
        outside.set()
        trace = tracing.result(LIMIT_S)
    np.testing.assert_array_equal(trace.outputs[""], images + 1)
    assert len(ran_as_python) == 1
    own(tf.constant(images))
    assert len(ran_as_python) == 1
