"""What is refused, and in which words; what needs no gradients works all the same."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_files import exported, file_of, of_class

import camcore
from camcore.adapter import INPUT, NativeScore
from camcore.errors import (
    BackendError,
    GradientError,
    InputError,
    LayerError,
    MethodError,
    MissingFileError,
    TargetError,
)
from camcore_onnx import backend

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 3, 8, 8)).astype(np.float32)
KERNELS = RNG.normal(size=(4, 3, 3, 3)).astype(np.float32)
WEIGHTS = RNG.normal(size=(4, 5)).astype(np.float32)


def with_middle(*middle: onnx.NodeProto, constants=None, opset: int = 18) -> onnx.ModelProto:
    """Put nodes from ``f`` to ``g`` between a convolution and a head."""
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], name="conv", pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["f"], name="relu"),
        *middle,
        helper.make_node("ReduceMean", ["g"], ["m"], name="mean", axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["m", "w"], ["y"], name="fc"),
    ]
    given = {"k": KERNELS, "w": WEIGHTS} | (constants or {})
    return file_of(nodes, {"x": ["n", 3, 8, 8]}, ["y"], given, opset=min(opset, 17))


def branching() -> onnx.ModelProto:
    """Double what comes through an If, on a condition that depends on the input."""
    scaled = helper.make_node("Mul", ["f", "two"], ["doubled"])
    kept = helper.make_node("Identity", ["f"], ["kept"])
    branches = {
        f"{name}_branch": helper.make_graph(
            [node], name, [], [helper.make_tensor_value_info(node.output[0], 1, None)]
        )
        for name, node in (("then", scaled), ("else", kept))
    }
    nodes = [
        helper.make_node("ReduceSum", ["f"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["holds"]),
        helper.make_node("If", ["holds"], ["g"], name="branch", **branches),
    ]
    constants = {"two": np.float32(2), "zero": np.float32(0)}
    return with_middle(*nodes, constants={k: np.asarray(v) for k, v in constants.items()})


def rounded() -> onnx.ModelProto:
    """Quantise what a layer returns, and bring it back."""
    nodes = [
        helper.make_node("QuantizeLinear", ["f", "s", "z"], ["q"], name="quantise"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["g"], name="bring_back"),
    ]
    scale, zero = np.asarray(0.02, np.float32), np.asarray(0, np.uint8)
    return with_middle(*nodes, constants={"s": scale, "z": zero})


def recurrent(torch) -> onnx.ModelProto:
    class Recurrent(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)
            self.lstm = torch.nn.LSTM(4, 6, batch_first=True)
            self.head = torch.nn.Linear(6, 5)

        def forward(self, images):
            tokens = torch.relu(self.conv(images)).flatten(2).transpose(1, 2)
            return self.head(self.lstm(tokens)[0][:, -1])

    torch.manual_seed(0)
    return exported(Recurrent(), [IMAGES])


def det(*_) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Det", ["f"], ["d"], name="determinant"),
        helper.make_node("Unsqueeze", ["d", "axes"], ["g"], name="unsqueeze"),
    ]
    return with_middle(*nodes, constants={"axes": np.asarray([2, 3])})


NO_GRADIENT = {
    "If": (lambda torch: branching(), "relu", r"Operator If \(branch\)"),
    "quantised": (lambda torch: rounded(), "relu", r"DequantizeLinear \(bring_back\)"),
    "LSTM": (recurrent, "conv", r"Operator LSTM \(/lstm/LSTM\)"),
    "unknown": (det, "relu", r"Operator Det \(determinant\)"),
}


@pytest.mark.parametrize("which", NO_GRADIENT)
def test_an_operator_without_a_gradient_is_named(torch, which):
    make, layer, words = NO_GRADIENT[which]
    adapter = backend.adapt(make(torch))
    with pytest.raises(GradientError, match=f"{words} has no gradient here.*'eigencam'"):
        adapter.run(IMAGES, [layer], [of_class(0)])
    own = adapter.run(IMAGES[:1], [layer]).layers[layer].activations
    with (
        adapter.gradients_from(IMAGES[:1], layer) as pull,
        pytest.raises(GradientError, match=f"{words} has no gradient here"),
    ):
        pull(own, of_class(0))


@pytest.mark.parametrize("method", ["eigencam", "scorecam", "ablationcam"])
@pytest.mark.parametrize("which", NO_GRADIENT)
def test_methods_without_gradients_explain_it(torch, which, method):
    make, layer, _ = NO_GRADIENT[which]
    found = camcore.Explainer(backend.adapt(make(torch)), layer=layer, method=method)(
        IMAGES, target=1
    )
    (raw,) = found.raw.values()
    assert raw.shape == (2, 8, 8)
    assert np.isfinite(raw).all()
    assert np.abs(raw).max() > 0


def test_behind_the_operator_there_are_gradients():
    found = backend.adapt(det()).run(IMAGES, ["mean"], [of_class(2)])
    expected = np.repeat(WEIGHTS[None, :, 2], 2, axis=0)
    np.testing.assert_allclose(found.layers["mean"].gradients[0], expected, rtol=1e-6)


def test_resuming_reproduces_what_is_behind_a_branch(torch):
    adapter = backend.adapt(branching())
    own = adapter.run(IMAGES[:1], ["relu"]).layers["relu"].activations
    with adapter.resume(IMAGES[:1], "relu") as head:
        found = head(np.concatenate([own, 0.5 * own]))[""]
    mean = own.mean((2, 3))
    np.testing.assert_allclose(found, np.concatenate([2 * mean, mean]) @ WEIGHTS, rtol=1e-5)


def test_an_output_that_cannot_be_differentiated_leaves_the_others_alone():
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], name="conv"),
        helper.make_node("GlobalAveragePool", ["c"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["scores"], name="flat"),
        helper.make_node("NonZero", ["c"], ["places"], name="places"),
        helper.make_node("Cast", ["places"], ["found"], name="found", to=1),
        helper.make_node("Det", ["c"], ["other"], name="determinant"),
    ]
    inputs = {"x": ["n", 3, 8, 8]}
    adapter = backend.adapt(file_of(nodes, inputs, ["scores", "found", "other"], {"k": KERNELS}))
    found = adapter.run(IMAGES, ["conv"], [of_class(1, "scores")]).layers["conv"].gradients[0]
    expected = np.zeros((2, 4, 6, 6))
    expected[:, 1] = 1 / 36
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    with pytest.raises(GradientError, match=r"Operator Det \(determinant\)"):
        adapter.run(IMAGES, ["conv"], [lambda leaves: {"other": np.ones_like(leaves["other"])}])
    with pytest.raises(GradientError, match="does not depend on layer 'conv'"):
        adapter.run(IMAGES, ["conv"], [lambda leaves: {"found": np.ones_like(leaves["found"])}])


def plain() -> onnx.ModelProto:
    return with_middle(helper.make_node("Identity", ["f"], ["g"], name="same"))


@pytest.mark.parametrize(
    ("error", "words", "ask"),
    [
        (MethodError, "offers no second_order", {"second_order": True}),
        (MethodError, "offers no native scores", {"seeds": [NativeScore(lambda out: out)]}),
        (LayerError, "no layer 'nowhere'", {"layers": ["nowhere"]}),
        (LayerError, "ran once, so there is only #0", {"layers": ["relu#1"]}),
        (LayerError, "computed no softmax attention", {"layers": ["relu@attention"]}),
        (LayerError, "no such floating array", {"layers": ["@input.other"]}),
        (TargetError, "shape", {"seeds": [lambda leaves: {"": leaves[""][:, :1]}]}),
    ],
)
def test_questions_that_have_no_answer(error, words, ask):
    how = {"layers": ["relu"], "seeds": [of_class(0)]} | ask
    with pytest.raises(error, match=words):
        backend.adapt(plain()).run(IMAGES, **how)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (IMAGES[..., :4], r"has shape \(2, 3, 8, 4\); .* \(n, 3, 8, 8\)\. .*pictures of 8×8"),
        (IMAGES[0], r"has shape \(3, 8, 8\); the file takes .* no batch axis: give images\[None\]"),
        (np.moveaxis(IMAGES, 1, -1), r"takes \(n, 3, 8, 8\)\. It has its channels last, and"),
        (IMAGES + 1j, "is of float32, and what was given is complex. Give np.abs"),
        ((IMAGES, IMAGES), r"takes 1 input \('x' \(n, 3, 8, 8\)\), and 2 arrays were given"),
        (np.float32(1), "a single number"),
        (IMAGES[:0], "holds no sample"),
    ],
)
def test_inputs_that_do_not_fit(given, words):
    with pytest.raises(InputError, match=words):
        backend.adapt(plain()).run(given)


def test_whole_numbers_are_asked_for_where_the_file_takes_them():
    node = helper.make_node("Cast", ["x"], ["y"], name="cast", to=1)
    file = file_of([node], {"x": ["n", 4]}, ["y"], kind=onnx.TensorProto.INT64)
    file.graph.output[0].type.tensor_type.elem_type = 1
    adapter = backend.adapt(file)
    assert adapter.run(np.asarray([[1.0, 2, 3, 4]])).outputs[""].tolist() == [[1, 2, 3, 4]]
    with pytest.raises(InputError, match="has fractions"):
        adapter.run(np.asarray([[1.5, 2, 3, 4]]))
    with pytest.raises(LayerError, match="no such floating array"):
        adapter.run(np.asarray([[1, 2, 3, 4]]), [INPUT])


def test_a_layer_that_a_model_is_not_resumed_from():
    adapter = backend.adapt(plain())
    with pytest.raises(LayerError, match="not from '@input'"), adapter.resume(IMAGES[:1], INPUT):
        pass
    with pytest.raises(InputError, match="takes one sample"), adapter.resume(IMAGES, "relu"):
        pass


def test_a_file_that_mixes_its_samples_is_not_resumed():
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="relu"),
        helper.make_node("ReduceSum", ["r", "axes"], ["s"], name="mix"),
        helper.make_node("Mul", ["r", "s"], ["y"], name="times"),
    ]
    file = file_of(nodes, {"x": ["n", 4]}, ["y"], {"axes": np.asarray([0])})
    with (
        pytest.raises(LayerError, match="mixes the samples of a batch"),
        backend.adapt(file).resume(np.ones((1, 4), np.float32), "relu"),
    ):
        pass


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(MissingFileError, match="does not exist"):
        backend.adapt(tmp_path / "nothing.onnx")
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no model at all")
    with pytest.raises(InputError, match="cannot be read"):
        backend.adapt(bad)
    with pytest.raises(BackendError, match="is no ONNX model"):
        backend.adapt({})
    path = tmp_path / "model.onnx"
    onnx.save(plain(), path, save_as_external_data=True, location="weights", size_threshold=0)
    with pytest.raises(BackendError, match="in files beside it"):
        backend.adapt(onnx.load(path, load_external_data=False))
    (tmp_path / "weights").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        backend.adapt(path)


def test_a_file_that_onnx_runtime_does_not_take():
    node = helper.make_node("NoSuchOperator", ["x"], ["y"], name="unknown")
    with pytest.raises(BackendError, match="ONNX Runtime does not take the model"):
        backend.adapt(file_of([node], {"x": ["n", 4]}, ["y"])).run(np.ones((1, 4), np.float32))


def test_a_file_that_computes_in_whole_numbers_throughout():
    scale, zero = np.asarray(0.05, np.float32), np.asarray(128, np.uint8)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="quantise"),
        helper.make_node("MaxPool", ["q"], ["p"], name="pool", kernel_shape=[8, 8]),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("DequantizeLinear", ["f", "s", "z"], ["y"], name="bring_back"),
    ]
    file = file_of(nodes, {"x": ["n", 3, 8, 8]}, ["y"], {"s": scale, "z": zero})
    with pytest.raises(LayerError, match="computes in whole numbers"):
        camcore.Explainer(backend.adapt(file))(IMAGES)


def test_sizes_that_the_model_cannot_compute_with():
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["r"], name="reshape"),
        helper.make_node("ReduceMean", ["r"], ["y"], name="mean", axes=[2], keepdims=0),
    ]
    shape = np.asarray([-1, 3, 64])
    file = file_of(nodes, {"x": ["n", 3, "h", "w"]}, ["y"], {"shape": shape}, opset=17)
    adapter = backend.adapt(file)
    assert adapter.run(IMAGES).outputs[""].shape == (2, 3)
    with pytest.raises(InputError, match=r"cannot run the model .* \(1, 3, 5, 7\)"):
        adapter.run(np.ones((1, 3, 5, 7), np.float32))


REFUSED = {
    "crops": (
        helper.make_node(
            "Resize",
            ["f", "roi", "scales"],
            ["g"],
            name="node",
            coordinate_transformation_mode="tf_crop_and_resize",
        ),
        {"roi": np.asarray([0, 0, 0, 0, 1, 1, 1, 1], np.float32)}
        | {"scales": np.asarray([1, 1, 2, 2], np.float32)},
        "it crops",
    ),
    "scattered sums": (
        helper.make_node(
            "ScatterND", ["f", "places", "updates"], ["g"], name="node", reduction="add"
        ),
        {"places": np.zeros((1, 1), np.int64), "updates": np.ones((1, 4, 8, 8), np.float32)},
        "scatters with reduction='add'",
    ),
    "a training mode": (
        helper.make_node("Dropout", ["f", "ratio", "training"], ["g"], name="node"),
        {"ratio": np.asarray(0.5, np.float32), "training": np.asarray(True)},
        "drops at random",
    ),
}


@pytest.mark.parametrize("which", REFUSED)
def test_settings_without_a_rule_say_why(which):
    node, constants, words = REFUSED[which]
    adapter = backend.adapt(with_middle(node, constants=constants))
    with pytest.raises(GradientError, match=words):
        adapter.run(IMAGES, ["relu"], [of_class(0)])


def test_kernels_that_the_input_makes():
    nodes = [
        helper.make_node("Slice", ["x", "a", "b", "axes"], ["kernels"], name="cut"),
        helper.make_node("Conv", ["x", "kernels"], ["y"], name="conv"),
    ]
    ends = {"a": np.zeros(3, np.int64), "b": np.ones(3, np.int64), "axes": np.asarray([0, 2, 3])}
    adapter = backend.adapt(file_of(nodes, {"x": ["n", 3, 4, 4]}, ["y"], ends))
    words = r"Operator Conv \(conv\) .* kernels depend on the model's inputs"
    with pytest.raises(GradientError, match=words):
        adapter.run(IMAGES[:1, :, :4, :4], [INPUT], [lambda leaves: dict(leaves)])


def test_broadcasting_as_it_was_before_opset_7():
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["y"], name="scale", broadcast=1, axis=1),
    ]
    file = file_of(nodes, {"x": ["n", 3, 4, 4]}, ["y"], {"w": np.ones(3, np.float32)}, opset=6)
    adapter = backend.adapt(file)
    with pytest.raises((GradientError, BackendError), match=r"before opset 7|does not take"):
        adapter.run(np.ones((1, 3, 4, 4), np.float32), [INPUT], [lambda leaves: dict(leaves)])


@pytest.mark.parametrize("operator", ["ReduceL2", "LpNormalization"])
def test_a_vector_of_zeros_has_a_gradient(operator):
    how = {"axes": [1], "keepdims": 1} if operator == "ReduceL2" else {"axis": 1}
    node = helper.make_node(operator, ["x"], ["y"], name="norm", **how)
    adapter = backend.adapt(file_of([node], {"x": ["n", 4]}, ["y"], opset=13))
    x = np.asarray([[0, 0, 0, 0], [3, 0, 4, 0]], np.float32)
    found = adapter.run(x, [INPUT], [of_class(0)]).layers[INPUT].gradients[0]
    assert np.isfinite(found).all()
    expected = [0.6, 0, 0.8, 0] if operator == "ReduceL2" else [0.128, 0, -0.096, 0]
    np.testing.assert_allclose(found[1], expected, rtol=1e-5)


@pytest.mark.parametrize("through_shape", [False, True])
def test_shapes_that_depend_on_values(through_shape):
    # How many places are not zero decides the shape, at once or by way of a shape.
    counted = [
        helper.make_node("NonZero", ["f"], ["places"], name="places"),
        helper.make_node("Shape", ["places"], ["count"], start=1),
        helper.make_node("Min", ["count", "two"], ["rows"]),
    ]
    summed = [
        helper.make_node("ReduceSum", ["f"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["sum"], ["whole"], to=7),
        helper.make_node("Min", ["whole", "two"], ["least"]),
        helper.make_node("Reshape", ["least", "one"], ["rows"]),
    ]
    nodes = [
        *(counted if through_shape else summed),
        helper.make_node("Concat", ["minus", "rows", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["f", "shape"], ["g"], name="split"),
    ]
    constants = {"two": [2], "one": [1], "minus": [-1], "rest": [8, 8]}
    arrays = {name: np.asarray(values) for name, values in constants.items()}
    nodes.append(helper.make_node("ReduceMax", ["g"], ["y"], axes=[2, 3], keepdims=0))
    conv = helper.make_node("Conv", ["x", "k"], ["c"], name="conv", pads=[1] * 4)
    relu = helper.make_node("Relu", ["c"], ["f"], name="relu")
    file = file_of([conv, relu, *nodes], {"x": ["n", 3, 8, 8]}, ["y"], {"k": KERNELS} | arrays)
    file.opset_import[0].version = 17
    cause = "NonZero (places)" if through_shape else "Reshape (split)"
    words = re.escape(f"Operator {cause} has no gradient here: the shape of what it returns")
    with pytest.raises(GradientError, match=words):
        backend.adapt(file).run(IMAGES, ["relu"], [lambda leaves: dict(leaves)])
