"""PyTorch: running on from a layer gives what the whole model would, and computes no more."""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np
import pytest

from camcore.errors import CamcoreWarning, GradientError, InputError, LayerError
from camcore.registry import adapter as adapt

torch = importlib.import_module("torch") if "CI" in os.environ else pytest.importorskip("torch")
nn = torch.nn
F = nn.functional


class Block(nn.Module):
    """Residual with a shared in-place ReLU and an in-place sum, as torchvision writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.norm2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Any) -> Any:
        out = self.relu(self.norm1(self.conv1(x)))
        out = self.norm2(self.conv2(out))
        out += x
        return self.relu(out)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(1, 4, 3)
        self.blocks = nn.ModuleList([Block(), Block(), Block()])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, 3)
        self.relu = self.blocks[0].relu
        self.double().eval()

    def start(self, x: Any) -> Any:
        return self.stem(x)

    def forward(self, x: Any) -> Any:
        x = self.start(x)
        for block in self.blocks:
            x = block(x)
        return self.fc(self.relu(self.pool(x)).flatten(1)).softmax(1)


class InPlace(Net):
    """Functional in-place work on what sub-modules returned, before and beside the layer."""

    def start(self, x: Any) -> Any:
        x = self.stem(x.sub_(0.5))
        x.add_(1.0)
        x[:, 0] = 0
        return x


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, 1, 10, 10))


def whole(net: nn.Module, image: np.ndarray, layer: nn.Module, own: np.ndarray, call: int = 0):
    """Logits of the whole model with one call of the layer replaced, one alteration at a time."""
    rows = []
    for activations in own:
        calls = [0]

        def replace(module, args, output, calls=calls, activations=activations):
            calls[0] += 1
            return torch.tensor(activations[None]) if calls[0] - 1 == call else None

        with layer.register_forward_hook(replace), torch.no_grad():
            rows.append(net(torch.tensor(image)).log())
    return torch.cat(rows).numpy()


def altered(shape: tuple[int, ...], count: int = 5) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, *shape))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", [Net, InPlace])
@pytest.mark.parametrize(
    "layer",
    [
        *("stem", "blocks.0", "blocks.0.conv1", "blocks.0.relu#0", "blocks.1.conv2"),
        *("blocks.1.norm2", "blocks.2", "blocks.2.relu#1", "pool", "fc"),
    ],
)
def test_altered_activations_give_what_the_whole_model_gives(image, kind, layer):
    net = kind()
    name, _, call = layer.partition("#")
    own = adapt(net).run(image, [layer]).layers[layer].activations
    with adapt(net).resume(image, layer) as head:
        for count in (5, 1, 3):
            given = altered(own.shape[1:], count)
            copy = given.copy()
            (outputs,) = head(given).values()
            expected = whole(net, image, net.get_submodule(name), given, int(call or 0))
            p = np.exp(outputs - outputs.max(1, keepdims=True))
            np.testing.assert_allclose(np.log(p / p.sum(1, keepdims=True)), expected, atol=1e-10)
            np.testing.assert_array_equal(given, copy)
        (back,) = head(own).values()
        np.testing.assert_allclose(back, adapt(net).run(image).outputs[""], rtol=0, atol=1e-12)


def test_nothing_before_the_layer_is_computed_again(image):
    net = Net()
    ran = []
    for name, module in net.named_modules():
        plain = module.forward
        module.forward = lambda *args, name=name, plain=plain: (ran.append(name), plain(*args))[1]
    with adapt(net).resume(image, "blocks.1.conv2") as head:
        ran.clear()
        head(altered((4, 8, 8)))
    assert ran == [
        *("", "blocks.1", "blocks.1.norm2", "blocks.1.relu"),
        *("blocks.2", "blocks.2.conv1", "blocks.2.norm1", "blocks.2.relu"),
        *("blocks.2.conv2", "blocks.2.norm2", "blocks.2.relu", "pool", "blocks.0.relu", "fc"),
    ]


@pytest.mark.parametrize("logits", [True, False])
def test_before_or_after_the_final_activation(image, logits):
    net = Net()
    plain = adapt(net).run(image, logits=logits).outputs[""]
    own = adapt(net).run(image, ["blocks.1"]).layers["blocks.1"].activations
    with adapt(net).resume(image, "blocks.1", logits=logits) as head:
        np.testing.assert_allclose(head(own)[""], plain, rtol=0, atol=1e-12)
    assert (abs(plain.sum() - 1) < 1e-9) == (not logits)


class Window(Net):
    """Its blocks see four crops of each sample as a batch of their own."""

    def forward(self, x: Any) -> Any:
        x = self.start(x)
        crops = torch.cat([x[..., :4, :4], x[..., 4:, :4], x[..., :4, 4:], x[..., 4:, 4:]])
        for block in self.blocks:
            crops = block(crops)
        pooled = self.pool(crops).flatten(1).view(4, len(x), 4).mean(0)
        return self.fc(pooled).softmax(1)


class One(Net):
    """Takes one sample at a time."""

    def start(self, x: Any) -> Any:
        return super().start(x).view(1, 4, 8, 8)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", [Window, One])
def test_models_whose_batches_are_not_the_samples_are_replayed_one_by_one(image, kind):
    net = kind()
    own = adapt(net).run(image, ["blocks.1.conv2"]).layers["blocks.1.conv2"].activations
    given = altered(own.shape, 3)
    with adapt(net).resume(image, "blocks.1.conv2") as head:
        (outputs,) = head(given.reshape(-1, *own.shape[1:])).values()
    for row, activations in zip(outputs, given, strict=True):
        with (
            net.blocks[1].conv2.register_forward_hook(lambda *_, a=activations: torch.tensor(a)),
            torch.no_grad(),
        ):
            expected = net(torch.tensor(image)).numpy()
        p = np.exp(row - row.max())
        np.testing.assert_allclose(p[None] / p.sum(), expected, rtol=0, atol=1e-10)


@pytest.mark.filterwarnings("error")
def test_a_batch_axis_that_is_not_the_first_is_replayed(image):
    class TimeMajor(nn.Module):
        """Its layer sees the rows of an image as steps, ``(T, B, C)``."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.before, self.steps = nn.Linear(10, 4), nn.Linear(4, 3)
            self.double()

        def forward(self, x: Any) -> Any:
            steps = self.steps(self.before(x[:, 0].transpose(0, 1)))
            return steps.cumsum(0).tanh().sum(0)

    net = TimeMajor()
    given = np.random.default_rng(1).normal(size=(10, 5, 3))
    with adapt(net).resume(image, "steps") as head:
        (outputs,) = head(given).values()
    np.testing.assert_allclose(outputs, np.tanh(given.cumsum(0)).sum(0), rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("call", [0, 1, 2])
def test_what_a_function_makes_of_one_call_of_a_layer_is_altered(image, call):
    class Thrice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv = nn.Conv2d(1, 1, 3, padding=1)
            self.double()

        def forward(self, x: Any) -> Any:
            for _ in range(3):
                x = F.relu(self.conv(x))
            return x.mean(3)[:, 0]

    net, given = Thrice(), altered((1, 10, 10)).clip(0)
    with adapt(net).resume(image, f"conv@activated#{call}") as head:
        (outputs,) = head(given).values()
    x = torch.tensor(given)
    for _ in range(2 - call):
        x = F.relu(net.conv(x))
    np.testing.assert_allclose(outputs, x.mean(3)[:, 0].detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("layer", ["blocks.1.conv2", "blocks.1.relu#1", "blocks.2.relu#0"])
def test_where_a_replay_is_not_faithful_the_whole_model_is_run_and_says_so(image, layer):
    class Doubling(Net):
        """What it returns depends on a module having run, not only on its output."""

        def forward(self, x: Any) -> Any:
            ran = []
            with self.blocks[0].norm1.register_forward_hook(lambda *_: ran.append(1)):
                return (super().forward(x).log() * (1 + len(ran))).softmax(1)

    net, given = Doubling(), altered((4, 8, 8))
    name, _, call = layer.partition("#")
    with (
        pytest.warns(CamcoreWarning, match=f"{layer!r} cannot be replayed"),
        adapt(net).resume(image, layer) as head,
    ):
        (outputs,) = head(given).values()
    expected = whole(net, image, net.get_submodule(name), given, int(call or 0))
    p = np.exp(outputs - outputs.max(1, keepdims=True))
    np.testing.assert_allclose(np.log(p / p.sum(1, keepdims=True)), expected, atol=1e-10)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("logits", [True, False])
def test_fused_attention_does_not_pass_the_layer_by(logits):
    torch.manual_seed(0)
    net = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, enable_nested_tensor=False
    ).eval()
    x = np.random.default_rng(0).normal(size=(1, 5, 8)).astype(np.float32)
    enabled = torch.backends.mha.get_fastpath_enabled()
    with adapt(net).resume(x, "layers.0.linear2", logits=logits) as head:
        given = altered((5, 8), 3).astype(np.float32)
        (outputs,) = head(given).values()
    assert torch.backends.mha.get_fastpath_enabled() is enabled
    for row, activations in zip(outputs, given, strict=True):
        replaced = torch.tensor(activations[None])
        with net.layers[0].linear2.register_forward_hook(lambda *_, r=replaced: r), torch.no_grad():
            np.testing.assert_allclose(row[None], net(torch.tensor(x)), rtol=0, atol=1e-5)


def test_resnet_is_replayed(require):
    resnet = require("torchvision.models.resnet")
    torch.manual_seed(0)
    net = resnet.ResNet(resnet.Bottleneck, [1, 1, 1, 3]).eval()
    image = np.random.default_rng(0).normal(size=(1, 3, 33, 33)).astype(np.float32)
    adapter = adapt(net)
    for layer in ("layer4.2.conv3", "layer4.2"):
        own = adapter.run(image, [layer]).layers[layer].activations
        given = own.repeat(3, 0)
        for i in range(3):
            given[i, 100 * i] = 0
        with adapter.resume(image, layer) as head:
            (outputs,) = head(given).values()
            assert type(head).__name__ == "Replay"
        for i in range(3):
            alone = torch.tensor(given[i : i + 1])
            module = net.get_submodule(layer)
            with module.register_forward_hook(lambda *_, a=alone: a), torch.no_grad():
                expected = net(torch.tensor(image)).numpy()
            error = np.abs(outputs[i : i + 1] - expected).max()
            assert error < 2e-6 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("blocks.1.relu", "runs 2 times.*'blocks.1.relu#0'"),
        ("blocks.1.relu#2", "ran 2 times"),
        ("unused", "did not run"),
        ("nothing", "no layer 'nothing'"),
        ("@input", "goes on from what a layer returns"),
    ],
)
def test_layers_that_cannot_be_resumed_from(image, layer, message):
    net = Net()
    net.unused = nn.ReLU()
    with pytest.raises(LayerError, match=message), adapt(net).resume(image, layer):
        raise AssertionError("entered")


def test_one_sample_and_activations_of_its_shape(image):
    net = Net()
    with pytest.raises(InputError, match="holds 2"), adapt(net).resume(image.repeat(2, 0), "stem"):
        raise AssertionError("entered")
    with (
        adapt(net).resume(image, "stem") as head,
        pytest.raises(InputError, match=r"\(5, 4, 7, 8\).*\(N, 4, 8, 8\)"),
    ):
        head(altered((4, 7, 8)))


def weighing(shape):
    """A seed: a random weighted sum of the outputs."""
    weights = np.random.default_rng(7).normal(size=shape)
    return weights, lambda leaves: {"": weights[: len(leaves[""])]}


def whole_gradients(net, image, layer, own, call, weights):
    """Gradients of the weighted logits by the whole model, one alteration at a time."""
    rows = []
    for activations, w in zip(own, weights, strict=True):
        altered, calls = torch.tensor(activations[None], requires_grad=True), [0]

        def replace(module, args, output, calls=calls, altered=altered):
            calls[0] += 1
            return altered.clone() if calls[0] - 1 == call else None

        with layer.register_forward_hook(replace):
            # The logarithm of probabilities is the logits, save for what all classes share.
            score = (net(torch.tensor(image)).log() @ torch.tensor(w - w.mean())).sum()
        rows.append(torch.autograd.grad(score, altered)[0])
    return torch.cat(rows).numpy()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", [Net, InPlace])
@pytest.mark.parametrize(
    "layer", ["stem", "blocks.0", "blocks.0.relu#0", "blocks.1.conv2", "blocks.2.relu#1", "pool"]
)
def test_gradients_at_altered_activations_are_the_whole_models(image, kind, layer):
    net = kind()
    name, _, call = layer.partition("#")
    own = adapt(net).run(image, [layer]).layers[layer].activations
    weights = weighing((5, 3))[0]
    weights -= weights.mean(axis=1, keepdims=True)
    with adapt(net).gradients_from(image, layer) as pull:
        for count in (5, 2):
            given = altered(own.shape[1:], count)
            copy = given.copy()
            found = pull(given, lambda leaves: {"": weights[: len(leaves[""])]})
            about = (image, net.get_submodule(name), given, int(call or 0), weights[:count])
            expected = whole_gradients(net, *about)
            assert np.abs(expected).max() > 1e-4
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
            np.testing.assert_array_equal(given, copy)


def test_gradients_leave_the_model_as_it_was_and_compute_nothing_before_the_layer(image):
    net = Net()
    held = {name: value.clone() for name, value in net.state_dict().items()}
    net.train()
    ran, _, seed = [], *weighing((4, 3))
    for name, module in net.named_modules():
        plain = module.forward
        module.forward = lambda *args, name=name, plain=plain: (ran.append(name), plain(*args))[1]
    parts = [{**vars(module)} for module in net.modules()]
    with adapt(net).gradients_from(image, "blocks.2.conv2") as pull:
        ran.clear()
        pull(altered((4, 8, 8), 4), seed)
        pull(altered((4, 8, 8), 3), seed)
    once = ["", "blocks.2", "blocks.2.norm2", "blocks.2.relu", "pool", "blocks.0.relu", "fc"]
    assert ran == 2 * once
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(parameter.requires_grad for parameter in net.parameters())
    for name, value in net.state_dict().items():
        assert torch.equal(value, held[name])
    for module, part in zip(net.modules(), parts, strict=True):
        assert vars(module).keys() == part.keys()
        assert all(vars(module)[key] is part[key] for key in part)
    assert torch.is_grad_enabled()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", [Window, One])
def test_gradients_of_models_that_are_replayed_one_by_one(image, kind):
    net = kind()
    own = adapt(net).run(image, ["blocks.1.conv2"]).layers["blocks.1.conv2"].activations
    weights = weighing((1, 3))[0]
    weights -= weights.mean()
    given = altered(own.shape, 3)
    with adapt(net).gradients_from(image, "blocks.1.conv2") as pull:
        found = pull(given.reshape(-1, *own.shape[1:]), lambda leaves: {"": weights})
    for row, activations in zip(found.reshape(given.shape), given, strict=True):
        at = torch.tensor(activations, requires_grad=True)
        with net.blocks[1].conv2.register_forward_hook(lambda *_, a=at: a.clone()):
            score = (net(torch.tensor(image)).log() * torch.tensor(weights)).sum()
        (expected,) = torch.autograd.grad(score, at)
        assert expected.abs().max() > 1e-5
        np.testing.assert_allclose(row, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("inference", [False, True])
def test_gradients_of_what_a_function_rectifies_and_of_what_weighs_the_input(image, inference):
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv = nn.Conv2d(1, 2, 3, padding=1)
            self.double()

        def forward(self, x: Any) -> Any:
            gate = F.relu(self.conv(x))
            return (x * gate.sin()).mean((2, 3))

    given = altered((2, 10, 10), 3).clip(0)
    expected = np.cos(given) * image / 100
    with torch.inference_mode(inference):
        net = Gated()
        with adapt(net).gradients_from(torch.tensor(image), "conv@activated") as pull:
            found = pull(given, lambda leaves: {"": np.ones_like(leaves[""])})
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_a_score_that_does_not_depend_on_the_layer_has_no_gradient(image):
    class Cut(Net):
        def forward(self, x: Any) -> Any:
            return self.fc(self.pool(self.stem(x)).flatten(1).detach())

    with (
        adapt(Cut()).gradients_from(image, "pool") as pull,
        pytest.raises(GradientError, match="does not depend on layer 'pool'"),
    ):
        pull(altered((4, 1, 1)), weighing((5, 3))[1])


def test_gradients_where_the_whole_model_is_run(image):
    class Doubling(Net):
        """What it returns depends on a module having run, not only on its output."""

        def forward(self, x: Any) -> Any:
            ran = []
            with self.blocks[0].norm1.register_forward_hook(lambda *_: ran.append(1)):
                return (super().forward(x).log() * (1 + len(ran))).softmax(1)

    net, given = Doubling(), altered((4, 8, 8), 2)
    weights = np.repeat(weighing((1, 3))[0], 2, axis=0)  # alterations are run one by one
    weights -= weights.mean(axis=1, keepdims=True)
    with (
        pytest.warns(CamcoreWarning, match="'blocks.1.conv2' cannot be replayed"),
        adapt(net).gradients_from(image, "blocks.1.conv2") as pull,
    ):
        found = pull(given, lambda leaves: {"": weights[: len(leaves[""])]})
    expected = whole_gradients(net, image, net.blocks[1].conv2, given, 0, weights)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
