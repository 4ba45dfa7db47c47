"""PyTorch: the model is afterwards what it was before, whatever happened in between."""

from __future__ import annotations

import gc
import importlib
import os
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import camcore
from camcore.adapter import INPUT
from camcore.errors import BackendError, GradientError
from camcore.registry import adapter as adapt

torch = importlib.import_module("torch") if "CI" in os.environ else pytest.importorskip("torch")
nn = torch.nn


class Net(nn.Module):
    """Batch norm, dropout, a shared layer, a frozen one, gradients, hooks, mixed modes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.again = self.norm
        self.body = nn.Sequential(nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Conv2d(4, 4, 3))
        self.fc = nn.Linear(4, 3)
        self.fails_at: Any = None
        self.train()
        self.body[1].eval()
        self.conv.requires_grad_(False)
        self(torch.ones(2, 1, 9, 9)).sum().backward()
        self.norm.register_forward_hook(lambda module, args, output: output + 1)
        self.fc.register_forward_pre_hook(lambda module, args: None)

    def forward(self, x: Any) -> Any:
        features = self.body(self.norm(self.conv(x)))
        self.seen = features
        self.register_buffer("counter", features.mean())
        self.body[0].threshold = 1
        if self.fails_at == "forward":
            raise ZeroDivisionError("forward")
        return self.fc(features.mean((2, 3)))


HOOKS = [name for name in vars(nn.Module()) if name.endswith(("hooks", "with_kwargs", "called"))]


def snapshot(net: nn.Module) -> list[Any]:
    """Everything there is to know of the model; tensors by identity, value and version."""

    def frozen(tensor: Any) -> Any:
        if not isinstance(tensor, torch.Tensor):
            return tensor
        values = tensor.detach().clone().numpy().tobytes()
        gradient = tensor.grad if tensor.is_leaf else None
        return id(tensor), tensor._version, values, tensor.requires_grad, frozen(gradient)

    everything = []
    for name, module in net.named_modules():
        stores = [vars(module), module._parameters, module._buffers, module._modules]
        kept = [[(key, id(value)) for key, value in store.items()] for store in stores]
        hooks = [list(getattr(module, kind).items()) for kind in HOOKS]
        tensors = [frozen(t) for t in (*module._parameters.values(), *module._buffers.values())]
        everything.append((name, module.training, type(module), kept, hooks, tensors))
    return everything


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 1, 9, 9)).astype(np.float32)


class Counting(nn.Module):
    """Writes to its buffers in place, in inference too, and scores by them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(4, 3)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x: Any) -> Any:
        features = self.conv(x)
        self.calls += 1
        self.mean.mul_(0.5).add_(features.detach().mean((0, 2, 3)))
        return self.fc(features.mean((2, 3)) - self.mean) + self.calls


@pytest.mark.parametrize("inference", [False, True])
def test_buffers_written_in_place_are_left_as_they_were(images, inference):
    net = Counting().eval()
    expected = Counting().eval()
    expected.load_state_dict(net.state_dict())
    expected = expected(torch.from_numpy(images)).detach().numpy()
    before = snapshot(net)
    with torch.inference_mode(inference):
        for _ in range(3):
            trace = adapt(net).run(images, ["conv"], [first])
            np.testing.assert_allclose(trace.outputs[""], expected, rtol=1e-5, atol=1e-6)
            adapt(net).survey(images)
    assert snapshot(net) == before


def first(leaves):
    return {"": np.eye(1, 3).repeat(len(leaves[""]), 0)}


def failing(leaves):
    raise ZeroDivisionError("seed")


CALLS = {
    "run": lambda a, x: a.run(x, ["norm", "body.0", INPUT], [first, first]),
    "run without seeds": lambda a, x: a.run(x, ["norm"]),
    "second order": lambda a, x: a.run(x, ["norm"], [first], second_order=True),
    "rectifier": lambda a, x: a.run(x, [INPUT], [first], rectifier="guided"),
    "survey": lambda a, x: a.survey(x),
    "layers": lambda a, x: (a.layers(), a.classifier(), a.biases(), a.input_channels),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_nothing_is_changed(images, call):
    net = Net()
    before, rng = snapshot(net), torch.get_rng_state()
    call(adapt(net), images)
    assert snapshot(net) == before
    assert torch.equal(torch.get_rng_state(), rng)
    assert torch.is_grad_enabled()


def test_nothing_is_changed_within_or_after_resuming(images):
    net = Net()
    before = snapshot(net)
    for error in (None, ZeroDivisionError):
        with (
            pytest.raises(error) if error else pytest.MonkeyPatch.context(),
            adapt(net).resume(images[:1], "body.2") as head,
        ):
            assert snapshot(net) == before
            head(np.ones((3, 4, 5, 5), np.float32))
            assert snapshot(net) == before
            if error:
                raise error
        assert snapshot(net) == before


@pytest.mark.parametrize("where", ["forward", "seed", "second seed", "no gradient"])
def test_nothing_is_changed_by_failing_half_way(images, where):
    net = Net()
    net.fails_at = where
    before = snapshot(net)
    seeds = {
        "forward": [first],
        "seed": [failing],
        "second seed": [first, failing],
        "no gradient": [lambda leaves: {}],
    }[where]
    error = GradientError if where == "no gradient" else ZeroDivisionError
    with pytest.raises(error):
        adapt(net).run(images, ["norm", INPUT], seeds)
    assert snapshot(net) == before
    assert torch.is_grad_enabled()
    if where == "forward":
        with pytest.raises(ZeroDivisionError):
            adapt(net).survey(images)
        with pytest.raises(ZeroDivisionError), adapt(net).resume(images[:1], "fc"):
            raise AssertionError("entered")
        assert snapshot(net) == before


def test_the_model_runs_in_inference_mode_and_its_hooks_act(images):
    net = Net()
    trace = adapt(net).run(images, ["norm", "body.2"], [first])
    net.eval()
    with torch.no_grad():
        norm = net.norm(net.conv(torch.tensor(images)))  # the hook adds 1
        features = net.body[2](norm.clamp(min=0))
    np.testing.assert_allclose(trace.layers["norm"].activations, norm, rtol=0, atol=1e-6)
    np.testing.assert_allclose(trace.layers["body.2"].activations, features, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(adapt(net).run(images).outputs[""], trace.outputs[""])


def test_a_thousand_calls_use_the_memory_of_one(images):
    net = Net()
    adapter = adapt(net)

    def calls():
        adapter.run(images, ["norm", INPUT], [first, first])
        adapter.run(images)
        with adapter.resume(images[:1], "body.2") as head:
            head(np.ones((2, 4, 5, 5), np.float32))

    def tensors() -> int:
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    for _ in range(3):
        calls()
    gc.collect()
    gc.disable()  # nothing may wait for the collector of cycles
    try:
        before = tensors()
        for _ in range(5):
            calls()
        assert tensors() == before
    finally:
        gc.enable()


def test_a_model_is_let_go(images):
    import weakref

    net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten(), nn.Linear(49, 3), nn.Softmax(1))
    adapt(net).run(images, ["0"], [first])
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("mode", ["eval", "as-is", "train"])
@pytest.mark.parametrize("training", [False, True])
def test_a_model_runs_in_the_mode_that_is_asked_for_and_stays_in_its_own(images, mode, training):
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)).train(training)
    before = snapshot(net)
    traced = adapt(net, mode=mode).run(images, ["0", "1"]).layers
    assert snapshot(net) == before
    conv, norm = traced["0"].activations, traced["1"].activations
    by_batch = mode == "train" or (mode == "as-is" and training)
    mean = conv.mean((0, 2, 3), keepdims=True) if by_batch else 0
    variance = conv.var((0, 2, 3), keepdims=True) if by_batch else 1
    np.testing.assert_allclose(norm, (conv - mean) / np.sqrt(variance + 1e-5), rtol=0, atol=1e-5)


def test_shells_hold_the_very_weights_of_the_model_unless_copies_shall_stand_in():
    from camcore_torch.shells import Shells

    with torch.inference_mode():
        net = nn.Linear(2, 3)
    assert Shells(net, {}).model.weight is net.weight
    stand_in = Shells(net, {}, stand_ins=True).model.weight
    assert torch.equal(stand_in, net.weight)
    assert net.weight.is_inference()
    assert not stand_in.is_inference()


def test_modes_that_train_and_eval_override_are_not_triggered(images):
    class Merging(Net):
        def train(self, mode: bool = True) -> Any:
            self.merged = not mode
            return super().train(mode)

    net = Merging()
    before = snapshot(net)
    adapt(net).run(images, ["norm"], [first])
    assert snapshot(net) == before
    assert net.merged is False


def test_models_without_weights_yet_are_refused(images):
    with pytest.raises(BackendError, match="Run it once"):
        adapt(nn.Sequential(nn.LazyConv2d(2, 3)))


def test_parts_stored_by_the_model_are_not_kept(images):
    net = Net()
    adapt(net).run(images, ["norm"], [first])
    assert net.seen.grad_fn is not None  # that of the pass in the constructor
    assert net.seen.shape == (2, 4, 5, 5)
    assert list(net._buffers) == ["counter"]


class Stages:
    """A plain object, with modules some levels below it."""

    def __init__(self) -> None:
        self.known = {"first": [nn.Conv2d(1, 2, 3), nn.ReLU()], "last": (nn.Conv2d(2, 3, 3),)}


class Hidden(nn.Module):
    """Runs modules that only a plain object holds."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stages = Stages()
        for parts in self.stages.known.values():
            self.stem = parts[0]
        self.first = self.stages.known["first"][0]

    def forward(self, x: Any) -> Any:
        for parts in self.stages.known.values():
            for part in parts:
                x = part(x)
        return x.mean((2, 3))


def test_modules_in_plain_objects_are_run_as_shells(images):
    net = Hidden()
    before, ran = snapshot(net), []
    for module in (net.first, net.stem):
        module.register_forward_hook(lambda module, args, output: ran.append(module))
    x = torch.as_tensor(images[:, :1], dtype=torch.float32)
    for _ in range(2):
        ran.clear()
        trace = adapt(net).run(x, ["first"], [first])
        assert not {id(module) for module in ran} & {id(net.first), id(net.stem)}
    inner = net.first(x).detach().requires_grad_()
    scores = net.stem(inner.relu()).mean((2, 3))
    (slope,) = torch.autograd.grad(scores[:, 0].sum(), inner)
    np.testing.assert_allclose(trace.layers["first"].activations, inner.detach(), rtol=1e-6)
    np.testing.assert_allclose(trace.layers["first"].gradients[0], slope, rtol=1e-5)
    assert len(before) == len(snapshot(net))


@pytest.mark.parametrize("later", [nullcontext, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("around", [nullcontext, torch.no_grad, torch.inference_mode])
def test_an_error_that_is_kept_switches_nothing_when_it_goes(around, later):
    class Raises(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            self.conv(x)
            raise ValueError("mine")

    def switches():
        forward = torch._C._is_fwd_grad_enabled(), torch._C._is_multithreading_enabled()
        return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), *forward

    kept = []
    before = switches()
    with around():
        inside = switches()
        try:
            camcore.explain(Raises(), torch.zeros(1, 3, 8, 8), 0, "conv")
        except ValueError as error:
            kept.append(error)
        assert switches() == inside
    assert switches() == before
    with later():
        inside = switches()
        kept.clear()
        gc.collect()
        assert switches() == inside
    assert switches() == before
