"""PyTorch: Keras models on the torch backend. Keras has one backend a process, hence another."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest


def check() -> None:
    """Everything the adapter does, on a nested functional model."""
    import keras
    import torch
    from keras import layers as L

    from camcore.adapter import INPUT
    from camcore.registry import adapter as adapt

    keras.utils.set_random_seed(0)
    conv, norm = L.Conv2D(4, 3, name="conv"), L.BatchNormalization(name="norm")
    head = L.Dense(5, activation="softmax", name="head")
    inner = keras.Sequential([L.Input((8, 8, 3)), conv, L.ReLU(name="relu")], name="inner")
    x = L.Input((8, 8, 3))
    y = L.GlobalAveragePooling2D(name="pool")(norm(inner(x)))
    model = keras.Model(x, head(L.Dropout(0.5)(y)))
    norm.set_weights([np.arange(1.0, 5), np.ones(4), np.ones(4), np.full(4, 2.0)])
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    adapter = adapt(model)

    names = [layer.name for layer in adapter.layers()]
    assert {"inner", "inner/conv", "inner/relu", "norm", "pool", "head"} <= set(names), names
    assert len(set(names)) == len(names)
    surveyed = {r.layer.name: (r.shape, r.channels, r.is_output) for r in adapter.survey(images)}
    assert surveyed["inner/conv"] == ((1, 6, 6, 4), "last", False), surveyed
    assert surveyed["head"] == ((1, 5), None, True)

    before = [(m.training, dict(m.__dict__)) for m in model.modules()]
    for _ in range(2):
        trace = adapter.run(images, ["inner/conv", INPUT], [lambda leaves: {"": np.eye(5)[[1, 1]]}])
    assert trace.input_channels == adapter.input_channels == "last"
    assert trace.activation == {"": "softmax"}
    own = torch.tensor(trace.layers["inner/conv"].activations, requires_grad=True)
    pooled = norm(own.relu(), training=False).mean((1, 2))
    logits = pooled @ head.kernel.value + head.bias.value
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), own)
    traced = trace.layers["inner/conv"]
    np.testing.assert_allclose(trace.outputs[""], logits.detach(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(traced.gradients[0], gradient, rtol=0, atol=1e-7)

    weights, bias = adapter.classifier()
    np.testing.assert_array_equal(weights, head.kernel.value.detach().T)
    np.testing.assert_array_equal(bias, head.bias.value.detach())
    with adapter.resume(images[:1], "inner/conv") as resumed:
        outputs = resumed(traced.activations)[""]
        assert type(resumed).__name__ == "Replay"
    np.testing.assert_allclose(outputs, trace.outputs[""], rtol=0, atol=1e-6)
    for module, (training, attributes) in zip(model.modules(), before, strict=True):
        assert module.training == training
        assert module.__dict__.keys() == attributes.keys()
        assert all(module.__dict__[key] is value for key, value in attributes.items())
        assert not module._forward_hooks


def check_own_activations() -> None:
    """What a layer adds before its own activation cannot be captured there, and it is said."""
    import keras
    from keras import layers as L

    from camcore.errors import MethodError
    from camcore.registry import adapter as adapt

    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    for activation, told in ((None, False), ("linear", False), ("relu", True), ("softsign", True)):
        conv = L.Conv2D(4, 3, activation=activation, name="conv", bias_initializer="ones")
        model = keras.Sequential([L.Input((8, 8, 3)), conv, L.GlobalAveragePooling2D()])
        adapter = adapt(model)
        traced = adapter.run(images, ["conv"], [lambda leaves: {"": np.eye(4)[[1, 1]]}])
        np.testing.assert_allclose(traced.layers["conv"].activations, conv(images).detach())
        if told:
            with pytest.raises(MethodError, match=f"Layer 'conv' applies its own {activation}, "):
                adapter.biases()
        else:
            np.testing.assert_array_equal(adapter.biases()[0].added, np.ones(4))


def check_normalisation() -> None:
    """What a normalisation adds is what it makes of zeros, with or without β and γ."""
    import keras
    from keras import layers as L

    from camcore.registry import adapter as adapt

    for scale, center in ((True, True), (True, False), (False, True)):
        norm = L.BatchNormalization(name="norm", scale=scale, center=center)
        model = keras.Sequential([L.Input((4, 4, 3)), norm, L.GlobalAveragePooling2D()])
        norm.set_weights([np.arange(1.0, 4) + 3 * i for i in range(len(norm.get_weights()))])
        (bias,) = adapt(model).biases()
        assert bias.layer == "norm"
        np.testing.assert_allclose(
            bias.added, model.predict(np.zeros((1, 4, 4, 3)), verbose=0)[0], rtol=1e-5
        )


def check_inference() -> None:
    """Every way of giving inputs runs for inference, whatever ``training`` is by default."""
    import keras
    import torch

    from camcore_torch.inputs import call

    class Two(keras.Model):
        def call(self, left, right, training=True):
            return left - right + (100 if training else 0)

    class One(keras.Model):
        def call(self, left, training=True):
            left = left["a"] if isinstance(left, dict) else left
            return left + (100 if training else 0)

    left, right = torch.full((1, 2), 5.0), torch.full((1, 2), 3.0)
    for model, inputs, expected in (
        (Two(), (left, right), 2),
        (Two(), {"right": right, "left": left}, 2),
        (One(), left, 5),
        (One(), {"a": left}, 5),
    ):
        np.testing.assert_array_equal(call(model, inputs).detach(), [[expected] * 2])


def check_unbuilt() -> None:
    """A model that was never called makes its weights once, at the first thing asked of it."""
    import keras
    from keras import layers as L

    from camcore.registry import adapter as adapt

    def resume(adapter):
        with adapter.resume(images[:1], "conv") as head:
            return head(np.ones((1, 6, 6, 4), np.float32))

    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    for ask in (lambda a: a.survey(images), lambda a: a.run(images, ["conv"]), resume):
        model = keras.Sequential([L.Conv2D(4, 3, name="conv"), L.Flatten(), L.Dense(3)])
        adapter = adapt(model)
        ask(adapter)
        weights = [variable.numpy() for variable in model.weights]
        assert [w.shape for w in weights] == [(3, 3, 3, 4), (4,), (144, 3), (3,)], ask
        trace = adapter.run(images, ["conv"])
        np.testing.assert_array_equal(trace.outputs[""], model(images).detach())
        for variable, before in zip(model.weights, weights, strict=True):
            np.testing.assert_array_equal(variable.numpy(), before)


def test_keras_models_on_the_torch_backend(require, run_on_torch_backend):
    for package in ("torch", "keras"):
        if find_spec(package) is None:
            require(package)
    assert run_on_torch_backend(__file__) == ""


if __name__ == "__main__":
    check()
    check_own_activations()
    check_normalisation()
    check_unbuilt()
    check_inference()
