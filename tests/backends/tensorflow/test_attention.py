"""Keras on TensorFlow: attention is found however it is written, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore.errors import LayerError, MethodError
from camcore.registry import adapter as adapt

BATCH, TOKENS, WIDTH, HEADS = 2, 7, 8, 2


@pytest.fixture(autouse=True)
def in_double_precision(double):
    """Build models in double precision."""
    with double():
        yield


@pytest.fixture
def tokens():
    return np.random.default_rng(0).normal(size=(BATCH, TOKENS, 4))


def one_class(leaves):
    return {path: np.eye(3, dtype=leaf.dtype)[[1] * len(leaf)] for path, leaf in leaves.items()}


def model_of(keras, attend):
    """Tokens, attention, and a head."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((TOKENS, 4))
    x = attend(keras.layers.Dense(WIDTH, name="embed")(inputs))
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.Activation("tanh")(x))
    return keras.Model(inputs, keras.layers.Dense(3, name="head")(x))


def own_layer(keras, rearranged=lambda weights: weights, softmax=None):
    """A layer of somebody's own, with a `Softmax` layer inside; rearranges what that returns."""

    class Own(keras.layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.softmax = softmax or keras.layers.Softmax()

        def call(self, x):
            q = keras.ops.reshape(x, (-1, TOKENS, HEADS, WIDTH // HEADS))
            scores = keras.ops.einsum("bqhd,bkhd->bhqk", q, keras.ops.sin(q))
            y = keras.ops.einsum("bhqk,bkhd->bqhd", rearranged(self.softmax(scores)), q)
            return keras.ops.reshape(y, (-1, TOKENS, WIDTH))

    return Own(name="attend")


def rearrangements(tf):
    shape = (None, HEADS, TOKENS, TOKENS)
    return {
        "cast": lambda weights: tf.cast(tf.cast(weights, tf.complex128), weights.dtype),
        "of a shape": lambda weights: tf.ensure_shape(weights, shape),
        "identity": tf.identity,
        "reshaped": lambda weights: tf.reshape(weights, (-1, *shape[1:])),
        "transposed": lambda weights: tf.transpose(weights, (0, 1, 3, 2)),
    }


def ways(keras, tf):
    layers, made = keras.layers, {"name": "attend"}

    def several(**options):
        def attend(x):
            return layers.MultiHeadAttention(HEADS, WIDTH // HEADS, **options, **made)(x, x)

        return attend

    def with_scores(x):
        attention = layers.MultiHeadAttention(HEADS, WIDTH // HEADS, **made)
        return attention(x, x, return_attention_scores=True)[0]

    def masked(x):
        attention = layers.MultiHeadAttention(HEADS, WIDTH // HEADS, **made)
        return attention(x, x, use_causal_mask=True)

    def grouped(x):
        return layers.GroupQueryAttention(WIDTH // HEADS, HEADS, 1, **made)(x, x)

    def out_of_layers(x):
        weights = layers.Softmax(**made)(layers.Dot((2, 2))([x, x]))
        return layers.Dot((2, 1))([weights, x])

    return {
        "in one operation": several(),
        "step by step": several(dropout=0.5),
        "with scores": with_scores,
        "masked": masked,
        "grouped": grouped,
        "one head": lambda x: layers.Attention(**made)([x, x]),
        "additive": lambda x: layers.AdditiveAttention(**made)([x, x]),
        "own": lambda x: own_layer(keras)(x),
        "own activation": lambda x: own_layer(keras, softmax=layers.Activation("softmax"))(x),
        "out of layers": out_of_layers,
        **{way: own_layer(keras, how) for way, how in rearrangements(tf).items()},
    }


WAYS = (
    "in one operation", "step by step", "with scores", "masked", "grouped", "one head",
    "additive", "own", "own activation", "out of layers",
    "cast", "of a shape", "identity", "reshaped", "transposed",
)  # fmt: skip


def finite_differences(tf, model, tokens, change):
    """How the score moves as the attention does: softmax itself is altered while it is traced."""
    usual, scores = tf.nn.softmax, []
    for step in (1e-5, -1e-5):
        moved = tf.constant(step * change)
        tf.nn.softmax = lambda x, axis=-1, by=moved: usual(x, axis) + tf.reshape(by, tf.shape(x))
        try:
            scores.append(model(tf.constant(tokens), training=False).numpy()[:, 1].sum())
        finally:
            tf.nn.softmax = usual
    return (scores[0] - scores[1]) / 2e-5


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_attention_is_seen(tf, keras, tokens, way):
    model = model_of(keras, ways(keras, tf)[way])
    plain = model(tokens, training=False).numpy()
    adapter = adapt(model)
    assert [r.layer.name for r in adapter.survey(tokens) if r.attends] == ["attend"]
    trace = adapter.run(tokens, ["attend@attention"], [one_class])
    np.testing.assert_allclose(trace.outputs[""], plain, rtol=0, atol=1e-12)
    (traced,) = trace.layers.values()
    attention = traced.activations
    assert attention.shape in ((BATCH, HEADS, TOKENS, TOKENS), (BATCH, TOKENS, TOKENS))
    np.testing.assert_allclose(attention.sum(-1), 1, rtol=0, atol=1e-12)
    if way == "masked":
        assert np.all(attention[..., ~np.tri(TOKENS, dtype=bool)] == 0)
    change = np.random.default_rng(2).normal(size=attention.shape)
    slope = finite_differences(tf, model, tokens, change)
    predicted = (traced.gradients[0] * change).sum()
    assert abs(slope - predicted) <= 1e-8 * abs(slope)


PRODUCTS = {
    "BatchMatMul": lambda raw, weights, values: raw.BatchMatMul(x=weights, y=values),
    "BatchMatMulV2": lambda raw, weights, values: raw.BatchMatMulV2(x=weights, y=values),
    "BatchMatMulV3": lambda raw, weights, values: raw.BatchMatMulV3(
        x=weights, y=values, Tout=values.dtype
    ),
    "Einsum": lambda raw, weights, values: raw.Einsum(
        inputs=[weights, values], equation="bqk,bkd->bqd"
    ),
    "MatMul": lambda raw, weights, values: raw.MatMul(
        a=raw.Reshape(tensor=weights, shape=[2, 3]), b=values[0]
    ),
}


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_softmax_that_goes_into_a_product_of_any_kind_is_attention(tf, product):
    from camcore_tensorflow.attention import LayerSpans

    with tf.Graph().as_default() as graph:
        weights = tf.nn.softmax(tf.zeros((1, 2, 3)))
        tf.nn.softmax(tf.zeros((1, 2, 3)))  # goes nowhere
        PRODUCTS[product](tf.raw_ops, weights, tf.zeros((1, 3, 4)))
        assert graph.get_operations()[-1].type == product
        ((around, found),) = LayerSpans().attention()
    assert (around, found.name) == ([], weights.name)


def test_both_ways_of_multi_head_attention_have_the_same_attention(tf, keras, tokens):
    one, other = (model_of(keras, ways(keras, tf)[w]) for w in ("in one operation", "step by step"))
    other.set_weights(one.get_weights())
    a, b = (adapt(m).run(tokens, ["attend@attention"], [one_class]).layers for m in (one, other))
    for field in ("activations", "gradients"):
        found = [getattr(layers["attend@attention"], field) for layers in (a, b)]
        np.testing.assert_allclose(*found, rtol=0, atol=1e-12)


def test_class_scores_of_every_pixel_are_no_attention(keras):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", name="conv")(inputs)
    segmenting = keras.Model(inputs, keras.layers.Conv2D(5, 1, activation="softmax")(x))
    images = np.zeros((1, 8, 8, 3))
    assert not any(record.attends for record in adapt(segmenting).survey(images))
    with pytest.raises(MethodError, match="None of the model's layers computes softmax attention"):
        camcore.explain(segmenting, images, method="legrad")
    with pytest.raises(LayerError, match="'conv@attention': the layer computed no softmax"):
        adapt(segmenting).run(images, ["conv@attention"])


def test_windows_are_refused(keras):
    """Tokens of 4 x 4 patches, attended to within four windows of 2 x 2."""
    keras.utils.set_random_seed(0)
    layers, ops = keras.layers, keras.ops

    class Windows(layers.Layer):
        def call(self, x):
            x = ops.reshape(x, (-1, 2, 2, 2, 2, WIDTH))
            return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 4, WIDTH))

    inputs = keras.Input((8, 8, 3))
    x = Windows()(layers.Conv2D(WIDTH, 2, 2)(inputs))
    x = layers.MultiHeadAttention(HEADS, 4, name="attend")(x, x)
    x = layers.Lambda(lambda x: ops.mean(ops.reshape(x, (-1, 16, WIDTH)), axis=1))(x)
    model = keras.Model(inputs, layers.Dense(3)(x))
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3))
    with pytest.raises(MethodError, match=r"'attend@attention': .*\(8, 2, 4, 4\) for a batch of 2"):
        camcore.explain(model, images, method="legrad")


def test_calls_of_a_shared_layer_are_told_apart(keras, tokens):
    attention = keras.layers.MultiHeadAttention(HEADS, WIDTH // HEADS, name="attend")

    def twice(x):
        x = attention(x, x)
        return attention(x, x)

    names = ["attend@attention#0", "attend@attention#-1", "attend@attention"]
    adapter = adapt(model_of(keras, twice))
    first, second, last = (adapter.run(tokens, names, [one_class]).layers[n] for n in names)
    np.testing.assert_array_equal(second.gradients[0], last.gradients[0])
    assert np.abs(first.activations - second.activations).max() > 1e-3
    with pytest.raises(LayerError, match="the layer ran 2 times"):
        adapter.run(tokens, ["attend@attention#2"])
    with (
        pytest.raises(LayerError, match="resumed from a layer that runs once"),
        adapter.resume(tokens[:1], "attend@attention"),
    ):
        pass


def test_nothing_is_traced_twice_and_nothing_stays_on_the_model(tf, keras, tokens):
    model = model_of(keras, ways(keras, tf)["in one operation"])
    model(tokens)
    everything = [model, *model._flatten_layers(include_self=False)]
    before = [(layer.trainable, {k: id(v) for k, v in vars(layer).items()}) for layer in everything]
    layout = camcore.Layout("tokens", (2, 3), 1)
    explainer = camcore.Explainer(model, method="legrad", layout=layout)
    maps = [explainer(tokens, target=1).raw["attend@attention"] for _ in range(3)]
    np.testing.assert_array_equal(maps[0], maps[2])
    assert adapt(model).traces == 2  # the survey, and the pass
    after = [(layer.trainable, {k: id(v) for k, v in vars(layer).items()}) for layer in everything]
    assert after == before
