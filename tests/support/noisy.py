"""Images to add noise to, and the noise that is drawn."""

from __future__ import annotations

import numpy as np

IMAGES = np.random.default_rng(0).normal(size=(2, 3, 4, 4))
IMAGES.setflags(write=False)


def noise(seed: int, draws: int, shape: tuple[int, ...]) -> list[np.ndarray]:
    """What every sample is given, draw by draw."""
    return [np.random.default_rng([seed, draw]).normal(size=shape) for draw in range(draws)]
