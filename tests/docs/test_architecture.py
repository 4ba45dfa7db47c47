"""Each diff of docs/architecture.md applies to the source, and what stands under it runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tomllib

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
HOW_TO = PAGE.partition("## How to add\n")[2]
SECTIONS = dict(re.findall(r"^### An? (\w+)\n(.*?)(?=^### |\Z)", HOW_TO, re.M | re.S))


def block(section, language):
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", SECTIONS[section], re.M | re.S)
    return found


def installed(folder):
    """Register the entry points of the copy, as an installation would."""
    about = folder / "camcore_copy-0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: camcore-copy\nVersion: 0\n")
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    points = project["entry-points"]["camcore.backends"]
    lines = [f"{name} = {place}" for name, place in points.items()]
    (about / "entry_points.txt").write_text("[camcore.backends]\n" + "\n".join(lines) + "\n")


def test_page_shows_how_to_add_each_thing():
    assert list(SECTIONS) == ["method", "target", "recipe", "metric", "adapter", "command"]


@pytest.mark.parametrize("section", SECTIONS)
def test_diffs_of_the_page_apply_and_their_snippets_run(section, tmp_path, require):
    require("typer" if section == "command" else "numpy")
    if shutil.which("patch") is None and "CI" not in os.environ:
        pytest.skip("patch is not installed")
    skip = shutil.ignore_patterns("__pycache__")
    for folder in ("camcore", "backends"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=skip)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    apply = ["patch", "--strip=1", "--batch", "--fuzz=0"]
    applied = subprocess.run(
        apply, input=block(section, "diff"), cwd=tmp_path, capture_output=True, text=True
    )
    assert applied.returncode == 0, applied.stdout
    installed(tmp_path)
    ran = subprocess.run(
        [sys.executable, "-c", block(section, "python")],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(tmp_path), str(tmp_path / "backends")]),
        },
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
