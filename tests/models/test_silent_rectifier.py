"""Where a function rectifies a layer's output, that is what is explained, not what is before it."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore.errors import LayerError
from camcore.layers import candidates
from camcore.registry import adapter as adapt

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

TORCH = {
    "function": F.relu,
    "method": lambda x: x.relu(),
    "in place": lambda x: F.relu(x, inplace=True),
    "in place, what it returns not used": lambda x: (F.relu_(x), x)[1],
    "leaky, in place": lambda x: F.leaky_relu(x, 0.1, True),
    "ReLU6 as a clamp": lambda x: x.clamp(0, 6),
    "ELU": F.elu,
    "SiLU": F.silu,
    "SiLU written out": lambda x: x * torch.sigmoid(x),
    "hard swish written out": lambda x: x * F.relu6(x + 3) / 6,
    "GELU by its error function": lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)),
    "GELU by a hyperbolic tangent": lambda x: (
        0.5 * x * (1 + torch.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))
    ),
    "Mish written out": lambda x: x * torch.tanh(F.softplus(x)),
    "PReLU as a choice": lambda x: torch.where(x > 0, x, 0.25 * x),
}


class Net(nn.Module):
    """Normalised features, rectified by a function, pooled."""

    def __init__(self, rectify, residual=False):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.shortcut = nn.Conv2d(3, 6, 3) if residual else None
        self.fc, self.rectify = nn.Linear(6, 4), rectify

    def rectified(self, x):
        features = self.norm(self.conv(x))
        if self.shortcut is not None:
            features = features + self.shortcut(x)
        return self.rectify(features)

    def forward(self, x):
        return self.fc(self.rectified(x).mean((2, 3)))

    def altered(self, rectified):
        """Scores of other activations behind the rectifier."""
        return self.fc(rectified.mean((2, 3)))


def network(rectify, residual=False):
    torch.manual_seed(0)
    return Net(rectify, residual).eval(), torch.randn(2, 3, 9, 9)


def by_hand(net, images):
    with torch.no_grad():
        rectified = net.rectified(images.clone())
    rectified.requires_grad_()
    (gradient,) = torch.autograd.grad(net.altered(rectified)[:, 1].sum(), rectified)
    return (gradient.mean((2, 3), keepdim=True) * rectified).sum(1).detach().numpy()


@pytest.mark.parametrize("residual", [False, True], ids=["alone", "after a sum"])
@pytest.mark.parametrize("rectify", TORCH.values(), ids=list(TORCH))
def test_torch_explains_what_is_rectified(rectify, residual):
    net, images = network(rectify, residual)
    result = camcore.explain(net, images, target=1)
    # A sum has the name of what was added last.
    name = "shortcut@activated" if residual else "norm@activated"
    assert list(result.raw) == [name]
    np.testing.assert_allclose(result.raw[name], by_hand(net, images), rtol=0, atol=1e-8)
    several = camcore.explain(net, images, 1, ["conv", "norm", "norm@activated"])
    np.testing.assert_allclose(
        several.raw["norm@activated"], by_hand(net, images), rtol=0, atol=1e-8
    )


@pytest.mark.parametrize("residual", [False, True], ids=["alone", "after a sum"])
@pytest.mark.parametrize("rectify", TORCH.values(), ids=list(TORCH))
def test_torch_goes_on_from_what_is_rectified(rectify, residual):
    net, images = network(rectify, residual)
    with torch.no_grad():
        own = net.rectified(images[:1].clone())
        altered = torch.cat([own * weight for weight in (0, 0.5, 1)])
        expected = net.altered(altered).numpy()
    with adapt(net).resume(images[:1], "norm@activated") as head:
        np.testing.assert_allclose(head(altered.numpy())[""], expected, rtol=0, atol=1e-6)


def test_layer_named_is_its_own_output_still():
    net, images = network(F.relu)
    features = net.norm(net.conv(images)).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(net.altered(features.relu())[:, 1].sum(), features)
    expected = (gradient.mean((2, 3), keepdim=True) * features).sum(1).detach().numpy()
    raw = camcore.explain(net, images, 1, "norm").raw["norm"]
    np.testing.assert_allclose(raw, expected, rtol=0, atol=1e-8)


class Stages(nn.Module):
    """What is rectified is returned by a layer already, or is nobody's alone."""

    def __init__(self):
        super().__init__()
        self.block = Block()
        self.last = nn.Sequential(nn.Conv2d(6, 6, 3), nn.ReLU(inplace=True))
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        return self.fc(self.last(self.block(x)).mean((2, 3)))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)

    def forward(self, x):
        return F.relu(self.conv(x))


def test_what_a_layer_returns_has_no_second_name():
    model, images = Stages().eval(), torch.randn(1, 3, 9, 9)
    found = {one.layer.name: one.chosen for one in candidates(model, images)}
    assert found == {
        "block.conv": False,
        "block": False,
        "last.0": False,
        "last.1": False,
        "last": True,
        "fc": False,
    }
    net, images = network(F.relu)
    assert {one.layer.name: one.chosen for one in candidates(net, images)} == {
        "conv": False,
        "norm": False,
        "norm@activated": True,
        "fc": False,
    }


def test_layer_that_nothing_rectifies_is_refused():
    net, images = network(F.relu)
    with pytest.raises(LayerError, match="'conv@activated': no function of the model rectifies"):
        camcore.explain(net, images, 1, "conv@activated")


def keras_rectifiers(keras, tf):
    ops = keras.ops
    return {
        "ops.relu": ops.relu,
        "tf.nn.relu": tf.nn.relu,
        "ReLU6": ops.relu6,
        "leaky": ops.leaky_relu,
        "SiLU": ops.silu,
        "hard swish": ops.hard_silu,
        "GELU by its error function": lambda x: ops.gelu(x, approximate=False),
        "GELU by a hyperbolic tangent": ops.gelu,
        "ELU": ops.elu,
        "a maximum": lambda x: tf.maximum(x, 0.0),
        "SiLU written out": lambda x: x * tf.sigmoid(x),
    }


@pytest.mark.parametrize("residual", [False, True], ids=["alone", "after a sum"])
def test_tensorflow_explains_what_is_rectified_and_goes_on_from_it(residual):
    keras, tf = pytest.importorskip("keras"), pytest.importorskip("tensorflow")
    images = np.random.default_rng(0).normal(size=(2, 9, 9, 3)).astype(np.float32)

    class KerasNet(keras.Model):
        def __init__(self, rectify):
            super().__init__()
            self.conv = keras.layers.Conv2D(6, 3, name="conv")
            self.norm = keras.layers.BatchNormalization(name="norm")
            self.fc, self.rectify = keras.layers.Dense(4, name="fc"), rectify

        def rectified(self, x):
            features = self.norm(self.conv(x))
            return self.rectify(features + x[:, 1:-1, 1:-1, :1] if residual else features)

        def call(self, x):
            return self.altered(self.rectified(x))

        def altered(self, rectified):
            return self.fc(tf.reduce_mean(rectified, (1, 2)))

    for rectify in keras_rectifiers(keras, tf).values():
        keras.utils.set_random_seed(0)
        net = KerasNet(rectify)
        result = camcore.explain(net, images, target=1)
        assert list(result.raw) == ["norm@activated"]
        rectified = net.rectified(images)
        with tf.GradientTape() as tape:
            tape.watch(rectified)
            score = tf.reduce_sum(net.altered(rectified)[:, 1])
        weights = tf.reduce_mean(tape.gradient(score, rectified), (1, 2), keepdims=True)
        expected = tf.reduce_sum(weights * rectified, -1).numpy()
        np.testing.assert_allclose(result.raw["norm@activated"], expected, rtol=0, atol=1e-7)
        altered = np.stack([0.5 * rectified[0], rectified[0]])
        with adapt(net).resume(images[:1], "norm@activated") as head:
            np.testing.assert_allclose(head(altered)[""], net.altered(altered), rtol=0, atol=1e-6)


def test_operations_of_functional_keras_models_rectify_too():
    keras, tf = pytest.importorskip("keras"), pytest.importorskip("tensorflow")
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).normal(size=(2, 9, 9, 3)).astype(np.float32)
    x = keras.Input((9, 9, 3))
    conv, fc = keras.layers.Conv2D(6, 3, name="conv"), keras.layers.Dense(4, name="fc")
    rectified = keras.ops.relu(conv(x))
    net = keras.Model(x, fc(keras.layers.GlobalAveragePooling2D()(rectified)))
    result = camcore.explain(net, images, target=1)
    features = tf.nn.relu(conv(images))
    weights = fc.kernel.numpy()[:, 1] / features[0, ..., 0].numpy().size
    np.testing.assert_allclose(
        result.raw["conv@activated"], features.numpy() @ weights, rtol=0, atol=1e-7
    )
    with pytest.raises(LayerError, match="'fc@activated': no function of the model rectifies"):
        camcore.explain(net, images, 1, "fc@activated")
