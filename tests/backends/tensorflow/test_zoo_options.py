"""What Keras models are loaded with: the library's own weights, classes, checkpoints, a device."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore import zoo
from camcore.errors import InputError


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)


@pytest.fixture
def tiny(keras):
    def make(classes=3):
        keras.utils.set_random_seed(classes)
        return keras.Sequential(
            [
                keras.Input((32, 32, 3)),
                keras.layers.Conv2D(4, 3, activation="relu", name="conv"),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(classes, name="fc"),
            ]
        )

    return make


def equal(model, other):
    pairs = zip(model.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(*pair) for pair in pairs)


def test_kerass_own_weights_come_from_its_cache(keras, tmp_path, monkeypatch):
    module = keras.src.applications.mobilenet
    saved = keras.applications.MobileNet(weights=None)
    asked = []

    def cached(name, url, **options):
        asked.append((name, url))
        saved.save_weights(tmp_path / "cached.weights.h5")
        return str(tmp_path / "cached.weights.h5")

    monkeypatch.setattr(module.file_utils, "get_file", cached)
    loaded = zoo.load_model("keras:MobileNet", pretrained=True)
    assert equal(loaded.model, saved)
    assert loaded.pretrained
    assert asked[0][0] == "mobilenet_1_0_224_tf.h5"


def test_kerass_own_weights_without_a_network_say_what_to_do(keras, monkeypatch):
    def refused(name, url, **options):
        raise Exception(f"URL fetch failure on {url}: None -- Name or service not known")

    monkeypatch.setattr(keras.src.applications.mobilenet.file_utils, "get_file", refused)
    with pytest.raises(InputError, match=r"own weights of keras:MobileNet cannot be loaded: URL f"):
        zoo.load_model("keras:MobileNet", pretrained=True)
    assert not zoo.load_model("keras:MobileNet").pretrained


def test_an_application_is_made_for_the_number_of_classes(keras, tmp_path, photo):
    made = keras.applications.MobileNet(weights=None, classes=3)
    made.save_weights(tmp_path / "last.weights.h5")
    path = str(tmp_path / "last.weights.h5")
    loaded = zoo.load_model("keras:MobileNet", checkpoint=path, num_classes=3, classes=list("abc"))
    assert equal(loaded.model, made)
    assert (loaded.pretrained, loaded.classes) == (True, ("a", "b", "c"))
    result = camcore.explain(loaded.model, loaded.preprocess(photo), **loaded.defaults)
    assert result.outputs.shape == (1, 3)
    assert zoo.load_model("keras:MobileNet", num_classes=3).classes is None
    with pytest.raises(InputError, match=r"last\.weights\.h5 cannot be read: "):
        zoo.load_model("keras:MobileNet", checkpoint=path)


@pytest.mark.parametrize("name", ["last.keras", "last.weights.h5"])
def test_a_checkpoint_of_keras_is_loaded_into_a_file_of_a_model(tiny, tmp_path, name):
    tiny().save(tmp_path / "model.keras")
    trained = tiny()
    trained.set_weights([value + 1 for value in trained.get_weights()])
    save = trained.save if name.endswith(".keras") else trained.save_weights
    save(tmp_path / name)
    loaded = zoo.load_model(str(tmp_path / "model.keras"), checkpoint=str(tmp_path / name))
    assert equal(loaded.model, trained)


def test_a_file_of_a_model_keeps_its_classes(tiny, tmp_path):
    tiny().save(tmp_path / "model.keras")
    for options in ({"num_classes": 3}, {"pretrained": True}):
        with pytest.raises(InputError, match=r"model\.keras holds a model with its own weights; g"):
            zoo.load_model(str(tmp_path / "model.keras"), **options)


def test_a_device_is_the_one_that_tensorflow_computes_on(tf, tiny, tmp_path, monkeypatch):
    tiny().save(tmp_path / "model.keras")
    path = str(tmp_path / "model.keras")
    for gpus, good, bad in (([], "cpu", "GPU:0"), (["GPU:0"], "gpu:0", "CPU:0")):
        monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind, found=gpus: found)
        assert zoo.load_model(path, device=good).pretrained
        with pytest.raises(InputError, match=rf"computes on .PU:0 here, not on '{bad}'.*CUDA_VISI"):
            zoo.load_model(path, device=bad)
