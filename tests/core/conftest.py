"""What NumPy leaves unwritten is infinite here, where by chance it is often zero; a Chromium."""

from __future__ import annotations

import importlib
import os
import shutil

import numpy as np
import pytest

DIVIDING = [
    importlib.import_module(f"camcore.{name}")
    for name in (
        *("methods.arrays", "methods.attribution", "metrics.agreement"),
        *("metrics.arrays", "metrics.complexity", "metrics.localisation"),
        *("resize", "targets.dense", "targets.detection"),
    )
]


def _divide(*args, out=None, where=True, **options):
    """Divide `where` alone: the places left out hold whatever `out` held, or what memory did."""
    if out is None and where is not True:
        out = np.full(np.broadcast_shapes(*map(np.shape, (*args, where))), np.inf)
    return np.divide(*args, out=out, where=where, **options)


class _NumPy:
    """NumPy but for one function.

    NumPy itself stays as it is: compiled packages look its functions up while they are imported.
    """

    divide = staticmethod(_divide)

    def __getattr__(self, name):
        return getattr(np, name)


@pytest.fixture(autouse=True)
def _unwritten_is_infinite(monkeypatch):
    for module in DIVIDING:
        monkeypatch.setattr(module, "np", _NumPy())


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
