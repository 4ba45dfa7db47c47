"""What a pass costs, counted: products, copies, and graph only where it is needed."""

from __future__ import annotations

import importlib
import os
from collections import Counter

import numpy as np
import pytest

import camcore
from camcore.registry import adapter as adapt
from camcore.targets import top

torch = importlib.import_module("torch") if "CI" in os.environ else pytest.importorskip("torch")
nn = torch.nn

DispatchMode = importlib.import_module("torch.utils._python_dispatch").TorchDispatchMode


class Seen(DispatchMode):
    """Operations by name, with the shapes of their tensors."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        shapes = tuple(tuple(a.shape) for a in args if isinstance(a, torch.Tensor))
        self.calls.append((func.overloadpacket.__name__, shapes))
        return func(*args, **(kwargs or {}))

    def count(self, *names, shape):
        return sum(name in names and shape in shapes for name, shapes in self.calls)


class ByClassToken(nn.Module):
    """A feed-forward block over nine tokens, and a head that reads the first."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Conv1d(3, 6, 1)
        self.up, self.down = nn.Linear(6, 24), nn.Linear(24, 6)
        self.head = nn.Linear(6, 4)
        self.double().eval()

    def forward(self, x):
        tokens = self.embed(x).transpose(1, 2)
        tokens = tokens + self.down(torch.tanh(self.up(tokens)))
        return self.head(tokens[:, 0])


@pytest.fixture
def sequence():
    return torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 9)))


def test_rows_without_gradient_are_not_multiplied(sequence):
    model = ByClassToken()
    with Seen() as seen:
        result = adapt(model).run(sequence, ["embed"], [one_hot(2)])
    # Forward both, then back through `down` and `up` for the class token alone.
    backward = [shapes for name, shapes in seen.calls if name == "mm" and shapes[0][0] == 1]
    assert ((1, 6), (6, 24)) in backward
    assert ((1, 24), (24, 6)) in backward
    assert not [s for name, s in seen.calls if name == "mm" and s == ((9, 24), (24, 6))]
    leaf = model.embed(sequence).detach().requires_grad_()
    tokens = leaf.transpose(1, 2)
    score = model.head((tokens + model.down(torch.tanh(model.up(tokens))))[:, 0])[:, 2].sum()
    (expected,) = torch.autograd.grad(score, leaf)
    np.testing.assert_allclose(
        result.layers["embed"].gradients[0], expected, rtol=1e-13, atol=1e-15
    )


def test_rows_with_gradient_are_all_multiplied(sequence):
    model = ByClassToken()
    pooled = lambda x: model.head(model.up(model.embed(x).transpose(1, 2)).mean(1)[:, :6])  # noqa: E731
    model.forward = pooled
    found = adapt(model).run(sequence, ["embed"], [one_hot(1)]).layers["embed"].gradients[0]
    leaf = model.embed(sequence).detach().requires_grad_()
    score = model.head(model.up(leaf.transpose(1, 2)).mean(1)[:, :6])[:, 1].sum()
    (expected,) = torch.autograd.grad(score, leaf)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-15)


def test_linear_layers_are_their_own_again_afterwards(sequence):
    model = ByClassToken()
    before = {name: dict(module.__dict__) for name, module in model.named_modules()}
    adapt(model).run(sequence, ["embed"], [one_hot(0)])
    for name, module in model.named_modules():
        assert module.__dict__.keys() == before[name].keys()
        assert "forward" not in module.__dict__


def test_the_layers_output_is_copied_twice_however_many_targets_and_methods():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4)
    ).eval()
    images = torch.randn(2, 3, 9, 9)
    explainer = camcore.Explainer(model, layer="1", method=["gradcam", "layercam"])
    explainer(images)
    copied = []
    for target in (None, top(3)):
        with Seen() as seen:
            explainer(images, target)
        copied.append(seen.count("clone", "_to_copy", "copy_", shape=(2, 5, 7, 7)))
    # One is kept, one goes on, so that nothing in place after the layer reaches the kept one.
    assert copied == [2, 2]


def test_parameters_are_not_walked_into_by_gradients():
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(), nn.Linear(5 * 49, 4)).eval()
    with Seen() as seen:
        adapt(model).run(torch.randn(1, 3, 9, 9), ["0"], [one_hot(1)])
    names = Counter(name for name, _ in seen.calls)
    assert names["convolution_backward"] == 0
    assert seen.count("mm", shape=(4, 1)) == 0  # the weight's gradient would be one


def one_hot(index):
    def seed(leaves):
        return {
            path: np.eye(leaf.shape[1], dtype=leaf.dtype)[[index] * len(leaf)]
            for path, leaf in leaves.items()
        }

    return seed
