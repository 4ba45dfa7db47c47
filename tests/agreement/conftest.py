"""One network with one set of real ImageNet weights in every framework, and real photographs."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from camcore import zoo
from camcore.photos.crop import CentreCrop


@pytest.fixture(scope="session")
def lite0(torch, tf, require, photographs) -> dict[str, SimpleNamespace]:
    """EfficientNet-Lite0 and its batch of photographs, by framework; PyTorch's is the first."""
    for package in ("jax", "flax", "onnx", "onnxruntime"):
        require(package)
    every = {}
    for framework in ("torch", "keras", "jax", "onnx"):
        loaded = zoo.load_model(f"demo-{framework}:efficientnet_lite0")
        batch = [
            loaded.preprocess(CentreCrop(p.shape[:2], loaded.size, loaded.resize,
                                         loaded.interpolation).to_model(p))
            for p in photographs.values()
        ]  # fmt: skip
        images = np.concatenate([np.asarray(one) for one in batch])
        every[framework] = SimpleNamespace(model=loaded.model, images=images)
    return every


@pytest.fixture(scope="session")
def networks() -> ModuleType:
    """The module of that name beside this one."""
    return _beside("networks", "agreement_networks")


@pytest.fixture(scope="session")
def jax_networks(networks) -> ModuleType:
    """The module of that name beside this one."""
    return _beside("jax_networks", "agreement_jax_networks")


def _beside(file: str, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{file}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def one_thread(torch) -> Iterator[None]:
    """PyTorch on one thread: its convolutions in double precision mostly wait for others."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def lite0_float64(lite0, double, one_thread) -> dict[str, SimpleNamespace]:
    """The same in double precision."""
    from copy import deepcopy

    with double():
        model = zoo.load_model("demo-keras:efficientnet_lite0").model
    own = lite0["torch"]
    return {
        "torch": SimpleNamespace(
            model=deepcopy(own.model).double(), images=own.images.astype(np.float64)
        ),
        "keras": SimpleNamespace(model=model, images=lite0["keras"].images.astype(np.float64)),
    }
