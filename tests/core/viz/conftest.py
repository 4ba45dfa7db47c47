"""What pictures are drawn with, and of."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _matplotlib(require):
    require("matplotlib")


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
