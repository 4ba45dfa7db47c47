"""Layers by name: the modules that a file was exported from, or its nodes."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from onnx_files import exported, file_of

from camcore_onnx import backend

IMAGES = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)


def relus(*names: str, notes: dict[str, dict[str, str]] | None = None):
    """Write a chain of rectifiers."""
    nodes = []
    for number, name in enumerate(names):
        given = "x" if number == 0 else f"t{number - 1}"
        nodes.append(helper.make_node("Relu", [given], [f"t{number}"], name=name))
        for key, value in (notes or {}).get(name, {}).items():
            nodes[-1].metadata_props.add(key=key, value=value)
    return file_of(nodes, {"x": ["n", 4]}, [f"t{len(names) - 1}"])


def named(file) -> dict[str, str]:
    return {layer.name: layer.native.output[0] for layer in backend.adapt(file).layers()}


def test_nodes_without_scopes_keep_their_names():
    assert named(relus("one", "model/two", "a#b", "a_b", "")) == {
        "one": "t0",
        "model/two": "t1",
        "a_b": "t2",
        "a_b_1": "t3",
        "t4": "t4",
    }


def test_names_are_not_read_as_parts_or_calls():
    assert list(named(relus("Relu@0", "a#1", "b@input"))) == ["Relu@0", "a_1", "b_input"]


def test_paths_of_the_older_exporter_are_those_of_modules():
    file = relus(
        "/features/features.0/features.0.0/Relu",
        "/layer1/layer1.0/down/down.1/Relu",
        "/layer1/layer1.0/Add",
        "/act/Relu",
        "/act_1/Relu",
        "/Relu_2",
    )
    assert named(file) == {
        "features.0.0": "t0",
        "features.0": "t0",
        "features": "t0",
        "layer1.0.down.1": "t1",
        "layer1.0.down": "t1",
        "layer1.0": "t2",
        "layer1": "t2",
        "act": "t3",
        "act_1": "t4",
        "Relu_2": "t5",
    }


def test_scopes_that_the_newer_exporter_notes():
    scopes, classes = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy"
    block = "['', 'layer4', 'layer4.0', '{}', '{}']"
    kinds = "['own.Net', 'torch.nn.Sequential', 'own.Block', '{}', 'aten.relu.default']"
    notes = {
        "node_a": {
            scopes: block.format("layer4.0.act", "a"),
            classes: kinds.format("torch.nn.ReLU"),
        },
        "node_b": {
            scopes: block.format("layer4.0.act", "b"),
            classes: kinds.format("torch.nn.ReLU"),
        },
        "node_c": {scopes: "['', 'c']", classes: "['own.Net', 'aten.relu.default']"},
    }
    file = relus("node_a", "node_b", "node_c", notes=notes)
    assert named(file) == {
        "layer4.0.act.node_a": "t0",
        "layer4.0.act": "t1",
        "layer4.0": "t1",
        "layer4": "t1",
        "node_c": "t2",
    }
    kinds_of = {layer.name: layer.kind for layer in backend.adapt(file).layers()}
    assert kinds_of["layer4.0.act"] == "ReLU"
    assert kinds_of["layer4.0"] == "Block"
    assert kinds_of["node_c"] == "Relu"


def test_a_module_returns_what_is_used_outside_it():
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="/block/Relu"),
        helper.make_node("Tanh", ["a"], ["b"], name="/block/inner/Tanh"),
        helper.make_node("Sigmoid", ["a"], ["c"], name="/block/Sigmoid"),
        helper.make_node("Mul", ["b", "b"], ["y"], name="/Mul"),
    ]
    # The sigmoid leads nowhere: the block's output is the hyperbolic tangent.
    assert named(file_of(nodes, {"x": ["n", 4]}, ["y"]))["block"] == "b"


def test_a_survey_lists_modules_behind_what_they_contain(torch):
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.act = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()

        def forward(self, x):
            return self.act(self.conv(x) + x)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks, self.head = nn.Sequential(Block(), Block()), nn.Linear(3, 5)

        def forward(self, x):
            return torch.softmax(self.head(self.blocks(x).mean((2, 3))), 1)

    records = backend.adapt(exported(Net(), [IMAGES])).survey(IMAGES)
    by_name = {record.layer.name: record for record in records}
    assert list(by_name) == [
        *("blocks.0.conv", "blocks.0.Add", "blocks.0.act", "blocks.0"),
        *("blocks.1.conv", "blocks.1.Add", "blocks.1.act", "blocks.1", "blocks"),
        *("ReduceMean", "head", "Softmax"),
    ]
    assert by_name["blocks.1"].repeats == by_name["blocks"].repeats == "blocks.1.act"
    assert by_name["blocks.0.act"].repeats is None
    assert [name for name, record in by_name.items() if record.is_output] == ["head", "Softmax"]
    assert by_name["blocks"].shape == (1, 3, 8, 8)
    assert all(record.feeds for record in records)


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_is_read(torch, bias):
    nn = torch.nn
    torch.manual_seed(0)
    for head, tokens in (
        (nn.Linear(4, 5, bias=bias), False),
        (nn.Linear(4, 5, bias=bias), True),
        (nn.Conv2d(4, 5, 1, bias=bias), False),
    ):

        class Net(nn.Module):
            def __init__(self, head=head, tokens=tokens):
                super().__init__()
                self.conv, self.head, self.tokens = nn.Conv2d(3, 4, 3), head, tokens

            def forward(self, x):
                features = torch.relu(self.conv(x))
                if isinstance(self.head, nn.Conv2d):
                    return self.head(features).mean((2, 3))
                if self.tokens:  # a product of three axes, and a sum
                    return self.head(features.flatten(2).transpose(1, 2)).mean(1)
                return self.head(features.mean((2, 3)))

        net = Net()
        adapter = backend.adapt(exported(net, [IMAGES]))
        weights, added = adapter.classifier()
        np.testing.assert_array_equal(weights, head.weight.detach().numpy().reshape(5, 4))
        expected = head.bias.detach().numpy() if bias else np.zeros(5)
        np.testing.assert_array_equal(added, expected)
        biases = {one.layer: one.added for one in adapter.biases()}
        np.testing.assert_array_equal(biases["conv"], net.conv.bias.detach().numpy())
        assert ("head" in biases) == bias


def test_there_may_be_no_linear_layer():
    adapter = backend.adapt(relus("relu"))
    assert adapter.classifier() is None
    assert list(adapter.biases()) == []


def test_a_batch_normalisation_is_read():
    values = {name: np.arange(1, 4, dtype=np.float32) * k for k, name in enumerate("gbmv", 1)}
    how = {"name": "norm", "epsilon": 0.5}
    node = helper.make_node("BatchNormalization", ["x", *"gbmv"], ["y"], **how)
    adapter = backend.adapt(file_of([node], {"x": ["n", 3, 4, 4]}, ["y"], values))
    (found,) = adapter.biases()
    g, b, m, v = values.values()
    np.testing.assert_allclose(found.added, b - m * g / np.sqrt(v + 0.5), rtol=1e-6)
    assert found.layer == "norm"


def test_weights_that_the_file_turns_are_read():
    weights = np.arange(12, dtype=np.float32).reshape(3, 4)
    nodes = [
        helper.make_node("Transpose", ["w"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "turned"], ["y"], name="fc"),
    ]
    adapter = backend.adapt(file_of(nodes, {"x": ["n", 4]}, ["y"], {"w": weights}))
    found, bias = adapter.classifier()
    np.testing.assert_array_equal(found, weights)
    np.testing.assert_array_equal(bias, np.zeros(3))


def test_attention_belongs_to_the_module_around_its_softmax(torch):
    nn = torch.nn

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k, self.softmax = nn.Linear(8, 8), nn.Linear(8, 8), nn.Softmax(-1)

        def forward(self, x):
            return self.softmax(self.q(x) @ self.k(x).transpose(1, 2)) @ x

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.attn = Attention()

        def forward(self, x):
            return self.attn(x.flatten(2)).mean(2)

    images = np.random.default_rng(0).normal(size=(2, 3, 2, 4)).astype(np.float32)
    adapter = backend.adapt(exported(Net(), [images]))
    attending = {r.layer.name: r.attention for r in adapter.survey(images) if r.attends}
    assert attending == {"attn": (1, 3, 3)}
    found = adapter.run(images, ["attn@attention"]).layers["attn@attention"].activations
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-6)


def test_scores_that_go_on_beside_a_sum_are_no_output():
    weights = np.ones((3, 3, 1, 1), np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="first"),
        helper.make_node("Conv", ["a", "w"], ["b"], name="second"),
        helper.make_node("Add", ["a", "b"], ["y"], name="sum"),
    ]
    file = file_of(nodes, {"x": ["n", 3, 4, 4]}, ["y"], {"w": weights})
    records = backend.adapt(file).survey(np.ones((1, 3, 4, 4), np.float32))
    assert [record.layer.name for record in records if record.is_output] == ["sum"]
