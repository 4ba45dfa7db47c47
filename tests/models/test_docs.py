"""Every Python block of the documentation runs, and shows what it says it shows.

A section is run in a namespace of its own, after what stands before the first section.
An expression whose line ends in ``# -> ...`` has that for its repr, or raises that error;
``...`` stands for anything.
"""

from __future__ import annotations

import ast
import re
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import numpy as np
import pytest

import camcore
from camcore.errors import CamcoreError

ROOT = Path(__file__).parents[2]
PAGES = (
    *(ROOT / "README.md", ROOT / "backends/README.md"),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "tutorials").glob("*.md")),
)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECTION = re.compile(r"^## (.*)$", re.MULTILINE)


class Section(NamedTuple):
    """Blocks under one heading, with the page's own before them; each padded to its line."""

    page: Path
    title: str
    blocks: tuple[str, ...]


def sections(page: Path) -> Iterator[Section]:
    text = page.read_text("utf-8")
    # Padding with empty lines makes a traceback point into the page.
    blocks = {m.start(): "\n" * text[: m.start(1)].count("\n") + m[1] for m in BLOCK.finditer(text)}
    headings = [(m.start(), m[1]) for m in SECTION.finditer(text)]
    ends = [start for start, _ in headings[1:]] + [len(text)]
    first = headings[0][0] if headings else len(text)
    shared = tuple(block for place, block in blocks.items() if place < first)
    if shared:
        yield Section(page, "", shared)
    for (start, title), end in zip(headings, ends, strict=True):
        own = tuple(block for place, block in blocks.items() if start < place < end)
        if own:
            yield Section(page, title, shared + own)


def run(block: str, page: Path, names: dict[str, Any]) -> None:
    lines = block.splitlines()
    for statement in ast.parse(block).body:
        _, arrow, shown = lines[(statement.end_lineno or 1) - 1].partition("# -> ")
        if arrow:
            assert isinstance(statement, ast.Expr), f"{page.name}:{statement.lineno} is no value"
            code = compile(ast.Expression(statement.value), str(page), "eval")
            got = printed(code, names)
            pattern = re.escape(shown.strip()).replace(re.escape("..."), ".*")
            assert re.fullmatch(pattern, got, re.DOTALL), (
                f"{page.name}:{statement.lineno} shows {got}"
            )
        else:
            exec(compile(ast.Module([statement], []), str(page), "exec"), names)


def printed(code: CodeType, names: dict[str, Any]) -> str:
    try:
        return repr(eval(code, names))
    except CamcoreError as error:
        return f"{type(error).__name__}: {error}"


ALONE = ("models.md", "language.md")  # these make their own models
MODELS = [one for page in PAGES if page.name in ALONE for one in sections(page)]
# tests/docs runs what stands in architecture.md, each block under its diff, and in large_data.md;
# tests/app makes the pages of app.md, which its snippets serve.
APART = (*ALONE, "architecture.md", "large_data.md", "app.md")
OTHERS = [one for page in PAGES if page.name not in APART for one in sections(page)]


@pytest.fixture
def at_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("torch", "keras", "at_home")
@pytest.mark.parametrize("section", MODELS, ids=lambda one: f"{one.page.name} {one.title}")
def test_models(section, require):
    for package in re.findall(r"^import (\w+)|^from (\w+)", "\n".join(section.blocks), re.M):
        require("".join(package))
    names: dict[str, Any] = {}
    for block in section.blocks:
        run(block, section.page, names)


@pytest.fixture
def prepared(torch, at_home, require):
    """What the reader of the other pages is taken to have."""
    nn, data = torch.nn, require("skimage.data")
    camcore.photos.write_image("cat.jpg", data.chelsea())
    camcore.photos.write_image("dog.jpg", data.coffee())
    torch.manual_seed(0)
    layers = {
        "layer3": nn.Conv2d(3, 6, 5, 3),
        "layer4": nn.Sequential(nn.Conv2d(6, 8, 3, 2), nn.ReLU()),
        "pool": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        "fc": nn.Linear(8, 1000),
    }
    images = torch.rand(2, 3, 64, 64)
    rng = np.random.default_rng(0)
    return {
        "model": nn.Sequential(OrderedDict(layers)),
        "segmenter": nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 21, 1)),
        "images": images,
        "batches": [images, images],
        "photos": rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8),
        "embedding": rng.normal(size=1000),
        "mask": rng.random((64, 64)) > 0.5,
        "activations": rng.normal(size=(2, 3, 4, 4)),
        "gradients": rng.normal(size=(2, 3, 4, 4)),
    }


@pytest.mark.parametrize("section", OTHERS, ids=lambda one: f"{one.page.name} {one.title}")
def test_other_pages(section, prepared):
    names = {"camcore": camcore, **prepared}
    for block in section.blocks:
        # A class inside a mask is explained of a model that returns a map of classes.
        lines = [
            line.replace("(model,", "(segmenter,") if "Segmentation(" in line else line
            for line in block.splitlines()
        ]
        run("\n".join(lines), section.page, names)
