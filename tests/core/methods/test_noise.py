"""Noisy inputs, and what averages over them, on functions known in full."""

from __future__ import annotations

import numpy as np
import pytest
from noisy import IMAGES, noise

from camcore import methods
from camcore.errors import MethodError
from camcore.methods.noise import noisy_inputs


def test_noise_is_a_share_of_each_images_range_and_alike_for_all():
    images = np.stack([IMAGES[0], 10 * IMAGES[0]])
    drawn = [noisy - images for noisy in noisy_inputs(images, 2, 0.1, seed=5)]
    for difference, expected in zip(drawn, noise(5, 2, (3, 4, 4)), strict=True):
        for sample, image in zip(difference, images, strict=True):
            np.testing.assert_allclose(sample, 0.1 * np.ptp(image) * expected, atol=1e-12)


def test_noise_may_be_in_the_units_of_the_input():
    (noisy,) = noisy_inputs(IMAGES, 1, 0.1, seed=5, of_range=False)
    (expected,) = noise(5, 1, (3, 4, 4))
    np.testing.assert_allclose(noisy - IMAGES, [0.1 * expected] * 2, atol=1e-14)


def test_noise_keeps_the_inputs_type():
    (noisy,) = noisy_inputs(IMAGES.astype(np.float32), 1, 0.1, seed=5)
    assert noisy.dtype == np.float32


def test_smooth_gradcampp_averages_powers_of_the_gradient():
    # Two draws: gradients 1, then 3 in the first channel; -1, then 2 in the second.
    # Means of g, g^2, g^3: 2, 5, 14 and 1/2, 5/2, 7/2. Sums of A: 10 and 3.
    # w1 = 4 * 2 * 5 / (2 * 5 + 10 * 14) = 4/15
    # w2 = 4 * 1/2 * 5/2 / (2 * 5/2 + 3 * 7/2) = 10/31
    activations = np.array([[[[1.0, 2.0], [3.0, 4.0]], [[2.0, 0.0], [0.0, 1.0]]]])
    draws = iter([[1.0, -1.0], [3.0, 2.0]])

    def rerun(images):
        gradients = np.ones((1, 2, 2, 2)) * np.reshape(next(draws), (1, 2, 1, 1))
        return np.full_like(activations, np.nan), gradients  # the activations are not used

    maps = methods.smooth_gradcampp(activations, IMAGES[:1], rerun, samples=2)
    one, two = 4 / 15, 10 / 31
    expected = [[[one + 2 * two, 2 * one], [3 * one, 4 * one + two]]]
    np.testing.assert_allclose(maps, expected, rtol=1e-14)


@pytest.mark.parametrize("name", ["smoothgrad", "smooth_gradcampp"])
def test_a_sample_has_the_same_noise_alone_as_in_a_batch(name):
    def cubes(images):
        return images**2, 3 * images**3

    def call(images, seed=0):
        if name == "smoothgrad":
            return methods.smoothgrad(images, lambda x: x**3, samples=3, seed=seed)
        return methods.smooth_gradcampp(images**2, images, cubes, samples=3, seed=seed)

    together = call(IMAGES)
    for sample in range(2):
        alone = call(IMAGES[sample : sample + 1])
        np.testing.assert_allclose(together[sample], alone[0], rtol=1e-12)
    np.testing.assert_array_equal(call(IMAGES), together)
    assert np.abs(call(IMAGES, seed=1) - together).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "samples=0; it must be at least 1"),
        ({"sigma": -1}, "sigma=-1; it must be"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(MethodError, match=message):
        methods.smooth_gradcampp(IMAGES, IMAGES, abs, **options)
