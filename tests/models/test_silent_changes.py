"""A model changed between two explanations is explained as it is now, in every way there is."""

from __future__ import annotations

import numpy as np
import pytest
from architectures.shapes_keras import pictures

import camcore


def network(keras):
    """A little of everything that can be changed."""
    layers = keras.layers

    class Scaled(layers.Layer):
        """Has numbers, lists, arrays and an object of its own."""

        class Settings:
            strength = 1.0

        def __init__(self):
            super().__init__(name="scaled")
            self.factor, self.steps, self.table = 1.0, [1.0, 1.0], np.ones(8, np.float32)
            self.settings, self.shift = self.Settings(), None

        def call(self, x):
            x = x * self.factor * self.steps[1] * self.table * self.settings.strength
            return self.bent(x) if self.shift is None else self.bent(x) + self.shift

        def bent(self, x):
            return x

    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Normalization(name="normal"),
            layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="conv"),
            Scaled(),
            layers.BatchNormalization(name="norm"),
            layers.LeakyReLU(name="leaky"),
            layers.Dense(8, name="mix"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(4, name="fc", activation="softmax"),
        ]
    )


def adapted(m, keras):
    m.get_layer("normal").adapt(7 * pictures(16) + 1)


def lora(m, keras):
    m.get_layer("mix").enable_lora(2)
    m.get_layer("mix").lora_kernel_b.assign(np.ones((2, 8)))


def trained_lora(m, keras):
    lora(m, keras)
    camcore.explain(m, pictures(2), 1, "conv")
    m.get_layer("mix").lora_kernel_b.assign(-np.ones((2, 8)))


def policy(m, keras):
    m.get_layer("conv").dtype_policy = keras.DTypePolicy("mixed_bfloat16")


def replaced_variable(m, keras):
    layer = m.get_layer("norm")
    layer._tracker.unlock()
    layer.gamma = layer.add_weight(shape=(8,), initializer=keras.initializers.Constant(-2.0))


def replaced_call(m, keras):
    layer = m.get_layer("leaky")
    usual = layer.call
    layer.call = lambda x: usual(x) * usual(x)


def replaced_method(m, keras):
    layer = m.get_layer("scaled")
    layer.bent = lambda x: keras.ops.square(x)


def redefined_class(m, keras):
    type(m.get_layer("scaled")).bent = lambda self, x: keras.ops.sin(x)


def popped(m, keras):
    m.pop()
    m.add(keras.layers.Dense(3))
    m.layers[-1].kernel.assign(np.linspace(-1, 1, 24).reshape(8, 3))


IN_KERAS = {
    "adapted": adapted,
    "lora": lora,
    "trained_lora": trained_lora,
    "int8": lambda m, keras: m.quantize("int8"),
    "weights": lambda m, keras: m.set_weights([0.5 * w for w in m.get_weights()]),
    "assigned": lambda m, keras: m.get_layer("conv").kernel.assign(
        -m.get_layer("conv").kernel.numpy()
    ),
    "strides": lambda m, keras: setattr(m.get_layer("conv"), "strides", (4, 4)),
    "dilation": lambda m, keras: vars(m.get_layer("conv")).update(
        strides=(1, 1), dilation_rate=(2, 2)
    ),
    "padding": lambda m, keras: setattr(m.get_layer("conv"), "padding", "valid"),
    "activation": lambda m, keras: setattr(m.get_layer("conv"), "activation", keras.ops.tanh),
    "activation of another": lambda m, keras: setattr(
        m.get_layer("mix"), "activation", keras.ops.square
    ),
    "slope": lambda m, keras: setattr(m.get_layer("leaky"), "negative_slope", 0.9),
    "epsilon": lambda m, keras: setattr(m.get_layer("norm"), "epsilon", 3.0),
    "policy": policy,
    "replaced variable": replaced_variable,
    "replaced call": replaced_call,
    "replaced method": replaced_method,
    "redefined class": redefined_class,
    "popped": popped,
    "number": lambda m, keras: setattr(m.get_layer("scaled"), "factor", 3.0),
    "list": lambda m, keras: m.get_layer("scaled").steps.__setitem__(1, 5.0),
    "array": lambda m, keras: m.get_layer("scaled").table.__setitem__(slice(0, 4), -3.0),
    "object": lambda m, keras: setattr(m.get_layer("scaled").settings, "strength", 4.0),
    "none": lambda m, keras: setattr(m.get_layer("scaled"), "shift", 2.0),
}


def numbers(model, inputs, layer):
    found = camcore.explain(model, inputs, 1, layer, score="output")
    return found.raw[layer], found.scores


def same(one, other):
    for here, there in zip(one, other, strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-5 * np.abs(there).max())


def differ(one, other):
    return any(
        here.shape != there.shape or np.abs(here - there).max() > 1e-3 * np.abs(there).max()
        for here, there in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("change", IN_KERAS, ids=str)
def test_a_keras_model_is_explained_as_it_is_now(keras, change):
    model, inputs = network(keras), pictures(2)
    before = numbers(model, inputs, "conv")
    IN_KERAS[change](model, keras)
    now = numbers(model, inputs, "conv")
    assert differ(now, before)
    np.testing.assert_allclose(now[1], np.array(model(inputs))[:, 1], rtol=1e-4)
    # Compiled without a past.
    from camcore_tensorflow import compile as compiling

    compiling._caches.pop(model)
    same(now, numbers(model, inputs, "conv"))


def torch_network(torch):
    """A convolution, a normalisation, modules in containers, and numbers of its own."""
    nn = torch.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
            self.norm = nn.BatchNorm2d(8)
            self.parts, self.factor, self.steps = [nn.LeakyReLU()], 1.0, [1.0, 1.0]
            self.register_buffer("table", torch.ones(8))
            self.fc = nn.Linear(8, 4)

        def forward(self, x):
            x = self.norm(self.conv(x) * self.table[:, None, None] * self.factor)
            for part in self.parts:
                x = part(x * self.steps[1])
            return self.fc(x.mean((2, 3))).softmax(1)

    torch.manual_seed(0)
    return Net().eval()


class LoRA:
    """Wraps a linear layer, as adapters do."""

    def __new__(cls, torch, base):
        class Wrapped(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.base, self.extra = base, torch.nn.Linear(8, 4)

            def forward(self, x):
                return self.base(x) + 5 * self.extra(x)

        return Wrapped()


def pruned(m, torch):
    from torch.nn.utils import prune

    prune.ln_structured(m.conv, "weight", amount=0.5, n=2, dim=0)


def parametrised(m, torch):
    class Square(torch.nn.Module):
        def forward(self, weight):
            return weight.square()

    torch.nn.utils.parametrize.register_parametrization(m.fc, "weight", Square())


def unparametrised(m, torch):
    parametrised(m, torch)
    camcore.explain(m, torch.ones(1, 3, 16, 16), 1, "conv")
    torch.nn.utils.parametrize.remove_parametrizations(m.fc, "weight", leave_parametrized=False)
    m.factor = 2.0


def hooked(m, torch):
    m.norm.register_forward_hook(lambda module, args, out: out * 3)


def unhooked(m, torch):
    handle = m.norm.register_forward_hook(lambda module, args, out: out * 3)
    camcore.explain(m, torch.ones(1, 3, 16, 16), 1, "conv")
    handle.remove()
    m.norm.register_forward_pre_hook(lambda module, args: (args[0] * 2,))


IN_TORCH = {
    "weights": lambda m, torch: m.load_state_dict({k: v * 2 for k, v in m.state_dict().items()}),
    "data": lambda m, torch: setattr(m.conv.weight, "data", -m.conv.weight.data),
    "parameter": lambda m, torch: setattr(m.fc, "weight", torch.nn.Parameter(-m.fc.weight)),
    "buffer": lambda m, torch: m.table.mul_(-2),
    "other buffer": lambda m, torch: setattr(m, "table", torch.linspace(-1, 1, 8)),
    "attribute": lambda m, torch: setattr(m, "factor", 3.0),
    "list": lambda m, torch: m.steps.__setitem__(1, 5.0),
    "module in a list": lambda m, torch: m.parts.append(torch.nn.Tanh()),
    "stride": lambda m, torch: setattr(m.conv, "stride", (4, 4)),
    "slope": lambda m, torch: setattr(m.parts[0], "negative_slope", 0.9),
    "epsilon": lambda m, torch: setattr(m.norm, "eps", 3.0),
    "submodule": lambda m, torch: setattr(m, "norm", torch.nn.Softplus()),
    "lora": lambda m, torch: setattr(m, "fc", LoRA(torch, m.fc)),
    "pruned": pruned,
    "parametrised": parametrised,
    "unparametrised": unparametrised,
    "hooked": hooked,
    "unhooked": unhooked,
    "forward": lambda m, torch: setattr(
        m.fc, "forward", lambda x, usual=m.fc.forward: usual(x * x)
    ),
    "class": lambda m, torch: setattr(
        type(m), "forward", lambda self, x: self.fc(self.conv(x).mean((2, 3))).softmax(1)
    ),
    "bfloat16": lambda m, torch: m.to(torch.bfloat16),
    "double": lambda m, torch: (m.double(), setattr(m, "factor", 2.0)),
    "memory": lambda m, torch: (m.to(memory_format=torch.channels_last), m.conv.bias.data.add_(1)),
}


@pytest.mark.parametrize("fast", [False, True], ids=["plain", "fast"])
@pytest.mark.parametrize("change", IN_TORCH, ids=str)
def test_a_torch_model_is_explained_as_it_is_now(torch, change, fast):
    model, inputs = torch_network(torch), torch.rand(2, 3, 16, 16)
    explainer = camcore.Explainer(model, layer="conv", score="output", fast=fast)
    before = explainer(inputs, 1)
    IN_TORCH[change](model, torch)
    if fast and change == "pruned":
        with pytest.raises(camcore.errors.BackendError, match="cannot be copied"):
            explainer(inputs, 1)
        return
    now = explainer(inputs, 1)
    assert differ((now.raw["conv"], now.scores), (before.raw["conv"], before.scores))
    kept = []
    hook = model.conv.register_forward_hook(lambda module, args, out: kept.append(out))
    scores = model(inputs.to(model.conv.weight.dtype))[:, 1]
    hook.remove()
    (gradients,) = torch.autograd.grad(scores.sum(), kept)
    weighed = gradients.double().mean((2, 3), keepdim=True) * kept[0].double()
    near = 2e-2 if scores.dtype == torch.bfloat16 else 1e-5
    for here, there in ((now.raw["conv"], weighed.sum(1)), (now.scores, scores.double())):
        there = there.detach().numpy()
        np.testing.assert_allclose(here, there, rtol=near, atol=near * np.abs(there).max())
