"""What a trace reaches of a model, how often it is made, and what it leaves behind."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from jax_nets import CASES, IMAGES, nnx_case

from camcore.adapter import INPUT, NativeScore
from camcore.errors import BackendError, GradientError, InputError, LayerError, MethodError

X = np.random.default_rng(0).normal(size=(2, 6, 8)).astype(np.float32)
W = np.random.default_rng(1).normal(size=(8, 8)).astype(np.float32) * 0.3


def one_hot(index, path=""):
    """A seed: the score of one class."""

    def seed(leaves):
        cotangent = np.zeros_like(leaves[path])
        cotangent[:, index] = 1
        return {path: cotangent}

    return seed


@pytest.fixture
def adapt(backend):
    """Adapt a function of `W` and `X`."""
    from camcore_jax import Function

    def adapt(function, inputs=X):
        return backend.adapt(Function(function, W, inputs))

    return adapt


def gradient(adapter, name, **how):
    return adapter.run(X, [name], [one_hot(1)], **how).layers[name].gradients[0]


def loop(step, kind):
    """A function that runs a step, and the pooled result, in some kind of control flow."""
    import jax

    def function(w, x):
        if kind == "while":
            stop = 3 + (x.sum() > 1e9).astype(int)
            x = jax.lax.while_loop(
                lambda held: held[0] < stop,
                lambda held: (held[0] + 1, step(w, held[1])),
                (0, x),
            )[1]
        elif kind == "cond":
            x = jax.lax.cond(x.sum() > -1e9, lambda x: step(w, x), lambda x: x, x)
        elif kind == "custom_vjp":
            own = jax.custom_vjp(step)
            own.defvjp(lambda w, x: (step(w, x), x), lambda x, g: (None, g * x))
            x = own(w, x)
        else:
            x = jax.lax.scan(lambda x, _: (step(w, x), None), x, None, length=int(kind))[0]
        return x.mean(1)

    return function


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("while", "a while"),
        ("cond", "a cond"),
        ("custom_vjp", "a custom_vjp"),
        ("65", "a scan of 65 steps"),
    ],
)
def test_layers_out_of_reach_are_refused_by_name(jax, adapt, kind, named):
    from camcore_jax import mark

    adapter = adapt(loop(lambda w, x: mark(jax.numpy.tanh(x @ w), "step"), kind))
    assert [layer.name for layer in adapter.layers()] == ["step"]
    assert adapter.survey(X) == []
    for verb in (
        lambda: adapter.run(X, ["step"]),
        lambda: adapter.resume(X[:1], "step").__enter__(),
    ):
        with pytest.raises(LayerError, match=f"'step' runs inside {named}"):
            verb()
    if kind != "while":  # which has no gradient backwards at all
        function = loop(lambda w, x: jax.numpy.tanh(x @ w), kind)
        plain = jax.grad(lambda x: function(W, x)[:, 1].sum())(X)
        np.testing.assert_allclose(gradient(adapter, INPUT), plain, rtol=0, atol=1e-7)


def test_a_loop_is_written_out_to_the_last_step_allowed(jax, adapt):
    from camcore_jax import mark

    step = loop(lambda w, x: mark(jax.numpy.tanh(x @ w), "step"), "64")
    plain = loop(lambda w, x: jax.numpy.tanh(x @ w), "64")
    adapter = adapt(step)
    assert [record.calls for record in adapter.survey(X)] == [64]
    np.testing.assert_allclose(adapter.run(X).outputs[""], plain(W, X), rtol=0, atol=1e-7)
    last = gradient(adapter, "step#63")
    np.testing.assert_allclose(last[:, :, 1], np.full((2, 6), 1 / 6), rtol=1e-6)


def test_a_reversed_loop_and_its_rows(jax, adapt):
    from camcore_jax import mark

    def function(w, x, mark=lambda x, name: x):
        def step(held, row):
            held = mark(jax.numpy.tanh(held @ w + row), "step")
            return held, held * row

        held, rows = jax.lax.scan(step, x[:, 0], x.swapaxes(0, 1), reverse=True)
        return held + rows.sum(0) + rows[2]

    adapter = adapt(lambda w, x: function(w, x, mark))
    trace = adapter.run(X, [INPUT, "step#0", "step"], [one_hot(1)])
    np.testing.assert_allclose(trace.outputs[""], function(W, X), rtol=0, atol=1e-6)
    plain = jax.grad(lambda x: function(W, x)[:, 1].sum())(X)
    np.testing.assert_allclose(trace.layers[INPUT].gradients[0], plain, rtol=0, atol=1e-6)
    first = np.tanh(X[:, 0] @ W + X[:, -1])  # in reverse, the last row is the first to be seen
    np.testing.assert_allclose(trace.layers["step#0"].activations, first, rtol=0, atol=1e-6)


def test_what_vmap_runs_has_the_batch_in_front(jax, adapt):
    from camcore_jax import mark

    def function(w, x):
        return jax.vmap(lambda row: mark(w.T @ row.T, "product").mean(1))(x)

    trace = adapt(function).run(X, ["product"], [one_hot(1)])
    np.testing.assert_allclose(
        trace.layers["product"].activations, np.swapaxes(X @ W, 1, 2), rtol=0, atol=1e-6
    )
    assert trace.layers["product"].gradients[0].shape == (2, 8, 6)


def test_each_size_is_traced_once(backend):
    case = nnx_case()
    adapter = backend.adapt(case.model)
    for _ in range(2):
        adapter.run(IMAGES, ["block"], [one_hot(1)])
        adapter.run(IMAGES, ["conv1", INPUT], [one_hot(1), one_hot(2)], second_order=True)
        backend.adapt(case.model).run(IMAGES[::-1], ["block"], rectifier="guided")
    assert adapter.traces == 1
    adapter.survey(IMAGES)
    with adapter.resume(IMAGES[:1], "block"):
        pass
    assert adapter.traces == 2  # for one sample
    adapter.run(IMAGES.astype(np.float64), ["block"])
    assert adapter.traces == 2
    adapter.run(IMAGES[:, :12], ["block"])
    assert adapter.traces == 3


def test_new_weights_are_seen_and_trace_nothing(jax, backend):
    case = nnx_case()
    adapter = backend.adapt(case.model)
    before = adapter.run(IMAGES).outputs[""]
    kernel = case.model.fc.kernel
    kernel.set_value(kernel.get_value() * 2)
    after = adapter.run(IMAGES).outputs[""]
    assert np.abs(after - before).max() > 1e-3
    bias = np.asarray(case.model.fc.bias.get_value())
    np.testing.assert_allclose(after - bias, 2 * (before - bias), rtol=0, atol=1e-6)
    assert adapter.traces == 1


def test_another_layer_in_a_module_is_seen(backend):
    from flax import nnx

    case = nnx_case()
    adapter = backend.adapt(case.model)
    adapter.run(IMAGES)
    case.model.block.norm = nnx.BatchNorm(8, rngs=nnx.Rngs(1))
    found = adapter.run(IMAGES, logits=False).outputs[""]
    np.testing.assert_allclose(found, case.plain(IMAGES.astype(np.float32)), rtol=0, atol=1e-6)
    case.model.block.norm.epsilon = 0.5
    found = adapter.run(IMAGES, logits=False).outputs[""]
    np.testing.assert_allclose(found, case.plain(IMAGES.astype(np.float32)), rtol=0, atol=1e-6)
    assert adapter.traces == 3


def test_a_new_attribute_of_a_module_is_seen(backend):
    from flax import nnx

    class Network(nnx.Module):
        def __init__(self):
            self.linear = nnx.Linear(8, 8, rngs=nnx.Rngs(0))

        def __call__(self, x):
            return self.linear(x).mean(1) * getattr(self, "factor", 1)

    model = Network()
    before = backend.adapt(model).run(X).outputs[""]
    model.factor = 2
    np.testing.assert_allclose(backend.adapt(model).run(X).outputs[""], 2 * before, rtol=1e-6)


def state_of(model):
    """Everything that can be seen of a model: structure, values, and which objects hold them."""
    import jax

    leaves, tree = jax.tree.flatten(model)
    return str(tree), list(map(id, leaves)), list(map(str, leaves))


@pytest.mark.parametrize("kind", ["nnx", "equinox"])
def test_the_model_is_as_it_was(backend, kind):
    case = CASES[kind]()
    parts = [vars(layer.native) for layer in backend.adapt(case.model).layers()]
    before, held = state_of(case.model), [{**part} for part in parts]
    kinds = [type(layer.native) for layer in backend.adapt(case.model).layers()]
    adapter = backend.adapt(case.model)
    name = case.layers["norm"][0]
    adapter.survey(case.images)
    adapter.run(case.images, [name, INPUT], [one_hot(1)], second_order=True)
    with adapter.resume(case.images[:1], name) as head:
        head(adapter.run(case.images, [name]).layers[name].activations)
    with pytest.raises((TypeError, ValueError)):
        adapter.run(case.images[:, 0])
    for one, other in zip(before, state_of(case.model), strict=True):
        assert str(one) == str(other)
    for part, was in zip(parts, held, strict=True):
        assert part.keys() == was.keys()
        assert all(part[key] is was[key] for key in was)
    assert kinds == [type(layer.native) for layer in backend.adapt(case.model).layers()]


def test_a_model_that_raises_is_as_it_was(backend):
    from flax import nnx

    class Failing(nnx.Module):
        def __init__(self):
            self.linear, self.count = nnx.Linear(8, 8, rngs=nnx.Rngs(0)), nnx.Variable(0)
            self.last = None

        def __call__(self, x):
            self.count.set_value(self.count.get_value() + 1)
            self.last = x.shape
            self.linear(x)
            raise OSError("no more")

    model = Failing()
    held, kernel = {**vars(model)}, model.linear.kernel.get_value()
    for verb in ("survey", "run"):
        with pytest.raises(OSError, match=r"^no more"):
            getattr(backend.adapt(model), verb)(X)
    assert vars(model).keys() == held.keys()
    assert model.last is None
    assert model.count.get_value() == 0
    assert model.linear.kernel.get_value() is kernel
    assert type(model.linear) is nnx.Linear


def test_modules_in_training_run_in_inference(backend):
    from flax import nnx

    case = nnx_case()
    case.model.train()
    found = backend.adapt(case.model).run(IMAGES, logits=False).outputs[""]
    np.testing.assert_allclose(found, case.plain(IMAGES.astype(np.float32)), rtol=0, atol=1e-6)
    assert not case.model.drop.deterministic
    assert not case.model.block.norm.use_running_average
    assert isinstance(case.model.drop, nnx.Dropout)


@pytest.mark.parametrize("kind", CASES)
def test_eight_threads_see_what_one_sees(backend, kind):
    case = CASES[kind]()
    name, start = case.layers["norm"][0], threading.Barrier(8)
    expected = backend.adapt(CASES[kind]().model).run(case.images, [name], [one_hot(1)])

    def work(number):
        adapter = backend.adapt(case.model)
        start.wait()
        images = case.images if number % 2 else case.images[:1]
        return adapter.run(images, [name], [one_hot(1)]).layers[name].gradients[0]

    with ThreadPoolExecutor(8) as pool:
        for gradients in pool.map(work, range(8)):
            wanted = expected.layers[name].gradients[0][: len(gradients)]
            np.testing.assert_allclose(gradients, wanted, rtol=0, atol=1e-7)
    assert backend.adapt(case.model).traces == 2


@pytest.mark.parametrize("kind", ["nnx", "function", "haiku", "linen", "equinox"])
def test_a_model_goes_when_nobody_holds_it(backend, kind):
    case = CASES[kind]()
    gone = weakref.ref(case.model)
    name = case.layers["block"][0]
    backend.adapt(case.model).run(case.images, [name], [one_hot(1)])
    del case
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    "spelled",
    [
        lambda jax, x: jax.nn.relu(x),
        lambda jax, x: jax.numpy.maximum(x, 0),
        lambda jax, x: jax.numpy.maximum(jax.numpy.zeros_like(x), x),
        lambda jax, x: jax.numpy.where(x > 0, x, 0),
        lambda jax, x: jax.numpy.clip(x, 0),
        lambda jax, x: jax.lax.clamp(0.0, x, 100.0),
        lambda jax, x: jax.nn.relu6(x),
        lambda jax, x: jax.vmap(jax.jit(jax.nn.relu))(x),
    ],
)
@pytest.mark.parametrize("rule", ["guided", "deconvolution"])
def test_a_rule_knows_every_spelling_of_a_rectifier(jax, adapt, spelled, rule):
    def function(w, x):
        return spelled(jax, spelled(jax, x @ w) @ w).mean(1)

    def plain(x):
        @jax.custom_vjp
        def relu(x):
            return jax.nn.relu(x)

        relu.defvjp(lambda x: (relu(x), x), lambda x, g: (is_open(x) * jax.nn.relu(g),))
        return relu(relu(x @ W) @ W).mean(1)[:, 1].sum()

    def is_open(x):
        return x > 0 if rule == "guided" else jax.numpy.ones_like(x)

    found = gradient(adapt(function), INPUT, rectifier=rule)
    np.testing.assert_allclose(found, jax.grad(plain)(X), rtol=0, atol=1e-7)
    assert np.abs(found - gradient(adapt(function), INPUT)).max() > 1e-4


@pytest.mark.parametrize("spelled", ["relu6", "clip", "clamp"])
def test_the_guided_rule_stops_at_the_top_too(jax, adapt, spelled):
    rectify = {
        "relu6": jax.nn.relu6,
        "clip": lambda x: jax.numpy.clip(x, 0, 6),
        "clamp": lambda x: jax.lax.clamp(0.0, x, 6.0),
    }[spelled]
    h = 20 * X @ W
    assert (h > 6).any()
    found = gradient(adapt(lambda w, x: rectify(20 * x @ w).mean(1)), INPUT, rectifier="guided")
    passed = ((h > 0) & (h < 6))[..., 1:2] * W[:, 1] * 20 / 6
    np.testing.assert_allclose(found, passed, rtol=0, atol=1e-5)


def test_deconvolution_passes_the_top(jax, adapt):
    h = 20 * X @ W
    assert (h > 6).any()
    function = adapt(lambda w, x: jax.nn.relu6(20 * x @ w).mean(1))
    found = gradient(function, INPUT, rectifier="deconvolution")
    expected = np.broadcast_to(W[:, 1] * 20 / 6, X.shape)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_rectifiers_out_of_reach_are_named(jax, adapt):
    adapter = adapt(loop(lambda w, x: jax.nn.relu(x @ w), "3"))
    gradient(adapter, INPUT)
    with pytest.raises(MethodError, match="Rectifiers inside 'scan' cannot be reached"):
        gradient(adapter, INPUT, rectifier="guided")
    smooth = adapt(lambda w, x: jax.nn.softplus(x @ w).mean(1))  # a maximum is part of it
    np.testing.assert_allclose(
        gradient(smooth, INPUT, rectifier="guided"), gradient(smooth, INPUT), rtol=0, atol=0
    )


def test_second_order_is_a_hessian_product(jax, double, backend):
    from camcore_jax import Function, mark

    def tail(h):
        return (jax.numpy.tanh(h) ** 2 * h).sum((1, 2))

    def function(w, x):
        h = mark(x @ w, "product")
        return jax.numpy.stack([tail(h), h.sum((1, 2))], 1)

    x, w = X.astype(np.float64), W.astype(np.float64)
    adapter = backend.adapt(Function(function, w, x))
    traced = adapter.run(x, ["product"], [one_hot(0), one_hot(1)], second_order=True)
    h = traced.layers["product"].activations
    expected = jax.jvp(jax.grad(lambda h: tail(h).sum()), (h,), (h,))[1]
    first, second = traced.layers["product"].hessian_products
    np.testing.assert_allclose(first, expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(second, 0)
    assert dict(traced.layers["product"].tangents) == {}
    along = adapter.run(x, ["product"], [one_hot(0)], second_order="tangents")
    rest = lambda h: jax.numpy.stack([tail(h), h.sum((1, 2))], 1)  # noqa: E731
    expected = jax.jvp(rest, (h,), (h,))[1]
    found = along.layers["product"].tangents[""]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_what_has_no_second_derivative_is_said(jax, adapt):
    from camcore_jax import mark

    own = jax.custom_vjp(jax.numpy.sin)
    own.defvjp(lambda x: (jax.numpy.sin(x), x), lambda x, g: (g * jax.numpy.cos(x),))
    adapter = adapt(lambda w, x: own(mark(x @ w, "product")).mean(1))
    assert gradient(adapter, "product").any()
    with pytest.raises(GradientError, match="no second derivative behind it"):
        gradient(adapter, "product", second_order=True)


@pytest.mark.parametrize("cut", ["stop_gradient", "argmax", "round", "beside"])
def test_a_score_that_does_not_depend_on_a_layer_is_an_error(jax, adapt, cut):
    from camcore_jax import mark

    def function(w, x):
        h = mark(x @ w, "product")
        after = {
            "stop_gradient": lambda: jax.lax.stop_gradient(h),
            "argmax": lambda: jax.nn.one_hot(h.argmax(-1), 8),
            "round": lambda: jax.numpy.round(h),
            "beside": lambda: x,
        }[cut]()
        return {"scores": after.mean(1), "others": h.mean(1)}

    adapter = adapt(function)
    with pytest.raises(GradientError, match="does not depend on layer 'product'"):
        adapter.run(X, ["product"], [one_hot(1, "scores")])
    with pytest.raises(GradientError, match="does not depend on layer 'product'"):
        adapter.run(X, ["product"], [NativeScore(lambda outputs: outputs["scores"][:, 1])])
    trace = adapter.run(X, ["product"], [one_hot(1, "scores")], optional=["product"])
    np.testing.assert_array_equal(trace.layers["product"].gradients[0], 0)
    trace = adapter.run(X, ["product"], [NativeScore(lambda outputs: outputs["others"][:, 1])])
    assert trace.layers["product"].gradients[0].any()


@pytest.mark.parametrize("kind", ["softmax", "log_softmax", "sigmoid"])
@pytest.mark.parametrize("written", ["library", "by hand", "reshaped"])
def test_final_activations_are_left_off(jax, adapt, kind, written):
    jnp = jax.numpy
    by_hand = {
        "softmax": lambda x: jnp.exp(x) / jnp.exp(x).sum(-1, keepdims=True),
        "log_softmax": lambda x: x - jnp.log(jnp.exp(x).sum(-1, keepdims=True)),
        "sigmoid": lambda x: jax.lax.logistic(x),
    }
    library = {"softmax": jax.nn.softmax, "log_softmax": jax.nn.log_softmax}
    activate = {**by_hand, **(library if written != "by hand" else {})}[kind]

    def function(w, x):
        made = jax.jit(activate)(x.mean(1) @ w)
        return made.reshape(len(x), 1, 8)[:, 0] if written == "reshaped" else made

    adapter = adapt(function)
    trace = adapter.run(X)
    assert trace.activation == {"": kind}
    np.testing.assert_allclose(trace.outputs[""], X.mean(1) @ W, rtol=0, atol=1e-6)
    assert adapter.run(X, logits=False).applied == {"": kind}
    shown = []
    seeds = [lambda leaves: shown.append(leaves) or one_hot(1)(leaves)]
    for logits in (True, False):
        adapter.run(X, [INPUT], seeds, logits=logits)
    told = [(leaves.activation, leaves.applied) for leaves in shown]
    assert told == [({"": kind}, {}), ({}, {"": kind})]


def test_what_only_looks_like_an_activation_stays(jax, adapt):
    jnp = jax.numpy

    def function(w, x):
        h = x.mean(1) @ w
        halves = jax.nn.softmax(h.reshape(len(x), 2, 4), axis=1).reshape(len(x), 8)
        return {
            "halves": halves,
            "scaled": jnp.exp(h) / jnp.exp(2 * h).sum(-1, keepdims=True),
            "all": jnp.exp(h) / jnp.exp(h).sum(),
        }

    trace = adapt(function).run(X)
    assert trace.activation == {}
    for path, found in trace.outputs.items():
        np.testing.assert_allclose(found, function(W, X)[path], rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_handed_over_as_float32(jax, backend, dtype):
    from camcore_jax import Function, mark

    w = jax.numpy.asarray(W, dtype)
    adapter = backend.adapt(Function(lambda w, x: mark(jax.nn.relu(x @ w), "relu").mean(1), w, X))
    trace = adapter.run(X, ["relu", INPUT], [one_hot(1)], second_order=True)
    traced = [trace.layers["relu"], trace.layers[INPUT]]
    handed = [trace.outputs[""], trace.inputs[""], *(one.activations for one in traced)]
    handed += [array for one in traced for array in (*one.gradients, *one.hessian_products)]
    assert {array.dtype for array in handed} == {np.dtype(np.float32)}
    np.testing.assert_allclose(trace.layers["relu"].gradients[0][..., 1], 1 / 6, rtol=4e-3)


def test_gradients_that_float16_would_lose_are_kept(jax, backend):
    from camcore_jax import Function, mark

    def function(w, x):
        h = mark(jax.numpy.tanh(x * 1e-3 @ w + 1), "tanh")
        return (h * 1e-4).mean(1)

    narrow, wide = (
        backend.adapt(Function(function, jax.numpy.asarray(W, dtype), X)).run(
            X, ["tanh", INPUT], [one_hot(1), NativeScore(lambda y: y[:, 1])]
        )
        for dtype in ("float16", "float32")
    )
    for name, traced in narrow.layers.items():
        for found, plain in zip(traced.gradients, wide.layers[name].gradients, strict=True):
            np.testing.assert_allclose(found, plain, rtol=0, atol=4e-3 * np.abs(plain).max())
    assert np.abs(wide.layers[INPUT].gradients[0]).max() < 2**-25  # zero in float16
    given = {INPUT: ("tanh", np.full(wide.layers["tanh"].activations.shape, 1e-6))}
    found, plain = (
        backend.adapt(Function(function, jax.numpy.asarray(W, dtype), X)).gradients_between(
            X, given
        )[INPUT]
        for dtype in ("float16", "float32")
    )
    assert 0 < np.abs(plain).max() < 2**-25
    np.testing.assert_allclose(found, plain, rtol=0, atol=4e-3 * np.abs(plain).max())


def test_nests_go_in_and_come_out(jax, adapt):
    from camcore_jax import mark

    def function(w, left, right):
        made = mark((left @ w, {"sum": left + right["b"]}), "both")
        return {"z": made[0].mean(1), "a": (made[1]["sum"].mean(1), left.shape[0])}

    inputs = (X, {"b": 2 * X, "number": np.arange(2)})
    adapter = adapt(function, inputs)
    record = adapter.survey(inputs)[0]
    assert (record.shape, record.several) == ((1, 6, 8), True)
    names = ["both", "both@0", "both@1.sum", "@input", "@input.1.b"]
    trace = adapter.run(inputs, names, [one_hot(1, "a.0")], optional=names)
    assert list(trace.outputs) == ["z", "a.0"]
    assert list(trace.inputs) == ["0", "1.b", "1.number"]
    assert trace.layers["both"].leaves == {"0": (2, 6, 8), "1.sum": (2, 6, 8)}
    np.testing.assert_array_equal(trace.layers["both"].gradients[0], 0)
    np.testing.assert_allclose(trace.layers["both@1.sum"].activations, 3 * X, rtol=1e-6)
    for name in ("both@1.sum", "@input", "@input.1.b"):
        np.testing.assert_allclose(trace.layers[name].gradients[0][..., 1], 1 / 6, rtol=1e-6)
    with pytest.raises(LayerError, match="'both' returns no floating array at '2'; it returns"):
        adapter.run(inputs, ["both@2"])
    with pytest.raises(LayerError, match=r"no floating array at '1\.number'"):
        adapter.run(inputs, ["@input.1.number"])
    given = {"right": inputs[1], "left": X}
    by_name = adapt(lambda w, left, right: function(w, left, right)["z"], given)
    np.testing.assert_allclose(by_name.run(given).outputs[""], (X @ W).mean(1), rtol=0, atol=1e-6)


def test_what_lies_beside_a_layer_is_computed_once_and_repeated(jax, adapt):
    from camcore_jax import mark

    def function(w, x):
        beside = jax.numpy.tanh(x @ w).swapaxes(0, 1)
        h = mark((x @ w).swapaxes(0, 1), "product")  # the batch is the second axis
        return {"scores": (h * beside).mean(0), "table": w}

    adapter = adapt(function)
    own = adapter.run(X[:1], ["product"]).layers["product"].activations
    with adapter.resume(X[:1], "product") as head:
        found = head(np.concatenate([own, 0 * own, 2 * own], axis=1))
        with pytest.raises(InputError, match="cannot stand in for it"):
            head(own[1:])
    scores = adapter.run(X[:1]).outputs["scores"]
    np.testing.assert_allclose(found["scores"], scores * [[1], [0], [2]], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found["table"], W)

    weights = np.random.default_rng(3).normal(size=(3, 8)).astype(np.float32)
    given = np.concatenate([own, 0 * own, 2 * own], axis=1)
    with adapter.gradients_from(X[:1], "product") as pull:
        gradients = pull(given, lambda leaves: {"scores": weights})
        for path in ("table", "scores"):
            cut = np.zeros_like(found[path])
            if path == "table":
                with pytest.raises(GradientError, match="does not depend on layer 'product'"):
                    pull(given, lambda leaves, cut=cut: {"table": cut})
            else:
                np.testing.assert_array_equal(pull(given, lambda leaves, c=cut: {"scores": c}), 0)
    beside = np.tanh(X[:1] @ W).swapaxes(0, 1)
    np.testing.assert_allclose(gradients, weights[None] * beside / 6, rtol=0, atol=1e-7)


@pytest.mark.parametrize("cut", [True, False])
def test_gradients_at_altered_activations_are_those_of_jax(jax, adapt, cut):
    from camcore_jax import mark

    def head(w, h):
        return jax.numpy.tanh((h if not cut else jax.lax.stop_gradient(h)) @ w).mean(1)

    adapter = adapt(lambda w, x: head(w, mark(jax.numpy.sin(x), "sine")))
    given = np.random.default_rng(2).normal(size=(4, 6, 8)).astype(np.float32)
    weights = np.random.default_rng(3).normal(size=(4, 8)).astype(np.float32)
    with adapter.gradients_from(X[:1], "sine") as pull:
        if cut:
            with pytest.raises(GradientError, match="does not depend on layer 'sine'"):
                pull(given, lambda leaves: {"": weights})
            return
        found = pull(given, lambda leaves: {"": weights})
    expected = jax.grad(lambda h: (head(W, h) * weights).sum())(given)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert adapter.traces == 1


def test_attention_is_found_and_captured(backend):
    from flax import nnx

    class Block(nnx.Module):
        def __init__(self):
            how = {"num_heads": 2, "in_features": 8, "decode": False, "rngs": nnx.Rngs(0)}
            self.norm, self.attend = (
                nnx.LayerNorm(8, rngs=nnx.Rngs(0)),
                nnx.MultiHeadAttention(**how),
            )

        def __call__(self, x):
            return (x + self.attend(self.norm(x))).mean(1)

    class Outer(nnx.Module):
        def __init__(self):
            self.block = Block()

        def __call__(self, x):
            return nnx.jit(lambda block, x: block(x))(self.block, x)

    model, adapter = (outer := Outer()).block, backend.adapt(outer)
    records = {record.layer.name: record for record in adapter.survey(X)}
    attending = {name: record.attention for name, record in records.items() if record.attends}
    assert attending == {"block.attend": (1, 2, 6, 6)}
    inner = [name for name, record in records.items() if record.in_attention]
    assert inner == [f"block.attend.{part}" for part in ("query", "key", "value", "out")]
    trace = adapter.run(X, ["block.attend@attention"], [one_hot(1)])
    found = trace.layers["block.attend@attention"]
    q, k = (np.asarray(part(model.norm(X))) for part in (model.attend.query, model.attend.key))
    scores = np.einsum("bqhd,bkhd->bhqk", q, k) / 2
    powers = np.exp(scores)
    np.testing.assert_allclose(
        found.activations, powers / powers.sum(-1, keepdims=True), rtol=0, atol=1e-6
    )
    assert found.gradients[0].shape == (2, 2, 6, 6)
    with pytest.raises(LayerError, match="computed no softmax attention"):
        adapter.run(X, ["block.norm@attention"])


def test_what_functions_rectify_is_found(jax, adapt):
    from camcore_jax import mark

    def function(w, x):
        h = mark(x @ w, "one")
        h = jax.nn.gelu(h + mark(h @ w, "two"))
        h = mark(h @ w, "three")
        h = h * jax.nn.sigmoid(h)
        return mark(mark(h.mean(1) @ w, "four"), "five")

    adapter = adapt(function)
    records = {record.layer.name: record for record in adapter.survey(X)}
    assert [n for n, record in records.items() if record.rectified] == ["two", "three"]
    assert [n for n, record in records.items() if record.is_output] == ["four", "five"]
    assert records["five"].repeats == "four"
    found = adapter.run(X, ["three@activated"], [one_hot(1)]).layers["three@activated"]
    np.testing.assert_allclose(found.gradients[0], np.tile(W[:, 1] / 6, (2, 6, 1)), atol=1e-7)
    with pytest.raises(LayerError, match="no function of the model rectifies"):
        adapter.run(X, ["one@activated"])


def test_models_that_cannot_be_run_are_refused(jax, backend):
    from flax import linen

    with pytest.raises(BackendError, match=r"model\.bind\(variables\)"):
        backend.adapt(linen.Dense(3))
    with pytest.raises(BackendError, match="dict is no model on JAX"):
        backend.adapt({})
    for scheme, name in (
        ("flax", "resnet"),
        ("demo-jax", "resnet"),
        ("flax", "efficientnet_lite0"),
    ):
        with pytest.raises(InputError, match=f"{scheme} has no model '{name}'"):
            backend.load(scheme, name)
    with pytest.raises(InputError, match="has its own weights"):
        backend.load("demo-jax", "efficientnet_lite0", "weights.npz")
    with pytest.raises(InputError, match=r"computes on cpu:0 here, not on 'gpu'\. .*JAX_PLATFORMS"):
        backend.load("demo-jax", "efficientnet_lite0", device="gpu")
    adapter = backend.adapt(nnx_case().model)
    with pytest.raises(InputError, match="hold no array"):
        adapter.run(())
    with pytest.raises(InputError, match="single number"):
        adapter.run(1.0)
    with pytest.raises(LayerError, match=r"has no layer 'blok'\. .*'block'"):
        adapter.run(IMAGES, ["blok"])
    for name in ("@input", "block#0", "step.linear"):
        with pytest.raises(LayerError), adapter.resume(IMAGES[:1], name):
            pass
