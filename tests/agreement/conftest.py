"""One network with one set of real ImageNet weights in both frameworks, and real photographs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from camcore import registry
from camcore.images import CentreCrop


@pytest.fixture(scope="session")
def photographs(require) -> dict[str, np.ndarray]:
    """RGB photographs by name, as their packages ship them."""
    data = require("skimage.data")
    china, flower = require("sklearn.datasets").load_sample_images().images
    grey = data.camera()
    return {
        "chelsea": data.chelsea(),
        "coffee": data.coffee(),
        "astronaut": data.astronaut(),
        "rocket": data.rocket(),
        "camera": np.stack([grey] * 3, axis=-1),
        "china": china,
        "flower": flower,
    }


@pytest.fixture(scope="session")
def lite0(torch, tf, photographs) -> dict[str, SimpleNamespace]:
    """EfficientNet-Lite0 and its batch of photographs, by framework."""
    pair = {}
    for framework, layer in (("torch", "bn2"), ("keras", None)):
        loaded = registry.load_model(f"demo-{framework}:efficientnet_lite0")
        batch = [
            loaded.preprocess(CentreCrop(p.shape[:2], loaded.size, loaded.resize,
                                         loaded.interpolation).to_model(p))
            for p in photographs.values()
        ]  # fmt: skip
        pair[framework] = SimpleNamespace(
            model=loaded.model, images=np.concatenate([np.asarray(b) for b in batch]), head=layer
        )
    return pair


@pytest.fixture(scope="session")
def lite0_float64(lite0, keras) -> dict[str, SimpleNamespace]:
    """The same in double precision."""
    from copy import deepcopy

    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    try:
        model = registry.load_model("demo-keras:efficientnet_lite0").model
    finally:
        keras.config.set_floatx(before)
    own = lite0["torch"]
    return {
        "torch": SimpleNamespace(
            model=deepcopy(own.model).double(), images=own.images.astype(np.float64)
        ),
        "keras": SimpleNamespace(model=model, images=lite0["keras"].images.astype(np.float64)),
    }
