"""Files found by their paths, and how photographs are shown to them."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from onnx_files import file_of

import camcore
from camcore import registry
from camcore.errors import BackendError, InputError
from camcore_onnx import backend


@pytest.fixture
def registered(monkeypatch):
    """Have the backend found, whatever is installed."""
    monkeypatch.setattr(registry, "_load", lambda framework: backend)
    monkeypatch.setattr(registry, "_entry_points", lambda: dict.fromkeys(("onnx", "onnxruntime")))


def saved(tmp_path, shape, kind=onnx.TensorProto.FLOAT):
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], name="cast", to=1),
        helper.make_node("Relu", ["f"], ["r"], name="relu"),
        helper.make_node("ReduceMean", ["r"], ["y"], name="mean", axes=[2, 3], keepdims=0),
    ]
    file = file_of(nodes, {"x": shape}, ["y"], kind=kind, opset=17)
    file.graph.output[0].type.tensor_type.elem_type = 1
    path = tmp_path / "model.onnx"
    onnx.save(file, path)
    return str(path)


PHOTO = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def test_floats_are_shown_photographs_in_the_unit_range(tmp_path):
    loaded = backend.load("onnx", saved(tmp_path, ["n", 3, 32, 32]))
    batch = loaded.preprocess(PHOTO)
    assert (loaded.size, batch.dtype) == (32, np.float32)
    assert loaded.assumed == "RGB from 0 to 1, 32×32"
    np.testing.assert_allclose(batch[0], PHOTO.transpose(2, 0, 1) / 255, rtol=1e-6)


def test_whole_numbers_are_shown_photographs_as_they_are(tmp_path):
    loaded = backend.load("onnx", saved(tmp_path, ["n", 32, 32, 3], onnx.TensorProto.UINT8))
    np.testing.assert_array_equal(loaded.preprocess(PHOTO)[0], PHOTO)
    assert loaded.assumed == "RGB from 0 to 255, 32×32"


def test_one_channel_is_shown_grey(tmp_path):
    loaded = backend.load("onnx", saved(tmp_path, ["n", 1, 32, 32]))
    grey = PHOTO @ np.asarray([0.299, 0.587, 0.114]) / 255
    batch = loaded.preprocess(PHOTO)
    assert batch.shape == (1, 1, 32, 32)
    np.testing.assert_allclose(batch[0, 0], grey, rtol=0, atol=2e-3)


def test_a_size_left_open_is_224(tmp_path):
    assert backend.load("onnx", saved(tmp_path, ["n", 3, "h", "w"])).size == 224


@pytest.mark.parametrize(("scheme", "weights"), [("other", None), ("onnx", "weights.pth")])
def test_what_a_file_does_not_have(tmp_path, scheme, weights):
    with pytest.raises(InputError, match=r"Unknown scheme|holds its own weights"):
        backend.load(scheme, saved(tmp_path, ["n", 3, 32, 32]), weights)


@pytest.mark.usefixtures("registered")
def test_a_file_is_explained_by_its_path(tmp_path):
    path = saved(tmp_path, ["n", 3, 16, 16])
    images = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    expected = camcore.Explainer(backend.adapt(path), layer="relu")(images, target=1)
    for given in (path, onnx.load(path)):
        found = camcore.explain(given, images, target=1, layer="relu")
        np.testing.assert_array_equal(found.maps, expected.maps)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("in_memory", [False, True])
def test_an_explainer_goes_to_other_processes(tmp_path, in_memory):
    path = saved(tmp_path, ["n", 3, 16, 16])
    images = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    explainer = camcore.Explainer(onnx.load(path) if in_memory else path, layer="relu")
    expected = explainer(images, target=1)
    found = pickle.loads(pickle.dumps(explainer))(images, target=1)
    np.testing.assert_array_equal(found.maps, expected.maps)


def test_neither_library_is_imported_before_a_model_is_adapted():
    code = (
        "import sys, camcore_onnx; b = camcore_onnx.backend; "
        "assert not b.owns(object()); assert b.owns('model.onnx'); assert not b.owns('model.pt2'); "
        "assert not {'onnx', 'onnxruntime', 'torch'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_library_names_the_extra():
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "import camcore_onnx\n"
        "from camcore.errors import MissingExtraError\n"
        "try: camcore_onnx.backend.adapt('model.onnx')\n"
        "except MissingExtraError as error: assert 'camcore[onnx]' in str(error), error\n"
        "else: raise AssertionError"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def installed(monkeypatch):
    """ONNX Runtime with more providers than it has, and what sessions are asked to run on."""
    runtime, asked, starts = onnxruntime, [], ["CUDAExecutionProvider", "OpenVINOExecutionProvider"]

    class Session(runtime.InferenceSession):
        def __init__(self, data, options, providers):
            asked.append(providers)
            super().__init__(data, options, providers=["CPUExecutionProvider"])

        def get_providers(self):
            return starts

    available = ["CUDAExecutionProvider", "OpenVINOExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(runtime, "get_available_providers", lambda: available)
    monkeypatch.setattr(runtime, "InferenceSession", Session)
    return asked, starts


@pytest.mark.parametrize(
    ("device", "providers"),
    [
        ("cuda", [("CUDAExecutionProvider", {}), "CPUExecutionProvider"]),
        ("CUDA:1", [("CUDAExecutionProvider", {"device_id": "1"}), "CPUExecutionProvider"]),
        ("cudaexecutionprovider", [("CUDAExecutionProvider", {}), "CPUExecutionProvider"]),
        (
            "openvino:GPU",
            [("OpenVINOExecutionProvider", {"device_type": "GPU"}), "CPUExecutionProvider"],
        ),
    ],
)
def test_a_device_is_an_execution_provider(installed, tmp_path, device, providers):
    path, (asked, starts) = saved(tmp_path, ["n", 3, 16, 16]), installed
    images = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    loaded = backend.load("onnx", path, device=device)
    found = camcore.Explainer(backend.adapt(loaded.model), layer="relu")(images, target=1)
    assert asked
    assert all(one == providers for one in asked)
    asked.clear()
    starts.append("CPUExecutionProvider")
    plain = backend.load("onnx", path, device="cpu").model
    assert plain is not loaded.model
    expected = camcore.Explainer(backend.adapt(plain), layer="relu")(images, target=1)
    np.testing.assert_array_equal(found.maps, expected.maps)
    assert asked
    assert all(one == ["CPUExecutionProvider"] for one in asked)


def test_a_device_that_is_not_there_is_said(tmp_path, installed):
    path = saved(tmp_path, ["n", 3, 16, 16])
    with pytest.raises(InputError, match=r"knows no device 'mps'; there are cpu, cuda, "):
        backend.load("onnx", path, device="mps")
    with pytest.raises(InputError, match=r"knows no device 'cpu:1'"):
        backend.load("onnx", path, device="cpu:1")
    with pytest.raises(InputError, match=r"has no CoreMLExecutionProvider for the device 'coreml'"):
        backend.load("onnx", path, device="coreml")
    installed[1][:] = ["CPUExecutionProvider"]
    loaded = backend.load("onnx", path, device="cuda")
    images = np.zeros((1, 3, 16, 16), np.float32)
    with pytest.raises(BackendError, match=r"cannot start its CUDAExecutionProvider here"):
        camcore.Explainer(backend.adapt(loaded.model), layer="relu")(images, target=1)
