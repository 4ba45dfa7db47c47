"""Sums over channels and recipes, written out one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from camcore.recipes import find_recipe
from camcore.resize import Interpolation, resize

SIZE = (12, 10)


def weighted(
    weigh: Callable[..., float], activations: Sequence[np.ndarray], gradients: Sequence[np.ndarray]
) -> np.ndarray:
    """Weight and sum channels, Σ_c w · A_c, channel by channel."""
    return np.stack(
        [
            sum(weigh(a, g) * a for a, g in zip(one, other, strict=True))
            for one, other in zip(activations, gradients, strict=True)
        ]
    )


def enlarged(maps: Sequence[np.ndarray], how: Interpolation) -> np.ndarray:
    """Resize each map to `SIZE`."""
    return np.stack([resize(one, SIZE, how) for one in maps])


def shown(recipe: str, method: str, *arrays: object) -> np.ndarray:
    """Compute a recipe's map of `SIZE` by a method that takes the arrays."""
    found = find_recipe(recipe)
    row = found.method(method)
    raw = row.function(*arrays, **row.options)
    return found.render([raw], SIZE, method=method)
