"""`camcore.metrics` has every metric."""

from __future__ import annotations

from inspect import getmembers, isclass, isfunction

import camcore.comparison
from camcore.metrics import agreement, boxes, controls, faithfulness, robustness, sanity


def test_package_exports_every_public_metric():
    defined = {
        name
        for module in (agreement, boxes, controls, faithfulness, robustness, sanity)
        for name, thing in getmembers(module, lambda thing: isfunction(thing) or isclass(thing))
        if thing.__module__ == module.__name__ and not name.startswith("_")
    }
    tables = {"CONTROLS", "SIMILARITIES"}
    assert set(camcore.metrics.__all__) == defined | tables
    assert camcore.metrics.deletion is faithfulness.deletion
    assert camcore.comparison.Pair is camcore.metrics.Pair
