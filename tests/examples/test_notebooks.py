"""The notebooks run as they are, show what they promise, and are kept without outputs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples").glob("*.ipynb"))
# Pictures that each shows, and the cells whose text is looked at.
PICTURES = {"pytorch": 6, "keras": 5, "comparison": 3}


@pytest.fixture(scope="module")
def executed(require, tmp_path_factory):
    """A notebook's cells after it has run in a folder of its own."""
    nbformat, nbclient = require("nbformat"), require("nbclient")
    for name in ("ipykernel", "torch", "tensorflow", "timm", "skimage", "matplotlib"):
        require(name)
    kept = {}

    def run(path):
        if path not in kept:
            notebook = nbformat.read(path, as_version=4)
            folder = str(tmp_path_factory.mktemp(path.stem))
            client = nbclient.NotebookClient(
                notebook,
                timeout=240,
                kernel_name="python3",
                resources={"metadata": {"path": folder}},
            )
            kept[path] = client.execute().cells
        return kept[path]

    return run


def test_notebooks_are_three():
    assert {path.stem for path in NOTEBOOKS} == set(PICTURES)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path, require):
    for cell in require("nbformat").read(path, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    assert path.stat().st_size < 20_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_its_pictures(path, executed):
    outputs = [out for cell in executed(path) for out in cell.get("outputs", ())]
    assert not [out for out in outputs if out.output_type == "error"]
    assert not [out for out in outputs if "CamcoreWarning" in str(out.get("text", ""))]
    shown = [out.data for out in outputs if "data" in out]
    pictures = [data["image/png"] for data in shown if "image/png" in data]
    assert len(pictures) == PICTURES[path.stem]
    assert min(map(len, pictures)) > 10_000
    tables = [data for data in shown if "text/html" in data]
    assert all("gradcam at" in data["text/html"] for data in tables)
    assert bool(tables) == (path.stem != "comparison")


def test_the_frameworks_agree_in_the_comparison(executed):
    (path,) = (path for path in NOTEBOOKS if path.stem == "comparison")
    texts = [
        out.text for cell in executed(path) for out in cell.get("outputs", ()) if "text" in out
    ]
    (agree,) = (text for text in texts if "gradcampp" in text)
    largest = [float(row.split()[2]) for row in agree.splitlines()[1:5]]
    assert len(largest) == 4
    assert np.max(largest) < 1e-4
    assert re.search(r"paper +tf-explain", texts[-1])
