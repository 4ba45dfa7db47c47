"""`camcore.metrics` has every metric."""

from __future__ import annotations

from importlib import import_module
from inspect import getmembers, isclass, isfunction
from pkgutil import iter_modules

import camcore.comparison
from camcore.metrics import faithfulness

INNER = {"arrays", "case", "feeds", "intervals", "objects", "scoring"}
"""Modules that metrics share, and nobody else needs."""


def test_package_exports_every_public_metric():
    names = {module.name for module in iter_modules(camcore.metrics.__path__)} - INNER
    modules = [import_module(f"camcore.metrics.{name}") for name in names]
    defined = {
        name
        for module in modules
        for name, thing in getmembers(module, lambda thing: isfunction(thing) or isclass(thing))
        if thing.__module__ == module.__name__ and not name.startswith("_")
    }
    functions = {name for name in camcore.metrics.__all__ if not name.isupper()}
    assert functions == defined
    assert camcore.metrics.deletion is faithfulness.deletion
    assert camcore.comparison.Pair is camcore.metrics.Pair
