"""Recipes of what cannot be installed beside the rest, against their steps in float64.

Not the libraries themselves: xplique needs an older TensorFlow, and the authors' codes
Lua's torch, Python 2 and a GPU. Their documented steps are written out here, position by
position, on random activations and gradients.
"""

from __future__ import annotations

import numpy as np
import pytest

from camcore.recipes import find_recipe
from camcore.resize import PEERS, resize

SIZE = (12, 10)


@pytest.fixture
def arrays():
    """Activations and gradients ``(B, C, H, W)``, as after a rectifier, and scores."""
    rng = np.random.default_rng(0)
    activations = np.maximum(rng.normal(size=(2, 5, 4, 3)), 0)
    activations[:, 4] = 0
    gradients = rng.normal(size=activations.shape)
    gradients[:, 3] = 0
    return activations, gradients, np.array([0.7, -0.4])


def shown(recipe: str, method: str, *arrays: np.ndarray) -> np.ndarray:
    """The recipe's map of a method that takes the arrays."""
    found = find_recipe(recipe)
    row = found.method(method)
    raw = row.function(*arrays, **row.options)
    return found.render([raw], SIZE, method=method)


def weighted(weigh, activations, gradients):
    """Σ_c w · A_c, channel by channel."""
    return np.stack(
        [
            sum(weigh(a, g) * a for a, g in zip(one, other, strict=True))
            for one, other in zip(activations, gradients, strict=True)
        ]
    )


def half_pixel(maps, size, how):
    return np.stack([resize(one, size, how) for one in maps])


def test_xplique_gradcam(arrays):
    activations, gradients, _ = arrays
    signed = weighted(lambda a, g: g.mean(), activations, gradients)
    expected = half_pixel(np.maximum(signed, 0), SIZE, PEERS["tensorflow-cubic"])
    ours = shown("xplique", "gradcam", activations, gradients)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_xplique_gradcampp(arrays):
    activations, gradients, _ = arrays

    def weigh(a, g):
        total = 0.0
        for slope in g.flat:
            below = 2 * slope**2 + slope**3 * a.mean()
            total += slope**2 / (below or 1e-4) * max(slope, 0)
        return total / g.size

    expected = half_pixel(
        np.maximum(weighted(weigh, activations, gradients), 0), SIZE, PEERS["tensorflow-cubic"]
    )
    ours = shown("xplique", "gradcampp", activations, gradients)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_xplique_fem(arrays):
    activations = arrays[0] - 0.3
    masked = weighted(lambda a, g: 1, [
        [a.mean() * (a >= a.mean() + 2 * a.std()) for a in one] for one in activations
    ], activations)  # fmt: skip
    expected = half_pixel(masked, SIZE, PEERS["tensorflow-cubic"])
    np.testing.assert_allclose(shown("xplique", "fem", activations), expected, atol=1e-6)


def test_torchcam_as_documented(arrays):
    activations, gradients, _ = arrays

    def weigh(a, g):
        below = (g**3 * a).sum()
        return sum(
            s**2 / (2 * s**2 + below + 1e-8) * max(s, 0) for s in g.flat if s != 0
        )  # fmt: skip

    heat = np.maximum(weighted(weigh, activations, gradients), 0)
    expected = [(m - m.min()) / (m.max() - m.min() + 1e-8) for m in heat]
    ours = shown("torchcam-documented", "gradcampp", activations, gradients)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_authors_gradcam(arrays):
    activations, gradients, _ = arrays
    signed = weighted(lambda a, g: g.sum(), activations, gradients)
    large = half_pixel(np.maximum(signed, 0), SIZE, PEERS["scipy-linear"])
    expected = [(m - m.min()) / (m.max() - m.min()) for m in large]
    ours = shown("authors", "gradcam", activations, gradients)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_authors_gradcampp(arrays):
    activations, gradients, scores = arrays
    heat = []
    for one, other, score in zip(activations, gradients, scores, strict=True):
        total = 0.0
        for a, g in zip(one, other, strict=True):
            first, second, third = (np.exp(score) * g**power for power in (1, 2, 3))
            below = 2 * second + third * a.sum()
            alpha = second / np.where(below != 0, below, 1)
            if alpha.sum():
                total += (np.maximum(first, 0) * alpha / alpha.sum()).sum() * a
        heat.append(np.maximum(total, 0) / np.maximum(total, 0).max())
    expected = half_pixel(heat, SIZE, PEERS["opencv-linear"])
    ours = shown("authors", "gradcampp", activations, gradients, scores)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_authors_scorecam(arrays):
    activations = arrays[0]
    images = np.random.default_rng(1).normal(size=(2, 3, *SIZE))
    head = np.random.default_rng(2).normal(size=(3, 2))

    def probability(image):
        scores = np.exp(image.mean(axis=(-2, -1)) @ head)
        return (scores / scores.sum(axis=-1, keepdims=True))[..., 0]

    large = half_pixel(activations, SIZE, PEERS["torch-linear"])
    expected = []
    for one, image in zip(large, images, strict=True):
        total = np.zeros(SIZE)
        for channel in one:
            if channel.max() != channel.min():
                mask = (channel - channel.min()) / (channel.max() - channel.min())
                total += probability(image * mask) * channel
        total = np.maximum(total, 0)
        expected.append((total - total.min()) / (total.max() - total.min()))
    ours = shown("authors", "scorecam", activations, images, lambda _, x: probability(x))
    np.testing.assert_allclose(ours, expected, atol=1e-6)
