"""What NumPy leaves unwritten is infinite here, where by chance it is often zero."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _unwritten_is_infinite(monkeypatch):
    """Divide `where` alone: the places left out hold whatever `out` held, or what memory did."""
    divide = np.divide

    def strict(*args, out=None, where=True, **options):
        if out is None and where is not True:
            out = np.full(np.broadcast_shapes(*map(np.shape, (*args, where))), np.inf)
        return divide(*args, out=out, where=where, **options)

    monkeypatch.setattr(np, "divide", strict)
