"""PyTorch: one pass, and gradients that are those of the textbook."""

from __future__ import annotations

import importlib
import os
from typing import Any
from weakref import WeakSet

import numpy as np
import pytest

from camcore.adapter import INPUT, NativeScore
from camcore.errors import TargetError
from camcore.registry import adapter as adapt
from camcore.testing import check_adapter

torch = importlib.import_module("torch") if "CI" in os.environ else pytest.importorskip("torch")
nn = torch.nn
F = nn.functional


class Net(nn.Module):
    """Two convolutions and two linear layers; the ReLU after `conv2` is `relu`."""

    def __init__(self, relu: Any = F.relu, dtype: Any = torch.float64) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 5, 3)
        self.hidden = nn.Linear(5 * 36, 7)
        self.fc = nn.Linear(7, 6)
        self.relu = relu
        type(self).passes = []  # of the class: what a forward stores on the model is dropped
        self.norm.running_mean.uniform_(-1, 1)
        self.norm.running_var.uniform_(0.5, 2)
        self.to(dtype).eval()

    def features(self, x: Any) -> Any:
        return self.conv2(F.relu(self.norm(self.conv1(x))))

    def head(self, a: Any) -> Any:
        return self.fc(torch.tanh(self.hidden(self.relu(a).flatten(1))))

    def forward(self, x: Any) -> Any:
        self.passes.append(1)
        return self.head(self.features(x))


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 3, 8, 8))


def one_hot(index: int):
    def seed(leaves):
        return {
            path: np.eye(leaf.shape[1], dtype=leaf.dtype)[[index] * len(leaf)]
            for path, leaf in leaves.items()
        }

    return seed


def textbook(net: Net, x: np.ndarray, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Activations at `conv2`, and gradients of one logit there and at the input."""
    x = torch.tensor(x, dtype=net.fc.weight.dtype, requires_grad=True)
    activations = net.features(x)
    score = net.fc(torch.tanh(net.hidden(F.relu(activations).flatten(1))))[:, index].sum()
    gradients = torch.autograd.grad(score, [activations, x])
    return tuple(t.detach().numpy() for t in (activations, *gradients))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-6)])
def test_activations_and_gradients_are_those_of_the_textbook(images, dtype, tolerance):
    net = Net(dtype=getattr(torch, dtype))
    trace = adapt(net).run(images, ["conv2", INPUT], [one_hot(1), one_hot(4)])
    for i, index in enumerate([1, 4]):
        activations, gradients, image_gradients = textbook(net, images, index)
        traced = trace.layers["conv2"]
        assert traced.activations.dtype == traced.gradients[i].dtype == dtype
        np.testing.assert_allclose(traced.activations, activations, rtol=0, atol=tolerance)
        np.testing.assert_allclose(traced.gradients[i], gradients, rtol=0, atol=tolerance)
        at_input = trace.layers[INPUT]
        np.testing.assert_allclose(at_input.gradients[i], image_gradients, rtol=0, atol=tolerance)
        np.testing.assert_array_equal(at_input.activations, images.astype(dtype))
    np.testing.assert_array_equal(trace.inputs[""], images.astype(dtype))
    with torch.no_grad():
        np.testing.assert_array_equal(trace.outputs[""], net(torch.tensor(trace.inputs[""])))
    assert trace.input_channels == trace.layers["conv2"].channels == "first"


def test_the_shared_conformance_check(images):
    check_adapter(adapt(Net()), images, "conv2", tolerance=1e-10)


RELUS = {
    "function": F.relu,
    "in-place function": lambda x: F.relu(x, inplace=True),
    "in-place method": lambda x: x.relu_(),
    "in-place module": nn.ReLU(inplace=True),
}


@pytest.mark.parametrize("relu", RELUS.values(), ids=RELUS)
def test_a_relu_that_follows_neither_fails_nor_reaches_what_was_captured(images, relu):
    activations, gradients, _ = textbook(Net(), images, 2)
    traced = adapt(Net(relu)).run(images, ["conv2"], [one_hot(2)]).layers["conv2"]
    assert (activations < 0).any()
    np.testing.assert_allclose(traced.activations, activations, rtol=0, atol=1e-12)
    np.testing.assert_allclose(traced.gradients[0], gradients, rtol=0, atol=1e-12)
    alone = adapt(Net(relu)).run(images, ["conv2"]).layers["conv2"]
    np.testing.assert_allclose(alone.activations, activations, rtol=0, atol=1e-12)
    assert alone.gradients == ()


@pytest.mark.parametrize("relu", RELUS.values(), ids=RELUS)
def test_what_a_function_rectifies_is_captured_as_the_model_goes_on_from_it(images, relu):
    activations, gradients, _ = textbook(Net(), images, 2)
    name = "conv2@activated"
    both = adapt(Net(relu)).run(images, [name, "conv2"], [one_hot(2)]).layers
    traced = adapt(Net(relu)).run(images, [name], [one_hot(2)]).layers[name]
    np.testing.assert_array_equal(both[name].activations, traced.activations)
    np.testing.assert_allclose(both["conv2"].gradients[0], gradients, rtol=0, atol=1e-12)
    np.testing.assert_allclose(traced.activations, activations.clip(0), rtol=0, atol=1e-12)
    through = np.where(activations > 0, traced.gradients[0], 0)
    np.testing.assert_allclose(through, gradients, rtol=0, atol=1e-12)
    assert (traced.gradients[0][activations < 0] != 0).any()


@pytest.mark.parametrize("around", ["nothing", "no_grad", "inference_mode"])
@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_in_any_grad_mode_and_of_frozen_models(images, around, frozen):
    net = Net().requires_grad_(not frozen)
    expected = textbook(Net(), images, 3)
    with getattr(torch, around)() if around != "nothing" else torch.enable_grad():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        trace = adapt(net).run(torch.tensor(images), ["conv2", INPUT], [one_hot(3)])
        assert before == (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
    np.testing.assert_allclose(trace.layers["conv2"].gradients[0], expected[1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(trace.layers[INPUT].gradients[0], expected[2], rtol=0, atol=1e-12)


def test_a_model_made_in_inference_mode(images):
    with torch.inference_mode():
        net = Net()
        weight = net.conv2.weight
    expected = textbook(Net(), images, 0)
    for layer, i in (("conv2", 1), (INPUT, 2)):
        traced = adapt(net).run(images, [layer], [one_hot(0)]).layers[layer]
        np.testing.assert_allclose(traced.gradients[0], expected[i], rtol=0, atol=1e-12)
    assert net.conv2.weight is weight
    assert weight.is_inference()


class Counted(torch.autograd.Function):
    """Identity that counts how often it is run and pulled back through."""

    forwards = backwards = 0

    @staticmethod
    def forward(ctx, x):
        Counted.forwards += 1
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        Counted.backwards += 1
        return gradient


def test_one_pass_and_no_gradient_work_before_the_layer_or_for_parameters(images):
    net = Net()
    plain = net.features
    net.features = lambda x: net.conv2(Counted.apply(F.relu(net.conv1(x))))
    touched = []
    for parameter in net.parameters():
        parameter.register_hook(lambda gradient: touched.append(gradient))
    Counted.forwards = Counted.backwards = 0
    adapt(net).run(images, ["conv2"], [one_hot(0), one_hot(1), one_hot(2)])
    assert (Counted.forwards, Counted.backwards, touched) == (1, 0, [])
    adapt(net).run(images, ["conv1", "conv2"], [one_hot(0)])
    assert (Counted.forwards, Counted.backwards, touched) == (2, 1, [])
    grad_modes = []
    net.norm.register_forward_hook(lambda *_: grad_modes.append(torch.is_grad_enabled()))
    net.features = plain
    adapt(net).run(images, ["conv1"])
    adapt(net).run(images, ["conv2"], [one_hot(0)])
    assert grad_modes == [False, False]
    net.passes.clear()
    adapt(net).run(images, ["conv2"], [one_hot(0), one_hot(1)])
    assert len(net.passes) == 1


class Shared(nn.Module):
    """One ReLU three times, with a residual, as in ResNet's blocks."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv1, self.conv2 = nn.Conv1d(2, 2, 1), nn.Conv1d(2, 2, 1)
        self.fc = nn.Linear(2, 3)
        self.relu = nn.ReLU(inplace=True)
        self.double()

    def parts(self, x: Any) -> list[Any]:
        a = F.relu(self.conv1(x))
        b = F.relu(self.conv2(a))
        c = F.relu(a * b)
        return [a, b, c, self.fc(c.mean(2))]

    def forward(self, x: Any) -> Any:
        a = self.relu(self.conv1(x))
        b = self.relu(self.conv2(a))
        return self.fc(self.relu(a * b).mean(2))


@pytest.mark.parametrize(
    "names", [["relu#0"], ["relu#1"], ["relu"], ["relu#-3", "relu#1", "relu#-1", "conv2"]]
)
def test_calls_of_a_shared_layer(names):
    net, x = Shared(), np.random.default_rng(1).normal(size=(2, 2, 9))
    *parts, out = net.parts(torch.tensor(x))
    expected = torch.autograd.grad(out[:, 0].sum(), parts)
    trace = adapt(net).run(x, names, [one_hot(0)])
    call = {"relu#0": 0, "relu#-3": 0, "relu#1": 1, "relu": 2, "relu#-1": 2}
    for name in set(names) & set(call):
        traced = trace.layers[name]
        np.testing.assert_allclose(traced.activations, parts[call[name]].detach(), atol=1e-12)
        np.testing.assert_allclose(traced.gradients[0], expected[call[name]], atol=1e-12)
    ungraded = adapt(net).run(x, names)
    for name in names:
        expected = trace.layers[name].activations
        np.testing.assert_array_equal(ungraded.layers[name].activations, expected)


def test_the_last_call_alone_keeps_no_graph_of_those_before_it():
    class Token:
        """Lives as long as the graph."""

    alive = WeakSet()

    class Marked(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.token = Token()
            alive.add(ctx.token)
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    class Chain(Shared):
        def forward(self, x: Any) -> Any:
            a = Marked.apply(self.relu(self.conv1(x)))
            return self.fc(self.relu(self.conv2(a)).mean(2))

    counts = []

    def seed(leaves):
        counts.append(len(alive))
        return one_hot(0)(leaves)

    x = np.random.default_rng(1).normal(size=(2, 2, 9))
    adapt(Chain()).run(x, ["relu"], [seed])
    adapt(Chain()).run(x, ["relu#0", "relu"], [seed])
    assert counts == [0, 1]


def test_a_layer_that_returns_its_input_gets_only_its_own_share():
    class Bypassed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.same = nn.Conv1d(1, 1, 1), nn.Identity()

        def forward(self, x: Any) -> Any:
            a = self.conv(x)
            b = self.same(a)
            a += 100  # writes to memory that `same` returned
            return (2 * b + 3 * a).mean(2)

    net, x = Bypassed(), np.ones((1, 1, 4), np.float32)
    trace = adapt(net).run(x, ["same", "conv"], [one_hot(0)])
    value = net.conv(torch.tensor(x)).detach()
    for name, slope in (("same", 2), ("conv", 5)):
        np.testing.assert_allclose(trace.layers[name].gradients[0], slope / 4)
        np.testing.assert_array_equal(trace.layers[name].activations, value)
    alone = adapt(net).run(x, ["same"], [one_hot(0)]).layers["same"]
    np.testing.assert_allclose(alone.gradients[0], 2 / 4)
    np.testing.assert_array_equal(alone.activations, value)


def test_native_scores_and_their_gradients(images):
    def norm(outputs: Any) -> Any:
        return (outputs**2).sum(1)

    net = Net()
    trace = adapt(net).run(images, ["conv2"], [one_hot(0), NativeScore(norm), one_hot(1)])
    a = torch.tensor(trace.layers["conv2"].activations, requires_grad=True)
    scores = norm(net.head(a))
    (expected,) = torch.autograd.grad(scores.sum(), a)
    assert trace.native_scores[0] is trace.native_scores[2] is None
    np.testing.assert_allclose(trace.native_scores[1], scores.detach(), rtol=1e-12)
    np.testing.assert_allclose(trace.layers["conv2"].gradients[1], expected, atol=1e-12)
    (alone,) = adapt(net).run(images, [], [NativeScore(norm)]).native_scores
    np.testing.assert_allclose(alone, scores.detach(), rtol=1e-12)
    with pytest.raises(TargetError, match=r"\(2, 6\)"):
        adapt(net).run(images, ["conv2"], [NativeScore(lambda outputs: outputs)])
    with pytest.raises(TargetError, match="float"):
        adapt(net).run(images, ["conv2"], [NativeScore(lambda outputs: 1.0)])


def test_a_backbone_the_model_runs_without_gradients(images):
    class Frozen(Net):
        def forward(self, x: Any) -> Any:
            self.passes.append(1)
            with torch.no_grad():
                doubled = self.features(x) * 2
            return self.head(doubled / 2)

    net = Frozen()
    _, gradients, _ = textbook(Net(), images, 1)
    for passes in (2, 3):  # seen in the first pass, remembered after it
        traced = adapt(net).run(images, ["conv2"], [one_hot(1)]).layers["conv2"]
        np.testing.assert_allclose(traced.gradients[0], gradients, rtol=0, atol=1e-12)
        assert len(net.passes) == passes


def test_what_was_handed_over_does_not_change_later(images):
    class Stored(Net):
        """Returns a buffer that the next pass overwrites."""

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("store", torch.zeros(2, 6, dtype=torch.float64))

        def forward(self, x: Any) -> Any:
            with torch.no_grad():
                self.store.copy_(super().forward(x))
            return self.store

    given = torch.tensor(images)
    net = Stored()
    trace = adapt(net).run(given, ["conv2"])
    kept = [trace.inputs[""], trace.outputs[""], trace.layers["conv2"].activations]
    copies = [array.copy() for array in kept]
    given.zero_()
    adapt(net).run(given, ["conv2"])
    for array, copy in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_a_seed_that_writes_to_the_outputs_reaches_nothing(images):
    def greedy(leaves):
        leaves[""][...] = 0
        leaves[""][:, 1] = 1
        return leaves

    class Exponential(Net):
        def forward(self, x: Any) -> Any:
            return super().forward(x).exp()  # its derivative is its own output

    plain = adapt(Exponential()).run(images, ["conv2"], [one_hot(1)])
    written = adapt(Exponential()).run(images, ["conv2"], [greedy])
    np.testing.assert_array_equal(
        written.layers["conv2"].gradients[0], plain.layers["conv2"].gradients[0]
    )
