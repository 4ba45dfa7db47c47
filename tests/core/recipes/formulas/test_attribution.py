"""Libraries' attributions at the input, on functions known in full."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.errors import InputError, MethodError
from camcore.recipes.formulas import attribution


def squared(x):
    """Gradient of Σ x³ / 3."""
    return x**2


@pytest.mark.parametrize(
    ("rule", "average"), [("trapezoid", (0 / 2 + 1 / 4 + 1 / 2) / 2), ("endpoints", 1.25 / 3)]
)
def test_integrals_count_their_ends(rule, average):
    images = np.array([[[1.0, 2.0]], [[3.0, 0.0]]])
    options = {"steps": 3, "rule": rule, "join": "sum"}
    maps = attribution.joined_integrated_gradients(images, squared, **options)
    np.testing.assert_allclose(maps, average * images[:, 0] ** 3)
    bare = attribution.joined_integrated_gradients(images, squared, **options, times_input=False)
    np.testing.assert_allclose(bare, average * images[:, 0] ** 2)


def test_integrals_are_the_mean_over_channels_unless_said_otherwise():
    images = np.array([[[1.0, 2.0], [3.0, 0.0]]])
    maps = attribution.joined_integrated_gradients(images, squared, steps=3)
    np.testing.assert_allclose(maps, 0.375 * (images**3).mean(axis=1))


@pytest.mark.parametrize("join", ["max", "sum", "mean"])
def test_channels_are_joined(join):
    gradients = np.array([[[-3.0, 1.0], [2.0, 1.0]]])
    expected = {"max": [3, 1], "sum": [5, 2], "mean": [2.5, 1]}[join]
    np.testing.assert_array_equal(attribution.joined_saliency(gradients, join=join), [expected])
    signed = {"max": [2, 1], "sum": [-1, 2], "mean": [-0.5, 1]}[join]
    np.testing.assert_array_equal(attribution.joined_gradient(gradients, join=join), [signed])
    np.testing.assert_array_equal(attribution.joined_deconvolution(gradients, join=join), [signed])


@pytest.mark.parametrize(
    ("average", "expected"),
    [
        ("mean", abs(4 - 3) / 2),
        ("mean of magnitudes", (4 + 3) / 2),
        ("root of squares", 5 / 2),
    ],
)
def test_smoothgrad_averages(average, expected):
    draws = iter([4.0, -3.0])
    maps = attribution.joined_smoothgrad(
        np.zeros((1, 1, 2)),
        lambda x: np.full(x.shape, next(draws)),
        samples=2,
        average=average,
        magnitude=True,
    )
    np.testing.assert_allclose(maps, [[expected, expected]])


def test_squares_and_variances_of_noise():
    # Draws 4 and -3 of one channel, 0 and 1 of the other: mean squares 25/2 and 1/2, variances
    # 49/4 and 1/4 of the draws, twice that without bias.
    def found(method, **options):
        left = iter([[4.0, 0.0], [-3.0, 1.0]])
        gradients = lambda x: np.zeros(x.shape) + np.reshape(next(left), (1, 2, 1))  # noqa: E731
        return method(np.zeros((1, 2, 3)), gradients, samples=2, **options)

    squares = found(attribution.joined_smoothgrad_squared)
    np.testing.assert_allclose(squares, [[6.5] * 3])
    np.testing.assert_allclose(found(attribution.joined_vargrad), [[6.25] * 3])
    summed = found(attribution.joined_vargrad, unbiased=True, join="sum")
    np.testing.assert_allclose(summed, [[25] * 3])


def test_absolute_noise_does_not_grow_with_the_image():
    images = np.stack([np.zeros((1, 50)), np.arange(50.0)[None]])
    seen = []
    attribution.joined_smoothgrad(
        images, lambda x: seen.append(x - images) or x, samples=1, of_range=False
    )
    np.testing.assert_allclose(seen[0][0], seen[0][1], atol=1e-12)
    assert 0.05 < seen[0].std() < 0.3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: attribution.joined_saliency(x, join="least"), "join='least'; expected 'max'"),
        (lambda x: attribution.joined_integrated_gradients(x, squared, rule="simpson"), "rule="),
        (lambda x: attribution.joined_integrated_gradients(x, squared, steps=1), "steps=1"),
        (lambda x: attribution.joined_smoothgrad(x, squared, average="median"), "average='median'"),
        (
            lambda x: attribution.joined_vargrad(x, squared, samples=1, unbiased=True),
            "samples=1; an unbiased variance needs 2 or more",
        ),
    ],
)
def test_options_out_of_range_are_told(make, message):
    with pytest.raises(MethodError, match=message):
        make(np.ones((1, 1, 4)))


@pytest.mark.parametrize(
    "make", [attribution.joined_integrated_gradients, attribution.joined_smoothgrad]
)
def test_images_without_space_are_named(make):
    with pytest.raises(InputError, match=r"^images must be \(batch, channels, .* got \(1, 4\)"):
        make(np.ones((1, 4)), squared)
