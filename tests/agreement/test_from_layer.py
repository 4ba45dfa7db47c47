"""Maps made of gradients at altered activations are one in every framework, at every rank."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import camcore

LAYER, TARGET = "second", [3, 1]
METHODS = {"layerig": {"steps": 7}, "dix": {"steps": 5}}


def weights_of(rank):
    """Kernels ``(O, C, *K)``, biases and the head's weights, to be the same everywhere."""
    rng = np.random.default_rng(rank)
    kernels = [rng.normal(size=(o, c, *[3] * rank)) * (c * 3**rank) ** -0.5 for o, c in SIZES]
    biases = [rng.normal(size=o) for o, _ in SIZES]
    return kernels, biases, rng.normal(size=(4, 6)), rng.normal(size=4)


SIZES = [(4, 2), (6, 4)]


def images(rank):
    return np.random.default_rng(10 + rank).normal(size=(2, 2, *[8] * rank)).astype(np.float32)


def torch_network(torch, rank):
    """Two convolutions, a square that is not affine, and a linear head on the mean."""
    nn = torch.nn
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[rank - 1]

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = conv(2, 4, 3), conv(4, 6, 3)
            self.head = nn.Linear(6, 4)

        def forward(self, x):
            x = self.second(self.first(x).relu())
            return self.head((x.relu() * x.sigmoid()).flatten(2).mean(2))

    network = Network()
    kernels, biases, head, bias = weights_of(rank)
    state = {}
    for name, kernel, own in zip(("first", "second"), kernels, biases, strict=True):
        state |= {f"{name}.weight": torch.tensor(kernel), f"{name}.bias": torch.tensor(own)}
    state |= {"head.weight": torch.tensor(head), "head.bias": torch.tensor(bias)}
    network.load_state_dict(state)
    return network, images(rank)


def keras_network(keras, rank):
    layers, ops = keras.layers, keras.ops
    conv = (layers.Conv1D, layers.Conv2D, layers.Conv3D)[rank - 1]
    x = keras.Input((*[8] * rank, 2))
    h = layers.ReLU()(conv(4, 3, name="first")(x))
    h = conv(6, 3, name="second")(h)
    h = ops.mean(ops.relu(h) * ops.sigmoid(h), axis=tuple(range(1, 1 + rank)))
    model = keras.Model(x, layers.Dense(4, name="head")(h))
    kernels, biases, head, bias = weights_of(rank)
    for name, kernel, own in zip(("first", "second"), kernels, biases, strict=True):
        model.get_layer(name).set_weights([kernel.transpose(*range(2, 2 + rank), 1, 0), own])
    model.get_layer("head").set_weights([head.T, bias])
    return model, np.moveaxis(images(rank), 1, -1)


def nnx_network(nnx, rank):
    import jax

    class Network(nnx.Module):
        def __init__(self):
            how = {"padding": "VALID", "rngs": nnx.Rngs(0)}
            self.first = nnx.Conv(2, 4, [3] * rank, **how)
            self.second = nnx.Conv(4, 6, [3] * rank, **how)
            self.head = nnx.Linear(6, 4, rngs=nnx.Rngs(0))

        def __call__(self, x):
            x = self.second(nnx.relu(self.first(x)))
            x = nnx.relu(x) * nnx.sigmoid(x)
            return self.head(x.mean(tuple(range(1, 1 + rank))))

    network = Network()
    kernels, biases, head, bias = weights_of(rank)
    for layer, kernel, own in zip((network.first, network.second), kernels, biases, strict=True):
        turned = kernel.transpose(*range(2, 2 + rank), 1, 0)
        layer.kernel[...] = jax.numpy.asarray(turned, np.float32)
        layer.bias[...] = jax.numpy.asarray(own, np.float32)
    network.head.kernel[...] = jax.numpy.asarray(head.T, np.float32)
    network.head.bias[...] = jax.numpy.asarray(bias, np.float32)
    return network, np.moveaxis(images(rank), 1, -1)


def by_hand(torch, rank, method):
    """The formulas written out with PyTorch's own gradients, in double precision."""
    network, batch = torch_network(torch, rank)
    network = copy.deepcopy(network).double()
    activations = network.second(network.first(torch.tensor(batch).double()).relu()).detach()
    least = activations.amin(1, keepdim=True).expand_as(activations)
    nodes, weights = np.polynomial.legendre.leggauss(7)
    start = least if method == "dix" else torch.zeros_like(activations)
    places = np.linspace(0, 1, 6) if method == "dix" else (nodes + 1) / 2
    shares = [1 / 6] * 6 if method == "dix" else weights / 2
    total = torch.zeros_like(activations)
    for place, share in zip(places, shares, strict=True):
        at = (start + place * (activations - start)).requires_grad_()
        outputs = network.head((at.relu() * at.sigmoid()).flatten(2).mean(2))
        (gradient,) = torch.autograd.grad(outputs[[0, 1], TARGET].sum(), at)
        if method == "dix":
            total += share * gradient.relu() * at.detach().relu()
        else:
            total += share * gradient * (activations - start)
    return total.sum(1).numpy()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_maps_are_one_in_every_framework(torch, keras, require, rank, method):
    from camcore_jax import backend as jax_backend

    expected = by_hand(torch, rank, method)
    model, batch = nnx_network(require("flax.nnx"), rank)
    every = {
        "torch": torch_network(torch, rank),
        "tensorflow": keras_network(keras, rank),
        "jax": (jax_backend.adapt(model), batch),
    }
    assert np.ptp(expected) > 1e-3
    for framework, (network, given) in every.items():
        result = camcore.explain(network, given, TARGET, LAYER, method, **METHODS[method])
        found = result.raw[LAYER]
        np.testing.assert_allclose(
            found, expected, rtol=0, atol=2e-6 * np.abs(expected).max(), err_msg=framework
        )


def test_the_forward_passes_are_counted(torch):
    network, batch = torch_network(torch, 2)
    ran = {"first": [], "head": []}
    for name, sizes in ran.items():
        module = network.get_submodule(name)
        plain = module.forward
        module.forward = lambda x, plain=plain, sizes=sizes: (sizes.append(len(x)), plain(x))[1]
    explainer = camcore.Explainer(network, layer=LAYER, method="layerig", steps=7, batch_size=4)
    explainer(batch, TARGET)
    for sizes in ran.values():
        sizes.clear()
    explainer(batch, TARGET)
    # The pass; for each sample one up to the layer, one that the way on is checked by, of two
    # rows, and seven places from the layer on, four at once.
    assert ran == {"first": [2, 1, 1], "head": [2, *[1, 2, 4, 3] * 2]}
