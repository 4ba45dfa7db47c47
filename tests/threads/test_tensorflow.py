"""Keras on TensorFlow: many threads explain one model, and none disturbs another."""

from __future__ import annotations

import itertools
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


def waiting_model(keras, images):
    """A model that keeps things while it runs, and waits half-way until it is told to go on."""

    class Waiting(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv = keras.layers.Conv2D(2, 3, name="conv")
            self.seen, self.counts, self.calls, self.last = [], {"calls": 0}, 0, None

        def call(self, x):
            self.last = h = self.conv(x)
            self.seen.append(h)
            self.calls += 1
            self.counts["calls"] += 1
            if events:
                inside, outside = events
                inside.set()
                outside.wait(LIMIT_S)
            return keras.ops.mean(self.conv.activation(self.last), (1, 2))

    events = []
    model = Waiting()
    model(images)
    events += [threading.Event(), threading.Event()]
    return model, events


@pytest.mark.parametrize("verb", ["run", "survey", "resume"])
def test_what_another_thread_sets_while_a_model_is_traced_stays(tf, keras, images, verb):
    model, (inside, outside) = waiting_model(keras, images)
    marks = [object() for _ in range(4)]
    seen, ran, last = list(model.seen), model.counts["calls"], model.last

    def explain():
        if verb != "resume":
            return getattr(adapt(model), verb)(images)
        with adapt(model).resume(images[:1], "conv") as head:
            return head(np.zeros((1, 6, 6, 2), np.float32))

    with ThreadPoolExecutor(1) as pool:
        tracing = pool.submit(explain)
        assert inside.wait(LIMIT_S)
        model.mark, model.conv.mark = marks[:2]
        model.conv.trainable = False
        model.conv.activation = tf.nn.relu
        model.seen.append(marks[2])
        model.counts["mark"] = marks[3]
        model.calls = 7
        outside.set()
        tracing.result(LIMIT_S)
    assert [model.mark, model.conv.mark] == marks[:2]
    assert model.conv.trainable is False
    assert model.conv.activation is tf.nn.relu
    assert list(map(id, model.seen)) == list(map(id, [*seen, marks[2]]))
    assert dict(model.counts) == {"calls": ran, "mark": marks[3]}
    assert (model.calls, model.last is last) == (7, True)


def test_what_a_thread_deletes_while_a_model_is_traced_stays_deleted(tf, keras, images):
    model, (inside, outside) = waiting_model(keras, images)
    model.extra = 1
    with ThreadPoolExecutor(1) as pool:
        tracing = pool.submit(adapt(model).run, images)
        assert inside.wait(LIMIT_S)
        del model.extra
        outside.set()
        tracing.result(LIMIT_S)
    assert not hasattr(model, "extra")


def test_a_model_sees_what_it_sets_and_deletes_itself_while_it_is_traced(tf, keras, images):
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.scale, self.kept = 2.0, [3.0]

        @property
        def factor(self):
            return self.scale

        @factor.setter
        def factor(self, value):
            self.scale = value

        def call(self, x):
            self.factor = self.scale + 1
            self.kept.append(self.factor)
            self.passing = sum(self.kept)
            y = self.passing * x
            del self.passing
            assert not hasattr(self, "passing")
            assert vars(self)["scale"] == 3
            return y

    model = Net()
    model.built = True
    trace = adapt(model).run(images)
    np.testing.assert_allclose(trace.outputs[""], 6 * images, rtol=1e-6)
    assert (model.scale, list(model.kept), hasattr(model, "passing")) == (2, [3.0], False)


EVERY = ("gradcam", "eigencam", "ablationcam", "scorecam")


def normalising_model(keras):
    """A model whose batch normalisation and dropout act otherwise while it is trained."""
    layers = keras.layers
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 3))
    h = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", name="conv")(x))
    h = layers.ReLU(name="relu")(h)
    h = layers.Dropout(0.5, seed=1)(layers.GlobalAveragePooling2D()(h))
    return keras.Model(x, layers.Dense(3, name="fc")(h))


def attending_model(keras):
    """A block of attention over the pixels of an image."""
    layers = keras.layers
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 3))
    h = layers.Reshape((16, 8))(layers.Conv2D(8, 2, 2)(x))
    h = layers.Add()([h, layers.MultiHeadAttention(2, 4, name="attention")(h, h)])
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(h)))


def raw_maps(explainer, images):
    found = explainer(images, 1)
    found = found if isinstance(found, dict) else {"": found}
    return [raw for name in sorted(found) for raw in found[name].raw.values()]


@pytest.mark.parametrize("shared", [False, True], ids=["an explainer each", "one explainer"])
@pytest.mark.parametrize("make", [normalising_model, attending_model])
def test_every_method_of_eight_threads_gives_the_maps_of_one(tf, keras, images, make, shared):
    model = make(keras)
    named = make is normalising_model
    options = {"layer": "relu", "method": EVERY} if named else {"method": "legrad"}
    one = camcore.Explainer(model, **options)
    expected = raw_maps(one, images)
    weights = [variable.numpy() for variable in model.variables]
    explainers = [one if shared else camcore.Explainer(model, **options) for _ in range(THREADS)]

    def work(thread):
        return [raw_maps(explainers[thread], images) for _ in range(CALLS)]

    for maps in itertools.chain.from_iterable(at_once(work)):
        for found, alone in zip(maps, expected, strict=True):
            np.testing.assert_array_equal(found, alone)
    for variable, before in zip(model.variables, weights, strict=True):
        np.testing.assert_array_equal(variable.numpy(), before)


def test_a_users_own_training_is_as_without_explanations(tf, keras, images):
    model, other = normalising_model(keras), normalising_model(keras)
    explained = camcore.Explainer(model, layer="relu", method=EVERY)
    still = camcore.Explainer(other, layer="relu", method=EVERY)
    expected = raw_maps(still, images)
    stop = threading.Event()

    def train(seeded):
        gradients = []
        with tf.device("CPU"):
            for _ in range(CALLS):
                with tf.GradientTape() as tape:
                    loss = tf.reduce_sum(seeded(images, training=True)[:, 1] ** 2)
                variables = seeded.trainable_variables
                gradients.append([g.numpy() for g in tape.gradient(loss, variables)])
        return gradients, [variable.numpy() for variable in seeded.variables]

    alone, moved = train(normalising_model(keras))

    def work(thread):
        if thread:
            count = 0
            while not stop.is_set():
                raw_maps(explained, images)
                for found, plain in zip(raw_maps(still, images), expected, strict=True):
                    np.testing.assert_array_equal(found, plain)
                count += 1
            return count
        try:
            return train(model)
        finally:
            stop.set()

    (gradients, variables), *counts = at_once(work)
    assert min(counts) > 0
    for step, plain in zip(gradients, alone, strict=True):
        for found, gradient in zip(step, plain, strict=True):
            np.testing.assert_array_equal(found, gradient)
    for found, plain in zip(variables, moved, strict=True):
        np.testing.assert_array_equal(found, plain)
