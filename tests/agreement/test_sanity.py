"""The same draws of the same network's parameters in every framework, and models left alone."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

import camcore
from camcore import registry
from camcore.errors import BackendError, InputError
from camcore.metrics import model_parameter_randomisation, randomiser

LAYERS = ("fc", "conv2", "norm", "conv1")
IMAGES = np.random.default_rng(0).normal(size=(4, 3, 12, 12)).astype(np.float32)
TARGET = [0, 1, 2, 3]


def torch_model(torch):
    nn = torch.nn
    parts = {
        "conv1": nn.Conv2d(3, 6, 3),
        "norm": nn.BatchNorm2d(6, eps=1e-3),
        "relu1": nn.ReLU(),
        "conv2": nn.Conv2d(6, 8, 3, stride=2),
        "relu2": nn.ReLU(),
        "pool": nn.AdaptiveAvgPool2d(1),
        "flat": nn.Flatten(),
        "fc": nn.Linear(8, 5),
    }
    model = nn.Sequential()
    for name, part in parts.items():
        model.add_module(name, part)
    return model


def keras_model(keras):
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(6, 3, name="conv1"),
            layers.BatchNormalization(epsilon=1e-3, name="norm"),
            layers.ReLU(name="relu1"),
            layers.Conv2D(8, 3, strides=2, name="conv2"),
            layers.ReLU(name="relu2"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(5, name="fc"),
        ]
    )


def nnx_model(nnx):
    rngs = nnx.Rngs(0)

    class Relu(nnx.Module):
        def __call__(self, x):
            return nnx.relu(x)

    class Network(nnx.Module):
        def __init__(self):
            self.conv1 = nnx.Conv(3, 6, (3, 3), padding="VALID", rngs=rngs)
            self.norm = nnx.BatchNorm(6, epsilon=1e-3, rngs=rngs)
            self.relu1 = Relu()
            self.conv2 = nnx.Conv(6, 8, (3, 3), 2, padding="VALID", rngs=rngs)
            self.relu2 = Relu()
            self.fc = nnx.Linear(8, 5, rngs=rngs)

        def __call__(self, x):
            x = self.relu2(self.conv2(self.relu1(self.norm(self.conv1(x)))))
            return self.fc(x.mean((1, 2)))

    return Network()


def linen_model(nn, jax):
    class Relu(nn.Module):
        def __call__(self, x):
            return nn.relu(x)

    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(6, (3, 3), padding="VALID", name="conv1")(x)
            x = nn.BatchNorm(use_running_average=True, epsilon=1e-3, name="norm")(x)
            x = nn.Conv(8, (3, 3), 2, padding="VALID", name="conv2")(Relu(name="relu1")(x))
            return nn.Dense(5, name="fc")(Relu(name="relu2")(x).mean((1, 2)))

    network = Network()
    return network.bind(network.init(jax.random.key(0), np.zeros((1, 12, 12, 3), np.float32)))


def haiku_model(hk, jax):
    from camcore_jax import Haiku

    class Relu(hk.Module):
        def __call__(self, x):
            return jax.nn.relu(x)

    def network(x, is_training):
        x = hk.Conv2D(6, 3, padding="VALID", name="conv1")(x)
        x = hk.BatchNorm(True, True, 0.9, eps=1e-3, name="norm")(x, is_training)
        x = hk.Conv2D(8, 3, 2, padding="VALID", name="conv2")(Relu(name="relu1")(x))
        return hk.Linear(5, name="fc")(Relu(name="relu2")(x).mean((1, 2)))

    transformed, key = hk.transform_with_state(network), jax.random.key(0)
    parameters, state = transformed.init(key, np.zeros((1, 12, 12, 3), np.float32), True)
    return Haiku(transformed, parameters, state, {"is_training": False})


def equinox_model(eqx, jax):
    from camcore_jax import Equinox

    class Network(eqx.Module):
        conv1: eqx.nn.Conv2d
        norm: eqx.nn.BatchNorm
        relu1: eqx.nn.Lambda
        conv2: eqx.nn.Conv2d
        relu2: eqx.nn.Lambda
        fc: eqx.nn.Linear

        def __call__(self, x, state):
            x, state = self.norm(self.conv1(x), state)
            x = self.relu2(self.conv2(self.relu1(x)))
            return self.fc(x.mean((1, 2))), state

    def made():
        keys, relu = jax.random.split(jax.random.key(0), 3), eqx.nn.Lambda(jax.nn.relu)
        return Network(
            eqx.nn.Conv2d(3, 6, 3, key=keys[0]),
            eqx.nn.BatchNorm(6, axis_name="batch", mode="ema", eps=1e-3),
            relu,
            eqx.nn.Conv2d(6, 8, 3, 2, key=keys[1]),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.Linear(8, 5, key=keys[2]),
        )

    model, state = eqx.nn.make_with_state(made)()
    return Equinox(model, state=state)


def onnx_file(weights):
    from onnx import helper
    from onnx_files import file_of

    kernels, norm = ("conv1", "conv2", "fc"), ("gamma", "beta", "mean", "variance")
    names = {k: [f"{k}.kernel", f"{k}.bias"] for k in kernels} | {"norm": [*norm]}
    steps = [
        ("Conv", "conv1", {}),
        ("BatchNormalization", "norm", {"epsilon": 1e-3}),
        ("Relu", "relu1", {}),
        ("Conv", "conv2", {"strides": [2, 2]}),
        ("Relu", "relu2", {}),
        ("GlobalAveragePool", "pool", {}),
        ("Flatten", "flat", {}),
        ("Gemm", "fc", {"transB": 1}),
    ]
    given = ["image", *(name for _, name, _ in steps)]
    nodes = [
        helper.make_node(kind, [before, *names.get(name, ())], [name], name, **how)
        for before, (kind, name, how) in zip(given, steps, strict=False)
    ]
    held = {}
    for layer, arrays in weights.items():
        held.update(zip(names[layer], arrays, strict=True))
    return file_of(nodes, {"image": ["n", 3, 12, 12]}, ["fc"], held)


CHANNELS_FIRST = ("torch", "equinox", "onnx")
FRAMEWORKS = ("torch", "keras", "nnx", "linen", "haiku", "equinox", "onnx")
OTHERS = FRAMEWORKS[1:]
LAYER_OF_LITE0 = {"torch": "bn2", **dict.fromkeys(("keras", "jax", "onnx"), "head_relu")}


@pytest.fixture(scope="module")
def weights():
    random = np.random.default_rng(1)
    shapes = {
        "conv1": [(6, 3, 3, 3), (6,)],
        "norm": [(6,)] * 4,
        "conv2": [(8, 6, 3, 3), (8,)],
        "fc": [(5, 8), (5,)],
    }
    drawn = {
        name: [random.normal(0, 0.5, shape).astype(np.float32) for shape in every]
        for name, every in shapes.items()
    }
    drawn["norm"][0], drawn["norm"][3] = random.uniform(0.5, 2, (2, 6)).astype(np.float32)
    return drawn


@pytest.fixture(scope="module")
def subjects(torch, keras, require, weights):
    """One network in every framework, with the images as it takes them."""
    nnx, linen, jax = map(require, ("flax.nnx", "flax.linen", "jax"))
    haiku, equinox, _ = map(require, ("haiku", "equinox", "onnxruntime"))
    models = {
        "torch": torch_model(torch),
        "keras": keras_model(keras),
        "nnx": nnx_model(nnx),
        "linen": linen_model(linen, jax),
        "haiku": haiku_model(haiku, jax),
        "equinox": equinox_model(equinox, jax),
        "onnx": onnx_file(weights),
    }
    made = {
        name: SimpleNamespace(
            model=registry.adapter(model).with_parameters(weights),
            images=IMAGES if name in CHANNELS_FIRST else np.moveaxis(IMAGES, 1, -1),
        )
        for name, model in models.items()
    }
    for name in ("linen", "haiku"):  # which tell their layers once they ran
        camcore.explain(made[name].model, made[name].images, 1)
    return made


@pytest.fixture(params=FRAMEWORKS)
def subject(request, subjects):
    return subjects[request.param]


def explained(subject, model, method="gradcam", **options):
    found = camcore.explain(model, subject.images, TARGET, "relu2", method, **options)
    return next(iter(found.raw.values()))


def outputs(subject, model):
    return registry.adapter(model).run(subject.images).outputs[""]


def test_parameters_are_those_that_were_written(subject, weights):
    found = registry.adapter(subject.model).parameters()
    assert list(found) == list(weights)
    assert randomiser(subject.model).layers == LAYERS
    for name, arrays in weights.items():
        for array, expected in zip(found[name], arrays, strict=True):
            np.testing.assert_array_equal(array, expected)


def test_only_the_layers_named_are_drawn_and_the_users_model_is_not_written_to(subject, weights):
    copies = randomiser(subject.model)
    before = outputs(subject, subject.model)
    drawn = registry.adapter(copies(["conv2"], seed=1)).parameters()
    for name, arrays in weights.items():
        for array, own in zip(drawn[name], arrays, strict=True):
            if name == "conv2":
                assert (array != own).any()
                np.testing.assert_array_equal(np.sort(array.ravel()), np.sort(own.ravel()))
            else:
                np.testing.assert_array_equal(array, own)
    model_parameter_randomisation(partial(explained, subject), copies, similarities=["pearson"])
    for name, arrays in registry.adapter(subject.model).parameters().items():
        for array, own in zip(arrays, weights[name], strict=True):
            np.testing.assert_array_equal(array, own)
    np.testing.assert_array_equal(outputs(subject, subject.model), before)
    np.testing.assert_array_equal(outputs(subject, copies([])), before)
    assert type(copies([])) is type(subject.model)
    assert copies([]) is not subject.model


@pytest.mark.parametrize("names", [["fc"], ["fc", "conv2"], [*LAYERS]], ids=str)
def test_a_seed_draws_the_same_network_in_every_framework(subjects, names):
    drawn = {
        framework: outputs(subject, randomiser(subject.model)(names, seed=5))
        for framework, subject in subjects.items()
    }
    own = outputs(subjects["torch"], subjects["torch"].model)
    scale = np.abs(drawn["torch"]).max()
    assert np.abs(drawn["torch"] - own).max() > 0.1 * scale
    for framework in OTHERS:
        np.testing.assert_allclose(drawn[framework], drawn["torch"], rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize(
    ("method", "options", "order"),
    [
        ("gradcam", {}, "cascading"),
        ("saliency", {"signed": True}, "independent"),
        ("guidedbackprop", {"signed": True}, "bottom-up"),
    ],
)
def test_similarities_are_those_of_every_framework(subjects, method, options, order, require):
    require("skimage")
    flat = method != "gradcam"  # a layer of 4 x 4 has too few cells
    names = ("pearson", "spearman", "absolute-spearman", *(["ssim", "hog"] if flat else []))
    found = {
        framework: model_parameter_randomisation(
            partial(explained, subject, method=method, **options),
            randomiser(subject.model),
            LAYERS,
            order=order,
            similarities=names,
        )
        for framework, subject in subjects.items()
    }
    for name in names:
        expected = found["torch"].similarity[name]
        assert np.nanmin(expected) < 0.9
        for framework in OTHERS:
            np.testing.assert_allclose(
                found[framework].similarity[name], expected, rtol=0, atol=1e-4
            )


@pytest.mark.parametrize("other", ["keras", "jax", "onnx"])
def test_the_same_parameters_of_a_network_with_real_weights_are_drawn_alike(lite0, other):
    """The top ten layers, a depthwise convolution among them."""
    own, copies = {}, {}
    for framework in ("torch", other):
        model = lite0[framework].model
        copies[framework] = randomiser(model)
        own[framework] = registry.adapter(model).parameters()
    for expected, found in zip(own["torch"].values(), own[other].values(), strict=True):
        for array, theirs in zip(expected, found, strict=True):
            np.testing.assert_array_equal(theirs, array)
    maps = {}
    for framework in ("torch", other):
        images, layer = lite0[framework].images[:1], LAYER_OF_LITE0[framework]
        drawn = copies[framework](copies[framework].layers[:10], seed=3)
        for name, model in (("drawn", drawn), ("own", lite0[framework].model)):
            (maps[framework, name],) = camcore.explain(model, images, 282, layer).raw.values()
    scale = np.abs(maps["torch", "drawn"]).max()
    assert np.abs(maps["torch", "drawn"] - maps["torch", "own"]).max() > 0.1 * scale
    np.testing.assert_allclose(
        maps[other, "drawn"], maps["torch", "drawn"], rtol=0, atol=1e-4 * scale
    )
    np.testing.assert_array_equal(
        [*registry.adapter(lite0[other].model).parameters().values()][-1][0],
        own[other]["logits"][0],
    )


def test_kernels_of_keras_are_those_of_pytorch(torch, keras):
    layers, functional = keras.layers, torch.nn.functional
    images, x = np.moveaxis(IMAGES, 1, -1), torch.from_numpy(IMAGES)
    every = {
        "depthwise": (layers.DepthwiseConv2D(3, depth_multiplier=2), functional.conv2d, 3),
        "grouped": (layers.Conv2D(6, 3, groups=3), functional.conv2d, 3),
        "transposed": (layers.Conv2DTranspose(4, 3), functional.conv_transpose2d, 1),
    }
    for name, (layer, function, groups) in every.items():
        model = keras.Sequential([keras.Input((12, 12, 3)), layer])
        adapter = registry.adapter(model)
        ((kernel, bias),) = adapter.parameters().values()
        made = function(x, torch.from_numpy(kernel), torch.from_numpy(bias), groups=groups)
        plain = np.asarray(model(images))
        np.testing.assert_allclose(plain, made.permute(0, 2, 3, 1), rtol=0, atol=1e-5, err_msg=name)
        same = adapter.with_parameters(adapter.parameters())
        np.testing.assert_array_equal(np.asarray(same(images)), plain)


def test_a_model_of_pytorch_keeps_modes_gradients_and_hooks(torch):
    model = torch_model(torch).train()
    model.norm.eval()
    model.fc.weight.requires_grad_(False)
    model(torch.from_numpy(IMAGES)).sum().backward()
    state = {name: (t.clone(), t._version) for name, t in model.state_dict().items()}
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    drawn = randomiser(model)(["conv1", "norm"], seed=0)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name][0])
        assert tensor._version == state[name][1]
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert gradient is None or torch.equal(parameter.grad, gradient)
    assert (model.training, model.norm.training) == (True, False)
    assert not torch.equal(drawn.conv1.weight, model.conv1.weight)
    assert drawn.conv1.weight.data_ptr() != model.conv1.weight.data_ptr()
    assert not drawn.fc.weight.requires_grad


def test_half_precision_and_shared_weights_of_pytorch(torch):
    nn = torch.nn
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    model = model.to(torch.bfloat16)
    copies = randomiser(model)
    assert copies.layers == ("2", "0")
    assert [len(arrays) for arrays in registry.adapter(model).parameters().values()] == [2, 1]
    drawn = copies(["0"], seed=1)
    assert drawn[0].weight.dtype == torch.bfloat16
    assert drawn[2].weight is drawn[0].weight
    assert sorted(drawn[0].weight.flatten().tolist()) == sorted(model[0].weight.flatten().tolist())


def test_parameters_of_the_model_itself_are_under_the_empty_name(torch):
    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.arange(9.0))
            self.fc = torch.nn.Linear(9, 2)

    model = Scaled()
    assert randomiser(model).layers == ("fc", "")
    drawn = randomiser(model)([""], seed=1)
    assert drawn.scale.tolist() != list(range(9))
    assert torch.equal(drawn.fc.weight, model.fc.weight)


def test_a_model_that_cannot_be_copied_is_named(torch):
    model = torch_model(torch)
    model.kept = model.fc(torch.zeros(1, 8))  # hangs on the graph
    with pytest.raises(BackendError, match="The Sequential cannot be copied, which drawing its"):
        randomiser(model)(["fc"])


def test_layers_of_python_functions_and_models_of_ones_own_are_copied_in_keras(keras):
    layers = keras.layers

    class Own(keras.Model):
        def __init__(self, **options):
            super().__init__(**options)
            self.conv, self.fc = layers.Conv2D(4, 3), layers.Dense(5)

        def call(self, x):
            return self.fc(keras.ops.mean(self.conv(x), (1, 2)))

    inputs = keras.Input((12, 12, 3))
    doubled = layers.Lambda(lambda x: 2 * x)(layers.Conv2D(4, 3)(inputs))
    with_function = keras.Model(inputs, layers.Dense(5)(layers.GlobalAveragePooling2D()(doubled)))
    images = np.moveaxis(IMAGES, 1, -1)
    for model in (with_function, Own()):
        before = np.asarray(model(images))
        copies = randomiser(model)
        assert len(copies.layers) == 2
        np.testing.assert_array_equal(np.asarray(copies([])(images)), before)
        drawn = copies(copies.layers[:1], seed=2)
        assert np.abs(np.asarray(drawn(images)) - before).max() > 1e-3
        np.testing.assert_array_equal(drawn.get_weights()[0], model.get_weights()[0])
        np.testing.assert_array_equal(np.asarray(model(images)), before)


def test_parameters_that_do_not_fit_are_refused(subject):
    adapter = registry.adapter(subject.model)
    with pytest.raises(InputError, match=r"'fc' has parameters of shapes \[\(5, 8\), \(5,\)\]"):
        adapter.with_parameters({"fc": [np.zeros((8, 5)), np.zeros(5)]})
    with pytest.raises(InputError, match="'fc2' has parameters of shapes none"):
        adapter.with_parameters({"fc2": [np.zeros(5)]})


def test_what_is_compiled_in_jax_serves_the_copies(subjects):
    for framework in ("nnx", "linen", "haiku", "equinox"):
        subject = subjects[framework]
        explained(subject, subject.model)
        copy = randomiser(subject.model)([*LAYERS], seed=3)
        explained(subject, copy)
        assert registry.adapter(copy).traces == 0
