"""The notebooks run as they are, and show what is kept in them."""

from __future__ import annotations

import re

import numpy as np
import pytest

# Pictures that each shows.
SHOWN = {"pytorch": 6, "keras": 5, "comparison": 3}

# The picture whose last quarter shows by how much the frameworks round otherwise, which each
# processor does in its own way.
ROUNDED = ("comparison", 1)


@pytest.fixture(scope="module")
def notebooks(require):
    for name in ("nbclient", "ipykernel", "torch", "tensorflow", "timm", "skimage", "matplotlib"):
        require(name)
    return require("notebooks")


@pytest.fixture(scope="module")
def executed(notebooks, tmp_path_factory):
    """A notebook after it has run in a folder of its own, and as it is kept."""
    paths = {path.stem: path for path in notebooks.NOTEBOOKS}
    ran = {}

    def run(name):
        if name not in ran:
            ran[name] = notebooks.executed(paths[name], str(tmp_path_factory.mktemp(name)))
        return ran[name], notebooks.nbformat.read(paths[name], as_version=4)

    return run


def test_notebooks_are_three(notebooks):
    assert {path.stem for path in notebooks.NOTEBOOKS} == set(SHOWN)


@pytest.mark.parametrize("name", SHOWN)
def test_what_a_notebook_keeps_is_what_it_shows(name, executed, notebooks):
    ran, kept = executed(name)
    assert notebooks.texts(kept) == notebooks.texts(ran)
    found = notebooks.pictures(notebooks.keep(ran))
    assert len(found) == SHOWN[name]
    for number, (one, other) in enumerate(zip(found, notebooks.pictures(kept), strict=True)):
        assert one.shape == other.shape
        if (name, number) == ROUNDED:
            one, other = (picture[:, : 3 * picture.shape[1] // 4] for picture in (one, other))
        # What JPEG makes of the last digit of a model's float32.
        assert np.abs(one.astype(int) - other.astype(int)).mean() < 1


@pytest.mark.parametrize("name", SHOWN)
def test_a_notebook_runs_and_shows_its_pictures(name, executed):
    outputs = [out for cell in executed(name)[0].cells for out in cell.get("outputs", ())]
    assert not [out for out in outputs if out.output_type == "error"]
    assert not [out for out in outputs if "CamcoreWarning" in str(out.get("text", ""))]
    shown = [out.data for out in outputs if "data" in out]
    pictures = [data["image/png"] for data in shown if "image/png" in data]
    assert len(pictures) == SHOWN[name]
    assert min(map(len, pictures)) > 10_000
    tables = [data for data in shown if "text/html" in data]
    assert all("gradcam at" in data["text/html"] for data in tables)
    assert bool(tables) == (name != "comparison")


def test_the_frameworks_agree_in_the_comparison(executed):
    cells = executed("comparison")[0].cells
    texts = [out.text for cell in cells for out in cell.get("outputs", ()) if "text" in out]
    (agree,) = (text for text in texts if "gradcampp" in text)
    largest = [float(row.split()[2]) for row in agree.splitlines()[1:5]]
    assert len(largest) == 4
    assert np.max(largest) < 1e-4
    assert re.search(r"paper +tf-explain", texts[-1])
