"""PyTorch: any nest in, any nest out, and arrays of any memory and dtype."""

from __future__ import annotations

import importlib
import os
from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

import camcore
from camcore.errors import InputError
from camcore.registry import adapter as adapt

torch = importlib.import_module("torch") if "CI" in os.environ else pytest.importorskip("torch")
nn = torch.nn


class Net(nn.Module):
    def __init__(self, dtype: Any = torch.float64) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv2d(3, 5, 3), nn.Linear(5, 6)
        self.to(dtype).eval()

    def features(self, x: Any) -> Any:
        return self.conv(x)

    def head(self, a: Any) -> Any:
        return self.fc(torch.tanh(a.relu().mean((2, 3))))

    def forward(self, x: Any) -> Any:
        return self.head(self.features(x))


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 3, 8, 8))


def one_hot(index: int):
    return lambda leaves: {
        path: np.eye(leaf.shape[1], dtype=leaf.dtype)[[index] * len(leaf)]
        for path, leaf in leaves.items()
    }


def textbook(net: Net, x: np.ndarray, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Activations at `conv`, and the gradients of one logit there."""
    activations = net.features(torch.tensor(x, dtype=net.fc.weight.dtype)).detach()
    activations.requires_grad_()
    (gradients,) = torch.autograd.grad(net.head(activations)[:, index].sum(), activations)
    return activations.detach().numpy(), gradients.numpy()


Pair = namedtuple("Pair", "scores features")


@dataclass(frozen=True)
class Record:
    scores: Any
    features: Any


NESTS = {
    "tuple": (lambda s, f: (s, f), "0"),
    "list in dict": (lambda s, f: {"a": [f, s], "n": 3}, "a.1"),
    "named tuple": (Pair, "scores"),
    "dataclass": (Record, "scores"),
    "with integers": (lambda s, f: (s.argmax(1), s), "1"),
}


@pytest.mark.parametrize(("nest", "path"), NESTS.values(), ids=NESTS)
def test_outputs_in_any_nest(images, nest, path):
    class Nested(Net):
        def forward(self, x: Any) -> Any:
            a = self.features(x)
            return nest(self.head(a), a)

    def seed(leaves):
        assert all(isinstance(leaf, np.ndarray) for leaf in leaves.values())
        return {path: one_hot(1)({"": leaves[path]})[""]}

    trace = adapt(Nested()).run(images, ["conv"], [seed])
    expected = textbook(Net(), images, 1)[1]
    np.testing.assert_allclose(trace.layers["conv"].gradients[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "nest", [lambda a: (7, a), lambda a: {"x": [a]}, lambda a: Pair(None, a), Record]
)
def test_layers_that_return_nests(images, nest):
    class Inner(nn.Module):
        def forward(self, a: Any) -> Any:
            return nest(a) if nest is not Record else Record(a, None)

    class Outer(Net):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Inner()

        def forward(self, x: Any) -> Any:
            from camcore_torch.inputs import first_floating

            _, tensor = first_floating(self.inner(self.features(x)))
            return self.head(tensor.relu_())

    trace = adapt(Outer()).run(images, ["inner", "conv"], [one_hot(1)])
    activations, gradients = textbook(Net(), images, 1)
    for name in ("inner", "conv"):
        np.testing.assert_allclose(trace.layers[name].activations, activations, atol=1e-12)
        np.testing.assert_allclose(trace.layers[name].gradients[0], gradients, atol=1e-12)


def test_inputs_as_tuple_dict_and_mixed_dtypes(images):
    class Two(Net):
        def forward(self, x: Any, mask: Any, factor: float = 1) -> Any:
            assert mask.dtype == torch.int64
            return factor * super().forward(x) * mask[:, None]

    net, mask = Two(dtype=torch.float32), np.array([1, 2])
    half = torch.tensor(images, dtype=torch.float16)
    by_tuple = adapt(net).run((half, mask), ["conv"], [one_hot(0)])
    by_name = adapt(net).run({"x": half.numpy(), "mask": mask, "factor": 3.0}, [], [])
    assert list(by_tuple.inputs) == ["0", "1"]
    assert list(by_name.inputs) == ["x", "mask"]
    np.testing.assert_allclose(by_name.outputs[""], 3 * by_tuple.outputs[""], rtol=1e-6)
    _, gradients = textbook(Net(dtype=torch.float32), half.numpy(), 0)
    traced = by_tuple.layers["conv"].gradients[0]
    np.testing.assert_allclose(traced, gradients * mask.reshape(2, 1, 1, 1), rtol=0, atol=1e-6)


def test_alterations_of_several_samples_have_their_samples_other_inputs(images):
    class Two(Net):
        def forward(self, x: Any, factor: Any) -> Any:
            return super().forward(x) * factor[:, None]

    net, factor = Two(), torch.tensor([2.0, -3.0], dtype=torch.float64)
    evidence = camcore.Explainer(net, layer="conv").evidence((torch.tensor(images), factor), [4, 1])
    samples = np.array([1, 0, 1])
    altered = np.random.default_rng(1).normal(size=(3, 3, 8, 8))
    own = Net().forward(torch.tensor(altered)).detach().numpy()[np.arange(3), [1, 4, 1]]
    expected = own * [-3, 2, -3]
    np.testing.assert_allclose(evidence.score_images.many(samples, altered), expected, rtol=1e-12)


@pytest.mark.filterwarnings("error")
def test_arrays_of_any_memory_are_taken_and_left_alone(images):
    class Greedy(Net):
        def forward(self, x: Any) -> Any:
            return super().forward(x.mul_(1.0).add_(0.0) if x.is_contiguous() else x)

    read_only = images.copy()
    read_only.flags.writeable = False
    expected = adapt(Net()).run(images).outputs[""]
    for given in (read_only, images[:, :, ::-1][:, :, ::-1], images.astype(">f8")):
        trace = adapt(Greedy()).run(given)
        np.testing.assert_array_equal(trace.outputs[""], expected)
        np.testing.assert_array_equal(trace.inputs[""], images)
    with pytest.raises(InputError, match="object"):
        adapt(Net()).run(np.array([None]))


def test_a_model_that_works_in_place_on_its_input_changes_no_data_of_ours(images):
    class Greedy(Net):
        def forward(self, x: Any) -> Any:
            return torch.softmax(super().forward(x.mul_(0.5)), 1)

    given = torch.tensor(images)
    trace = adapt(Greedy()).run(given, ["conv"], [one_hot(0)])
    np.testing.assert_array_equal(given, images)
    np.testing.assert_array_equal(trace.inputs[""], images)
    _, gradients = textbook(Net(), 0.5 * images, 0)
    np.testing.assert_allclose(trace.layers["conv"].gradients[0], gradients, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2e-2), ("bfloat16", 2e-1)])
def test_half_precision_is_handed_over_as_float32(images, dtype, tolerance):
    net = Net(dtype=getattr(torch, dtype))

    def seed(leaves):
        assert leaves[""].dtype == np.float32
        return one_hot(1)(leaves)

    trace = adapt(net).run(images, ["conv"], [seed])
    activations, gradients = textbook(Net(), images, 1)
    traced = trace.layers["conv"]
    for got, expected in ((traced.activations, activations), (traced.gradients[0], gradients)):
        assert got.dtype == np.float32
        assert np.abs(got - expected).max() < tolerance * np.abs(expected).max()


@pytest.mark.parametrize("kind", [dict, OrderedDict, MappingProxyType, UserDict])
def test_what_a_layer_returns_is_copied_not_written_to(images, kind):
    class Keeping(nn.Module):
        def forward(self, a: Any) -> Any:
            kept.append((kind({"n": 1, "a": a}), a))
            return kept[-1][0]

    class Outer(Net):
        def __init__(self) -> None:
            super().__init__()
            self.keeping = Keeping()

        def forward(self, x: Any) -> Any:
            returned = self.keeping(self.features(x))
            assert type(returned) is kind
            return self.head(returned["a"])

    kept: list[Any] = []
    trace = adapt(Outer()).run(images, ["keeping"], [one_hot(1)])
    ((returned, tensor),) = kept
    assert returned["a"] is tensor
    expected = textbook(Net(), images, 1)[1]
    np.testing.assert_allclose(trace.layers["keeping"].gradients[0], expected, rtol=0, atol=1e-12)
