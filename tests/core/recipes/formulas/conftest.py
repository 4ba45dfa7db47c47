"""Small arrays that formulas are written out on."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def pair():
    """Activations as after a rectifier, and gradients."""
    rng = np.random.default_rng(0)
    activations = np.maximum(rng.normal(size=(2, 3, 3, 2)), 0)
    gradients = rng.normal(size=activations.shape)
    gradients[0, 1] = 0
    return activations, gradients
