"""docs/evaluation.md lists the metrics and controls that there are."""

from __future__ import annotations

from evaluation_page import PAGE, control_rows, metric_rows

from camcore.metrics.table import TABLE


def test_the_page_lists_every_metric_and_control():
    page = PAGE.read_text(encoding="utf-8")
    for row in (*metric_rows(), *control_rows()):
        assert f"\n{row}\n" in page
    assert len(metric_rows()) == 2 + len(TABLE)
