"""PyTorch: scores before a final activation, and no second pass once a model is known."""

from __future__ import annotations

import importlib
import os
import warnings
from typing import Any

import numpy as np
import pytest

from camcore.registry import adapter as adapt

torch = importlib.import_module("torch") if "CI" in os.environ else pytest.importorskip("torch")
nn = torch.nn
F = nn.functional
stated = importlib.import_module("camcore_torch.logits").stated


class Net(nn.Module):
    def __init__(self, end: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv1d(2, 4, 3), nn.Linear(4, 3)
        self.end = end
        type(self).passes = [0]  # of the class: what a forward stores on the model is dropped
        self.double()

    def logits(self, a: Any) -> Any:
        return 40 * self.fc(a.relu().mean(2))  # saturates any softmax

    def forward(self, x: Any) -> Any:
        self.passes[0] += 1
        return self.end(self.logits(self.conv(x)))


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(4, 2, 9))


def first(leaves):
    return {
        path: np.eye(1, 3).repeat(len(leaf), 0).reshape(leaf.shape) for path, leaf in leaves.items()
    }


def expected(net: Net, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a = net.conv(torch.tensor(x)).detach().requires_grad_()
    logits = net.logits(a)
    return logits.detach().numpy(), torch.autograd.grad(logits[:, 0].sum(), a)[0].numpy()


SPELLINGS = {
    "torch.softmax": ("softmax", lambda z: torch.softmax(z, 1)),
    "F.softmax": ("softmax", lambda z: F.softmax(z, dim=1)),
    "Tensor.softmax": ("softmax", lambda z: z.softmax(-1)),
    "keyword": ("softmax", lambda z: torch.softmax(input=z, dim=1)),
    "dtype": ("softmax", lambda z: F.softmax(z, 1, dtype=torch.float64)),
    "nn.Softmax": ("softmax", nn.Softmax(1)),
    "torch.special.softmax": ("softmax", lambda z: torch.special.softmax(z, 1)),
    "torch.log_softmax": ("log_softmax", lambda z: torch.log_softmax(z, 1)),
    "F.log_softmax": ("log_softmax", lambda z: F.log_softmax(z, 1)),
    "nn.LogSoftmax": ("log_softmax", nn.LogSoftmax(1)),
    "torch.sigmoid": ("sigmoid", torch.sigmoid),
    "F.sigmoid": ("sigmoid", F.sigmoid),
    "Tensor.sigmoid": ("sigmoid", lambda z: z.sigmoid()),
    "Tensor.sigmoid_": ("sigmoid", lambda z: z.sigmoid_()),
    "nn.Sigmoid": ("sigmoid", nn.Sigmoid()),
    "torch.special.expit": ("sigmoid", torch.special.expit),
    "cast after": ("softmax", lambda z: z.softmax(1).to(torch.float32).to(torch.float64)),
    "clone after": ("softmax", lambda z: z.softmax(1).clone().contiguous()),
    "view after": ("softmax", lambda z: z[:, :, None].softmax(1).squeeze(2).view(-1, 3)),
    "view_as after": ("softmax", lambda z: z.softmax(1).view_as(z)),
    "transpose after": ("softmax", lambda z: z.T.softmax(0).transpose(0, 1)),
}


@pytest.mark.parametrize(("activation", "end"), SPELLINGS.values(), ids=SPELLINGS)
def test_logits_however_the_activation_is_spelled(x, activation, end):
    net = Net(end)
    logits, gradients = expected(net, x)
    for passes in (2, 3, 4):  # twice once, then once
        trace = adapt(net).run(x, ["conv"], [first])
        assert net.passes == [passes]
        assert trace.activation == {"": activation}
        np.testing.assert_allclose(trace.outputs[""], logits, rtol=0, atol=1e-5)
        np.testing.assert_allclose(trace.layers["conv"].gradients[0], gradients, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("activation", "end"), SPELLINGS.values(), ids=SPELLINGS)
def test_logits_without_layers_take_one_pass(x, activation, end):
    net = Net(end)
    trace = adapt(net).run(x)
    assert net.passes == [1]
    assert trace.activation == {"": activation}
    np.testing.assert_allclose(trace.outputs[""], expected(net, x)[0], rtol=0, atol=1e-5)


def test_outputs_as_they_are_where_logits_are_not_wanted(x):
    net = Net(nn.Softmax(1))
    a = net.conv(torch.tensor(x)).detach().requires_grad_()
    probabilities = net.logits(a).softmax(1)
    gradients = torch.autograd.grad(probabilities[:, 0].sum(), a)[0]
    for _ in range(2):
        trace = adapt(net).run(x, ["conv"], [first], logits=False)
        assert trace.activation == {}
        np.testing.assert_allclose(trace.outputs[""], probabilities.detach(), atol=1e-12)
        np.testing.assert_allclose(trace.layers["conv"].gradients[0], gradients, atol=1e-12)
        adapt(net).run(x, ["conv"], [first])  # what it taught must not matter
    assert adapt(net).run(x, logits=False).activation == {}


@pytest.mark.parametrize("logits", [True, False])
def test_a_seed_is_shown_which_activation_the_outputs_end_in_or_ended_in(x, logits):
    adapter, shown = adapt(Net(nn.Softmax(1))), []
    trace = adapter.run(
        x, ["conv"], [lambda leaves: shown.append(leaves) or first(leaves)], logits=logits
    )
    expected = ({"": "softmax"}, {}) if logits else ({}, {"": "softmax"})
    assert (trace.activation, trace.applied) == expected
    assert [(leaves.activation, leaves.applied) for leaves in shown] == [expected]


def test_models_that_return_logits_are_run_once(x):
    net = Net(nn.Identity())
    trace = adapt(net).run(x, ["conv"], [first])
    assert (net.passes, trace.activation) == ([1], {})


OTHERS = {
    "used, not returned": lambda z: (z.softmax(1) * z).sum(1, keepdim=True) + z,
    "scaled after": lambda z: 2 * z.softmax(1),
    "a slice of it": lambda z: z.softmax(1)[:, :2],
    "another function": F.logsigmoid,
}


@pytest.mark.parametrize("end", OTHERS.values(), ids=OTHERS)
def test_what_is_not_a_final_activation_is_left(x, end):
    net = Net(end)
    with torch.no_grad():
        outputs = net(torch.tensor(x))

    def seed(leaves):
        return {"": np.ones_like(leaves[""])}

    for trace in (adapt(net).run(x), adapt(net).run(x, ["conv"], [seed])):
        assert trace.activation == {}
        np.testing.assert_allclose(trace.outputs[""], outputs, rtol=0, atol=1e-12)


def test_an_activation_that_is_written_to_after_is_left(x):
    net = Net(lambda z: z.softmax(1).mul_(2))
    trace = adapt(net).run(x)
    assert trace.activation == {}
    np.testing.assert_allclose(trace.outputs[""].sum(1), 2, rtol=0, atol=1e-12)


class Attention(nn.Module):
    """Returns class probabilities, and attention that it used on the way."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.fc = nn.Linear(4, 4), nn.Linear(4, 3)
        self.double()

    def forward(self, x: Any) -> Any:
        z = self.embed(x)
        attention = F.dropout((z @ z.transpose(1, 2)).softmax(-1), 0.1, self.training)
        pooled = (attention @ z).mean(1)
        return {"attention": attention, "p": self.fc(pooled).softmax(1), "gate": pooled.sigmoid()}


def test_attention_is_left_and_each_output_counts_for_itself():
    net, x = Attention(), np.random.default_rng(0).normal(size=(2, 5, 4))

    def seed(leaves):
        return {"p": np.eye(1, 3).repeat(2, 0)}

    def values():
        with torch.no_grad():
            return {path: leaf.numpy() for path, leaf in net.eval()(torch.tensor(x)).items()}

    for trace in (
        adapt(net).run(x),
        adapt(net).run(x, ["embed"], [seed]),
        adapt(net).run(x, ["embed"], [seed]),
    ):
        assert trace.activation == {"p": "softmax", "gate": "sigmoid"}
        np.testing.assert_allclose(trace.outputs["attention"], values()["attention"], atol=1e-12)
        p = np.exp(trace.outputs["p"])
        np.testing.assert_allclose(p / p.sum(1, keepdims=True), values()["p"], atol=1e-12)
        gate = 1 / (1 + np.exp(-trace.outputs["gate"]))
        np.testing.assert_allclose(gate, values()["gate"], atol=1e-12)


def test_an_activation_in_compiled_code_is_reported_as_left_on(x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        end = torch.jit.script(nn.Softmax(1))
    net = Net(end)
    trace = adapt(net).run(x, ["conv"], [first])
    assert trace.activation == {}
    assert adapt(net).run(x).activation == {}
    np.testing.assert_allclose(trace.outputs[""].sum(1), 1, atol=1e-12)
    passes = net.passes[0]
    adapt(net).run(x, ["conv"], [first])
    assert net.passes == [passes + 1]


class Head(nn.Module):
    """A detection head says how many numbers a place has beside how many classes."""

    def __init__(self, classes: int, outputs: int | None = 9) -> None:
        super().__init__()
        self.nc = classes
        if outputs is not None:
            self.no = outputs


@pytest.mark.parametrize(
    ("heads", "classes"),
    [
        ([Head(3)], 3),
        ([Head(3), Head(3)], 3),
        ([Head(3), Head(5)], None),
        ([Head(3), Head(5, outputs=None)], 3),
        ([Head(5, outputs=None)], None),
        ([nn.Linear(2, 2)], None),
    ],
)
def test_a_detector_scores_as_many_classes_as_its_heads_say(heads, classes):
    assert adapt(nn.Sequential(*heads)).stated_classes == classes


@pytest.mark.parametrize(
    ("loss", "scale"),
    [
        (nn.CrossEntropyLoss(), ("softmax", False)),
        (nn.NLLLoss(), ("log_softmax", True)),
        (nn.BCEWithLogitsLoss(), ("sigmoid", False)),
        (nn.MultiLabelSoftMarginLoss(), ("sigmoid", False)),
        (nn.BCELoss(), ("sigmoid", True)),
        *((loss(), ("none", False)) for loss in (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss)),
        (nn.HuberLoss(), ("none", False)),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_loss_that_the_model_holds_says_what_its_outputs_are(loss, scale):
    model = nn.Sequential(nn.Linear(2, 2))
    assert stated(model) == {}
    model.loss = loss
    assert {path: (one.activation, one.applied) for path, one in stated(model).items()} == {
        "*": scale
    }
    model.other = nn.CTCLoss()  # of which nothing is known
    assert len(stated(model)) == 1
    model.third = nn.BCELoss() if scale[0] == "softmax" else nn.CrossEntropyLoss()
    assert stated(model) == {}
