"""docs/evaluation.md lists the metrics, controls and recipes that there are."""

from __future__ import annotations

from evaluation_page import PAGE, control_rows, metric_rows, recipe_rows

from camcore.metrics.table import TABLE


def test_the_page_lists_every_metric_control_and_recipe():
    page = PAGE.read_text(encoding="utf-8")
    for row in (*metric_rows(), *control_rows(), *recipe_rows()):
        assert f"\n{row}\n" in page
    assert len(metric_rows()) == 2 + len(TABLE)
