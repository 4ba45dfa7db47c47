"""What is compiled serves sizes that vary, where the model lets it, and is bounded where not."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore.registry import adapter as adapt

SIZES = [(8 + n % 13, 8 + n // 13) for n in range(130)]


def images(batch, *shape, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, *shape)).astype(np.float32)


def convolutional(keras, size=(None, None)):
    layers = keras.layers
    keras.utils.set_random_seed(0)
    x = keras.Input((*size, 3))
    h = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(x)
    h = layers.GlobalAveragePooling2D()(layers.BatchNormalization(name="bn")(h))
    return keras.Model(x, layers.Dense(3, activation="softmax", name="fc")(h))


def subclassed(keras):
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv = keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="conv")
            self.fc = keras.layers.Dense(3, name="fc")

        def call(self, x):
            return self.fc(keras.ops.mean(self.conv(x), (1, 2)))

    keras.utils.set_random_seed(0)
    return Net()


def first_class(leaves):
    return {"": np.eye(1, leaves[""].shape[1], 0).repeat(len(leaves[""]), 0)}


def by_hand(tf, keras, model, x):
    """Activations of the layer ``conv`` and the gradient of the first logit, run eagerly."""
    conv, fc = model.get_layer("conv"), model.get_layer("fc")
    with tf.GradientTape() as tape:
        a = conv(x)
        tape.watch(a)
        h = model.get_layer("bn")(a, training=False) if len(model.layers) > 2 else a
        score = tf.reduce_mean(h, (1, 2)) @ fc.kernel[:, :1]
    return a.numpy(), tape.gradient(score, a).numpy()


@pytest.mark.parametrize("build", [convolutional, subclassed])
def test_130_image_sizes_are_traced_twice(tf, keras, build):
    model = build(keras)
    adapter = adapt(model)
    for n, size in enumerate(SIZES):
        x = images(2, *size, 3, seed=n)
        layer = adapter.run(x, ["conv"], [first_class]).layers["conv"]
        activations, gradients = by_hand(tf, keras, model, x)
        np.testing.assert_allclose(layer.activations, activations, atol=1e-6)
        np.testing.assert_allclose(layer.gradients[0], gradients, atol=1e-7)
    # the first size as it is, then with one axis left open, then with both
    assert adapter.traces == 3


def test_sizes_and_batches_that_vary_at_once_are_traced_a_handful_of_times(tf, keras):
    model = convolutional(keras)
    adapter = adapt(model)
    for n, size in enumerate(SIZES[:40]):
        x = images(1 + n % 3, *size, 3, seed=n)
        layer = adapter.run(x, ["conv"], [first_class]).layers["conv"]
        np.testing.assert_allclose(layer.activations, by_hand(tf, keras, model, x)[0], atol=1e-6)
    assert adapter.traces <= 4


def test_surveys_and_resumed_passes_serve_other_sizes_too(tf, keras):
    model = convolutional(keras)
    adapter = adapt(model)
    for n, size in enumerate(SIZES[::13] + SIZES[:13]):
        x = images(2, *size, 3, seed=n)
        shapes = {record.layer.name: record.shape for record in adapter.survey(x)}
        assert (shapes["conv"], shapes["fc"]) == ((1, *size, 4), (1, 3))
        with adapter.resume(x[:1], "conv") as head:
            given = np.random.default_rng(n).normal(size=(3, *size, 4)).astype(np.float32)
            np.testing.assert_allclose(head(given)[""].sum(), head(given[::-1])[""].sum(), 1e-5)
            plain = adapter.run(x[:1], ["conv"])
            again = head(plain.layers["conv"].activations)[""]
            np.testing.assert_allclose(again, plain.outputs[""], atol=1e-6)
    assert adapter.traces <= 9


def test_maps_of_many_sizes_equal_those_of_a_model_that_saw_only_one(tf, keras):
    model = convolutional(keras)
    for n, size in enumerate(SIZES[::29]):
        x = images(1, *size, 3, seed=n)
        fresh = keras.models.clone_model(model)
        fresh.set_weights(model.get_weights())
        for method in ("gradcam", "layercam", "scorecam", "ablationcam"):
            one, other = (
                camcore.explain(m, x, layer="conv", method=method) for m in (model, fresh)
            )
            np.testing.assert_allclose(one.raw["conv"], other.raw["conv"], atol=1e-6)


def test_a_model_that_looks_at_its_size_is_compiled_for_each_and_some_are_kept(tf, keras):
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv = keras.layers.Conv2D(4, 3, padding="same", name="conv")

        def call(self, x):
            h = self.conv(x)
            if x.shape[1] != 9:
                h = 2 * h
            return keras.ops.mean(h, (1, 2))

    model = Net()
    adapter = adapt(model)
    for n, size in enumerate(SIZES[:13]):
        x = images(2, *size, 3, seed=n)
        np.testing.assert_allclose(adapter.run(x, ["conv"]).outputs[""], model(x), atol=1e-6)
    # each size once, and once in vain with the size left open
    assert adapter.traces == 14
    adapter.run(images(2, *SIZES[12], 3), ["conv"])
    assert adapter.traces == 14
    for extra in range(20):
        adapter.run(images(2, 30 + extra, 8, 3), ["conv"])
    assert len(adapter._cache.programs) == 16


LOOKING = {
    "one size": lambda x: x.shape[2] if x.shape[2] is not None else 0,
    "from the end": lambda x: x.shape[-2] or 0,
    "all": lambda x: 0 if None in list(x.shape) else x.shape[1],
    "a slice": lambda x: 0 if x.shape[1:3][0] is None else x.shape[1],
    "list": lambda x: x.shape.as_list()[1] or 0,
    "count": lambda x: x.shape.num_elements() or 0,
    "known": lambda x: int(x.shape.is_fully_defined()),
    "equal": lambda x: int(x.shape == (2, 9, 9, 3)),
}


@pytest.mark.parametrize("looking", LOOKING)
def test_a_model_never_computes_with_a_size_that_was_left_open(tf, keras, looking):
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv = keras.layers.Conv2D(4, 3, padding="same", name="conv")

        def call(self, x):
            return keras.ops.mean(self.conv(x), (1, 2)) * (1 + LOOKING[looking](x))

    model = Net()
    adapter = adapt(model)
    for size in [(8, 8), (9, 9), (10, 9), (9, 9)]:
        x = images(2, *size, 3)
        np.testing.assert_allclose(adapter.run(x, ["conv"]).outputs[""], model(x), rtol=1e-4)


def test_a_fixed_size_says_so_as_ever_and_spoils_nothing(tf, keras):
    fixed, nested = convolutional(keras, (8, 8)), convolutional(keras, (8, 8))
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3, name="conv")])
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(3))

    class Outer(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = nested

        def call(self, x):
            return self.inner(x)

    for each in (fixed, Outer(), model):
        adapter = adapt(each)
        adapter.run(images(2, 8, 8, 3))
        for shape in [(2, 5, 8, 3), (2, 8, 8, 4)]:
            with pytest.raises(ValueError, match="incompatible"):
                adapter.run(images(*shape))
        np.testing.assert_allclose(
            adapter.run(images(3, 8, 8, 3), logits=False).outputs[""],
            each(images(3, 8, 8, 3)),
            atol=1e-6,
        )
    model = convolutional(keras)
    adapter = adapt(model)
    adapter.run(images(2, 8, 8, 3))
    with pytest.raises(ValueError, match="incompatible"):
        adapter.run(images(2, 8, 8, 4))
    for size in SIZES[:9]:
        adapter.run(images(2, *size, 3))
    assert adapter.traces <= 6


def test_a_video_and_a_sequence_of_any_length_are_traced_a_handful_of_times(tf, keras):
    layers = keras.layers
    tokens = keras.Input((None,), dtype="int32")
    h = layers.Conv1D(4, 3, padding="same", name="conv")(layers.Embedding(9, 4)(tokens))
    text = keras.Model(tokens, layers.Dense(2)(layers.GlobalMaxPooling1D()(h)))
    clip = keras.Input((None, None, None, 2))
    h = layers.Conv3D(3, 3, padding="same", name="conv")(clip)
    video = keras.Model(clip, layers.Dense(2)(layers.GlobalAveragePooling3D()(h)))
    rng = np.random.default_rng(0)
    for n in range(12):
        words = rng.integers(0, 9, (2, 4 + n))
        np.testing.assert_allclose(
            adapt(text).run(words, ["conv"]).outputs[""], text(words), atol=1e-6
        )
        frames = images(1, 3 + n % 3, 4 + n % 4, 4 + n, 2)
        np.testing.assert_allclose(
            adapt(video).run(frames, ["conv"]).outputs[""], video(frames), atol=1e-6
        )
    assert (adapt(text).traces, adapt(video).traces) <= (2, 4)
