"""One pass of a Keras model: activations and gradients against textbook tapes, in numbers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from camcore.adapter import INPUT, NativeScore
from camcore.errors import GradientError, LayerError, MethodError, TargetError
from camcore.testing import check_adapter

TOLERANCE = {"float32": 1e-6, "float64": 1e-12}


@pytest.fixture
def backend(keras):
    from camcore_tensorflow import backend

    keras.utils.set_random_seed(0)
    return backend


def one_hot(index, path=""):
    """A seed: the logit of one class."""

    def seed(leaves):
        weights = np.zeros_like(leaves[path])
        weights[:, index] = 1
        return {path: weights}

    return seed


def images(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def close(one, other, tolerance):
    one, other = np.asarray(one), np.asarray(other)
    assert one.shape == other.shape
    np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * max(1, np.abs(other).max()))


def residual_net(keras, dtype="float32"):
    """Two convolutions, the second bypassed, pooling and a dense head."""
    layers = keras.layers
    x = keras.Input((6, 6, 3), dtype=dtype)
    a = layers.Conv2D(4, 3, padding="same", activation="relu", name="early", dtype=dtype)(x)
    b = layers.Conv2D(4, 3, padding="same", activation="tanh", name="late", dtype=dtype)(a)
    c = layers.Add(name="add", dtype=dtype)([a, b])
    d = layers.GlobalAveragePooling2D(name="pool", dtype=dtype)(c)
    return keras.Model(x, layers.Dense(5, name="fc", dtype=dtype)(d))


def by_hand(tf, model, x, score):
    """Gradients of `score(logits)` at input, early and late, the textbook way."""
    with tf.GradientTape() as tape:
        x = tf.constant(x)
        tape.watch(x)
        early = model.get_layer("early")(x)
        late = model.get_layer("late")(early)
        logits = model.get_layer("fc")(tf.reduce_mean(early + late, (1, 2)))
        value = score(logits)
    return early, late, logits, tape.gradient(value, [x, early, late])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_at_two_layers_and_the_input_equal_a_tape(tf, keras, backend, dtype):
    model, x = residual_net(keras, dtype), images(3, 6, 6, 3).astype(dtype)
    trace = backend.adapt(model).run(x, ["late", "early", INPUT], [one_hot(2)])
    early, late, logits, expected = by_hand(tf, model, x, lambda y: y[:, 2])
    close(trace.outputs[""], logits, TOLERANCE[dtype])
    close(trace.layers["early"].activations, early, TOLERANCE[dtype])
    close(trace.layers["late"].activations, late, TOLERANCE[dtype])
    for name, gradient in zip([INPUT, "early", "late"], expected, strict=True):
        assert trace.layers[name].gradients[0].dtype == dtype
        close(trace.layers[name].gradients[0], gradient, TOLERANCE[dtype])
    np.testing.assert_array_equal(trace.inputs[""], x)
    assert [trace.layers[name].channels for name in ("early", INPUT)] == ["last", "last"]


def test_each_seed_has_its_own_gradients_and_native_scores_keep_their_place(tf, keras, backend):
    model, x = residual_net(keras, "float64"), images(2, 6, 6, 3)

    def native(logits):
        return tf.reduce_logsumexp(logits, axis=1) * logits[:, 0]

    seeds = [one_hot(1), NativeScore(native), one_hot(4)]
    trace = backend.adapt(model).run(x, ["early", "late"], seeds)
    scores = [lambda y: y[:, 1], native, lambda y: y[:, 4]]
    for k, score in enumerate(scores):
        _, _, logits, (_, early, late) = by_hand(tf, model, x, score)
        close(trace.layers["early"].gradients[k], early, 1e-12)
        close(trace.layers["late"].gradients[k], late, 1e-12)
        if k == 1:
            close(trace.native_scores[k], native(logits), 1e-12)
        else:
            assert trace.native_scores[k] is None


def test_seeds_are_called_once_each_in_order_with_the_outputs(keras, backend):
    model, x, seen = residual_net(keras), images(2, 6, 6, 3), []

    def seed_of(name):
        def seed(leaves):
            seen.append((name, leaves[""].copy()))
            return one_hot(0)(leaves)

        return seed

    trace = backend.adapt(model).run(x, ["late"], [seed_of("a"), seed_of("b")])
    assert [name for name, _ in seen] == ["a", "b"]
    for _, outputs in seen:
        np.testing.assert_array_equal(outputs, trace.outputs[""])


def test_a_pass_without_layers_or_seeds_gives_the_plain_outputs(keras, backend):
    model, x = residual_net(keras), images(2, 6, 6, 3)
    trace = backend.adapt(model).run(x)
    close(trace.outputs[""], model(x.astype("float32"), training=False), 1e-6)
    assert trace.layers == {}
    assert backend.adapt(model).run(x, ["late"]).layers["late"].gradients == ()


def test_the_conformance_check_passes(keras, backend):
    adapter = backend.adapt(residual_net(keras, "float64"))
    check_adapter(adapter, images(3, 6, 6, 3), "late", tolerance=1e-12)


def test_a_layer_that_returns_its_input_has_only_its_own_gradient(keras, backend):
    x = keras.Input((3,), dtype="float64")
    same = keras.layers.Dropout(0.5, name="same", dtype="float64")(x)
    model = keras.Model(x, keras.layers.Add(dtype="float64")([x, 2 * same]))
    trace = backend.adapt(model).run(images(2, 3), ["same", INPUT], [one_hot(0)])
    expected = np.zeros((2, 3))
    expected[:, 0] = 1
    np.testing.assert_array_equal(trace.layers["same"].gradients[0], 2 * expected)
    np.testing.assert_array_equal(trace.layers[INPUT].gradients[0], 3 * expected)


def two_headed(keras):
    layers = keras.layers
    x = keras.Input((4,), dtype="float64")
    trunk = layers.Dense(3, activation="tanh", name="trunk", dtype="float64")(x)
    a = layers.Dense(2, name="to_a", dtype="float64")(trunk)
    hidden = layers.Dense(3, name="only_b", dtype="float64")(trunk)
    b = layers.Dense(2, name="to_b", dtype="float64")(hidden)
    return keras.Model(x, {"a": a, "pair": (b, keras.ops.argmax(b, axis=-1))})


def test_outputs_in_a_nest_have_dotted_paths_and_may_be_seeded_alone(tf, keras, backend):
    model, x = two_headed(keras), images(3, 4)
    trace = backend.adapt(model).run(x, ["trunk"], [one_hot(1, "a"), one_hot(0, "pair.0")])
    assert set(trace.outputs) == {"a", "pair.0", "pair.1"}
    assert trace.outputs["pair.1"].dtype.kind == "i"
    kernels = {name: model.get_layer(name).kernel.numpy() for name in ("to_a", "only_b", "to_b")}
    expected = [kernels["to_a"][:, 1], kernels["only_b"] @ kernels["to_b"][:, 0]]
    for gradients, row in zip(trace.layers["trunk"].gradients, expected, strict=True):
        close(gradients, np.tile(row, (3, 1)), 1e-12)


def test_an_output_made_from_another_counts_once(keras, backend):
    x = keras.Input((3,), dtype="float64")
    h = keras.layers.Dense(4, name="h", dtype="float64")(x)
    y = keras.layers.Dense(2, name="y", dtype="float64")(h)
    model = keras.Model(x, {"h": h, "y": y})
    native = NativeScore(lambda out: out["y"][:, 0] + 3 * out["h"][:, 1])

    def seed(leaves):
        return one_hot(0, "y")(leaves) | {"h": 3 * one_hot(1, "h")(leaves)["h"]}

    trace = backend.adapt(model).run(images(2, 3), ["h"], [native, seed])
    expected = np.tile(model.get_layer("y").kernel.numpy()[:, 0], (2, 1))
    expected[:, 1] += 3
    for gradients in trace.layers["h"].gradients:
        close(gradients, expected, 1e-12)


def test_a_layer_of_another_head_raises_whatever_the_zeros_say(keras, backend):
    adapter = backend.adapt(two_headed(keras))
    with pytest.raises(GradientError, match="'only_b'"):
        adapter.run(images(2, 4), ["trunk", "only_b"], [one_hot(1, "a")])
    both = adapter.run(
        images(2, 4), ["only_b"], [lambda v: one_hot(1, "a")(v) | one_hot(0, "pair.0")(v)]
    )
    assert np.abs(both.layers["only_b"].gradients[0]).min() > 0


def test_a_score_behind_an_argmax_has_no_gradient(tf, keras, backend):
    x = keras.Input((4,))
    h = keras.layers.Dense(3, name="h")(x)
    y = keras.layers.Lambda(lambda t: tf.one_hot(tf.argmax(t, -1), 3), name="hard")(h)
    with pytest.raises(GradientError, match=r"'h'.*argmax"):
        backend.adapt(keras.Model(x, y)).run(images(2, 4), ["h"], [one_hot(0)])


def test_an_exception_of_a_seed_comes_out_unchanged(keras, backend):
    adapter, error = backend.adapt(residual_net(keras)), KeyError("mine")

    def seed(leaves):
        raise error

    with pytest.raises(KeyError) as caught:
        adapter.run(images(2, 6, 6, 3), ["late"], [one_hot(0), seed])
    assert caught.value is error
    assert adapter.run(images(2, 6, 6, 3), ["late"], [one_hot(0), one_hot(1)]).layers


def test_a_cotangent_that_does_not_fit_is_refused(keras, backend):
    adapter, x = backend.adapt(residual_net(keras)), images(2, 6, 6, 3)
    with pytest.raises(TargetError, match=r"shape \(3,\).*\(2, 5\)"):
        adapter.run(x, ["late"], [lambda leaves: {"": np.ones(3)}])
    with pytest.raises(TargetError, match="'logits'"):
        adapter.run(x, ["late"], [lambda leaves: {"logits": np.ones((2, 5))}])
    with pytest.raises(TargetError, match=r"\(B,\)"):
        adapter.run(x, ["late"], [NativeScore(lambda y: y)])


def test_threads_do_not_mix_their_seeds(keras, backend):
    model, x = residual_net(keras, "float64"), images(4, 6, 6, 3)
    adapter = backend.adapt(model)

    def gradients(k):
        batch = x[k % 4 : k % 4 + 1]
        return adapter.run(batch, ["early"], [one_hot(k % 5)]).layers["early"].gradients[0]

    alone = [gradients(k) for k in range(20)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(gradients, range(20)))
    np.testing.assert_array_equal(together, alone)


def test_a_shared_layer_is_captured_call_by_call(tf, keras, backend):
    x = keras.Input((4,), dtype="float64")
    shared = keras.layers.Dense(4, activation="tanh", name="shared", dtype="float64")
    model = keras.Model(x, shared(shared(shared(x))))
    values = images(2, 4)
    calls = [values]
    for _ in range(3):
        calls.append(shared(calls[-1]).numpy())
    names = ["shared#0", "shared#1", "shared", "shared#-2"]
    trace = backend.adapt(model).run(values, names, [one_hot(1)])
    for name, at in zip(names, (1, 2, 3, 2), strict=True):
        close(trace.layers[name].activations, calls[at], 1e-12)
        with tf.GradientTape() as tape:
            start = tf.constant(calls[at])
            tape.watch(start)
            end = start
            for _ in range(3 - at):
                end = shared(end)
            score = end[:, 1]
        close(trace.layers[name].gradients[0], tape.gradient(score, start), 1e-12)
    with pytest.raises(LayerError, match="3 times"):
        backend.adapt(model).run(values, ["shared#3"])


def test_tuples_from_a_layer_are_captured_at_their_first_floating_tensor(tf, keras, backend):
    class Split(keras.layers.Layer):
        def call(self, x):
            return {"count": tf.shape(x)[0], "halves": (x[:, :2], x[:, 2:])}

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.split, self.fc = Split(name="split"), keras.layers.Dense(3, name="fc")

        def call(self, x):
            first, second = self.split(x)["halves"]
            return self.fc(first * second)

    model, x = Net(), images(2, 4).astype("float32")
    trace = backend.adapt(model).run(x, ["split"], [one_hot(0)])
    np.testing.assert_array_equal(trace.layers["split"].activations, x[:, :2])
    expected = x[:, 2:] * model.fc.kernel.numpy()[:, 0]
    close(trace.layers["split"].gradients[0], expected, 1e-6)


def test_subclassed_models_work_with_and_without_training_and_by_several_arguments(keras, backend):
    class Noisy(keras.layers.Layer):
        def call(self, x, training=True):
            return x + 100 if training else x

    class Plain(keras.Model):
        def __init__(self):
            super().__init__()
            self.noisy, self.fc = Noisy(name="noisy"), keras.layers.Dense(3, name="fc")

        def call(self, x):
            return self.fc(self.noisy(x))

    class Pair(keras.Model):
        def __init__(self):
            super().__init__()
            self.fc = keras.layers.Dense(3, name="fc")

        def call(self, one, other, training=True):
            assert not training
            return {"logits": self.fc(one - other)}

    x, y = images(2, 4).astype("float32"), images(2, 4, seed=1).astype("float32")
    plain, pair = Plain(), Pair()
    trace = backend.adapt(plain).run(x, ["noisy"], [one_hot(0)])
    np.testing.assert_array_equal(trace.layers["noisy"].activations, x)
    for given in [(x, y), {"one": x, "other": y}]:
        trace = backend.adapt(pair).run(given, ["fc", INPUT], [one_hot(0, "logits")])
        close(trace.outputs["logits"], pair(x, y, training=False)["logits"], 1e-6)
        close(trace.layers[INPUT].gradients[0], np.tile(pair.fc.kernel.numpy()[:, 0], (2, 1)), 1e-6)


def test_whole_numbers_are_cast_where_the_model_declares_floats(keras, backend):
    x = keras.Input((4, 4, 1))
    y = keras.layers.Rescaling(1 / 255, name="scale")(x)
    model = keras.Model(x, keras.layers.Flatten()(y))
    pixels = np.arange(32, dtype=np.uint8).reshape(2, 4, 4, 1)
    trace = backend.adapt(model).run(pixels, [INPUT], [one_hot(3)])
    assert trace.inputs[""].dtype == np.float32
    close(trace.outputs[""], pixels.reshape(2, 16) / 255, 1e-7)
    close(trace.layers[INPUT].gradients[0].sum((1, 2, 3)), np.full(2, 1 / 255), 1e-7)


def test_integer_inputs_have_no_gradient_but_their_embedding_has(keras, backend):
    tokens = keras.Input((5,), dtype="int32")
    h = keras.layers.Embedding(10, 4, name="embed")(tokens)
    h = keras.layers.LSTM(3, return_sequences=True, name="lstm")(h)
    model = keras.Model(tokens, keras.layers.Dense(2)(keras.layers.GlobalMaxPooling1D()(h)))
    given = np.array([[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]])
    adapter = backend.adapt(model)
    trace = adapter.run(given, ["embed", "lstm"], [one_hot(0)])
    assert trace.layers["embed"].gradients[0].shape == (2, 5, 4)
    assert np.abs(trace.layers["embed"].gradients[0]).max() > 0
    with pytest.raises(LayerError, match="no floating array"):
        adapter.run(given, [INPUT], [one_hot(0)])


def test_a_layer_inside_a_loop_says_so(tf, keras, backend):
    class Mapped(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = keras.layers.Dense(2, name="inner")

        def build(self, shape):
            self.inner.build((None, shape[-1]))

        def call(self, x):
            return tf.map_fn(lambda one: self.inner(one[None])[0], x)

    model = keras.Sequential([keras.Input((3,)), Mapped(name="mapped")])
    adapter, x = backend.adapt(model), images(4, 3)
    assert adapter.run(x, ["mapped"], [one_hot(0)]).outputs[""].shape == (4, 2)
    with pytest.raises(LayerError, match="inside a loop"):
        adapter.run(x, ["mapped/inner"])


def test_half_precision_is_handed_over_as_float32(keras, backend):
    layers, policy = keras.layers, "mixed_float16"
    x = keras.Input((6, 6, 3))
    h = layers.Conv2D(4, 3, name="conv", dtype=policy)(x)
    y = layers.Dense(3, name="fc", dtype=policy)(layers.GlobalAveragePooling2D(dtype=policy)(h))
    model, values = keras.Model(x, y), images(2, 6, 6, 3)
    assert model(values).dtype == "float16"
    trace = backend.adapt(model).run(values, ["conv", INPUT], [one_hot(1)])
    for array in (
        trace.outputs[""],
        trace.layers["conv"].activations,
        trace.layers["conv"].gradients[0],
        trace.layers[INPUT].gradients[0],
    ):
        assert array.dtype == np.float32
    expected = np.broadcast_to(model.get_layer("fc").kernel.numpy()[:, 1] / 16, (2, 4, 4, 4))
    close(trace.layers["conv"].gradients[0], expected, 1e-3)


def test_outputs_in_half_precision_are_seeded_each_for_itself(keras, backend):
    layers, policy = keras.layers, "mixed_float16"
    x = keras.Input((6, 6, 3))
    h = layers.Conv2D(4, 3, name="conv", dtype=policy)(x)
    pooled = layers.GlobalAveragePooling2D(dtype=policy)(h)
    heads = {name: layers.Dense(3, name=name, dtype=policy)(pooled) for name in ("kind", "age")}
    model, values = keras.Model(x, heads), images(2, 6, 6, 3)
    native = NativeScore(lambda outputs: outputs["age"][:, 1])
    seeds = [one_hot(1, "kind"), one_hot(2, "age"), one_hot(0, "kind"), native]
    traced = backend.adapt(model).run(values, ["conv"], seeds).layers["conv"]
    for gradient, (name, index) in zip(
        traced.gradients, [("kind", 1), ("age", 2), ("kind", 0), ("age", 1)], strict=True
    ):
        weights = model.get_layer(name).kernel.numpy()[:, index] / 16
        close(gradient, np.broadcast_to(weights, (2, 4, 4, 4)), 1e-3)


def test_hessian_products_equal_the_analytic_ones(tf, keras, backend):
    x = keras.Input((3,), dtype="float64")
    a = keras.layers.Dense(3, name="a", dtype="float64")(x)
    cubed = keras.layers.Lambda(lambda t: t**3, dtype="float64")(a)
    model = keras.Model(x, keras.layers.Dense(2, name="fc", dtype="float64")(cubed))
    given = images(4, 3)

    def native(y):
        return y[:, 0] ** 2

    adapter = backend.adapt(model)
    trace = adapter.run(given, ["a", INPUT], [one_hot(1), NativeScore(native)], second_order=True)
    values, w = trace.layers["a"].activations, model.get_layer("fc").kernel.numpy()
    close(trace.layers["a"].hessian_products[0], 6 * values**2 * w[:, 1], 1e-12)
    # The cotangent of a native score is held fixed: 2y times the curvature of y.
    held = 2 * trace.outputs[""][:, :1] * 6 * values**2 * w[:, 0]
    close(trace.layers["a"].hessian_products[1], held, 1e-12)
    k = model.get_layer("a").kernel.numpy()
    through = (given @ k) * (6 * values * w[:, 1]) @ k.T
    close(trace.layers[INPUT].hessian_products[0], through, 1e-12)
    assert dict(trace.layers["a"].tangents) == {}
    along = adapter.run(given, ["a", INPUT], (), second_order="tangents").layers
    close(along["a"].tangents[""], 3 * values**3 @ w, 1e-12)
    close(along[INPUT].tangents[""], (3 * values**2 * (given @ k)) @ w, 1e-12)
    linear = adapter.run(given, ["fc"], [one_hot(1)], second_order=True).layers["fc"]
    np.testing.assert_array_equal(linear.hessian_products[0], np.zeros((4, 2)))


RECTIFIERS = {
    "layer": lambda tf, keras: keras.layers.ReLU(dtype="float64"),
    "activation": lambda tf, keras: keras.layers.Activation("relu", dtype="float64"),
    "tf": lambda tf, keras: keras.layers.Lambda(tf.nn.relu, dtype="float64"),
    "maximum": lambda tf, keras: keras.layers.Lambda(
        lambda x: tf.maximum(tf.constant(0.0, "float64"), x), dtype="float64"
    ),
    "relu6": lambda tf, keras: keras.layers.ReLU(6.0, dtype="float64"),
}


@pytest.mark.parametrize("spelling", RECTIFIERS)
def test_rectifier_rules_equal_the_hand_computation(tf, keras, backend, spelling):
    x = keras.Input((4,), dtype="float64")
    y = keras.layers.Dense(3, use_bias=False, name="fc", dtype="float64")(
        RECTIFIERS[spelling](tf, keras)(x)
    )
    model = keras.Model(x, y)
    model.get_layer("fc").set_weights([np.array([[1.0, 0, 0], [-2, 0, 0], [3, 0, 0], [4, 0, 0]])])
    given = np.array([[0.5, 0.5, -0.5, 7.0]])
    above = 0.0 if spelling == "relu6" else 4.0
    expected = {None: [1, -2, 0, above], "guided": [1, 0, 0, above]}
    expected["deconvolution"] = [1, 0, 3, 4]
    for rule, gradient in expected.items():
        trace = backend.adapt(model).run(given, [INPUT], [one_hot(0)], rectifier=rule)
        np.testing.assert_array_equal(trace.layers[INPUT].gradients[0], [gradient])


def test_a_rectifier_in_a_loop_is_named(keras, backend):
    x = keras.Input((4, 3))
    h = keras.layers.SimpleRNN(3, activation="relu", name="looping")(x)
    adapter = backend.adapt(keras.Model(x, keras.layers.Dense(2)(h)))
    with pytest.raises(MethodError, match="looping"):
        adapter.run(images(2, 4, 3), [INPUT], [one_hot(0)], rectifier="guided")


def test_biases_complete_the_score(keras, backend):
    layers, double = keras.layers, {"dtype": "float64"}
    x = keras.Input((6, 6, 2), **double)
    h = layers.Conv2D(4, 3, activation="relu", name="conv", **double)(x)
    h = layers.BatchNormalization(name="bn", **double)(h)
    h = layers.DepthwiseConv2D(3, activation="relu", name="depthwise", **double)(h)
    h = layers.Dense(5, activation="relu", name="hidden", **double)(layers.Flatten(**double)(h))
    model = keras.Model(x, layers.Dense(3, activation="softmax", name="fc", **double)(h))
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.1, 1, w.shape) - 0.3 for w in model.get_weights()])
    bn = model.get_layer("bn")
    bn.moving_variance.assign(rng.uniform(0.5, 2, 4))
    adapter, given = backend.adapt(model), images(2, 6, 6, 2)
    biases = adapter.biases()
    assert [bias.layer for bias in biases] == [
        "conv@linear",
        "bn",
        "depthwise@linear",
        "hidden@linear",
        "fc@linear",
    ]
    trace = adapter.run(given, [INPUT, *(bias.layer for bias in biases)], [one_hot(1)])
    total = (given * trace.layers[INPUT].gradients[0]).sum((1, 2, 3))
    for bias in biases:
        added = bias.bias
        if (n := bias.normalisation) is not None:
            scale = n["gamma"] / np.sqrt(n["variance"] + n["epsilon"])
            added = n["beta"] - n["mean"] * scale
        gradients = trace.layers[bias.layer].gradients[0]
        total += (gradients * added).reshape(2, -1).sum(1)
    close(total, trace.outputs[""][:, 1], 1e-12)


ADDING = {
    "Dense": ((4, 3), {}),
    "EinsumDense": ((4, 3), {"output_shape": (None, 5), "bias_axes": "d"}),
    **{f"Conv{n}D": ((*[4] * n, 3), {"kernel_size": 2}) for n in (1, 2, 3)},
    **{f"Conv{n}DTranspose": ((*[4] * n, 3), {"kernel_size": 2}) for n in (1, 2, 3)},
    **{f"SeparableConv{n}D": ((*[4] * n, 3), {"kernel_size": 2}) for n in (1, 2)},
    **{f"DepthwiseConv{n}D": ((*[4] * n, 5), {"kernel_size": 2}) for n in (1, 2)},
    "LayerNormalization": ((4, 5), {}),
    "GroupNormalization": ((4, 5), {"groups": 5}),
}


@pytest.mark.parametrize("kind", ADDING)
def test_what_every_kind_of_layer_adds_is_listed(keras, backend, kind):
    shape, options = ADDING[kind]
    if kind == "EinsumDense":
        options = {"equation": "btc,cd->btd", **options}
    elif "Normalization" not in kind and "Depthwise" not in kind:
        options = {"filters" if "Conv" in kind else "units": 5, **options}
    layer = getattr(keras.layers, kind)(name="layer", **options)
    model = keras.Sequential([keras.Input(shape), layer])
    added = np.arange(1, 6, dtype=np.float32)
    (layer.beta if "Normalization" in kind else layer.bias).assign(added)
    (bias,) = backend.adapt(model).biases()
    assert bias.layer == "layer"
    np.testing.assert_array_equal(bias.added, added)


def test_the_classifier_is_the_last_linear_layer(keras, backend):
    model = residual_net(keras)
    weights, bias = backend.adapt(model).classifier()
    kernel, offset = model.get_layer("fc").get_weights()
    np.testing.assert_array_equal(weights, kernel.T)
    np.testing.assert_array_equal(bias, offset)
    x = keras.Input((4, 4, 3))
    h = keras.layers.Conv2D(6, 3)(x)
    convolutional = keras.Model(x, keras.layers.Conv2D(5, 1, use_bias=False, name="head")(h))
    weights, bias = backend.adapt(convolutional).classifier()
    kernel = convolutional.get_layer("head").kernel.numpy()
    np.testing.assert_array_equal(weights, kernel[0, 0].T)
    np.testing.assert_array_equal(bias, np.zeros(5))
    assert backend.adapt(keras.Model(x, keras.layers.Conv2D(2, 3)(x))).classifier() is None
