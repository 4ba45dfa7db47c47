"""Parameters of ONNX files by layer, and copies with others, which the file given never sees."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_files import exported, file_of, stirred

from camcore import registry
from camcore.errors import MethodError
from camcore.metrics import randomiser
from camcore_onnx import backend
from camcore_onnx.model import Model
from camcore_onnx.sessions import Runtime

RNG = np.random.default_rng(0)


def drawn(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def scores(model, x):
    return registry.adapter(model).run(x).outputs[""]


def node(kind, *inputs, name, **how):
    return helper.make_node(kind, list(inputs), [name], name, **how)


def test_matrices_are_shown_with_outputs_first_however_they_are_stored():
    held = {"right": drawn(4, 5), "turned": drawn(6, 5), "gemm": drawn(6, 3), "bias": drawn(3)}
    nodes = [
        node("MatMul", "x", "right", name="one"),
        node("Transpose", "turned", name="back"),
        node("Identity", "back", name="same"),
        node("MatMul", "one", "same", name="two"),
        node("Gemm", "two", "gemm", "bias", name="three"),
    ]
    file = file_of(nodes, {"x": ["n", 4]}, ["three"], held)
    found = backend.adapt(file).parameters()
    assert {name: [a.shape for a in own] for name, own in found.items()} == {
        "one": [(5, 4)],
        "two": [(6, 5)],
        "three": [(3, 6), (3,)],
    }
    np.testing.assert_array_equal(found["two"][0], held["turned"])
    np.testing.assert_array_equal(found["three"][0], held["gemm"].T)
    x, new = drawn(2, 4), [drawn(5, 4), drawn(6, 5), drawn(3, 6), drawn(3)]
    before = file.SerializeToString()
    copy = backend.adapt(file).with_parameters({"one": new[:1], "two": new[1:2], "three": new[2:]})
    expected = x @ new[0].T @ new[1].T @ new[2].T + new[3]
    np.testing.assert_allclose(scores(copy, x), expected, rtol=1e-5)
    assert file.SerializeToString() == before
    assert isinstance(copy, onnx.ModelProto)


def test_axes_of_a_kernel_that_is_stored_turned_are_turned_back():
    held = {"kernel": drawn(3, 2, 4)}  # (C, K, O)
    nodes = [
        node("Transpose", "kernel", name="turned", perm=[2, 0, 1]),
        node("Conv", "x", "turned", name="conv"),
    ]
    file, x = file_of(nodes, {"x": ["n", 3, 6]}, ["conv"], held), drawn(2, 3, 6)
    adapter = backend.adapt(file)
    (own,) = adapter.parameters()["conv"]
    np.testing.assert_array_equal(own, held["kernel"].transpose(2, 0, 1))
    new = drawn(4, 3, 2)
    (kept,) = backend.adapt(adapter.with_parameters({"conv": [new]})).parameters()["conv"]
    np.testing.assert_array_equal(kept, new)
    same = adapter.with_parameters({"conv": [own]})
    np.testing.assert_array_equal(scores(same, x), scores(file, x))


def test_what_is_added_or_multiplied_is_a_parameter_and_a_single_number_is_none():
    held = {"shift": drawn(3), "factor": drawn(3), "half": np.float32(0.5), "slope": drawn(3)}
    nodes = [
        node("Add", "x", "shift", name="shifted"),
        node("Mul", "factor", "shifted", name="scaled"),
        node("Mul", "scaled", "half", name="halved"),
        node("PRelu", "halved", "slope", name="bent"),
        node("Mul", "bent", "factor", name="again"),
    ]
    file = file_of(nodes, {"x": ["n", 3]}, ["again"], held)
    found = backend.adapt(file).parameters()
    # What two layers read is the first one's.
    assert {n: [a.tolist() for a in own] for n, own in found.items()} == {
        "shifted": [held["shift"].tolist()],
        "scaled": [held["factor"].tolist()],
        "bent": [held["slope"].tolist()],
    }
    new, x = np.float32([1, 2, 3]), np.ones((1, 3), np.float32)
    copy = backend.adapt(file).with_parameters({"scaled": [new]})
    bent = np.float32(0.5) * new * (1 + held["shift"])
    bent = np.where(bent < 0, bent * held["slope"], bent)
    np.testing.assert_allclose(scores(copy, x), (bent * new)[None], rtol=1e-6)


def test_constants_in_nodes_and_half_precision_keep_their_types():
    kernel = drawn(4, 3, 1, 1).astype(np.float16)
    constant = helper.make_node(
        "Constant", [], ["kernel"], value=numpy_helper.from_array(kernel, "held")
    )
    nodes = [
        constant,
        node("Cast", "kernel", name="wide", to=TensorProto.FLOAT),
        node("Conv", "x", "wide", name="conv"),
    ]
    file, x = file_of(nodes, {"x": ["n", 3, 4, 4]}, ["conv"]), drawn(2, 3, 4, 4)
    (own,) = backend.adapt(file).parameters()["conv"]
    assert own.dtype == np.float32
    copy = backend.adapt(file).with_parameters({"conv": [2 * own]})
    (held,) = (one for one in copy.graph.node if one.op_type == "Constant")
    assert numpy_helper.to_array(held.attribute[0].t).dtype == np.float16
    np.testing.assert_allclose(scores(copy, x), 2 * scores(file, x), rtol=1e-6)
    mixed = randomiser(file)(["conv"], seed=1)
    assert np.abs(scores(mixed, x) - scores(file, x)).max() > 0.1


def test_modules_of_an_export_have_their_parameters_as_in_pytorch(torch):
    nn = torch.nn

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.ReLU(), nn.Conv2d(6, 4, 1))
            self.up = nn.ConvTranspose2d(4, 5, 2, 2)
            self.mix, self.norm = nn.Linear(5, 7), nn.LayerNorm(7)
            self.fc = nn.Linear(7, 2)

        def forward(self, x):
            x = self.up(self.body(x).relu()).flatten(2).transpose(1, 2)
            return self.fc(self.norm(self.mix(x)).mean(1))

    model, x = stirred(Network()), drawn(2, 3, 8, 8)
    expected = registry.adapter(model).parameters()
    for dynamo in (False, True):
        file = exported(model, [x], dynamo=dynamo)
        found = registry.adapter(file).parameters()
        assert [*found] == [*expected]
        for name, arrays in expected.items():
            for array, own in zip(found[name], arrays, strict=True):
                np.testing.assert_array_equal(array, own)
        in_torch, in_file = (randomiser(m)(["fc", "mix", "body"], seed=2) for m in (model, file))
        own = scores(in_torch, x)
        np.testing.assert_allclose(scores(in_file, x), own, rtol=0, atol=1e-5 * np.abs(own).max())
        assert np.abs(own - scores(model, x)).max() > 0.01 * np.abs(own).max()


def test_what_a_file_does_not_tell_is_refused_in_words():
    whole = {"kernel": np.ones((4, 3, 1, 1), np.int8), "scale": np.float32(0.1)}
    nodes = [
        node("DequantizeLinear", "kernel", "scale", name="wide"),
        node("Conv", "x", "wide", name="conv"),
    ]
    quantised = file_of(nodes, {"x": ["n", 3, 4, 4]}, ["conv"], whole)
    with pytest.raises(MethodError, match="OnnxAdapter offers no parameters of files whose weigh"):
        randomiser(quantised)
    inner = [
        helper.make_graph(
            [helper.make_node("MatMul", ["x", held], [f"{held}_y"])],
            held,
            [],
            [helper.make_tensor_value_info(f"{held}_y", TensorProto.FLOAT, None)],
        )
        for held in ("a", "b")
    ]
    branch = node("If", "which", name="chosen", then_branch=inner[0], else_branch=inner[1])
    held = {"a": drawn(3, 3), "b": drawn(3, 3), "which": np.array(True)}
    file = file_of([branch], {"x": ["n", 3]}, ["chosen"], held)
    with pytest.raises(MethodError, match="of files that have layers in branches or loops"):
        randomiser(file)


def test_a_copy_runs_where_its_model_does(monkeypatch):
    layer, kernel = node("Conv", "x", "k", name="conv"), {"k": drawn(4, 3, 1, 1)}
    file = file_of([layer], {"x": ["n", 3, 4, 4]}, ["conv"], kernel)
    assert not Runtime([("OpenVINOExecutionProvider", {}), "CPUExecutionProvider"]).is_plain
    runtime = Runtime(["CPUExecutionProvider"], threads=1)
    assert isinstance(backend.adapt(Model(file, runtime)).with_parameters({}), onnx.ModelProto)
    monkeypatch.setattr(Runtime, "is_plain", False)
    copy = backend.adapt(Model(file, runtime)).with_parameters({})
    assert isinstance(copy, Model)
    assert copy.runtime is runtime
