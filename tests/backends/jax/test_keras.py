"""JAX: Keras models on its backend. Keras has one backend a process, hence another."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import pytest
from jax_checks import METHODS, check_gradients, check_maps, close, of_class
from jax_nets import keras_case

from camcore.adapter import INPUT, LayerName
from camcore.errors import BackendError
from camcore.testing import PROMISES, Subject


def check_numbers() -> None:
    """Gradients against `jax.grad`, every promise of the contract, and maps against PyTorch."""
    from camcore_jax import backend

    case = keras_case()
    adapter = backend.adapt(case.model)
    check_gradients(adapter, case, np.float32, 1e-6)
    for layer in ("block/norm", "block"):
        for promise in PROMISES.values():
            promise(Subject(adapter, case.images, layer, 1e-5))
    methods = [method for method in METHODS if method != "fullgrad"]
    check_maps(adapter, case, methods, 1e-5, np.float32)
    # Its terms cancel: PyTorch's own map in float32 is 1e-5 off.
    check_maps(adapter, case, ["fullgrad"], 1e-4, np.float32)


def check_biases() -> None:
    """What a layer adds is added before its own activation, where it is captured."""
    from camcore_jax import backend

    case = keras_case()
    adapter = backend.adapt(case.model)
    names = {LayerName.parse(bias.layer).path: bias.layer for bias in adapter.biases()}
    assert names["step0"] == "step0@linear"
    assert names["conv1"] == "conv1"
    traced = adapter.run(case.images, ["step0", "step0@linear"]).layers
    linear = traced["step0@linear"].activations
    np.testing.assert_allclose(np.tanh(linear), traced["step0"].activations, rtol=0, atol=1e-6)
    repeats = {record.layer.name: record.repeats for record in adapter.survey(case.images)}
    found = {name: first for name, first in repeats.items() if first}
    assert found == {"block": "block/relu", "drop": "gap"}


def check_owner() -> None:
    """The model is this adapter's alone."""
    from camcore_jax import backend
    from camcore_tensorflow import backend as tensorflow
    from camcore_torch import backend as torch

    case = keras_case()
    assert [owner.owns(case.model) for owner in (backend, tensorflow, torch)] == [
        True,
        False,
        False,
    ]


def check_changes() -> None:
    """Weights and attributes that change are seen; only the latter trace the model again."""
    import keras

    from camcore_jax import backend

    case = keras_case()
    adapter, images = backend.adapt(case.model), case.images
    for change in (
        lambda: None,
        lambda: case.model.get_layer("conv1").kernel.assign(
            0.5 * case.model.get_layer("conv1").kernel
        ),
        lambda: setattr(case.model.get_layer("step1"), "activation", keras.activations.relu),
        lambda: setattr(case.model.get_layer("block").get_layer("norm"), "epsilon", 0.5),
    ):
        change()
        for _ in range(2):
            found = adapter.run(images, logits=False).outputs[""]
            np.testing.assert_allclose(found, case.plain(images), rtol=0, atol=1e-6)
    assert adapter.traces == 3


def check_model_is_untouched() -> None:
    """Nothing that a layer does in a call stays, for no thread, also when it raises."""
    import keras

    from camcore_jax import backend

    class Noting(keras.layers.Layer):
        fails = False

        def build(self, shape):
            self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def call(self, x, training=None):
            self.last = x
            self.count.assign(self.count + 1)
            if self.fails:
                raise OSError("no more")
            return x + (100 if training else 0)

    noting = Noting(name="noting")
    model = keras.Sequential([keras.Input((4, 4, 3)), noting, keras.layers.Conv2D(2, 3)])
    layers = [model, *model.layers]
    images = np.ones((2, 4, 4, 3), np.float32)
    before = [dict(layer.__dict__) for layer in layers]
    counted = float(noting.count)
    calls, stop = [type(layer).call for layer in layers], threading.Event()

    def watch():
        while not stop.is_set():
            for layer, was in zip(layers, before, strict=True):
                assert vars(layer).keys() == was.keys()

    with ThreadPoolExecutor(1) as pool:
        watched = pool.submit(watch)
        try:
            trace = backend.adapt(model).run(images, ["noting", INPUT], [lambda o: {"": o[""]}])
            noting.__class__.fails = True
            with pytest.raises(OSError, match="no more"):
                backend.adapt(model).run(images[:1])
        finally:
            stop.set()
        watched.result()
    np.testing.assert_array_equal(trace.layers["noting"].activations, images)
    for layer, was, call in zip(layers, before, calls, strict=True):
        assert layer.__dict__.keys() == was.keys()
        assert all(layer.__dict__[key] is value for key, value in was.items())
        assert type(layer).call is call
    assert float(noting.count) == counted


def check_threads() -> None:
    """Eight threads see what one sees."""
    from camcore_jax import backend

    case, start = keras_case(), threading.Barrier(8)

    def gradients(images):
        traced = backend.adapt(case.model).run(images, ["block"], [of_class(1)]).layers["block"]
        return traced.gradients[0]

    def work(number):
        start.wait()
        return gradients(case.images[: 1 + number % 2])

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(8)))
    expected = gradients(case.images)
    for one in found:
        close(one, expected[: len(one)], 1e-6)


def check_refusals() -> None:
    """A model that is not built has no weights to explain."""
    import keras

    from camcore_jax import backend

    model = keras.Sequential([keras.layers.Dense(3)], name="fresh")
    with pytest.raises(BackendError, match="'fresh' has not been built: call it once"):
        backend.adapt(model).run(np.ones((1, 2)))


def test_keras_models_on_the_jax_backend(jax, require, run_on_keras_backend):
    for package in ("torch", "keras", "tensorflow"):
        if find_spec(package) is None:
            require(package)
    assert run_on_keras_backend("jax", __file__) == ""


if __name__ == "__main__":
    for name, check in list(globals().items()):
        if name.startswith("check_") and check.__module__ == "__main__":
            check()
