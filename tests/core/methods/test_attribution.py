"""Attributions at the input: averages, quadrature and enlargement, on functions known in full."""

from __future__ import annotations

import numpy as np
import pytest
from noisy import IMAGES, noise

import camcore
from camcore import methods
from camcore.errors import InputError, MethodError
from camcore.recipes.captum import guided_gradcam_nearest
from camcore.testing import random_network


def test_smoothgrad_is_the_magnitude_of_the_mean_gradient():
    # The score sum(x^2) / 2 has the gradient x, so the mean is x and the mean noise.
    maps = methods.smoothgrad(IMAGES, lambda x: x, samples=3, sigma=0.2, seed=4)
    mean = np.mean(noise(4, 3, (3, 4, 4)), axis=0)
    expected = [np.abs(image + 0.2 * np.ptp(image) * mean).max(axis=0) for image in IMAGES]
    np.testing.assert_allclose(maps, expected, rtol=1e-13)


def test_statistics_of_noise_are_computed_by_hand():
    # Gradients 1, 3 and 5 in the first channel, -2 and 2 and 0 in the second: means 3 and 0,
    # means of squares 35/3 and 8/3, variances 8/3 and 8/3.
    draws = np.array([[1.0, -2.0], [3.0, 2.0], [5.0, 0.0]])
    images = np.zeros((1, 2, 3))

    def statistic(method):
        left = iter(draws)
        return method(images, lambda x: np.zeros(x.shape) + next(left)[None, :, None], samples=3)

    np.testing.assert_allclose(statistic(methods.smoothgrad), [[3, 3, 3]], rtol=1e-14)
    np.testing.assert_allclose(statistic(methods.smoothgrad_squared), [[35 / 3] * 3], rtol=1e-14)
    np.testing.assert_allclose(statistic(methods.vargrad), [[8 / 3] * 3], rtol=1e-14)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_mean_squares_are_variances_and_squared_means(rank):
    network = random_network(rank, head="deep")
    images = np.random.default_rng(rank).normal(size=(2, 2, *[8] * rank))
    square, variance, mean = (
        camcore.explain(network, images, 1, method=name, samples=4, seed=3).by_channel
        for name in ("smoothgradsq", "vargrad", "smoothgrad")
    )
    np.testing.assert_allclose(square, variance + mean**2, rtol=1e-12, atol=0)
    assert variance.min() >= 0
    assert variance.max() > 1e-2 * square.max()


def test_gradients_that_do_not_vary_have_no_variance_at_all():
    weights = np.random.default_rng(5).normal(size=IMAGES.shape) * 1e6 + 1 / 3
    for samples in (1, 7):
        maps = methods.vargrad(IMAGES, lambda x: weights, samples=samples)
        np.testing.assert_array_equal(maps, np.zeros((2, 4, 4)))
    square = methods.smoothgrad_squared(IMAGES, lambda x: weights, samples=7)
    np.testing.assert_allclose(square, (weights**2).max(axis=1), rtol=1e-14)


@pytest.mark.parametrize("method", [methods.smoothgrad_squared, methods.vargrad])
def test_squares_that_overflow_are_an_error(method):
    with np.errstate(all="ignore"), pytest.raises(InputError, match="overflows float64"):
        method(IMAGES, lambda x: 1e200 * x, samples=3)


def test_signed_maps_sum_the_channels_with_their_signs():
    gradients = np.array([[[[1.0, -4.0], [2.0, 0.5]], [[-3.0, 1.0], [2.0, -0.5]]]])
    expected = [[[-2, -3], [4, 0]]]
    np.testing.assert_array_equal(methods.saliency(gradients, signed=True), expected)
    np.testing.assert_array_equal(methods.saliency(gradients), [[[3, 4], [2, 0.5]]])
    np.testing.assert_array_equal(methods.guided_backprop(gradients, signed=True), expected)
    np.testing.assert_array_equal(methods.deconvnet(gradients, signed=True), expected)
    np.testing.assert_array_equal(methods.deconvnet(gradients), [[[3, 4], [2, 0.5]]])
    smooth = methods.smoothgrad(gradients, lambda x: gradients, samples=2, signed=True)
    np.testing.assert_array_equal(smooth, expected)
    # Grad-CAM [[-1, 0], [0.5, 2]]: its positive part weighs.
    activations = np.array([[[[-1.0, 0.0], [0.5, 2.0]]]])
    guided = methods.guided_gradcam(activations, np.ones_like(activations), gradients, signed=True)
    np.testing.assert_array_equal(guided, [[[0, 0], [2, 0]]])


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


def test_fullgrad_scales_terms_however_small():
    images = np.array([[[[0.25, 0.5]], [[0.125, 0.125]]]])
    # [1/4, 1/2] to [0, 1]; the constant channel, though as small, to [0, 0].
    maps = methods.fullgrad(images, np.ones_like(images), [np.array([[[[2e-9, 1e-9]]]])])
    np.testing.assert_allclose(maps, [[[1, 1]]], rtol=1e-14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: methods.smoothgrad(IMAGES, abs, samples=0), "samples=0; it must be at least 1"),
        (lambda: methods.smoothgrad_squared(IMAGES, abs, samples=0), "samples=0; it must be at"),
        (lambda: methods.vargrad(IMAGES, abs, sigma=-1), "sigma=-1; it must be finite and at"),
        (lambda: methods.smoothgrad(IMAGES, abs, samples=2.5), "samples=2.5; it must be a whole"),
        (lambda: methods.smoothgrad(IMAGES, abs, sigma=-1), "sigma=-1; it must be finite and at"),
        (lambda: methods.smoothgrad(IMAGES, abs, sigma=np.inf), "sigma=inf; it must be finite"),
        (
            lambda: methods.integrated_gradients(IMAGES, abs, steps=0),
            "steps=0; it must be at least",
        ),
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
        (lambda: methods.guided_backprop(IMAGES[0, 0]), "guided_gradients must be"),
        (lambda: methods.deconvnet(IMAGES[0, 0]), r"deconvolved_gradients must be \(batch"),
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


def test_fullgrad_adds_epsilon_to_the_range_of_each_channel():
    images = np.array([[[0.0, 2.0, 4.0]]])
    for eps, expected in ((0.0, [0, 0.5, 1]), (4.0, [0, 0.25, 0.5])):
        maps = methods.fullgrad(images, np.ones_like(images), [], eps=eps)
        np.testing.assert_array_equal(maps, [expected])


LAYER = np.random.default_rng(0).random((2, 3, 9, 9))


@pytest.mark.parametrize(
    "shape", [(2, 1, 6, 24, 24), (2, 1, 24), (3, 1, 24, 24), (1, 1, 24, 24)], ids=str
)
@pytest.mark.parametrize(
    "call",
    [
        lambda images: methods.guided_gradcam(LAYER, LAYER, images),
        lambda images: guided_gradcam_nearest(LAYER, LAYER, images),
        lambda images: methods.fullgrad(images, images, [LAYER]),
        lambda images: methods.scorecam(LAYER, images, lambda _, x: np.ones(len(x))),
        lambda images: methods.sscam(LAYER, images, lambda _, x: np.ones(len(x))),
        lambda images: methods.iscam(LAYER, images, lambda _, x: np.ones(len(x))),
    ],
    ids=["guidedgradcam", "guidedgradcam of captum", "fullgrad", "scorecam", "sscam", "iscam"],
)
def test_layers_that_do_not_lie_over_the_images_are_refused(call, shape):
    """A layer of two spatial axes was enlarged along its channels or its batch."""
    with pytest.raises(InputError, match="not of one batch, or have another number of spatial"):
        call(np.ones(shape))
