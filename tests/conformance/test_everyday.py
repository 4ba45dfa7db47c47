"""The lines that other libraries take for everyday things run, and are counted as the page says."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from everyday import FUNCTIONS, table

import camcore

PAGE = Path(__file__).parents[2] / "docs/everyday.md"


@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_other_libraries_lines_leave_a_picture(name, tmp_path, monkeypatch, require):
    matplotlib.use("Agg")
    image, data = require("PIL.Image"), require("skimage.data")
    monkeypatch.chdir(tmp_path)
    camcore.photos.write_image("cat.png", data.chelsea())
    framework = "demo-keras" if name.endswith("tf_explain") else "demo-torch"
    FUNCTIONS[name](camcore.load_model(f"{framework}:efficientnet_lite0").model, "cat.png")
    assert np.ptp(np.asarray(image.open("where.png"))) > 100


def test_the_page_shows_the_counts():
    page = PAGE.read_text("utf-8")
    assert page.endswith(f"<!-- counted -->\n{table(page)}\n")
