"""Libraries' weights of channels, written out position by position in float64."""

from __future__ import annotations

import numpy as np
import pytest
from written_out import weighted

from camcore import methods
from camcore.recipes import (
    keras_io,
    tf_explain,
    torchcam,
    xplique,
)
from camcore.recipes.formulas import gradient

FORMULAS = {
    tf_explain.gradcam_guided: lambda a, g: np.where((a > 0) & (g > 0), g, 0).mean(),
    gradient.gradcampp_sum: lambda a, g: sum(
        s**2 / (2 * s**2 + a.sum() * s**3 + 1e-6) * max(s, 0) for s in g.flat if s
    ),
    gradient.gradcampp_product: lambda a, g: sum(
        s**2 / (2 * s**2 + (a * g**3).sum() + 1e-7) * max(s, 0) for s in g.flat if s
    ),
    torchcam.gradcampp_cubed: lambda a, g: (np.maximum(g, 0) ** 3).sum(),
    xplique.gradcampp_mean: lambda a, g: (
        sum(s**2 / (2 * s**2 + a.mean() * s**3) * max(s, 0) for s in g.flat if s) / g.size
    ),
    gradient.xgradcam_eps: lambda a, g: (a * g).sum() / (a.sum() + 1e-7),
}


@pytest.mark.parametrize("formula", FORMULAS)
def test_weights(pair, formula):
    signed = formula(*pair)
    np.testing.assert_allclose(signed, weighted(FORMULAS[formula], *pair), rtol=1e-12, atol=1e-15)


def test_normalised_gradcampp_grows_with_the_exponential_of_the_score(pair):
    low = gradient.gradcampp_normalised(*pair, np.array([0.0, 0.0]))
    high = gradient.gradcampp_normalised(*pair, np.array([1.0, -2.0]))
    np.testing.assert_allclose(high, low * np.exp([1.0, -2.0])[:, None, None], rtol=1e-12)


# Means of the gradients over space: 1 and -1. Sums of the activations: 10 and 2.
A = np.array([[[[1.0, 2.0], [3.0, 4.0]], [[2.0, 0.0], [-1.0, 1.0]]]])


G = np.array([[[[1.0, -1.0], [2.0, 2.0]], [[-4.0, 0.0], [2.0, -2.0]]]])


def test_keras_io_averages_gradients_over_the_batch():
    a = np.concatenate([A, A[..., ::-1]])
    # Means over space (1, -1) and (3, 1); over the batch (2, 0).
    g = np.concatenate([G, G + 2])
    expected = [[[2, 4], [6, 8]], [[4, 2], [8, 6]]]
    np.testing.assert_array_equal(keras_io.gradcam_batch_mean(a, g), expected)
    np.testing.assert_array_equal(keras_io.gradcam_batch_mean(A, G), methods.gradcam(A, G))
