"""PyTorch: the user's model is only read, whoever else uses it at the same time."""

from __future__ import annotations

import importlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import sentinel

import camcore
from camcore import Explainer

torch = importlib.import_module("torch") if "CI" in os.environ else pytest.importorskip("torch")
nn = torch.nn
METHODS = ("gradcam", "eigencam", "ablationcam", "scorecam")
SIZE = (2, 3, 8, 8)


class Net(nn.Module):
    """Batch normalisation, dropout, and a forward that stores what it saw."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.drop, self.fc = nn.Dropout(0.5), nn.Linear(4, 3)
        self.seen, self.steps = None, []

    def forward(self, x: Any) -> Any:
        self.seen = x
        self.steps.append(1)
        features = torch.relu_(self.norm(self.conv(x)))
        return self.fc(self.drop(features.mean((2, 3))))


class Attending(nn.Module):
    """Two blocks of attention over the pixels of an image."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.fc = nn.Conv2d(3, 8, 2, 2), nn.Linear(8, 3)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Any) -> Any:
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        return self.fc(self.blocks(tokens).mean(1))


def state(model):
    """Everything that hangs on a model."""
    return sentinel.state(list(model.modules()))


def maps(explainer, inputs):
    return {name: one.raw for name, one in explainer(inputs, 1).items()}


def assert_same(found, expected):
    """Check that there are the same maps, bit for bit, by method and layer."""
    assert found.keys() == expected.keys()
    for name, layers in expected.items():
        assert found[name].keys() == layers.keys()
        for layer, raw in layers.items():
            np.testing.assert_array_equal(found[name][layer], raw)


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("shared", [False, True], ids=["an explainer each", "one explainer"])
def test_maps_of_eight_threads_are_those_of_one(train, shared):
    model = Net().train(train)
    batches = [torch.randn(SIZE, generator=torch.Generator().manual_seed(i)) for i in range(4)]

    def make():
        return Explainer(model, layer="norm", method=METHODS)

    one = make()
    expected = [maps(one, batch) for batch in batches]
    before = state(model)
    explainers = [one] * 8 if shared else [make() for _ in range(8)]

    def work(thread):
        return [maps(explainers[thread], batches[i % 4]) for i in range(25)]

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(work, range(8)):
            for i, one in enumerate(found):
                assert_same(one, expected[i % 4])
    assert state(model) == before


def test_attention_of_eight_threads_is_that_of_one():
    model = Attending().train()
    images = torch.randn(SIZE, generator=torch.Generator().manual_seed(0))
    expected = camcore.explain(model, images, 1, method="legrad").raw
    before = state(model)

    def work(_):
        return [camcore.explain(model, images, 1, method="legrad").raw for _ in range(25)]

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(work, range(8)):
            for raw in found:
                assert_same({"": raw}, {"": expected})
    assert state(model) == before


def test_a_users_own_forward_and_training_are_as_without_explanations():
    model, images = Net().train(), torch.randn(SIZE, generator=torch.Generator().manual_seed(0))
    other, third = Net().eval(), Net().train()
    stop: list[bool] = []

    def explain():
        explainer, count = Explainer(model, layer="norm", method=METHODS), 0
        while not stop:
            explainer(images, 1)
            count += 1
        return count

    def watch():
        with torch.no_grad():
            expected = other(images)
            for _ in range(50):
                output = other(images)
                assert not output.requires_grad
                assert not torch.is_grad_enabled()
                assert torch.equal(output, expected)

    def train(trained):
        gradients = []
        for _ in range(25):
            trained.zero_grad()
            trained(images).sum().backward()
            gradients.append([parameter.grad.clone() for parameter in trained.parameters()])
            assert trained.training
        return gradients

    model.drop.p = third.drop.p = 0.0
    (alone, *_), expected = train(model), train(model)
    with ThreadPoolExecutor(7) as pool:
        explaining = [pool.submit(explain) for _ in range(4)]
        watching = pool.submit(watch)
        training = [pool.submit(train, trained) for trained in (model, third)]
        try:
            watching.result()
            found, elsewhere = (one.result() for one in training)
        finally:
            stop.append(True)
        assert min(one.result() for one in explaining) > 0
    for step, plain in zip(found + elsewhere, expected + expected, strict=True):
        for gradient, one in zip(step, plain, strict=True):
            assert torch.equal(gradient, one)
    assert torch.equal(alone[0], expected[0][0])


def test_nothing_is_ever_written_to_a_module(monkeypatch):
    model = Net().train()
    own = {id(module) for module in model.modules()}
    images = torch.randn(SIZE)
    before, written = state(model), []
    usual = nn.Module.__setattr__

    def watched(module, name, value):
        if id(module) in own:
            written.append((type(module).__name__, name))
        usual(module, name, value)

    monkeypatch.setattr(nn.Module, "__setattr__", watched)

    def seed(leaves):
        assert state(model) == before
        return {"": np.ones_like(leaves[""])}

    from camcore.registry import adapter

    adapter(model).run(images, ["conv"], [seed], rectifier="guided")
    camcore.explain(model, images, 1, "norm", METHODS)
    assert written == []
    assert state(model) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda net: net.conv.weight.data.mul_(2),
        lambda net: net.load_state_dict({k: v * 2 for k, v in net.state_dict().items()}),
        lambda net: setattr(net, "conv", nn.Conv2d(3, 4, 3, padding=1)),
        lambda net: setattr(net.fc, "bias", nn.Parameter(torch.tensor([3.0, 2, 1]))),
        lambda net: net.norm.running_mean.add_(1),
        lambda net: setattr(net.norm, "eps", 0.5),
        lambda net: net.double(),
        lambda net: net.norm.register_forward_hook(lambda module, args, output: output * 3),
    ],
    ids=["in place", "state dict", "module", "parameter", "buffer", "attribute", "dtype", "hook"],
)
def test_what_changes_between_two_calls_is_seen(change):
    images = torch.randn(SIZE, generator=torch.Generator().manual_seed(0))
    model = Net().eval()
    explainer = Explainer(model, layer="conv", method="gradcam")
    first = explainer(images, 1)
    change(model)
    with torch.no_grad():
        expected = model(images.to(model.fc.weight.dtype)).numpy()
    second = explainer(images, 1)
    np.testing.assert_array_equal(second.outputs, expected)
    assert not np.array_equal(second.outputs, first.outputs)


class Holder:
    """An object of no known kind that holds a module."""

    def __init__(self, module: Any) -> None:
        self.module = module


def in_a_list(net):
    net.list = [net.conv]
    return lambda self, x: self.list[0](x)


def in_a_method(net):
    net.way = net.conv.forward.__self__.__call__
    return lambda self, x: self.way(x)


def in_a_closure(net):
    conv = net.conv
    net.way = lambda x: conv(x)
    return lambda self, x: self.way(x)


def in_a_default(net):
    net.way = lambda x, conv=net.conv: conv(x)
    return lambda self, x: self.way(x)


def in_an_object(net):
    net.way = Holder(net.conv)
    return lambda self, x: self.way.module(x)


@pytest.mark.parametrize("hold", [in_a_list, in_a_method, in_a_closure, in_a_default, in_an_object])
def test_a_module_is_run_as_its_shell_wherever_it_is_held(hold):
    class Holding(Net):
        def forward(self, x: Any) -> Any:
            return self.fc(way(self, x).relu().mean((2, 3)))

    model = Holding().train()
    way = hold(model)
    images = torch.randn(SIZE, generator=torch.Generator().manual_seed(0))
    before = state(model)
    found = camcore.explain(model, images, 1, "conv", "gradcam")
    assert state(model) == before
    with torch.no_grad():
        activations = model.conv(images)
        weight = model.fc.weight[1] / 64
        positive = (activations > 0).float().sum((2, 3)) / 64
        expected = ((weight * positive)[:, :, None, None] * activations).sum(1)
    np.testing.assert_allclose(found.raw["conv"], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [RuntimeError, ValueError, KeyError])
@pytest.mark.parametrize("method", ["gradcam", "ablationcam", "eigencam"])
def test_a_models_own_error_arrives_unchanged_after_one_run(kind, method):
    error, ran = kind("the model's own"), []

    class Broken(Net):
        def forward(self, x: Any) -> Any:
            super().forward(x)
            ran.append(1)
            raise error

    with pytest.raises(kind) as caught:
        camcore.explain(Broken(), torch.ones(SIZE), 1, "conv", method)
    assert caught.value is error
    assert len(ran) == 1


def test_what_another_thread_stores_while_shells_are_made_does_no_harm():
    class Noisy(list):
        """A list whose owner is written to while it is read, as by a thread at that instant."""

        def __iter__(self):
            setattr(model, f"seen_{len(model.__dict__)}", 1)
            model.table[len(model.table)] = 1
            return super().__iter__()

    model = Net().eval()
    model.table = {0: Noisy([1])}
    model.noisy = Noisy([1])
    images = torch.randn(SIZE, generator=torch.Generator().manual_seed(0))
    expected = camcore.explain(Net().eval(), images, 1, "norm").raw["norm"]
    found = camcore.explain(model, images, 1, "norm").raw["norm"]
    np.testing.assert_array_equal(found, expected)
