"""The tutorials run as a user would run them, and give the tutorials' own maps."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(script: str, *arguments: object) -> str:
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def difference(printed: str) -> float:
    return float(re.search(r"own (?:lines|steps): (\S+)", printed)[1])


@pytest.fixture
def photo(tmp_path, require):
    """A photograph that is not square, as a file."""
    path = tmp_path / "cat.png"
    pixels = require("skimage.data").chelsea()[:200, :300]
    require("PIL.Image").fromarray(pixels).save(path)
    return path


def test_resnet50_gives_the_tutorials_map_at_the_photos_own_size(torch, photo, tmp_path, require):
    printed = run("torch_resnet50.py", photo, "--output", tmp_path / "out")
    assert difference(printed) <= 1e-5
    assert "random weights" in printed
    assert len(re.findall(r"^ *\d+\.\d%", printed, re.MULTILINE)) == 5
    read = require("PIL.Image").open
    original, overlay = (
        np.asarray(read(tmp_path / "out" / name)) for name in ("original.png", "overlay.png")
    )
    np.testing.assert_array_equal(original, np.asarray(read(photo)))
    # Adding heat never darkens.
    assert np.all(overlay.astype(int) >= original.astype(int) - 1)


def test_xception_gives_the_examples_map(keras, photo, tmp_path, require):
    printed = run("keras_xception.py", photo, "--output", tmp_path / "out")
    assert difference(printed) <= 1e-5
    assert "random weights" in printed
    assert require("PIL.Image").open(tmp_path / "out" / "cam.png").size == (300, 200)
