"""One pass and its pull-backs: inputs, outputs, seeds, batches and dtypes."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from onnx_files import exported, file_of, of_class

import camcore
from camcore.adapter import INPUT
from camcore_onnx import backend

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(5, 3, 16, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def model(torch):
    nn = torch.nn
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU6(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 5),
    ).eval()


@pytest.fixture(scope="module")
def file(model):
    return exported(model, [IMAGES[:2]])


def by_autograd(torch, model, images, index, layer=None):
    """Differentiate the score of a class with plain PyTorch, at a layer or the input."""
    tensor = torch.tensor(images, requires_grad=True)
    after = tensor if layer is None else model[: layer + 1](tensor)
    rest = model if layer is None else model[layer + 1 :]
    (gradient,) = torch.autograd.grad(rest(after)[:, index].sum(), after)
    return gradient.numpy()


def close(found, expected, tolerance=1e-6):
    assert found.shape == expected.shape
    scale = np.abs(expected).max()
    assert scale > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_seeds_pulled_back_at_once(torch, model, file, count):
    seeds = [of_class(index) for index in range(count)]
    trace = backend.adapt(file).run(IMAGES, ["1", "3", INPUT], seeds)
    for index in range(count):
        for name, layer in (("1", 1), ("3", 3), (INPUT, None)):
            found = trace.layers[name].gradients[index]
            close(found, by_autograd(torch, model, IMAGES, index, layer))


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("given", [1, 2, 5])
def test_files_of_a_fixed_batch(torch, model, batch, given):
    adapter = backend.adapt(exported(model, [IMAGES[:batch]], fixed=True))
    trace = adapter.run(IMAGES[:given], ["1", INPUT], [of_class(0), of_class(3)])
    close(trace.outputs[""], model(torch.tensor(IMAGES[:given])).detach().numpy())
    for number, index in enumerate((0, 3)):
        expected = by_autograd(torch, model, IMAGES[:given], index, 1)
        close(trace.layers["1"].gradients[number], expected)
        expected = by_autograd(torch, model, IMAGES[:given], index)
        close(trace.layers[INPUT].gradients[number], expected)
    assert trace.layers["1"].activations.shape == (given, 6, 16, 16)
    shapes = {record.layer.name: record.shape for record in adapter.survey(IMAGES[:given])}
    assert shapes["1"] == (1, 6, 16, 16)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_fixed_batch_is_resumed(torch, model, batch):
    adapter = backend.adapt(exported(model, [IMAGES[:batch]], fixed=True))
    own = adapter.run(IMAGES[:1], ["3"]).layers["3"].activations
    altered = np.concatenate([own * scale for scale in (1, 0.5, -1, 2, 0)])
    with adapter.resume(IMAGES[:1], "3") as head:
        close(head(altered)[""], model[4:](torch.tensor(altered)).detach().numpy())


def test_a_batch_of_one_within_a_file_that_declares_none():
    # The file says nothing of its batch, but reshapes to a batch of one.
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["flat"], name="flat"),
        helper.make_node("MatMul", ["flat", "weights"], ["y"], name="fc"),
    ]
    weights = RNG.normal(size=(12, 4)).astype(np.float32)
    constants = {"shape": np.asarray([1, 12]), "weights": weights}
    adapter = backend.adapt(file_of(nodes, {"x": ["n", 3, 2, 2]}, ["y"], constants))
    images = RNG.normal(size=(3, 3, 2, 2)).astype(np.float32)
    trace = adapter.run(images, [INPUT], [of_class(2)])
    close(trace.outputs[""], images.reshape(3, 12) @ weights)
    expected = np.repeat(weights[:, 2].reshape(1, 3, 2, 2), 3, axis=0)
    close(trace.layers[INPUT].gradients[0], expected)


@pytest.mark.parametrize("axes", [[0], [0, 2, 3]])
def test_lengths_that_a_file_declares_as_none_are_open(file, axes):
    # Paddle writes -1 where others leave the length out.
    odd = copy.deepcopy(file)
    for axis in axes:
        odd.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = -1
    found, expected = (camcore.explain(one, IMAGES, 1).maps for one in (odd, file))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("rule", ["guided", "deconvolution"])
def test_a_rule_for_rectifiers_is_that_of_pytorch(model, file, rule):
    from camcore import registry

    images, seeds = IMAGES[:2], [of_class(1)]
    expected = registry.adapter(model).run(images, [INPUT], seeds, rectifier=rule)
    found = backend.adapt(file).run(images, [INPUT], seeds, rectifier=rule)
    close(found.layers[INPUT].gradients[0], expected.layers[INPUT].gradients[0])


@pytest.mark.parametrize(
    ("end", "kind"), [("Softmax", "softmax"), ("LogSoftmax", "log_softmax"), ("Sigmoid", "sigmoid")]
)
def test_the_final_activation_is_left_off(torch, model, end, kind):
    nn = torch.nn
    last = nn.Sigmoid() if end == "Sigmoid" else getattr(nn, end)(dim=1)
    adapter = backend.adapt(exported(nn.Sequential(*model, last), [IMAGES[:2]]))
    shown = []
    seeds = [lambda leaves: shown.append(leaves) or of_class(1)(leaves)]
    logits = adapter.run(IMAGES, [INPUT], seeds)
    assert (logits.activation, logits.applied) == ({"": kind}, {})
    close(logits.outputs[""], model(torch.tensor(IMAGES)).detach().numpy())
    plain = adapter.run(IMAGES, [INPUT], seeds, logits=False)
    assert (plain.activation, plain.applied) == ({}, {"": kind})
    told = [(leaves.activation, leaves.applied) for leaves in shown]
    assert told == [({"": kind}, {}), ({}, {"": kind})]
    close(plain.outputs[""], last(model(torch.tensor(IMAGES))).detach().numpy())


def test_an_activation_behind_a_reshape_is_left_off_in_the_outputs_shape(torch, model):
    class Head(torch.nn.Module):
        def forward(self, scores):
            return torch.softmax(scores[:, :, None], dim=1)[:, :, 0]

    adapter = backend.adapt(exported(torch.nn.Sequential(model, Head()), [IMAGES[:2]]))
    trace = adapter.run(IMAGES, [INPUT], [of_class(1)])
    assert trace.outputs[""].shape == (5, 5)
    if trace.activation:
        close(trace.outputs[""], model(torch.tensor(IMAGES)).detach().numpy())


@pytest.fixture(scope="module")
def two(torch):
    """A module of two inputs and two outputs, and its file."""

    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Linear(7, 4)
            self.head = torch.nn.Linear(4, 5)

        def forward(self, image, about):
            features = torch.relu(self.conv(image) + self.fc(about)[:, :, None, None])
            return self.head(features.mean((2, 3))), image.mean((1, 2, 3))

    torch.manual_seed(0)
    model = Two()
    about = RNG.normal(size=(5, 7)).astype(np.float32)
    file = exported(model, [IMAGES, about], ("image", "about"), ("scores", "mean"))
    return model, file, about


def test_several_inputs_and_outputs(torch, two):
    model, file, about = two
    adapter = backend.adapt(file)
    tensors = [torch.tensor(array, requires_grad=True) for array in (IMAGES, about)]
    expected = torch.autograd.grad(model(*tensors)[0][:, 2].sum(), tensors)
    seed = of_class(2, "scores")
    trace = adapter.run([IMAGES, about], [INPUT, "@input.1"], [seed])
    assert (list(trace.inputs), list(trace.outputs)) == (["0", "1"], ["scores", "mean"])
    for name, gradient in zip((INPUT, "@input.1"), expected, strict=True):
        close(trace.layers[name].gradients[0], gradient.numpy())
    named = adapter.run({"about": about, "image": IMAGES}, ["@input.about", INPUT], [seed])
    close(named.layers["@input.about"].gradients[0], expected[1].numpy())
    close(named.layers[INPUT].gradients[0], expected[0].numpy())
    result = camcore.Explainer(adapter, output="scores")((IMAGES, about), target=1)
    (raw,) = result.raw.values()
    assert result.maps.shape == (5, 16, 16)
    assert np.abs(raw).max() > 0


def test_an_optional_layer_that_the_score_does_not_depend_on(two):
    _, file, about = two

    def of_mean(leaves):
        return {"mean": np.ones_like(leaves["mean"])}

    trace = backend.adapt(file).run([IMAGES, about], ["conv"], [of_mean], optional=["conv"])
    gradient = trace.layers["conv"].gradients[0]
    assert gradient.shape == (5, 4, 16, 16)
    assert not gradient.any()


def test_half_precision_is_handed_over_as_float32(file):
    float16 = pytest.importorskip("onnxruntime.transformers.float16")
    half = float16.convert_float_to_float16(onnx.ModelProto.FromString(file.SerializeToString()))
    expected = backend.adapt(file).run(IMAGES, ["3", "5"], [of_class(0), of_class(1)])
    found = backend.adapt(half).run(IMAGES, ["3", "5"], [of_class(0), of_class(1)])
    assert found.inputs[""].dtype == found.outputs[""].dtype == np.float32
    for name, traced in found.layers.items():
        assert traced.activations.dtype == traced.gradients[1].dtype == np.float32
        close(traced.gradients[1], expected.layers[name].gradients[1], 1e-3)


def test_double_precision_stays():
    weights = RNG.normal(size=(4, 3))
    nodes = [
        helper.make_node("Tanh", ["x"], ["t"], name="tanh"),
        helper.make_node("MatMul", ["t", "w"], ["y"], name="fc"),
    ]
    kind = onnx.TensorProto.DOUBLE
    file = file_of(nodes, {"x": ["n", 4]}, ["y"], {"w": weights}, kind=kind)
    x = RNG.normal(size=(2, 4))
    found = backend.adapt(file).run(x, [INPUT], [of_class(1)]).layers[INPUT].gradients[0]
    close(found, weights[:, 1] * (1 - np.tanh(x) ** 2), 1e-14)


def test_weights_in_files_beside(tmp_path, file):
    copy = onnx.ModelProto.FromString(file.SerializeToString())
    path = tmp_path / "model.onnx"
    onnx.save(copy, path, save_as_external_data=True, location="weights", size_threshold=0)
    expected = backend.adapt(file).run(IMAGES, ["3"], [of_class(0)]).layers["3"].gradients[0]
    for given in (path, str(path), onnxruntime.InferenceSession(str(path))):
        found = backend.adapt(given).run(IMAGES, ["3"], [of_class(0)]).layers["3"].gradients[0]
        np.testing.assert_array_equal(found, expected)


def test_a_session_is_run_as_it_was_made(file):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    data = file.SerializeToString()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    adapter = backend.adapt(session)
    runtime = adapter._model.runtime
    assert runtime.threads == 1
    assert [name for name, _ in runtime.providers] == ["CPUExecutionProvider"]
    assert backend.adapt(session)._model is adapter._model
    trace = adapter.run(IMAGES, ["3"], [of_class(0)])
    assert trace.layers["3"].gradients[0].any()


def test_a_file_that_changes_is_read_again(tmp_path, file):
    path = tmp_path / "model.onnx"
    onnx.save(file, path)
    before = backend.adapt(path)
    assert backend.adapt(path)._model is before._model
    other = onnx.ModelProto.FromString(file.SerializeToString())
    other.graph.initializer.add().CopyFrom(onnx.numpy_helper.from_array(np.ones(3), "more"))
    onnx.save(other, path)
    assert backend.adapt(path)._model is not before._model


def test_a_model_in_memory_is_known_by_its_bytes(file):
    model = onnx.ModelProto.FromString(file.SerializeToString())
    given = model.SerializeToString()
    before = backend.adapt(model)
    before.run(IMAGES, ["3"], [of_class(0)])
    assert model.SerializeToString() == given
    (bias,) = (one for one in model.graph.initializer if one.name == "7.bias")
    bias.raw_data = (np.frombuffer(bias.raw_data, np.float32) + 1).tobytes()
    moved = backend.adapt(model).run(IMAGES).outputs[""] - before.run(IMAGES).outputs[""]
    np.testing.assert_allclose(moved, 1, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("files", "kept"), [(1.5, [1]), (2.5, [0, 1]), (0, [1])])
def test_large_models_are_kept_ready_as_far_as_memory_is_meant_for_them(
    file, monkeypatch, files, kept
):
    from camcore_onnx import source

    monkeypatch.setattr(source, "_models", type(source._models)())
    monkeypatch.setattr(source, "_KEPT_BYTES", files * file.ByteSize())
    other = onnx.ModelProto.FromString(file.SerializeToString())
    other.doc_string = "another"
    read = [source.model_of(one) for one in (file, other)]
    assert [i for i, one in enumerate(read) if one in source._models.values()] == kept
    assert source.model_of(other) is read[1]


def test_functions_of_the_file_are_written_out(torch, model, file):
    inner = [helper.make_node("Relu", ["a"], ["b"]), helper.make_node("Tanh", ["b"], ["c"])]
    opset = [helper.make_opsetid("", 18)]
    function = helper.make_function("own", "Twice", ["a"], ["c"], inner, opset)
    nodes = [
        helper.make_node("Twice", ["x"], ["t"], domain="own", name="twice"),
        helper.make_node("GlobalAveragePool", ["t"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["y"], name="flat"),
    ]
    proto = file_of(nodes, {"x": ["n", 3, 4, 4]}, ["y"])
    proto.opset_import.append(helper.make_opsetid("own", 1))
    proto.functions.append(function)
    x = RNG.normal(size=(2, 3, 4, 4)).astype(np.float32)
    found = backend.adapt(proto).run(x, [INPUT], [of_class(1)]).layers[INPUT].gradients[0]
    expected = np.zeros_like(x)
    expected[:, 1] = (x[:, 1] > 0) * (1 - np.tanh(x[:, 1]) ** 2) / 16
    close(found, expected)


def test_a_tensor_that_is_used_several_times_adds_its_gradients_up():
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["s"], name="square"),
        helper.make_node("Add", ["s", "x"], ["a"], name="sum"),
        helper.make_node("Mul", ["a", "x"], ["y"], name="cube"),
    ]
    x = RNG.normal(size=(2, 3)).astype(np.float32)
    adapter = backend.adapt(file_of(nodes, {"x": ["n", 3]}, ["y"]))
    trace = adapter.run(x, [INPUT, "square", "cube"], [of_class(1)])
    one = np.asarray([0, 1, 0], np.float32)
    close(trace.layers[INPUT].gradients[0], (3 * x**2 + 2 * x) * one)
    close(trace.layers["square"].gradients[0], x * one)
    close(trace.layers["cube"].gradients[0], np.repeat(one[None], 2, axis=0))


def tokens_first(end: str) -> onnx.ModelProto:
    """Write a file that puts tokens before samples, and both into one axis."""
    nodes = [
        helper.make_node("Tanh", ["x"], ["t"], name="layer"),
        helper.make_node("Transpose", ["t"], ["turned"], perm=[1, 0, 2]),
        helper.make_node("Reshape", ["turned", "flat"], ["rows"]),
        helper.make_node("Transpose", ["x"], ["beside"], perm=[1, 0, 2]),
        helper.make_node("Reshape", ["beside", "flat"], ["others"]),
        helper.make_node("Sigmoid", ["others"], ["weights"]),
        helper.make_node("Mul", ["rows", "weights"], ["weighed"]),
        helper.make_node("Reshape", ["weighed", "tokens"], ["unfolded"]),
        helper.make_node("ReduceSum", ["unfolded", "axis"], [end], keepdims=0),
    ]
    constants = {"flat": [-1, 2], "tokens": [3, -1, 2], "axis": [0]}
    arrays = {name: np.asarray(values) for name, values in constants.items()}
    return file_of(nodes, {"x": ["n", 3, 2]}, [end], arrays)


TOKENS = RNG.normal(size=(4, 3, 2)).astype(np.float32)


def test_samples_whose_rows_lie_apart_are_pulled_back_one_seed_after_another():
    trace = backend.adapt(tokens_first("y")).run(TOKENS, ["layer"], [of_class(0), of_class(1)])
    sigmoid = 1 / (1 + np.exp(-TOKENS))
    np.testing.assert_allclose(trace.outputs[""], (np.tanh(TOKENS) * sigmoid).sum(1), rtol=1e-5)
    for index in (0, 1):
        expected = sigmoid * (np.arange(2) == index)
        close(trace.layers["layer"].gradients[index], expected)


def test_what_lies_beside_in_rows_apart_is_computed_anew():
    one = TOKENS[:1]
    altered = np.concatenate([np.tanh(one), TOKENS[1:2], 0 * one])
    with backend.adapt(tokens_first("y")).resume(one, "layer") as head:
        found = head(altered)[""]
    np.testing.assert_allclose(found, (altered / (1 + np.exp(-one))).sum(1), rtol=1e-5)


def test_an_activation_over_another_axis_than_the_outputs_classes_is_no_end():
    nodes = [
        helper.make_node("Softmax", ["x"], ["s"], name="softmax", axis=1),
        helper.make_node("Reshape", ["s", "flat"], ["y"], name="flat"),
    ]
    file = file_of(nodes, {"x": ["n", 3, 2]}, ["y"], {"flat": np.asarray([-1, 6])})
    trace = backend.adapt(file).run(TOKENS)
    assert (trace.activation, trace.applied) == ({}, {})
    powers = np.exp(TOKENS)
    expected = (powers / powers.sum(1, keepdims=True)).reshape(4, 6)
    np.testing.assert_allclose(trace.outputs[""], expected, rtol=1e-5)


def test_what_depends_on_the_number_of_samples_is_read_anew():
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["count"]),
        helper.make_node("Range", ["zero", "count", "one"], ["samples"]),
        helper.make_node("Gather", ["x", "samples"], ["same"], name="gather", axis=0),
        helper.make_node("Mul", ["same", "same"], ["y"], name="square"),
    ]
    constants = {"zero": np.asarray(0), "one": np.asarray(1)}
    adapter = backend.adapt(file_of(nodes, {"x": ["n", 4]}, ["y"], constants))
    for batch in (3, 1, 2):
        x = RNG.normal(size=(batch, 4)).astype(np.float32)
        trace = adapter.run(x, [INPUT], [of_class(1), of_class(2)])
        for seed, index in enumerate((1, 2)):
            expected = 2 * x * (np.arange(4) == index)
            close(trace.layers[INPUT].gradients[seed], expected)


def test_places_of_maxima_that_the_file_returns_itself():
    pool = helper.make_node("MaxPool", ["x"], ["p", "places"], name="pool", kernel_shape=[2, 2])
    flat = helper.make_node("Flatten", ["p"], ["y"], name="flat")
    file = file_of([pool, flat], {"x": ["n", 1, 2, 3]}, ["y", "places"])
    file.graph.output[1].type.tensor_type.elem_type = onnx.TensorProto.INT64
    x = np.asarray([[[[1, 5, 2], [3, 4, 9]]], [[[7, 1, 2], [3, 4, 6]]]], np.float32)
    trace = backend.adapt(file).run(x, [INPUT], [of_class(0, "y"), of_class(1, "y")])
    assert trace.outputs["places"].ravel().tolist() == [1, 5, 6, 11]
    first, second = (gradient[:, 0] for gradient in trace.layers[INPUT].gradients)
    assert first.tolist() == [[[0, 1, 0], [0, 0, 0]], [[1, 0, 0], [0, 0, 0]]]
    assert second.tolist() == [[[0, 0, 0], [0, 0, 1]], [[0, 0, 0], [0, 0, 1]]]


@pytest.mark.parametrize("rule", ["guided", "deconvolution"])
def test_a_rule_is_for_rectifiers_alone(torch, rule):
    from camcore import registry

    nn = torch.nn
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 6, 3), nn.Tanh(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3)),
        *(nn.LeakyReLU(), nn.Hardtanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )
    seeds = [of_class(1)]
    expected = registry.adapter(model.eval()).run(IMAGES, [INPUT], seeds, rectifier=rule)
    found = backend.adapt(exported(model, [IMAGES])).run(IMAGES, [INPUT], seeds, rectifier=rule)
    close(found.layers[INPUT].gradients[0], expected.layers[INPUT].gradients[0])


def test_a_softmax_over_several_axes_at_once_is_no_end():
    node = helper.make_node("Softmax", ["x"], ["y"], name="softmax", axis=1)
    trace = backend.adapt(file_of([node], {"x": ["n", 3, 2]}, ["y"], opset=11)).run(TOKENS)
    assert (trace.activation, trace.applied) == ({}, {})
    powers = np.exp(TOKENS)
    np.testing.assert_allclose(trace.outputs[""], powers / powers.sum((1, 2), keepdims=True), 1e-5)


def test_an_output_with_the_batch_along_two_axes():
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "turned"], ["y"], name="product"),
    ]
    x = RNG.normal(size=(3, 4)).astype(np.float32)
    weights = RNG.normal(size=(2, 3, 3)).astype(np.float32)
    seeds = [lambda leaves, k=k: {"": weights[k]} for k in range(2)]
    trace = backend.adapt(file_of(nodes, {"x": ["n", 4]}, ["y"])).run(x, [INPUT], seeds)
    for k in range(2):
        close(trace.layers[INPUT].gradients[k], (weights[k] + weights[k].T) @ x)


def test_tensors_are_read_as_arrays(torch, tf, file):
    adapter = backend.adapt(file)
    expected = adapter.run(IMAGES).outputs[""]
    tensors = torch.tensor(IMAGES, requires_grad=True), tf.constant(IMAGES)
    for given in (*tensors, IMAGES.astype(np.float64)):
        np.testing.assert_array_equal(adapter.run(given).outputs[""], expected)


@pytest.mark.parametrize("fixed", [None, 1, 2], ids=["any number", "one", "two at a time"])
@pytest.mark.parametrize("layer", [0, 1, 4])
def test_gradients_at_altered_activations(torch, model, layer, fixed):
    how = {} if fixed is None else {"fixed": True}
    adapter = backend.adapt(exported(model, [IMAGES[: fixed or 2]], **how))
    names = [one.name for one in adapter.layers() if one.kind in ("Conv", "Relu", "Clip")]
    name = names[{0: 0, 1: 1, 4: 3}[layer]]
    own = adapter.run(IMAGES[:1], [name]).layers[name].activations
    given = np.random.default_rng(1).normal(size=(5, *own.shape[1:])).astype(np.float32)
    weights = np.random.default_rng(2).normal(size=(5, 5)).astype(np.float32)
    asked = []

    def seed(leaves):
        start = sum(asked)
        asked.append(len(leaves[""]))
        return {"": weights[start : sum(asked)]}

    with adapter.gradients_from(IMAGES[:1], name) as pull:
        found = pull(given, seed)
    assert asked == {None: [5], 1: [1] * 5, 2: [2, 2, 1]}[fixed]
    after = torch.tensor(given, requires_grad=True)
    (expected,) = torch.autograd.grad(
        (model[layer + 1 :](after) * torch.tensor(weights)).sum(), after
    )
    close(found, expected.numpy())
