"""PyTorch: what cannot be done is said, and by which layer or output."""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np
import pytest

from camcore.errors import GradientError, LayerError, TargetError
from camcore.registry import adapter as adapt

torch = importlib.import_module("torch") if "CI" in os.environ else pytest.importorskip("torch")
nn = torch.nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)
        self.fc = nn.Linear(5, 6)
        self.double()

    def forward(self, x: Any) -> Any:
        return self.fc(self.conv2(self.conv1(x)).mean((2, 3)))


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 3, 8, 8))


def first(leaves):
    return {"": np.eye(1, 6).repeat(len(leaves[""]), 0)}


class Cut(Net):
    """One output past an argmax, and one past `conv2`."""

    def forward(self, x: Any) -> Any:
        whole = super().forward(x)
        return {"argmax": whole.argmax(1).double()[:, None], "other": self.fc(x[:, 0, 0, :5])}


def test_absent_gradients_name_the_layer(images):
    for path in ("argmax", "other"):

        def seed(leaves, path=path):
            return {path: np.ones_like(leaves[path])}

        with pytest.raises(GradientError, match="'conv2'"):
            adapt(Cut()).run(images, ["conv2"], [seed])
    with pytest.raises(GradientError, match="'conv1'"):
        adapt(Net()).run(images, ["conv1"], [lambda leaves: {}])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("conv3", "Did you mean 'conv[12]'"),
        ("", "no layer ''"),
        ("conv1#x", "conv1#0"),
        ("conv1#1", "ran once"),
        ("conv1#-2", "ran once"),
        ("unused", "did not run"),
        ("indices", "no floating tensor"),
    ],
)
def test_layers_that_cannot_be_captured(images, name, message):
    class Odd(Net):
        def __init__(self) -> None:
            super().__init__()
            self.unused, self.indices = nn.ReLU(), Indices()

        def forward(self, x: Any) -> Any:
            self.indices(x)
            return super().forward(x)

    class Indices(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.argmax(1)

    for seeds in ([], [first]):
        with pytest.raises(LayerError, match=message):
            adapt(Odd()).run(images, [name], seeds)


def test_cotangents_that_do_not_fit(images):
    with pytest.raises(TargetError, match="'logits'"):
        adapt(Net()).run(images, ["conv2"], [lambda leaves: {"logits": leaves[""]}])
    with pytest.raises(TargetError, match=r"\(2, 5\).*\(2, 6\)|shape \(2, 5\)"):
        adapt(Net()).run(images, ["conv2"], [lambda leaves: {"": leaves[""][:, :5]}])


def test_errors_of_a_seed_pass_through(images):
    def seed(leaves):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        adapt(Net()).run(images, ["conv2"], [seed])


def test_inference_mode_within_a_model_is_named_among_the_causes(images):
    class Wrapped(Net):
        @torch.inference_mode()
        def forward(self, x: Any) -> Any:
            return super().forward(x)

    with pytest.raises(GradientError, match=r"'conv2'.*inference_mode"):
        adapt(Wrapped()).run(images, ["conv2"], [first])
    assert adapt(Wrapped()).run(images, ["conv2"]).layers["conv2"].activations.shape[1] == 5


class Squared(torch.autograd.Function):
    """The square, whose gradient cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Any) -> Any:
        return 2 * ctx.saved_tensors[0] * gradient


def test_a_function_without_a_second_derivative_is_named(images):
    class Once(Net):
        def forward(self, x: Any) -> Any:
            return super().forward(Squared.apply(self.conv1(x))[:, :3])

    net = Once()
    trace = adapt(net).run(images, ["conv1#0"], [first])
    assert np.isfinite(trace.layers["conv1#0"].gradients[0]).all()
    words = r"'conv1#0': the model has no second derivative .*once_differentiable.*gradcam"
    with pytest.raises(GradientError, match=words):
        adapt(net).run(images, ["conv1#0"], [first], second_order=True)
    after = adapt(net).run(images, ["conv1#1"], [first], second_order=True)
    assert not after.layers["conv1#1"].hessian_products[0].any()
