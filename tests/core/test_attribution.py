"""Attributions at the input: noise, quadrature and enlargement, on functions known in full."""

from __future__ import annotations

import numpy as np
import pytest

from camcore import methods
from camcore.errors import InputError, MethodError
from camcore.methods.noise import noisy_inputs

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 3, 4, 4))
IMAGES.setflags(write=False)


def noise(seed, draws, shape):
    """What every sample is given, draw by draw."""
    return [np.random.default_rng([seed, draw]).normal(size=shape) for draw in range(draws)]


def test_noise_is_a_share_of_each_images_range_and_alike_for_all():
    images = np.stack([IMAGES[0], 10 * IMAGES[0]])
    drawn = [noisy() - images for noisy in noisy_inputs(images, 2, 0.1, seed=5)]
    for difference, expected in zip(drawn, noise(5, 2, (3, 4, 4)), strict=True):
        for sample, image in zip(difference, images, strict=True):
            np.testing.assert_allclose(sample, 0.1 * np.ptp(image) * expected, atol=1e-12)


def test_noise_may_be_in_the_units_of_the_input():
    (noisy,) = noisy_inputs(IMAGES, 1, 0.1, seed=5, of_range=False)
    (expected,) = noise(5, 1, (3, 4, 4))
    np.testing.assert_allclose(noisy() - IMAGES, [0.1 * expected] * 2, atol=1e-14)


def test_noise_keeps_the_inputs_type():
    (noisy,) = noisy_inputs(IMAGES.astype(np.float32), 1, 0.1, seed=5)
    assert noisy().dtype == np.float32


def test_smoothgrad_is_the_magnitude_of_the_mean_gradient():
    # The score sum(x^2) / 2 has the gradient x, so the mean is x and the mean noise.
    maps = methods.smoothgrad(IMAGES, lambda x: x, samples=3, sigma=0.2, seed=4)
    mean = np.mean(noise(4, 3, (3, 4, 4)), axis=0)
    expected = [np.abs(image + 0.2 * np.ptp(image) * mean).max(axis=0) for image in IMAGES]
    np.testing.assert_allclose(maps, expected, rtol=1e-13)


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


def test_integrated_gradients_of_a_cubic_are_exact():
    # The score sum(x^3) has the gradient 3 x^2: from b to x it changes by x^3 - b^3, and two
    # nodes integrate polynomials up to the third degree.
    for baseline in (0.0, -1.5):
        maps = methods.integrated_gradients(IMAGES, lambda x: 3 * x**2, steps=2, baseline=baseline)
        np.testing.assert_allclose(
            maps, (IMAGES**3 - baseline**3).sum(axis=1), rtol=1e-12, atol=1e-12
        )
    # One node, at the half: x * 3 (x / 2)^2.
    maps = methods.integrated_gradients(IMAGES, lambda x: 3 * x**2, steps=1)
    np.testing.assert_allclose(maps, 0.75 * (IMAGES**3).sum(axis=1), rtol=1e-12, atol=1e-14)


def test_integrated_gradients_see_inputs_of_the_images_type():
    seen = []

    def gradients(images):
        seen.append(images.dtype)
        return images

    maps = methods.integrated_gradients(IMAGES.astype(np.float32), gradients, steps=3)
    assert seen == [np.float32] * 3
    assert maps.dtype == np.float32


def test_guided_gradcam_enlarges_the_positive_part_of_gradcam():
    # Mean gradient 1: Grad-CAM [[-4, 0], [4, 8]], positive part [[0, 0], [4, 8]]. Enlarged
    # linearly to 4 x 4, its columns in shares 0, 1/4, 3/4, 1 and its rows likewise.
    activations = np.array([[[[-4.0, 0.0], [4.0, 8.0]]]])
    guided = np.stack([np.full((4, 4), -2.0), np.ones((4, 4))])[None]
    maps = methods.guided_gradcam(activations, np.ones_like(activations), guided)
    share = np.array([0, 1 / 4, 3 / 4, 1])
    np.testing.assert_allclose(maps, [2 * np.outer(share, [4, 5, 7, 8])], rtol=1e-14)


def test_fullgrad_enlarges_each_layers_scaled_terms():
    # Only the first of the terms has spatial extent and varies: |b g| = [[1, 3], [1, 3]]
    # becomes [[0, 1], [0, 1]], its columns enlarged in shares 0, 1/4, 3/4, 1.
    terms = [
        np.array([[[[1.0, -3.0], [-1.0, 3.0]]]]),
        np.full((1, 5, 2, 2), 7.0),
        np.ones((1, 9)),
    ]
    zero = np.zeros((1, 3, 4, 4))
    maps = methods.fullgrad(zero, zero, terms)
    np.testing.assert_allclose(maps, [[[0, 1 / 4, 3 / 4, 1]] * 4], rtol=1e-14)


def test_fullgrad_of_the_input_scales_each_channel_by_its_own_range():
    images = np.array([[[[1.0, 2.0]], [[30.0, 10.0]]]])
    # |x g|: [2, 4] to [0, 1], [30, 10] to [1, 0].
    maps = methods.fullgrad(images, np.array([[[[2.0, -2.0]], [[1.0, 1.0]]]]), [])
    np.testing.assert_array_equal(maps, [[[1, 1]]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: methods.smoothgrad(IMAGES, abs, samples=0), "samples=0; it must be at least 1"),
        (lambda: methods.smoothgrad(IMAGES, abs, sigma=-1), "sigma=-1; it must be finite and at"),
        (lambda: methods.smoothgrad(IMAGES, abs, sigma=np.inf), "sigma=inf; it must be finite"),
        (
            lambda: methods.smooth_gradcampp(IMAGES, IMAGES, abs, samples=0),
            "samples=0; it must be at least 1",
        ),
        (lambda: methods.smooth_gradcampp(IMAGES, IMAGES, abs, sigma=-1), "sigma=-1; it must be"),
        (
            lambda: methods.integrated_gradients(IMAGES, abs, steps=0),
            "steps=0; it must be at least",
        ),
        (lambda: methods.kpcacam(IMAGES, gamma=0.0), "gamma=0.0; it must be finite and positive"),
        (lambda: methods.kpcacam(IMAGES, gamma=np.nan), "gamma=nan; it must be finite"),
    ],
)
def test_options_out_of_range_are_named(call, message):
    with pytest.raises(MethodError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: methods.saliency(IMAGES[0, 0]), r"image_gradients must be \(batch, channels"),
        (lambda: methods.gradient_times_input(IMAGES, IMAGES[:1]), "differ in shape"),
        (lambda: methods.smoothgrad(IMAGES[0, 0], abs), r"images must be \(batch, channels"),
        (lambda: methods.integrated_gradients(IMAGES[0, 0], abs), r"images must be \(batch"),
        (lambda: methods.guided_backprop(IMAGES[0, 0]), "image_gradients must be"),
        (
            lambda: methods.guided_gradcam(IMAGES, IMAGES, IMAGES[0, 0]),
            r"guided_gradients must be \(batch",
        ),
        (lambda: methods.fullgrad(IMAGES, IMAGES[..., :2], []), "differ in shape"),
    ],
)
def test_arrays_that_do_not_fit_are_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
