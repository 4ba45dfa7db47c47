"""Recipe "authors" against the steps of the papers' own code, written out in float64.

Not the code itself, which needs Lua's torch, Python 2 and a GPU: position by position, on
random activations and gradients.
"""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
from written_out import SIZE, enlarged, shown, weighted

from camcore.recipes import find_recipe
from camcore.resize import PEERS


def test_authors_gradcam(arrays):
    activations, gradients, _ = arrays
    signed = weighted(lambda a, g: g.sum(), activations, gradients)
    large = enlarged(np.maximum(signed, 0), PEERS["scipy-linear"])
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
    expected = enlarged(heat, PEERS["opencv-linear"])
    ours = shown("authors", "gradcampp", activations, gradients, scores)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_authors_scorecam(arrays):
    activations = arrays[0]
    images = np.random.default_rng(1).normal(size=(2, 3, *SIZE))
    head = np.random.default_rng(2).normal(size=(3, 2))

    def probability(image):
        scores = np.exp(image.mean(axis=(-2, -1)) @ head)
        return (scores / scores.sum(axis=-1, keepdims=True))[..., 0]

    large = enlarged(activations, PEERS["torch-linear"])
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


def test_authors_gscorecam(arrays):
    activations, gradients, _ = arrays
    images = np.random.default_rng(1).normal(size=(2, 3, *SIZE))

    def score(image):
        return image.mean(axis=(-2, -1)) @ [1.0, -2.0, 0.5] - 0.3

    large = enlarged(activations, PEERS["scipy-linear"])
    expected = []
    for own, one, image, slopes in zip(activations, large, images, gradients, strict=True):
        low, high = (f(one, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
        scores = np.zeros(len(one))
        for channel in np.argsort(-slopes.mean(axis=(1, 2)))[:2]:
            mask = (one[channel] - low[channel]) / (high[channel] - low[channel] + 1e-6)
            scores[channel] = score(image * mask)
        weights = np.exp(scores) / np.exp(scores).sum()
        heat = np.maximum(np.tensordot(weights, own, 1), 0)
        heat = enlarged([(heat - heat.min()) / np.ptp(heat)], PEERS["opencv-linear"])[0]
        expected.append((heat - heat.min()) / np.ptp(heat))
    recipe = find_recipe("authors")
    row = recipe.method("gscorecam")
    about = (activations, gradients, images, lambda _, x: score(x))
    raw = row.function(*about, **{**row.options, "channels": 2})
    ours = recipe.render([raw], SIZE, method="gscorecam")
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_authors_reciprocam(arrays, require):
    image = require("PIL.Image")
    activations = arrays[0]
    head = np.random.default_rng(3).normal(size=(activations[0].size, 3))

    def probability(one):
        scores = np.exp(one.reshape(-1, len(head)) @ head)
        return (scores / scores.sum(axis=-1, keepdims=True))[:, 1]

    @contextmanager
    def resume(sample):
        yield probability

    expected = []
    for one in activations:
        heat = np.zeros(one.shape[1:])
        for i, j in np.ndindex(*heat.shape):
            alone = np.zeros_like(one)
            alone[:, i, j] = one[:, i, j]
            heat[i, j] = probability(alone)[0]
        heat = (heat - heat.min()) / (heat.max() - heat.min())
        large = image.fromarray(heat.astype(np.float32))
        expected.append(np.asarray(large.resize(SIZE[::-1], image.Resampling.BICUBIC)))
    ours = shown("authors", "reciprocam", activations, resume)
    np.testing.assert_allclose(ours, expected, atol=1e-6)
