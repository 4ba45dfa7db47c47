"""Recipe "xplique" against its documented steps, written out in float64.

Not the library itself, which needs an older TensorFlow: position by position, on random
activations and gradients.
"""

from __future__ import annotations

import numpy as np
from written_out import enlarged, shown, weighted

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
