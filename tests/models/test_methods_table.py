"""Every method on every architecture: what works, what is refused, and the page that says so."""

from __future__ import annotations

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


# Of a black image, where IDGI begins, an untrained network has no gradient on some processors.
@pytest.mark.filterwarnings("ignore:The gradients at layer '@input' are zero or too small")
@pytest.mark.parametrize("row", ALL, ids=str, scope="module")
def test_outcomes_are_those_of_the_page(row, written, packages):
    found = table.outcomes(row)
    assert table.unexpected(row, found) == []
    assert table.line(row, found) in written.splitlines(), STALE


def test_page_has_a_row_for_each_architecture(written):
    lines = {old.split(" | ")[0].removeprefix("| "): old for old in written.splitlines()}
    assert {row.name for row in ALL} <= set(lines), STALE
    assert table.page(lines) == written, STALE
