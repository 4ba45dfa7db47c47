"""Keras on TensorFlow: Ctrl-C at any instant leaves nothing on the model or the process."""

from __future__ import annotations

import inspect
import random
import signal
import threading
import time

import numpy as np
import pytest

import camcore
from camcore._shared.programs import Programs
from camcore.registry import adapter as adapt

METHODS = ("gradcam", "eigencam", "ablationcam", "legrad", "scorecam")
# Interrupts of one method; those while the model is traced take longer.
INTERRUPTS, OF_WHICH_TRACED, LIMIT_S = 500, 10, 100


pytestmark = pytest.mark.usefixtures("alarm")


def convolutional(tf, keras):
    layers = keras.layers

    class Block(layers.Layer):
        """A function of its own, and state that its call changes."""

        def __init__(self, **options):
            super().__init__(**options)
            self.conv = layers.Conv2D(2, 3, padding="same", activation="relu", name="inner")
            self.seen, self.last = [], None

        @tf.function
        def call(self, x):
            self.last = h = self.conv(x)
            self.seen.append(h)
            return h

    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 3))
    h = layers.GlobalAveragePooling2D()(Block(name="block")(x))
    return keras.Model(x, layers.Dense(3, activation="softmax", name="fc")(h)), "block"


def attending(tf, keras):
    layers = keras.layers
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 3))
    h = layers.Reshape((16, 4))(layers.Conv2D(4, 2, strides=2, name="patches")(x))
    h = layers.MultiHeadAttention(2, 2, name="attention")(h, h)
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(h))), "attention"


def on_model(model):
    """Everything on the model and its layers, by identity, containers by their content."""
    found = {"weights": [weight.tobytes() for weight in model.get_weights()]}
    for layer in [model, *model._flatten_layers(include_self=False)]:
        for name, value in vars(layer).items():
            parts = value.items() if isinstance(value, dict) else ()
            parts = enumerate(value) if isinstance(value, (list, tuple)) else parts
            held = {key: id(part) for key, part in parts}
            found[id(layer), name] = id(value), held
        found[id(layer), "call()"] = id(inspect.getattr_static(layer, "call"))
    return found


def on_process(tf, keras):
    """What the process has that a trace might leave behind."""
    from camcore_tensorflow import backward

    classes = (keras.layers.Layer, keras.Model, type(tf.function(lambda: None)), tf.TensorShape)
    functions = {
        (each.__name__, name): id(value) for each in classes for name, value in vars(each).items()
    }
    return functions | {
        "eager": (tf.config.functions_run_eagerly(), tf.executing_eagerly()),
        "graph": id(tf.compat.v1.get_default_graph()),
        "policy": (keras.config.dtype_policy().name, keras.config.floatx()),
        "runs": dict(backward._runs),
        "scope": tf.constant(0.0).device,
    }


def interrupted(work, after):
    """Whether the work was stopped by a timer; anything but KeyboardInterrupt comes out."""
    try:
        signal.setitimer(signal.ITIMER_REAL, after)
        work()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        return True
    return False


@pytest.mark.parametrize("method", METHODS)
def test_interrupts_leave_nothing(tf, keras, method):
    model, layer = (attending if method == "legrad" else convolutional)(tf, keras)
    images = np.random.default_rng(0).normal(size=(1, 8, 8, 3)).astype(np.float32)
    cache, chance = adapt(model)._cache, random.Random(0)
    layer = None if method == "legrad" else layer
    quiet = {"progress": False} if method in ("ablationcam", "scorecam") else {}
    explainer = camcore.Explainer(model, layer=layer, method=method, **quiet)

    def explain():
        return explainer(images, target=1).maps

    def trace():
        cache.programs = Programs()
        return explain()

    took = {}
    for work in (trace, explain):
        work()
        start = time.perf_counter()
        expected = work()
        took[work] = time.perf_counter() - start
    before = on_model(model) | on_process(tf, keras)
    threads = threading.active_count()
    counts, deadline = {trace: 0, explain: 0}, time.monotonic() + LIMIT_S
    wanted = {trace: OF_WHICH_TRACED, explain: INTERRUPTS - OF_WHICH_TRACED}
    for work in (explain, trace):
        while counts[work] < wanted[work]:
            assert time.monotonic() < deadline, counts
            if interrupted(work, chance.uniform(1e-6, took[work])):
                counts[work] += 1
                after = on_model(model) | on_process(tf, keras)
                assert {k for k in before | after if before.get(k) != after.get(k)} == set()
    np.testing.assert_array_equal(explain(), expected)
    assert threading.active_count() == threads
    assert sum(counts.values()) == INTERRUPTS
    print(method, {work.__name__: f"{1000 * t:.1f} ms" for work, t in took.items()})
