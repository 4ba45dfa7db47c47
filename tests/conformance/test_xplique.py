"""Recipe "xplique" against its documented steps, written out in float64.

Not the library itself, which needs an older TensorFlow: position by position, on random
activations and gradients, and where it alters inputs, by TensorFlow's own masks and resizing.
"""

from __future__ import annotations

import numpy as np
import pytest
from written_out import enlarged, shown, weighted

from camcore.recipes import find_recipe
from camcore.resize import PEERS


def test_gradcam(arrays):
    activations, gradients, _ = arrays
    signed = weighted(lambda a, g: g.mean(), activations, gradients)
    expected = enlarged(np.maximum(signed, 0), PEERS["tensorflow-cubic"])
    ours = shown("xplique", "gradcam", activations, gradients)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_gradcampp(arrays):
    activations, gradients, _ = arrays

    def weigh(a, g):
        total = 0.0
        for slope in g.flat:
            below = 2 * slope**2 + slope**3 * a.mean()
            total += slope**2 / (below or 1e-4) * max(slope, 0)
        return total / g.size

    expected = enlarged(
        np.maximum(weighted(weigh, activations, gradients), 0), PEERS["tensorflow-cubic"]
    )
    ours = shown("xplique", "gradcampp", activations, gradients)
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_fem(arrays):
    activations = arrays[0] - 0.3
    activations[:, 2] = 5  # constant over space, so at its own threshold
    masked = weighted(lambda a, g: 1, [
        [a.mean() * (a >= a.mean() + 2 * a.std()) for a in one] for one in activations
    ], activations)  # fmt: skip
    expected = enlarged(masked, PEERS["tensorflow-cubic"])
    np.testing.assert_allclose(shown("xplique", "fem", activations), expected, atol=1e-6)


@pytest.fixture
def seen_through_masks(tf):
    """Photographs of a score that is curved, as the library alters them: in TensorFlow."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 17, 15, 3)).astype(np.float32)
    weights = rng.normal(size=images.shape[1:]).astype(np.float32)

    def score(altered):
        """Of images with channels last."""
        return np.tanh(np.einsum("nhwc,hwc->n", np.float64(altered), weights) / 20) + 1.5

    def altered(image, masks, cells):
        """Masks are enlarged to the nearest cell, and what they leave out is black."""
        grids = tf.reshape(masks, (-1, cells, cells, 1))
        return (image * tf.image.resize(grids, image.shape[:2], method="nearest")).numpy()

    def enlarged(values, cells):
        grid = tf.reshape(tf.cast(values, tf.float32), (cells, cells, 1))
        return tf.image.resize(grid, images.shape[1:3], method="bicubic")[..., 0].numpy()

    return images, score, altered, enlarged


def ours_of(name, images, score, **options):
    first = np.moveaxis(images, -1, 1)
    method = find_recipe("xplique").method(name)
    options = {**method.options, **options}
    return method.function(first, lambda _, x: score(np.moveaxis(x, 1, -1)), **options)


def test_sobol(tf, seen_through_masks):
    images, score, altered, enlarged = seen_through_masks
    cells, designs = 4, 8
    drawn = tf.math.sobol_sample(2 * cells**2, designs, dtype=tf.float32).numpy()
    a, b = drawn[:, : cells**2], drawn[:, cells**2 :]
    expected = []
    for image in images:
        of_a, indices = score(altered(image, a, cells)), []
        for cell in range(cells**2):
            c = a.copy()
            c[:, cell] = b[:, cell]
            of_c = score(altered(image, c, cells))
            indices.append(((of_a - of_c) ** 2).sum() / (2 * designs * of_a.var(ddof=1)))
        expected.append(enlarged(indices, cells))
    ours = ours_of("sobol", images, score, cells=cells, designs=designs)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5 * np.max(expected))
    assert np.ptp(expected) > 0.05


def test_hsic(tf, seen_through_masks):
    images, score, altered, enlarged = seen_through_masks
    cells, count = 4, 50
    masks = tf.round(tf.math.sobol_sample(cells**2, count, dtype=tf.float32)).numpy()
    centring = np.eye(count) - 1 / count
    expected = []
    for image in images:
        scores = score(altered(image, masks, cells))
        width = np.percentile(scores, 50)
        alike = np.exp(-((scores[:, None] - scores[None]) ** 2) / (2 * width**2))
        kernels = [1 + (0.5 - (m[:, None] - m[None]) ** 2) for m in masks.T]
        values = [
            np.trace(centring @ kernel @ centring @ centring @ alike @ centring) / count
            for kernel in kernels
        ]
        expected.append(enlarged(values, cells))
    ours = ours_of("hsic", images, score, cells=cells, masks=count)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5 * np.max(expected))
    assert np.ptp(expected) > 1e-3
