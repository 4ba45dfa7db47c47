"""Every method on every architecture: what works, what is refused, and the page that says so."""

from __future__ import annotations

import os
from collections import Counter

import methods_table as table
import pytest
from architectures import ALL

from camcore.methods import TABLE, find

STALE = f"docs/architectures.md is out of date; write it with: {table.COMMAND}"


@pytest.fixture(scope="module")
def written():
    return table.PAGE.read_text("utf-8")


def test_every_method_has_a_column():
    # The token map is for language models, and these are classifiers.
    names = [method.name for method in TABLE if method.level != "output"]
    assert sorted([*sum(table.COLUMNS.values(), ()), *table.NOT_RUN]) == sorted(names)
    for name, other in table.NOT_RUN.items():
        # A linear head saves Ablation-CAM its passes, and is no need.
        apart = {"scores", "mean_weights"}
        assert set(find(name).needs) - apart == set(find(other).needs) - apart


def test_names_of_architectures_are_unique():
    names = [row.name for row in ALL]
    assert sorted(set(names)) == sorted(names)


WHOLE = bool(os.environ.get("CAMCORE_WHOLE"))
"""Whether every method is run on every architecture, which takes a quarter of an hour.

Otherwise each architecture is asked for every third column, one on from the architecture before, so
that each method is run on a third of the architectures. `table.COMMAND` runs all of it.
"""


def every_third(row):
    return list(table.COLUMNS)[ALL.index(row) % 3 :: 3]


def columns(row):
    return list(table.COLUMNS) if WHOLE else every_third(row)


def test_a_third_of_the_table_has_every_method_and_every_architecture():
    asked = Counter(column for row in ALL for column in every_third(row))
    assert set(asked) == set(table.COLUMNS)
    assert min(asked.values()) >= len(ALL) // 3
    assert min(len(every_third(row)) for row in ALL) >= len(table.COLUMNS) // 3


# Of a black image, where IDGI begins, an untrained network has no gradient on some processors.
@pytest.mark.filterwarnings("ignore:The gradients at layer '@input' are zero or too small")
@pytest.mark.parametrize("row", ALL, ids=str, scope="module")
def test_outcomes_are_those_of_the_page(row, written, packages):
    page, asked = table.written(row, written.splitlines()), columns(row)
    working = {name for column in asked if page[column] == "✓" for name in table.COLUMNS[column]}
    found = table.outcomes(row, working, asked)
    assert table.unexpected(row, found) == []
    assert table.cells(found, asked) == {column: page[column] for column in asked}, STALE


def test_page_has_a_row_for_each_architecture(written):
    lines = {old.split(" | ")[0].removeprefix("| "): old for old in written.splitlines()}
    assert {row.name for row in ALL} <= set(lines), STALE
    assert table.page(lines) == written, STALE
