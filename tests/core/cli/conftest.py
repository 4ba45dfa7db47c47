"""A command line to type at, a photograph, and models small enough to load at once."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def tiny(require):
    for package in ("typer", "rich", "matplotlib", "PIL"):
        require(package)
    return require("tiny_models")


@pytest.fixture
def camcore(require, monkeypatch):
    """Type a command; errors of any type but an exit are raised here."""
    from typer.testing import CliRunner

    from camcore.cli.app import app

    monkeypatch.setenv("COLUMNS", "160")

    def type_in(*words):
        return CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)

    return type_in


@pytest.fixture
def photo(tmp_path):
    from camcore.photos.io import write_image

    pixels = np.random.default_rng(0).integers(0, 256, (30, 45, 3), dtype=np.uint8)
    return write_image(tmp_path / "photo.png", pixels)
