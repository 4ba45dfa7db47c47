"""docs/evaluation.md lists the metrics, controls and recipes that there are."""

from __future__ import annotations

import re

from evaluation_page import (
    BRIDGE_TEXT,
    INTRODUCTION,
    PAGE,
    PEERS,
    control_rows,
    metric_rows,
    peer_rows,
    recipe_rows,
)

from camcore import metrics
from camcore.metrics.table import TABLE


def test_the_page_lists_every_metric_control_and_recipe():
    page = PAGE.read_text(encoding="utf-8")
    for row in (*metric_rows(), *control_rows(), *recipe_rows(), *peer_rows()):
        assert f"\n{row}\n" in page
    assert INTRODUCTION in page
    assert BRIDGE_TEXT in page
    assert len(metric_rows()) == 2 + len(TABLE)


def test_what_is_here_of_libraries_is():
    known = {*TABLE, *metrics.__all__, "torchray", "Evaluation"}
    for library, rows in PEERS.items():
        for name, here in rows.items():
            said = re.findall(r"`(\w+)", here)
            assert set(said) <= known, (library, name)
            assert said or here.startswith("no: "), (library, name)
