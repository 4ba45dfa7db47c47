"""Files that tf2onnx makes of a Keras model, a SavedModel and a TFLite file show its maps."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import camcore
from camcore.registry import adapter

IMAGES = np.random.default_rng(0).uniform(-1, 1, (2, 96, 96, 3)).astype(np.float32)
METHODS = ["gradcam", "layercam", "eigencam", "cam", "fullgrad", "saliency", "guidedbackprop"]


@pytest.fixture(scope="module")
def model(keras, require):
    require("onnxruntime")
    require("tf2onnx")
    keras.utils.set_random_seed(0)
    how = {"weights": None, "input_shape": (96, 96, 3), "classes": 10}
    return keras.applications.MobileNetV2(**how, classifier_activation=None)


@pytest.fixture(scope="module")
def expected(model):
    """The Keras model's signed maps by method."""
    return {method: signed(model, method) for method in METHODS}


@pytest.fixture(scope="module", params=["Keras", "SavedModel", "TFLite"])
def file(request, model, tf, tmp_path_factory):
    """A file made of the model one way, as its users make it."""
    folder = tmp_path_factory.mktemp("tf2onnx")
    made = str(folder / "model.onnx")
    if request.param == "Keras":
        from tf2onnx.convert import from_function

        takes = [tf.TensorSpec((None, *IMAGES.shape[1:]), tf.float32, name="image")]
        function = tf.function(lambda image: model(image, training=False), input_signature=takes)
        from_function(function, input_signature=takes, opset=17, output_path=made)
    elif request.param == "SavedModel":
        model.export(folder / "saved", verbose=False)
        convert("--saved-model", str(folder / "saved"), made)
    else:
        lite = folder / "model.tflite"
        lite.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
        convert("--tflite", str(lite), made)
    return made


def convert(kind, source, made):
    command = [sys.executable, "-m", "tf2onnx.convert", kind, source, "--output", made]
    done = subprocess.run(
        [*command, "--opset", "17"], env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def signed(model, method):
    """The signed map at the layer that is chosen; channels of the input are to be found."""
    (raw,) = camcore.explain(model, IMAGES, target=1, method=method).raw.values()
    return raw


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_maps_are_those_of_the_keras_model(model, expected, file):
    assert adapter(file).input_channels == "last"
    for method, own in expected.items():
        found = signed(file, method)
        np.testing.assert_allclose(
            found, own, rtol=0, atol=1e-5 * np.abs(own).max(), err_msg=method
        )
