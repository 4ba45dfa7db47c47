"""Fixtures shared by every test; what is missing on a laptop is skipped, in CI it fails."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# pytest-xdist tells its workers of a terminal of 80 columns, which rich keeps once it has seen it.
os.environ.pop("COLUMNS", None)

import numpy as np
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


@pytest.fixture(scope="session")
def double(keras) -> Callable[[], AbstractContextManager[None]]:
    """A context in which Keras builds models in double precision."""

    @contextmanager
    def precision() -> Iterator[None]:
        # The policy is made from floatx when it is first asked for, and then stays.
        floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        try:
            yield
        finally:
            keras.config.set_floatx(floatx)
            keras.config.set_dtype_policy(policy)

    return precision


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
def run_on_keras_backend() -> Callable[[str, str], str]:
    """Run a file with Keras on another backend and return what it prints; a process has one."""

    def run(backend: str, path: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", path],
            env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run


@pytest.fixture(scope="session")
def run_on_torch_backend(run_on_keras_backend: Callable[[str, str], str]) -> Callable[[str], str]:
    """Run a file with Keras on torch and return what it prints."""
    return functools.partial(run_on_keras_backend, "torch")


@pytest.fixture
def alarm() -> Iterator[None]:
    """Let ``signal.setitimer(signal.ITIMER_REAL, seconds)`` send Ctrl-C."""
    if not hasattr(signal, "setitimer"):
        pytest.skip("this system has no such timer")

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def chromium(require, tmp_path_factory):
    """Chromium under Selenium; missing, a skip on a laptop and a failure in CI."""
    require("selenium")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium and chromedriver are not installed")
        pytest.skip("Chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for word in (
        *("headless", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-quic"),
        *("no-first-run", "disable-background-networking", "disable-component-update"),
        *("disable-sync", "window-size=1280,1000", "force-device-scale-factor=1"),
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    yield started
    started.quit()
