"""One file of a Keras model shows the same maps on every backend of Keras, one a process."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

LAYER = {"model": "head_relu", "early": "block2b_add"}
SETTINGS = {
    **dict.fromkeys(("gradcam", "gradcampp", "layercam", "eigencam", "cam"), "model"),
    **dict.fromkeys(("shapleycam", "ablationcam", "guidedgradcam", "fullgrad"), "model"),
    "scorecam": "early",
}
AT_INPUT = {"fullgrad", "guidedgradcam"}
"""Methods with gradients at the input, where a few of six million rectified values fall on another
side of zero: FullGrad 5.3e-4 on JAX; guided Grad-CAM below 1e-4 or 2.2e-4, as the processor's
kernels round. test_real_weights.py shows both in float64."""


def maps(path: str, images: np.ndarray) -> dict[str, np.ndarray]:
    """Signed maps of the model in a file, by method."""
    import keras

    import camcore

    model, found = keras.saving.load_model(path, compile=False), {}
    for method, layer in SETTINGS.items():
        given = images[:1] if layer == "early" else images
        result = camcore.explain(model, given, [282, 967][: len(given)], LAYER[layer], method)
        (found[method],) = result.raw.values()
    return found


@pytest.fixture(scope="module")
def saved(lite0, tmp_path_factory):
    folder = tmp_path_factory.mktemp("keras")
    own = lite0["keras"]
    own.model.save(folder / "model.keras")
    np.save(folder / "images.npy", own.images[:2])
    return folder


@pytest.fixture(scope="module")
def on_tensorflow(saved):
    return maps(str(saved / "model.keras"), np.load(saved / "images.npy"))


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_maps_are_those_on_tensorflow(
    saved, on_tensorflow, run_on_keras_backend, backend, monkeypatch
):
    monkeypatch.setenv("CAMCORE_FOLDER", str(saved))
    assert run_on_keras_backend(backend, __file__).strip() == backend
    found = np.load(saved / f"{backend}.npz")
    for method, expected in on_tensorflow.items():
        apart = np.abs(found[method] - expected).max() / np.abs(expected).max()
        assert apart <= (1e-3 if method in AT_INPUT else 1e-4), f"{method}: {apart:.1e}"


if __name__ == "__main__":
    if os.environ["KERAS_BACKEND"] == "torch":
        import torch  # noqa: F401
    folder = os.environ["CAMCORE_FOLDER"]
    images = np.load(f"{folder}/images.npy")
    import keras

    np.savez(f"{folder}/{keras.backend.backend()}.npz", **maps(f"{folder}/model.keras", images))
    sys.stdout.write(keras.backend.backend())
