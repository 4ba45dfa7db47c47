"""Fixtures shared by every test; what is missing on a laptop is skipped, in CI it fails."""

from __future__ import annotations

import importlib
import importlib.util
import os
from types import ModuleType

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

# torchvision loads Triton, which ends the process when TensorFlow's LLVM is in it already.
if importlib.util.find_spec("torchvision"):
    importlib.import_module("torchvision")


def _require(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        if os.environ.get("CI"):
            raise
        return pytest.skip(f"{name} is not installed")


@pytest.fixture(scope="session")
def torch() -> ModuleType:
    """PyTorch, or a skip."""
    return _require("torch")


@pytest.fixture(scope="session")
def tf() -> ModuleType:
    """TensorFlow, or a skip."""
    return _require("tensorflow")


@pytest.fixture(scope="session")
def keras(tf: ModuleType) -> ModuleType:
    """Keras on TensorFlow, or a skip."""
    return _require("keras")


@pytest.fixture(scope="session")
def require():
    """Import a module by name, or skip."""
    return _require
