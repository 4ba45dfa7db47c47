"""A sample of what benchmarks/fuzz.py does: damaged files and odd arrays, refused or right."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from fuzz import arrays, files

DOCS = Path(__file__).parents[2] / "docs" / "reliability.md"
CASES = {"keras": 8, "weights.h5": 8, "mp4": 12, "avi": 12, "mkv": 12, "npz": 120, "pth": 60}
NEEDED = {"keras": "keras", "weights.h5": "keras", "pth": "torch", "old.pth": "torch"}


@pytest.mark.parametrize("name", files.FORMATS)
def test_damaged_files_are_refused_or_read_as_finite_numbers(name, tmp_path, require):
    for package in ("PIL", "cv2", *([NEEDED[name]] if name in NEEDED else [])):
        require(package)
    if NEEDED.get(name) == "keras":
        require("tensorflow")
    good = {}
    for part in dict.fromkeys([name, "npz", "png"]):
        path = tmp_path / f"good.{part}"
        files.FORMATS[part].make(path)
        good[part] = path.read_bytes()
    files.FORMATS[name].read(tmp_path / f"good.{name}")
    counts: Counter[str] = Counter()
    for seed in range(CASES.get(name, 40)):
        kind, case = files.outcome(name, seed, good, tmp_path)
        assert kind in ("refused", "read"), case
        counts[kind] += 1
    assert counts["refused"] > 0


@pytest.mark.parametrize("block", range(4))
def test_odd_arrays_are_refused_or_give_finite_numbers(block):
    counts: Counter[str] = Counter()
    for seed in range(300 * block, 300 * (block + 1)):
        kind, case = arrays.outcome(seed)
        assert kind in ("refused", "finite"), case
        counts[kind] += 1
    assert min(counts["refused"], counts["finite"]) > 50


def test_the_page_has_the_figures_of_every_format_and_nothing_went_wrong():
    page = DOCS.read_text("utf-8")
    rows = re.findall(r"^\| (.+?) \| ([\d,]+) \| [\d,]+ \| [\d,]+ \| (.+) \|$", page, re.M)
    found = {name.strip("`").removeprefix("."): (count, wrong) for name, count, wrong in rows}
    assert set(found) == {*files.FORMATS, "all files", "arrays"}, "run python benchmarks/fuzz.py"
    assert found["all files"][0] == found["arrays"][0] == "10,000"
    assert {wrong for _, wrong in found.values()} == {"0 | 0 | 0"}
    for place in re.findall(r"`(tests/[^`]+)`", page):
        assert list(DOCS.parents[1].glob(place)), place
