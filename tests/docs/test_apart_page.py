"""docs/apart.md has each method whose authors' code is a recipe, and each port of it."""

from __future__ import annotations

import re

import pytest
from apart_page import INTRODUCTION, MEASURED, PAGE, REPEATS, ROWS, covering, heading

from camcore.methods.table import find
from camcore.recipes import TABLE, find_recipe

TEXT = PAGE.read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S))

WITHOUT_CODE = {"iscam", "smoothgradcampp", "kpcacam"}
"""Read as well, though no code of their authors could be had."""


def test_the_page_has_each_method_of_the_authors_recipe_and_no_other():
    read = {row.name for row in find_recipe("authors").covers()} | WITHOUT_CODE
    assert {row.method for row in ROWS} == read
    assert list(SECTIONS) == [find(row.method).label for row in ROWS]
    assert TEXT.startswith(INTRODUCTION.format(measured=MEASURED))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.method)
def test_a_section_says_what_its_row_says_and_measures_each_port(row):
    section = SECTIONS[find(row.method).label]
    said = heading(row).partition("\n")[2]
    assert section.startswith(said), "run python tests/support/apart_page.py"
    lines = re.findall(r"^\| `([\w-]+)` \| ([\d.]+) \| (-?[\d.]+) \|$", section, re.M)
    if row.method == "legrad":  # of drawn weights, by block
        assert len(re.findall(r"^\| \w.* \| [\d.]+ \| [\d.]+ \|$", section, re.M)) == 3
    else:
        assert [name for name, *_ in lines] == covering(row.method)
        assert lines[0] == ("paper", "0.000", "1.000")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.method)
def test_what_a_library_does_otherwise_is_said(row):
    others = {
        name
        for name, recipe in TABLE.items()
        if name not in ("paper", "authors", "keras-io", *REPEATS) and row.method in recipe.methods
    }
    assert others <= set(row.ports) <= set(covering(row.method))
