"""What takes the place of removed positions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.signal import convolve

from camcore.errors import InputError
from camcore.metrics import LinearImputer, baseline_of, blurred

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 3, 9, 14))
IMAGES.setflags(write=False)


@pytest.mark.parametrize("size", [(30,), (9, 14), (5, 12, 7)])
def test_blur_is_convolution_with_scipys_gaussian_of_a_point(size):
    images = RNG.normal(size=(2, 3, *size))
    point = np.zeros((11,) * len(size))
    point[(5,) * len(size)] = 1
    kernel = gaussian_filter(point, 5)
    expected = [[convolve(c, kernel, mode="same", method="direct") for c in i] for i in images]
    np.testing.assert_allclose(blurred(images), expected, atol=1e-12)
    # Nearly a box, as the docstring says: what a corner has of the centre.
    flat = gaussian_filter(np.pad([[1.0]], 5), 5)
    assert flat[0, 0] / flat[5, 5] == pytest.approx(0.876, abs=5e-4)


def test_blur_keeps_the_dtype():
    assert blurred(IMAGES.astype(np.float32)).dtype == np.float32


def test_baselines_by_hand():
    image = np.array([[[[1.0, 2.0], [3.0, 6.0]], [[0.0, 0.0], [4.0, 0.0]]]])
    np.testing.assert_array_equal(baseline_of(image, "mean")[0, :, 0, 0], [3, 1])
    np.testing.assert_array_equal(baseline_of(image + 1, "min"), np.ones_like(image))
    np.testing.assert_array_equal(baseline_of(image, 0.5), np.full_like(image, 0.5))
    np.testing.assert_array_equal(baseline_of(image, 2 * image), 2 * image)
    np.testing.assert_array_equal(baseline_of(image, lambda x: -x), -image)
    np.testing.assert_array_equal(baseline_of(image, "blur"), blurred(image))


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        ("black", "baseline='black'; expected one of 'blur', 'mean', 'min', a number"),
        (np.nan, "A baseline's values must be finite"),
        (np.zeros((3, 9, 14)), "The baseline has shape"),
        (lambda images: images[0], "The baseline has shape"),
    ],
)
def test_no_baselines(baseline, message):
    with pytest.raises(InputError, match=message):
        baseline_of(IMAGES, baseline)


def _by_hand(removed, image):
    """Solve for each removed position as the mean of its neighbours, by a dense matrix."""
    at = np.argwhere(removed)
    number = {tuple(place): i for i, place in enumerate(at)}
    own, sources = np.zeros((len(at), len(at))), np.zeros((len(at), len(image)))
    steps = [np.array(s) - 1 for s in np.ndindex(*(3,) * removed.ndim)]
    for i, place in enumerate(at):
        for step in steps:
            there = place + step
            inside = np.all((there >= 0) & (there < removed.shape))
            if not step.any() or not inside:
                continue
            weight = 1 / np.abs(step).sum()
            own[i, i] += weight
            if tuple(there) in number:
                own[i, number[tuple(there)]] -= weight
            else:
                sources[i] += weight * image[(slice(None), *there)]
    filled = image.copy()
    filled[(slice(None), *at.T)] = np.linalg.solve(own, sources).T
    return filled


@pytest.mark.parametrize("size", [(9,), (6, 7), (3, 4, 5)])
@pytest.mark.parametrize("share", [0.2, 0.8])
def test_what_is_filled_in_solves_the_system(size, share):
    image = RNG.normal(size=(2, *size))
    removed = RNG.random(size) < share
    removed[(0,) * len(size)] = False
    found = LinearImputer(removed)(image)
    np.testing.assert_allclose(found, _by_hand(removed, image), rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(found[:, ~removed], image[:, ~removed])


def test_what_is_linear_is_filled_in_exactly():
    # The eight neighbours lie evenly around a position, so that a slope is their mean.
    down, across = np.mgrid[:7, :8].astype(float)
    image = np.stack([down, 2 * across - down])
    removed = np.zeros((7, 8), bool)
    removed[2:5, 2:6] = True
    np.testing.assert_allclose(LinearImputer(removed)(image), image, atol=1e-12)


def test_noise_falls_where_something_was_filled_in():
    image, noise = IMAGES[0], RNG.normal(size=IMAGES[0].shape)
    removed = RNG.random((9, 14)) < 0.5
    plain, noisy = LinearImputer(removed)(image), LinearImputer(removed)(image, noise)
    np.testing.assert_allclose(noisy - plain, noise * removed, atol=1e-12)


def test_nothing_removed_is_the_image_itself_and_everything_is_refused():
    found = LinearImputer(np.zeros((9, 14), bool))(IMAGES[0])
    np.testing.assert_array_equal(found, IMAGES[0])
    assert found.flags.writeable
    with pytest.raises(InputError, match="Everything is removed"):
        LinearImputer(np.ones((9, 14), bool))
