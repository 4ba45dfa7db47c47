"""Every promise of the contract, kept by every adapter; what `check_adapter` checks, one by one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from camcore import registry
from camcore.testing import PROMISES, Subject, random_network

RNG = np.random.default_rng(0)


def numpy_subject(request) -> Subject:
    def native(outputs):
        cotangent = np.zeros_like(outputs)
        cotangent[:, 0] = 1
        return outputs[:, 0], cotangent

    images = RNG.normal(size=(3, 2, 8, 8))
    return Subject(random_network(head="deep"), images, "relu2", 1e-9, native)


def torch_subject(request) -> Subject:
    torch = request.getfixturevalue("torch")
    nn = torch.nn
    torch.manual_seed(0)
    model = nn.Sequential()
    parts = {
        "conv1": nn.Conv2d(3, 6, 3, padding=1),
        "norm": nn.BatchNorm2d(6),
        "relu1": nn.ReLU(inplace=True),
        "pool": nn.MaxPool2d(2),
        "conv2": nn.Conv2d(6, 8, 3, padding=1),
        "relu2": nn.ReLU(inplace=True),
        "pool2": nn.MaxPool2d(2),
        "flat": nn.Flatten(),
        "fc": nn.Linear(8 * 16, 5),
        "softmax": nn.Softmax(dim=1),
    }
    for name, part in parts.items():
        model.add_module(name, part)
    with torch.no_grad():
        model.norm.running_mean.normal_()
        model.norm.running_var.uniform_(0.5, 2)
    images = RNG.normal(size=(3, 3, 16, 16)).astype(np.float32)
    return Subject(registry.adapter(model), images, "relu2", 1e-5)


def torch_double(request) -> Subject:
    subject = torch_subject(request)
    model = subject.adapter.model.double()[:-1].eval()
    images = subject.inputs.astype(np.float64)
    return Subject(registry.adapter(model), images, "relu2", 1e-11, lambda outputs: outputs[:, 0])


def torch_before_pooling(request) -> Subject:
    """Give a rectifier before max-pooling, where small steps meet kinks."""
    subject = torch_subject(request)
    return Subject(subject.adapter, subject.inputs, "relu1", 1e-5)


def onnx_subject(request, **how) -> Subject:
    """Give the PyTorch model as a file, which is explained without PyTorch."""
    request.getfixturevalue("require")("onnxruntime")
    from onnx_files import exported

    from camcore_onnx import backend

    subject = torch_subject(request)
    file = exported(subject.adapter.model, [subject.inputs[: how.pop("batch", 3)]], **how)
    return Subject(backend.adapt(file), subject.inputs, "relu2", 1e-5)


def onnx_of_one(request) -> Subject:
    """Give a file that takes one sample at a time."""
    return onnx_subject(request, fixed=True, batch=1)


def onnx_before_pooling(request) -> Subject:
    subject = onnx_subject(request)
    return Subject(subject.adapter, subject.inputs, "relu1", 1e-5)


def keras_model(keras, **how):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(6, 3, padding="same", name="conv1"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu1"),
            layers.MaxPooling2D(name="pool"),
            layers.Conv2D(8, 3, padding="same", activation="relu", name="conv2"),
            layers.MaxPooling2D(name="pool2"),
            layers.Flatten(name="flat"),
            layers.Dense(5, name="fc", **how),
        ]
    )


def keras_subject(request) -> Subject:
    model = keras_model(request.getfixturevalue("keras"), activation="softmax")
    images = RNG.normal(size=(3, 16, 16, 3)).astype(np.float32)
    return Subject(registry.adapter(model), images, "conv2", 1e-5)


def keras_before_pooling(request) -> Subject:
    model = keras_model(request.getfixturevalue("keras"))
    images = RNG.normal(size=(3, 16, 16, 3)).astype(np.float32)
    return Subject(registry.adapter(model), images, "relu1", 1e-5, lambda outputs: outputs[:, 0])


def nnx_model(nnx, dtype, activation):
    how = {"rngs": nnx.Rngs(0), "param_dtype": dtype}

    class Network(nnx.Module):
        def __init__(self):
            self.conv1, self.conv2 = nnx.Conv(3, 6, (3, 3), **how), nnx.Conv(6, 8, (3, 3), **how)
            self.norm = nnx.BatchNorm(6, **how)
            self.drop, self.fc = nnx.Dropout(0.5, rngs=nnx.Rngs(0)), nnx.Linear(8 * 16, 5, **how)

        def __call__(self, x):
            x = nnx.max_pool(nnx.relu(self.norm(self.conv1(x))), (2, 2), (2, 2))
            x = nnx.max_pool(nnx.relu(self.conv2(x)), (2, 2), (2, 2))
            return activation(self.fc(self.drop(x.reshape(len(x), -1))))

    return Network()


def nnx_subject(request) -> Subject:
    nnx = request.getfixturevalue("require")("flax.nnx")
    from camcore_jax import backend

    images = RNG.normal(size=(3, 16, 16, 3)).astype(np.float32)
    return Subject(backend.adapt(nnx_model(nnx, np.float32, nnx.softmax)), images, "conv2", 1e-5)


def nnx_double(request) -> Subject:
    nnx, jax = map(request.getfixturevalue("require"), ("flax.nnx", "jax"))
    from camcore_jax import backend

    jax.config.update("jax_enable_x64", True)
    request.addfinalizer(lambda: jax.config.update("jax_enable_x64", False))
    model, images = nnx_model(nnx, np.float64, lambda x: x), RNG.normal(size=(3, 16, 16, 3))
    return Subject(backend.adapt(model), images, "norm", 1e-11, lambda outputs: outputs[:, 0])


SUBJECTS: dict[str, Callable[[pytest.FixtureRequest], Subject]] = {
    "NumPy": numpy_subject,
    "PyTorch": torch_subject,
    "PyTorch in double precision": torch_double,
    "PyTorch before pooling": torch_before_pooling,
    "Keras on TensorFlow": keras_subject,
    "Keras before pooling": keras_before_pooling,
    "Flax NNX": nnx_subject,
    "Flax NNX in double precision": nnx_double,
    "ONNX": onnx_subject,
    "ONNX, one sample at a time": onnx_of_one,
    "ONNX before pooling": onnx_before_pooling,
}


@pytest.fixture(scope="module", params=SUBJECTS)
def subject(request) -> Subject:
    return SUBJECTS[request.param](request)


@pytest.mark.parametrize("words", PROMISES)
def test_adapter_keeps_promise(subject, words):
    PROMISES[words](subject)
