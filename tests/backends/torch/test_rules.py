"""PyTorch: second derivatives, and other rules for rectifiers."""

from __future__ import annotations

import importlib
import os
import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest

from camcore.adapter import INPUT
from camcore.errors import MethodError
from camcore.registry import adapter as adapt

torch = importlib.import_module("torch") if "CI" in os.environ else pytest.importorskip("torch")
nn = torch.nn
F = nn.functional


class Net(nn.Module):
    def __init__(self, relu: Any = F.relu, top: float = float("inf")) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 5)
        self.fc = nn.Linear(5, 3)
        self.relu, self.top = relu, top
        self.double()

    def forward(self, x: Any) -> Any:
        return self.fc(self.relu(self.second(self.relu(self.first(3 * x)))))

    def bent(self, x: np.ndarray, rule: str) -> np.ndarray:
        """Gradient of the first output at `x` by a rule for rectifiers, by hand."""

        def rectify(z: np.ndarray) -> np.ndarray:
            return np.clip(z, 0, self.top)

        def back(gradient: np.ndarray, z: np.ndarray) -> np.ndarray:
            is_open = rule == "deconvolution" or ((z > 0) & (z < self.top))
            return np.maximum(gradient, 0) * is_open

        w = {name: p.detach().numpy() for name, p in self.named_parameters()}
        z1 = 3 * x @ w["first.weight"].T + w["first.bias"]
        z2 = rectify(z1) @ w["second.weight"].T + w["second.bias"]
        gradient = back(np.broadcast_to(w["fc.weight"][0], z2.shape), z2)
        return 3 * back(gradient @ w["second.weight"], z1) @ w["first.weight"]


@pytest.fixture
def points() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(16, 4))


def first(leaves):
    return {"": np.eye(1, 3).repeat(len(leaves[""]), 0)}


INFINITY = float("inf")
RELUS = {
    "module": (nn.ReLU(), INFINITY),
    "in-place module": (nn.ReLU(inplace=True), INFINITY),
    "function": (F.relu, INFINITY),
    "method": (lambda x: x.relu_(), INFINITY),
    "clamp": (lambda x: x.clamp(min=0), INFINITY),
    "clamp_min": (lambda x: torch.clamp_min(x, 0), INFINITY),
    "threshold": (lambda x: F.threshold(x, 0, 0), INFINITY),
    "ReLU6 module": (nn.ReLU6(), 6.0),
    "relu6": (F.relu6, 6.0),
    "TorchScript": (lambda x: scripted_relu()(x), INFINITY),
}


@cache
def scripted_relu() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return torch.jit.script(nn.ReLU())


@pytest.mark.parametrize("rule", ["guided", "deconvolution"])
@pytest.mark.parametrize(("relu", "top"), RELUS.values(), ids=RELUS)
def test_rectifiers_pull_back_by_the_rule_asked_for(points, relu, top, rule):
    net = Net(relu, top)
    trace = adapt(net).run(points, [INPUT, "first"], [first, first], rectifier=rule)
    expected = net.bent(points, rule)
    plain = adapt(net).run(points, [INPUT], [first]).layers[INPUT].gradients[0]
    for gradients in trace.layers[INPUT].gradients:
        np.testing.assert_allclose(gradients, expected, rtol=0, atol=1e-12)
    assert np.abs(plain - expected).max() > 0.1


def test_a_bound_other_than_zero_is_no_rectifier(points):
    net = Net(lambda x: x.clamp(min=-0.1).clamp(-2, 2))
    plain, *bent = (
        adapt(net).run(points, [INPUT], [first], rectifier=rule).layers[INPUT].gradients[0]
        for rule in (None, "guided", "deconvolution")
    )
    for found in bent:
        np.testing.assert_array_equal(plain, found)


def test_checkpointed_rectifiers_are_reached(points):
    def checkpointed(x: Any) -> Any:
        return torch.utils.checkpoint.checkpoint(F.relu, x, use_reentrant=True)

    found, expected = (
        adapt(Net(relu)).run(points, [INPUT], [first], rectifier="guided").layers[INPUT]
        for relu in (checkpointed, F.relu)
    )
    np.testing.assert_array_equal(found.gradients[0], expected.gradients[0])


def test_rectifiers_out_of_reach_are_an_error(points):
    compiled = torch.compile(F.relu, backend="aot_eager")
    with pytest.raises(MethodError, match="CompiledFunction"):
        adapt(Net(compiled)).run(points, [INPUT], [first], rectifier="guided")


class Curved(nn.Module):
    """Two curved layers and attention, whose fused kernels have no second derivative."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.mix = nn.Linear(4, 4), nn.Linear(4, 4)
        self.fc = nn.Linear(4, 3)
        self.double()

    def rest(self, a: Any) -> Any:
        b = self.mix(torch.tanh(a))
        return self.top(b)

    def top(self, b: Any) -> Any:
        attended = F.scaled_dot_product_attention(b[:, None], b[:, None], b[:, None])[:, 0]
        return self.fc(attended.mean(1) ** 2)

    def forward(self, x: Any) -> Any:
        return self.rest(self.embed(x))


def test_hessian_products_are_those_of_the_whole_hessian():
    net, x = Curved(), np.random.default_rng(0).normal(size=(2, 5, 4))
    trace = adapt(net).run(x, ["embed", "mix"], [first, first], second_order=True)
    for name, rest in (("embed", net.rest), ("mix", net.top)):
        traced = trace.layers[name]
        for i in range(2):
            own = torch.tensor(traced.activations[i : i + 1])
            with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
                hessian = torch.autograd.functional.hessian(lambda a, f=rest: f(a)[0, 0], own)
            expected = (hessian.reshape(20, 20) @ own.reshape(20)).reshape(5, 4)
            assert expected.abs().max() > 1e-3
            np.testing.assert_allclose(traced.hessian_products[0][i], expected, atol=1e-12)
            np.testing.assert_allclose(traced.hessian_products[1][i], expected, atol=1e-12)
        along = adapt(net).run(x, [name], (), second_order="tangents").layers[name]
        own = torch.tensor(traced.activations)
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            tangents = torch.func.jvp(rest, (own,), (own,))[1].detach()
        np.testing.assert_allclose(along.tangents[""], tangents, atol=1e-12)
        assert along.gradients == along.hessian_products == ()
        assert dict(traced.tangents) == {}
        plain = adapt(net).run(x, [name], [first]).layers[name]
        np.testing.assert_allclose(traced.gradients[0], plain.gradients[0], atol=1e-12)
        assert plain.hessian_products == ()


def test_hessian_products_of_what_is_linear_are_zero(points):
    trace = adapt(Net()).run(points, ["second", "fc"], [first], second_order=True)
    for traced in trace.layers.values():
        assert traced.hessian_products[0].shape == traced.activations.shape
        assert not traced.hessian_products[0].any()
