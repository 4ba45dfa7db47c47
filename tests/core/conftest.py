"""What NumPy leaves unwritten is infinite here, where by chance it is often zero."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

DIVIDING = [
    importlib.import_module(f"camcore.{name}")
    for name in (
        *("methods.arrays", "methods.attribution", "metrics.agreement"),
        *("metrics.arrays", "metrics.complexity", "metrics.localisation"),
        *("resize", "targets.dense", "targets.detection"),
    )
]


def _divide(*args, out=None, where=True, **options):
    """Divide `where` alone: the places left out hold whatever `out` held, or what memory did."""
    if out is None and where is not True:
        out = np.full(np.broadcast_shapes(*map(np.shape, (*args, where))), np.inf)
    return np.divide(*args, out=out, where=where, **options)


class _NumPy:
    """NumPy but for one function.

    NumPy itself stays as it is: compiled packages look its functions up while they are imported.
    """

    divide = staticmethod(_divide)

    def __getattr__(self, name):
        return getattr(np, name)


@pytest.fixture(autouse=True)
def _unwritten_is_infinite(monkeypatch):
    for module in DIVIDING:
        monkeypatch.setattr(module, "np", _NumPy())
