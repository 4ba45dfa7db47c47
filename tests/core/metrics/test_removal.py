"""ROAD on additive scores."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.errors import InputError
from camcore.metrics import LinearImputer, Road, road

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(3, 2, 6, 5))
MAPS = RNG.random((3, 6, 5))


def total(_, images):
    return images.reshape(len(images), -1).sum(axis=1)


def test_scores_by_hand():
    # Of [1, 2, 4, 8] half goes: 4 and 8, filled in with 2 each; then 1 and 2, with 4 each.
    image = np.array([[[1.0, 2.0, 4.0, 8.0]]])
    found = road(image, image[:, 0], total, shares=[0.5], noise=0.0)
    np.testing.assert_allclose(found.most, [[1 + 2 + 2 + 2]])
    np.testing.assert_allclose(found.least, [[4 + 4 + 4 + 8]])
    np.testing.assert_allclose(found.combined, [(20 - 7) / 2])
    assert found.forwards == 2


def test_equals_the_imputer_step_by_step():
    shares = [0.1, 0.5, 0.9]
    found = road(IMAGES, MAPS, total, shares=shares, noise=0.0)
    for image, heat, most, least in zip(IMAGES, MAPS, found.most, found.least, strict=True):
        for share, high, low in zip(shares, most, least, strict=True):
            count = round(30 * share)
            top = heat >= np.sort(heat.ravel())[-count]
            bottom = heat <= np.sort(heat.ravel())[count - 1]
            assert high == pytest.approx(LinearImputer(top)(image).sum(), rel=1e-12)
            assert low == pytest.approx(LinearImputer(bottom)(image).sum(), rel=1e-12)


def test_reversed_maps_swap_the_orders():
    ahead, back = road(IMAGES, MAPS, total), road(IMAGES, -MAPS, total)
    np.testing.assert_allclose(ahead.most, back.least, rtol=1e-12)
    np.testing.assert_allclose(ahead.least, back.most, rtol=1e-12)
    np.testing.assert_allclose(ahead.combined, -back.combined, rtol=1e-10)


def test_a_share_of_a_map_of_zeros_is_that_share():
    removed = []

    def remember(_, images):
        removed.extend((images != IMAGES[:1]).any(axis=1).mean(axis=(1, 2)))
        return np.zeros(len(images))

    heat = np.zeros((1, 6, 5))
    heat[0, 0, 0] = 1
    found = road(IMAGES[:1], heat, remember, shares=[0.1, 0.4, 0.9])
    np.testing.assert_allclose(removed, [0.1, 0.4, 0.9] * 2)
    np.testing.assert_array_equal(found.tied, [29 / 30])
    assert not found.empty[0]


def test_noise_is_each_channels_own_and_depends_on_no_other_image():
    # The same noise for both orders and all images; a channel without noise has none.
    def channels(_, images):
        return images[:, 0].sum(axis=(1, 2))

    quiet = road(IMAGES, MAPS, channels, noise=[0.0, 5.0], seed=1)
    np.testing.assert_allclose(quiet.most, road(IMAGES, MAPS, channels, noise=0.0).most)
    loud = road(IMAGES, MAPS, channels, noise=[5.0, 0.0], seed=1)
    assert np.abs(loud.most - quiet.most).max() > 1
    alone = road(IMAGES[2:], MAPS[2:], channels, noise=[5.0, 0.0], seed=1)
    np.testing.assert_allclose(alone.most[0], loud.most[2], rtol=1e-12)
    other = road(IMAGES[2:], MAPS[2:], channels, noise=[5.0, 0.0], seed=2)
    assert np.abs(other.most[0] - loud.most[2]).max() > 1


def test_one_order_alone():
    most = road(IMAGES, MAPS, total, shares=[0.3], remove="most")
    assert most.least is None
    assert most.forwards == 3
    with pytest.raises(InputError, match="Both orders are needed"):
        _ = most.combined
    least = road(IMAGES, MAPS, total, shares=[0.3], remove="least")
    both = road(IMAGES, MAPS, total, shares=[0.3])
    np.testing.assert_array_equal(both.most, most.most)
    np.testing.assert_array_equal(both.least, least.least)


def test_combined_is_half_the_mean_difference():
    given = Road(np.array([0.2, 0.4]), np.array([[0.1, 0.3]]), np.array([[0.9, 0.5]]))
    np.testing.assert_allclose(given.combined, [(0.8 + 0.2) / 4])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shares": [0.5, 1.0]}, "expected numbers above 0 and below 1"),
        ({"shares": []}, "expected numbers above 0 and below 1"),
        ({"remove": "morf"}, "expected 'most', 'least' or 'both'"),
        ({"noise": -1}, "not negative, or one for each of 2 channels"),
        ({"noise": [1, 2, 3]}, "not negative, or one for each of 2 channels"),
        ({"noise": np.nan}, "must be finite"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        road(IMAGES, MAPS, total, **options)
