"""JAX: names, classifiers and biases of each library's layers, and models with a state."""

from __future__ import annotations

import numpy as np
import pytest
from jax_nets import CASES, IMAGES, WEIGHTS, equinox_case, haiku_case, linen_case, nnx_case

from camcore.adapter import INPUT
from camcore.errors import LayerError, MethodError

FLAX = ["conv1", "block", "block{}conv", "block{}norm", "step", "step{}linear", "fc"]


def close(one, other):
    np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize("kind", ["nnx", "linen", "equinox", "haiku"])
def test_the_classifier_is_the_last_linear_layer(backend, kind):
    case = CASES[kind]()
    adapter = backend.adapt(case.model)
    adapter.survey(case.images)
    weights, bias = adapter.classifier()
    close(weights, WEIGHTS["fc"].T)
    close(bias, WEIGHTS["fc_bias"])


def test_biases_are_what_layers_add(backend):
    case = haiku_case()
    adapter = backend.adapt(case.model)
    with pytest.raises(LayerError, match="'block/norm' adds is known once the model ran"):
        adapter.biases()
    adapter.survey(case.images)
    found = {bias.layer: bias for bias in adapter.biases()}
    assert set(found) == {
        *("conv1", "block/conv", "block/norm", "step0", "step1", "step2", "fc"),
    }
    close(found["conv1"].added, WEIGHTS["conv1_bias"])
    close(found["step1"].added, WEIGHTS["steps_bias"][1])
    w = WEIGHTS
    shift = w["bias"] - w["mean"] * w["scale"] / np.sqrt(w["variance"] + 1e-5)
    np.testing.assert_allclose(found["block/norm"].added, shift, rtol=0, atol=1e-6)


def test_a_flax_normalisation_adds_its_shift(backend):
    from flax import linen, nnx

    norm = nnx.BatchNorm(3, epsilon=0.1, rngs=nnx.Rngs(0))
    norm.mean.set_value(np.array([1.0, 2, 3], np.float32))
    model = nnx.Sequential(norm, nnx.LayerNorm(3, rngs=nnx.Rngs(0)))
    (bias, other) = backend.adapt(model).biases()
    assert (bias.layer, other.layer) == ("layers.0", "layers.1")
    close(bias.added, -np.array([1, 2, 3]) / np.sqrt(1.1))

    class Network(linen.Module):
        @linen.compact
        def __call__(self, x):
            norm = linen.BatchNorm(use_running_average=True, epsilon=0.1, use_bias=False)
            return linen.MultiHeadDotProductAttention(2, name="attend")(norm(x))

    x = np.ones((2, 4, 8), np.float32)
    import jax

    network = Network()
    bound = network.bind(network.init(jax.random.key(0), x))
    adapter = backend.adapt(bound)
    adapter.survey(x)
    (bias,) = adapter.biases()  # those of attention are along heads and channels
    assert bias.layer == "BatchNorm_0"
    close(bias.normalisation["epsilon"], 0.1)


def test_a_function_does_not_say_what_its_parts_add(backend):
    case = CASES["function"]()
    adapter = backend.adapt(case.model)
    assert adapter.classifier() is None
    with pytest.raises(MethodError, match="JaxAdapter offers no biases"):
        adapter.biases()


def test_layers_are_in_the_models_order(backend):
    def names(case):
        adapter = backend.adapt(case.model)
        before = {layer.name for layer in adapter.layers()}
        adapter.survey(case.images)
        assert before <= {layer.name for layer in adapter.layers()}
        return [layer.name for layer in adapter.layers()]

    dotted, slashed = ([name.format(by) for name in FLAX] for by in "./")
    assert names(nnx_case()) == [*dotted[:-1], "drop", "fc"]
    assert names(linen_case()) == [*slashed[:-1], "Dropout_0", "fc"]
    assert names(equinox_case()) == [
        *("conv1", "pool", "block", "block.conv", "block.norm", "step", "drop", "fc")
    ]
    assert names(haiku_case()) == [
        *("conv1", "block", "block/conv", "block/norm", "step0", "step1", "step2", "fc")
    ]
    case = linen_case()
    adapter = backend.adapt(case.model)
    adapter.survey(case.images)
    kinds = {layer.name: layer.kind for layer in adapter.layers()}
    assert kinds["Dropout_0"] == "Dropout"
    assert kinds["block/norm"] == "BatchNorm"


def test_lists_dictionaries_and_shared_modules_have_names(backend):
    from flax import nnx

    class Network(nnx.Module):
        def __init__(self):
            rngs = nnx.Rngs(0)
            self.parts = nnx.List([nnx.Linear(3, 3, rngs=rngs) for _ in range(2)])
            self.named = nnx.Dict(last=nnx.Linear(3, 3, rngs=rngs))
            self.again = self.parts[0]

        def __call__(self, x):
            for part in self.parts:
                x = part(x)
            return self.again(self.named["last"](x))

    model, x = Network(), np.ones((2, 3), np.float32)
    adapter = backend.adapt(model)
    assert [layer.name for layer in adapter.layers()] == ["parts.0", "parts.1", "named.last"]
    records = {record.layer.name: record for record in adapter.survey(x)}
    assert {name: record.calls for name, record in records.items()} == {
        **{"parts.1": 1, "named.last": 1, "parts.0": 2},
    }
    trace = adapter.run(x, ["parts.0#0", "parts.0"])
    close(trace.layers["parts.0#0"].activations, model.parts[0](x))
    close(trace.layers["parts.0"].activations, trace.outputs[""])
    assert records["parts.0"].is_output


@pytest.fixture(params=["ema", "batch"])
def stateful(request, jax):
    """A module of Equinox with a batch normalisation that saw a batch, its state, and images."""
    import equinox as eqx

    class Network(eqx.Module):
        conv: eqx.nn.Conv2d
        norm: eqx.nn.BatchNorm
        fc: eqx.nn.Linear

        def __call__(self, x, state):
            x, state = self.norm(self.conv(x), state)
            return self.fc(jax.nn.relu(x).mean((1, 2))), state

    keys = jax.random.split(jax.random.key(0))
    make = eqx.nn.make_with_state(
        lambda: Network(
            eqx.nn.Conv2d(3, 4, 3, key=keys[0]),
            eqx.nn.BatchNorm(4, axis_name="batch", mode=request.param, eps=0.1),
            eqx.nn.Linear(4, 5, key=keys[1]),
        )
    )
    model, state = make()
    scale, shift = jax.numpy.arange(1.0, 5), jax.numpy.arange(4.0)
    model = eqx.tree_at(lambda m: (m.norm.weight, m.norm.bias), model, (scale, shift))
    images = np.moveaxis(IMAGES, -1, 1).astype(np.float32)
    _, state = jax.vmap(model, **OVER)(images, state)  # one step of training
    return model, state, images


OVER = {"axis_name": "batch", "in_axes": (0, None), "out_axes": (0, None)}


def test_a_module_of_equinox_with_a_state_says_how_it_is_called(jax, backend, stateful):
    import equinox as eqx

    from camcore_jax import Equinox

    model, state, images = stateful

    def call(model, x):
        return jax.vmap(model, **OVER)(x, state)[0]

    def plain(x):
        return call(eqx.nn.inference_mode(model), x)[:, 1].sum()

    adapter = backend.adapt(Equinox(model, call))

    def seed(leaves):
        return {"": np.eye(5, dtype=np.float32)[[1, 1]]}

    trace = adapter.run(images, ["norm", INPUT], [seed])
    assert trace.layers["norm"].leaves == {}
    np.testing.assert_allclose(
        trace.layers[INPUT].gradients[0], jax.grad(plain)(images), rtol=0, atol=1e-7
    )
    assert trace.layers["norm"].channels == "first"
    with pytest.raises(
        MethodError, match=r"layer 'norm' adds .* camcore_jax.Equinox\(model, state"
    ):
        adapter.biases()


def test_a_batch_normalisation_of_equinox_adds_what_its_state_says(jax, backend, stateful):
    import equinox as eqx

    from camcore_jax import Equinox

    model, state, images = stateful
    own = eqx.nn.inference_mode(model)
    zeros = jax.numpy.zeros((4, 1, 1))
    adapter = backend.adapt(Equinox(model, state=state))
    biases = {bias.layer: bias.added for bias in adapter.biases()}
    close(biases["norm"], own.norm(zeros, state)[0].ravel())
    assert list(biases) == ["conv", "norm", "fc"]
    expected = jax.vmap(own, **OVER)(images, state)[0]
    close(adapter.run(images).outputs[""], expected)
    told = backend.adapt(
        Equinox(model, lambda model, x, state: jax.vmap(model, **OVER)(x, state)[0], state)
    )
    close(told.run(images).outputs[""], expected)
    close({bias.layer: bias.added for bias in told.biases()}["norm"], biases["norm"])


def test_a_function_of_haiku_without_a_state(jax, backend):
    import haiku as hk

    from camcore_jax import Haiku

    transformed = hk.transform(lambda x: hk.nets.MLP([4, 5])(x))
    x = np.ones((2, 3), np.float32)
    parameters = transformed.init(jax.random.key(0), x)
    adapter = backend.adapt(Haiku(transformed, parameters))
    found = adapter.run(x, ["mlp/~/linear_0"]).outputs[""]
    close(found, transformed.apply(parameters, None, x))
    assert [record.layer.name for record in adapter.survey(x)] == [
        *("mlp/~/linear_0", "mlp/~/linear_1", "mlp")
    ]


def test_statistics_of_equinox_are_copied_and_its_state_is_not_spent(jax, backend, stateful):
    from camcore_jax import Equinox

    model, state, images = stateful
    given = Equinox(model, state=state)
    adapter = backend.adapt(given)
    before, own = adapter.run(images).outputs[""], adapter.parameters()
    assert {name: [a.shape for a in arrays] for name, arrays in own.items()} == {
        "conv": [(4, 3, 3, 3), (4,)],
        "norm": [(4,)] * 4,
        "fc": [(5, 4), (5,)],
    }
    scale, shift, mean, variance = own["norm"]
    copy = adapter.with_parameters({"norm": [scale, shift, mean + 1, 4 * variance]})
    assert type(copy) is Equinox
    added = {bias.layer: bias.added for bias in backend.adapt(copy).biases()}
    index = model.norm.ema_state_index if model.norm.mode == "ema" else model.norm.batch_state_index
    np.testing.assert_allclose(copy.state.get(index)[0], mean + 1, rtol=1e-6)
    np.testing.assert_array_equal(state.get(index)[0], mean)
    assert np.abs(added["norm"] - shift).max() > 0
    assert np.abs(backend.adapt(copy).run(images).outputs[""] - before).max() > 1e-3
    close(backend.adapt(given).run(images).outputs[""], before)
    same = adapter.with_parameters(own)
    close(backend.adapt(same).run(images).outputs[""], before)


def test_arrays_that_modules_of_equinox_share_are_drawn_once(jax, backend):
    import equinox as eqx

    first = eqx.nn.Linear(4, 4, key=jax.random.key(0))
    second = eqx.tree_at(lambda m: m.weight, first, first.weight)
    model = eqx.nn.Sequential([first, eqx.nn.Lambda(jax.nn.relu), second])
    shapes = {name: len(own) for name, own in backend.adapt(model).parameters().items()}
    assert shapes == {"layers.0": 2}
    copy = backend.adapt(model).with_parameters({"layers.0": [np.eye(4), np.zeros(4)]})
    assert copy.layers[2].weight.tolist() == np.eye(4).tolist()
    assert model.layers[2].weight is first.weight


def test_statistics_that_are_kept_elsewhere_are_asked_for(jax, backend, stateful):
    from camcore_jax import Equinox

    model, state, _ = stateful
    kept = Equinox(model, lambda model, x: jax.vmap(model, **OVER)(x, state)[0])
    with pytest.raises(MethodError, match=r"statistics of 'norm' are not in the module: give its"):
        backend.adapt(kept).parameters()


def test_parameters_of_haiku_are_copied_with_their_state_or_without(jax, backend):
    import haiku as hk

    from camcore_jax import Haiku

    transformed = hk.transform(lambda x: hk.nets.MLP([4, 5])(x))
    x = np.ones((2, 3), np.float32)
    parameters = transformed.init(jax.random.key(0), x)
    given = Haiku(transformed, parameters)
    own = backend.adapt(given).parameters()
    assert [a.shape for a in own["mlp/~/linear_0"]] == [(4, 3), (4,)]
    kernel, bias = own["mlp/~/linear_1"]
    copy = backend.adapt(given).with_parameters({"mlp/~/linear_1": [2 * kernel, bias + 1]})
    assert copy.state is None
    expected = 2 * transformed.apply(parameters, None, x) + 1
    close(backend.adapt(copy).run(x).outputs[""], expected)
    np.testing.assert_array_equal(parameters["mlp/~/linear_1"]["w"], kernel.T)


def test_parameters_of_a_function_are_not_told(backend):
    from camcore_jax import Function

    model = Function(lambda w, x: x * w, np.ones(3, np.float32), np.ones((1, 3), np.float32))
    with pytest.raises(MethodError, match="JaxAdapter offers no parameters of functions and of Ke"):
        backend.adapt(model).parameters()
