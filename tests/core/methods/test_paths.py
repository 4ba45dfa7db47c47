"""Attributions along paths from a baseline: what they sum to, and what they are on known scores."""

from __future__ import annotations

import numpy as np
import pytest
from noisy import IMAGES

import camcore
from camcore import methods
from camcore.errors import InputError, MethodError
from camcore.methods.paths import blurred
from camcore.testing import random_network

RANKS = [1, 2, 3]
WEIGHTS = np.random.default_rng(1).normal(size=(3, 4, 4))


def photos(rank):
    return np.random.default_rng(rank).normal(size=(2, 2, *[8] * rank))


def explained(method, rank, head="deep", **options):
    """What the map of class 2 sums to, and the network's scores at the input and at others."""
    network = random_network(rank, head=head)
    result = camcore.explain(network, photos(rank), 2, method=method, **options)
    (raw,) = result.raw.values()
    sums = raw.reshape(2, -1).sum(axis=1)
    return sums, result.scores, lambda images: network.run(images).outputs[""][:, 2]


def linear(images):
    """Gradients of the score Σ w · x."""
    return np.broadcast_to(WEIGHTS, images.shape)


def linear_score(sample, images):
    return (images * WEIGHTS).sum(axis=(1, 2, 3))


def cubic(images):
    """Gradients of the score Σ x³ / 3."""
    return images**2


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("baseline", [2.0, 3.0])
@pytest.mark.parametrize("steps", [1, 3, 10])
def test_idgi_sums_to_the_change_of_the_score_at_any_number_of_steps(steps, baseline, rank):
    found, scores, score = explained("idgi", rank, "flatten", steps=steps, baseline=baseline)
    change = scores - score(np.full((2, 2, *[8] * rank), baseline))
    assert np.abs(change).min() > 1e-2
    np.testing.assert_allclose(found, change, rtol=1e-12)


def test_idgi_lays_a_linear_score_out_by_squared_weights():
    scores = linear_score(0, IMAGES)
    maps = methods.idgi(IMAGES, scores, linear, linear_score, steps=7)
    share = (WEIGHTS**2 / (WEIGHTS**2).sum()).sum(axis=0)
    np.testing.assert_allclose(maps, scores[:, None, None] * share, rtol=1e-12)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_idgi_does_not_mind_squares_out_of_range(size):
    scores = size * linear_score(0, IMAGES)
    maps = methods.idgi(
        IMAGES, scores, lambda x: size * linear(x), lambda i, x: size * linear_score(i, x), steps=2
    )
    expected = methods.idgi(IMAGES, scores / size, linear, linear_score, steps=2)
    np.testing.assert_allclose(maps / size, expected, rtol=1e-12)


def test_idgi_scores_a_path_in_batches():
    seen = []

    def score(sample, images):
        seen.append((sample, len(images)))
        return linear_score(sample, images)

    scores = linear_score(0, IMAGES)
    methods.idgi(IMAGES, scores, linear, score, steps=5, batch_size=2)
    assert seen == [(0, 2), (0, 2), (0, 1), (1, 2), (1, 2), (1, 1)]


def test_idgi_lays_a_step_without_a_slope_out_with_the_next_or_refuses():
    # The sum of relu(x - 1/2) has no slope at 0, and has grown at 1.
    ones = np.ones((1, 1, 4))

    def gradients(x):
        return (x > 0.5).astype(float)

    def score(sample, x):
        return np.maximum(x - 0.5, 0).sum(axis=(1, 2))

    with pytest.raises(MethodError, match=r"score of sample 0 changes by 2, .* baseline or more"):
        methods.idgi(ones, np.array([2.0]), gradients, score, steps=1)
    # Of four steps the first two change nothing. The third starts where there is no slope, and
    # what it changes is laid out with the fourth.
    maps = methods.idgi(ones, np.array([2.0]), gradients, score, steps=4)
    np.testing.assert_allclose(maps, np.full((1, 4), 0.5), rtol=1e-14)
    flat = methods.idgi(ones, np.zeros(1), lambda x: 0 * x, lambda i, x: np.zeros(len(x)), steps=4)
    np.testing.assert_array_equal(flat, np.zeros((1, 4)))


@pytest.mark.parametrize("places", ["drawn", "even"])
def test_gradientshap_of_a_linear_score_is_the_difference_times_the_weights(places):
    maps = methods.gradient_shap(IMAGES, linear, samples=3, baseline=-1.5, places=places)
    np.testing.assert_allclose(maps, ((IMAGES + 1.5) * WEIGHTS).sum(axis=1), rtol=1e-12, atol=1e-13)


def test_gradientshap_at_even_places_is_integrated_gradients():
    # The midpoint rule is exact where the gradient is linear, with noise or baselines left out.
    for samples in (1, 4):
        maps = methods.gradient_shap(
            IMAGES, lambda x: 3 * x, samples=samples, places="even", baseline=0.5
        )
        expected = methods.integrated_gradients(IMAGES, lambda x: 3 * x, steps=1, baseline=0.5)
        np.testing.assert_allclose(maps, expected, rtol=1e-12, atol=1e-13)
    network = random_network(head="deep")
    even, exact = (
        camcore.explain(network, photos(2), 2, method=method, **options).raw["@input"]
        for method, options in (
            ("gradientshap", {"places": "even", "samples": 400}),
            ("integratedgradients", {"steps": 200}),
        )
    )
    assert np.abs(even - exact).max() < 5e-3 * np.abs(exact).max()


def test_gradientshap_averages_over_the_baselines_and_places_that_it_draws():
    baselines = np.random.default_rng(3).normal(size=(5, 3, 4, 4))
    found = methods.gradient_shap(IMAGES, cubic, samples=6, baseline=baselines, sigma=0.1, seed=11)
    expected, chosen = np.zeros_like(IMAGES), set()
    for draw in range(6):
        noise = np.random.default_rng([11, draw]).normal(size=(3, 4, 4))
        rng = np.random.default_rng([11, draw, 1])
        place, which = rng.random(), rng.integers(5)
        chosen.add(int(which))
        for sample, image in enumerate(IMAGES):
            away = image + 0.1 * np.ptp(image) * noise - baselines[which]
            expected[sample] += away * (baselines[which] + place * away) ** 2 / 6
    assert len(chosen) > 2
    np.testing.assert_allclose(found, expected.sum(axis=1), rtol=1e-12, atol=1e-13)


def test_gradientshap_of_many_draws_sums_to_the_change_of_the_score():
    # The mean of the score over the two baselines, half of the draws each.
    baselines = np.stack([np.zeros((3, 4, 4)), np.ones((3, 4, 4))])
    maps = methods.gradient_shap(IMAGES, cubic, samples=4000, baseline=baselines)
    change = (IMAGES**3).sum(axis=(1, 2, 3)) / 3 - 48 / 3 / 2
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), change, atol=0.05)


@pytest.mark.parametrize("steps", [1, 5])
def test_guided_ig_on_the_straight_path_is_integrated_gradients_by_left_ends(steps):
    maps = methods.guided_ig(IMAGES, cubic, steps=steps, max_dist=0, baseline=0.25)
    away = IMAGES - 0.25
    average = np.mean([cubic(0.25 + i / steps * away) for i in range(steps)], axis=0)
    np.testing.assert_allclose(maps, (away * average).sum(axis=1), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("max_dist", [0, 0.02, 0.3, 1])
@pytest.mark.parametrize("fraction", [0, 0.25, 1])
def test_guided_ig_of_a_linear_score_is_the_difference_times_the_weights(max_dist, fraction):
    options = {"steps": 6, "max_dist": max_dist, "fraction": fraction, "baseline": 2.0}
    maps = methods.guided_ig(IMAGES, linear, **options)
    expected = ((IMAGES - 2) * WEIGHTS).sum(axis=1)
    np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("rank", RANKS)
def test_guided_ig_sums_to_the_change_of_the_score(rank):
    found, scores, score = explained("guidedig", rank, steps=400, max_dist=0.1)
    np.testing.assert_allclose(found, scores - score(0 * photos(rank)), atol=1e-2)


def test_guided_ig_goes_as_far_as_the_straight_path_at_every_step():
    seen = []

    def gradients(x):
        seen.append(x.copy())
        return cubic(x) - 1

    methods.guided_ig(IMAGES, gradients, steps=8, max_dist=0.2)
    left = np.array([np.abs(IMAGES - at).sum(axis=(1, 2, 3)) for at in seen])
    whole = np.abs(IMAGES).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(left, (1 - np.arange(8) / 8)[:, None] * whole, rtol=1e-8)
    furthest = []
    for step, at in enumerate(seen):
        apart = np.abs(at / IMAGES - step / 8)
        furthest.append(apart.max())
    assert 0.19 < max(furthest) <= 0.2 + 1e-12


def test_guided_ig_moves_what_differs_by_rounding_together():
    sizes = np.where(np.random.default_rng(2).random(IMAGES.shape[1:]) > 0.5, 1.0, 2.0)
    noise = np.random.default_rng(3).normal(size=IMAGES.shape) * 1e-16

    def gradients(x, noise=0.0):
        return sizes * (1 + x.mean(axis=(1, 2, 3), keepdims=True)) + noise

    exact = methods.guided_ig(IMAGES, gradients, steps=5, max_dist=1)
    rounded = methods.guided_ig(IMAGES, lambda x: gradients(x, noise), steps=5, max_dist=1)
    np.testing.assert_allclose(rounded, exact, rtol=0, atol=1e-13)


def test_guided_ig_of_the_baseline_itself_is_zero():
    for image in (np.zeros((1, 1, 4)), np.array([[[0.0, 1.0, 0.0, 0.0]]])):
        maps = methods.guided_ig(image, lambda x: x + 1, steps=3)
        np.testing.assert_array_equal(maps != 0, image[0] != 0)


def test_blur_ig_of_a_linear_score_is_what_the_blur_takes_times_the_weights():
    # Slopes over whole pieces of the path add up to its ends.
    maps = methods.blur_ig(IMAGES, linear, steps=4, max_sigma=2, grad_step=0.5)
    taken = IMAGES - blurred(IMAGES, 2)
    np.testing.assert_allclose(maps, (taken * WEIGHTS).sum(axis=1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("rank", RANKS)
def test_blur_ig_sums_to_the_score_less_that_of_the_most_blurred(rank):
    options = {"steps": 300, "max_sigma": 2.0}
    found, scores, score = explained("blurig", rank, **options, grad_step=1 / 150)
    change = scores - score(blurred(photos(rank), 2.0))
    assert np.abs(change).min() > 2e-2
    np.testing.assert_allclose(found, change, atol=5e-3)


def test_a_blur_is_separable_and_fades_into_zeros():
    # Weights that halve over one position: 1, 1/2, 1/16, 1/512 of 545/256.
    sigma = (2 * np.log(2)) ** -0.5
    line = np.array([[[1.0, 0, 0, 0, 0]]])
    weights = np.array([1, 1 / 2, 1 / 16, 1 / 512, 0]) * 256 / 545
    np.testing.assert_allclose(blurred(line, sigma), [[weights]], rtol=1e-14)
    image = line[..., None] * line[:, :, None]
    np.testing.assert_allclose(blurred(image, sigma), [[np.outer(weights, weights)]], rtol=1e-14)
    np.testing.assert_array_equal(blurred(IMAGES, 0), IMAGES)


@pytest.mark.parametrize("sigma", [0.1, 0.3, 1.7, 50])
def test_a_blur_is_scipys(sigma, require):
    filtered = require("scipy.ndimage").gaussian_filter(
        IMAGES, sigma=(0, 0, sigma, sigma), mode="constant"
    )
    np.testing.assert_allclose(blurred(IMAGES, sigma), filtered, rtol=1e-12, atol=1e-14)


HALVES = np.repeat([[1, 0], [0, 1]], 4, axis=1)[:, :, None] * np.ones(8, bool) > 0
COSTS = {
    "deconvnet": ({}, 2),
    "smoothgradsq": ({"samples": 3}, 1 + 3),
    "vargrad": ({"samples": 3}, 1 + 3),
    "idgi": ({"steps": 3, "batch_size": 1}, 1 + 3 + 3),
    "gradientshap": ({"samples": 3}, 1 + 3),
    "guidedig": ({"steps": 3, "max_dist": 1}, 1 + 3),
    "blurig": ({"steps": 3}, 1 + 3),
    "xrai": ({"steps": 3, "regions": HALVES, "min_pixels": 1}, 1 + 2 * 3),
}


@pytest.mark.parametrize("method", COSTS)
def test_passes_are_as_many_as_the_row_says(method):
    network = random_network()
    options, passes = COSTS[method]
    camcore.explain(network, photos(2)[:1], 1, method=method, **options)
    assert network.passes == passes
    said = methods.find(method).passes.replace(" x ", " * ")
    assert eval(said, {"backward": 0, **options}) == passes


PATHS = {
    "idgi": lambda x, g: methods.idgi(
        x, np.ones(len(x)), g, lambda i, x: np.zeros(len(x)), steps=2
    ),
    "gradientshap": lambda x, g: methods.gradient_shap(x, g, samples=2),
    "guidedig": lambda x, g: methods.guided_ig(x, g, steps=2),
    "blurig": lambda x, g: methods.blur_ig(x, g, steps=2),
    "smoothgradsq": lambda x, g: methods.smoothgrad_squared(x, g, samples=2),
    "vargrad": lambda x, g: methods.vargrad(x, g, samples=2),
    "xrai": lambda x, g: methods.xrai(
        x, g, steps=2, regions=np.ones((1, *x.shape[2:]), bool), min_pixels=1
    ),
}


@pytest.mark.parametrize("method", PATHS)
def test_what_is_not_finite_or_does_not_fit_is_refused(method):
    call = PATHS[method]
    spoilt = IMAGES.copy()
    spoilt[0, 1, 2, 3] = np.nan
    with pytest.raises(InputError, match=r"images must be finite; .* at \(0, 1, 2, 3\)"):
        call(spoilt, linear)
    with pytest.raises(InputError, match="Gradients at other inputs must be finite"):
        call(IMAGES, lambda x: np.full(x.shape, np.inf))
    with pytest.raises(
        InputError, match=r"Gradients at other inputs must be of shape \(2, 3, 4, 4"
    ):
        call(IMAGES, lambda x: x[:1])
    with pytest.raises(InputError, match=r"images must be \(batch, channels"):
        call(IMAGES[0, 0], linear)


@pytest.mark.parametrize("method", sorted(set(PATHS) - {"idgi", "smoothgradsq", "vargrad"}))
def test_products_that_overflow_are_an_error(method):
    with np.errstate(all="ignore"), pytest.raises(InputError, match="overflows float64"):
        PATHS[method](1e200 * IMAGES, lambda x: np.full(x.shape, 1e200))


@pytest.mark.parametrize("method", PATHS)
def test_maps_have_the_images_type_and_leave_the_images_alone(method):
    images = IMAGES.astype(np.float32)
    images.setflags(write=False)
    seen = []

    def gradients(x):
        seen.append(x.dtype)
        return np.float32(x) ** 2 + 1

    maps = PATHS[method](images, gradients)
    assert set(seen) == {np.dtype("f4")}
    assert maps.dtype == np.float32
    double = PATHS[method](images.astype(np.float64), lambda x: x**2 + 1)
    np.testing.assert_allclose(maps, double, rtol=0, atol=2e-6 * np.abs(double).max())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: methods.idgi(IMAGES, [1, 1], cubic, linear_score, steps=0), "steps=0; it must"),
        (lambda: methods.idgi(IMAGES, [1, 1], cubic, linear_score, batch_size=0), "batch_size=0;"),
        (lambda: methods.gradient_shap(IMAGES, cubic, samples=0), "samples=0; it must"),
        (lambda: methods.gradient_shap(IMAGES, cubic, sigma=-1), "sigma=-1; it must be finite"),
        (lambda: methods.gradient_shap(IMAGES, cubic, places="all"), "places='all'; expected 'dr"),
        (lambda: methods.guided_ig(IMAGES, cubic, steps=0), "steps=0; it must"),
        (
            lambda: methods.guided_ig(IMAGES, cubic, fraction=1.5),
            "fraction=1.5; it must be a share",
        ),
        (lambda: methods.guided_ig(IMAGES, cubic, max_dist=-1), "max_dist=-1; it must be a share"),
        (lambda: methods.blur_ig(IMAGES, cubic, steps=0), "steps=0; it must"),
        (lambda: methods.blur_ig(IMAGES, cubic, max_sigma=0), "max_sigma=0; it must be finite and"),
        (lambda: methods.blur_ig(IMAGES, cubic, grad_step=np.nan), "grad_step=nan; it must be"),
    ],
)
def test_options_out_of_range_are_named(call, message):
    with pytest.raises(MethodError, match=message):
        call()


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        (np.zeros((4, 4, 4, 3)), r"or an array \(N, 3, 4, 4\), channels first; got \(4, 4, 4, 3\)"),
        (np.zeros((0, 3, 4, 4)), r"got \(0, 3, 4, 4\)"),
        (np.full((1, 3, 4, 4), np.nan), "baseline must be finite"),
        (np.inf, "baseline must be finite"),
    ],
)
def test_baselines_that_do_not_fit_are_named(baseline, message):
    with pytest.raises(InputError, match=message):
        methods.gradient_shap(IMAGES, cubic, baseline=baseline)


def test_scores_that_do_not_fit_are_named():
    with pytest.raises(InputError, match=r"scores must be of shape \(2,\); got \(3,\)"):
        methods.idgi(IMAGES, np.ones(3), cubic, linear_score)
