"""Localisation and complexity against the installed Quantus, and where it parts from camcore."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.metrics import (
    effective_complexity,
    energy_pointing_game,
    entropy,
    grid_pointing_game,
    pointing_game,
    relevance_rank,
    sparseness,
)


@pytest.fixture(scope="session")
def quantus(require):
    return require("quantus")


@pytest.fixture(scope="session")
def theirs(quantus):
    """The library's values of maps and masks; it asks for inputs and labels, and ignores them."""

    def values(name, maps, masks=None, **options):
        metric = getattr(quantus, name)(disable_warnings=True, **options)
        found = metric(
            model=None,
            x_batch=np.zeros((len(maps), 3, *maps.shape[1:])),
            y_batch=np.zeros(len(maps), int),
            a_batch=maps[:, None].copy(),
            s_batch=None if masks is None else masks[:, None],
        )
        return np.array(found, np.float64)

    return values


@pytest.fixture(scope="session")
def maps(torch_lite0):
    """Grad-CAM of photographs, of which a quarter of the positions are equal to another."""
    made = [batch.explain("gradcam", "paper").maps for batch in torch_lite0.few]
    return np.concatenate(made).astype(np.float64)


@pytest.fixture(scope="session")
def signed(maps):
    """Some of each map's values below 0, none of them equal."""
    return maps - 0.2 + 1e-6 * np.random.default_rng(0).random(maps.shape)


@pytest.fixture(scope="session")
def masks(maps):
    """A disc in the upper left, and one in the middle."""
    row, column = np.indices(maps.shape[1:])
    sides = np.array(maps.shape[1:])
    centres = [(0.3, 0.3), (0.5, 0.5)] * len(maps)
    return np.stack([
        np.hypot(*(np.stack([row, column]) - (sides * c)[:, None, None])) < sides.min() / 5
        for c in map(np.array, centres[: len(maps)])
    ])  # fmt: skip


def test_pointing_game(theirs, maps, masks):
    ours = pointing_game(maps, masks)
    assert 0 < ours.mean() < 1
    np.testing.assert_array_equal(ours, theirs("PointingGame", maps, masks))


def test_empty_masks_are_hits_of_the_library_alone(theirs, maps, masks):
    assert np.isnan(pointing_game(maps, masks & False)).all()
    np.testing.assert_array_equal(theirs("PointingGame", maps, masks & False), np.ones(len(maps)))


def test_relevance_mass_is_the_energy_with_its_sign(theirs, maps, signed, masks):
    for some in (maps, signed):
        ours = energy_pointing_game(some, masks, negative="keep")
        mass = theirs("RelevanceMassAccuracy", some, masks)
        known = ~np.isnan(ours)
        assert known.sum() > 3
        np.testing.assert_allclose(ours[known], mass[known], rtol=1e-12)
        # Nothing is a share of what is below 0 in all; the library divides by it.
        assert np.isfinite(mass).all()
        assert (some[~known].sum(axis=(1, 2)) <= 0).all()


@pytest.mark.parametrize(
    ("options", "negative"),
    [({}, "abs"), ({"abs": False, "positive_attributions": True}, "clip")],
)
def test_attribution_localisation_is_the_energy_without_its_sign(
    theirs, signed, masks, options, negative
):
    found = theirs("AttributionLocalisation", signed, masks, **options)
    ours = energy_pointing_game(signed, masks, negative=negative)
    # The library adds 1e-9 to the sum.
    np.testing.assert_allclose(ours, found, rtol=0, atol=1e-11)


def test_relevance_rank(theirs, signed, masks):
    ours = relevance_rank(signed, masks)
    assert np.ptp(ours) > 0.1
    np.testing.assert_array_equal(ours, theirs("RelevanceRankAccuracy", signed, masks))


@pytest.mark.parametrize("cell", range(4))
def test_focus_of_one_cell_is_the_grid_pointing_game(quantus, signed, cell):
    focus = quantus.Focus(disable_warnings=True)
    cells = np.eye(4)[[cell] * len(signed)]
    found = focus.evaluate_batch(a_batch=signed[:, None], c_batch=cells)
    ours = grid_pointing_game(signed, cell, grid=2)
    np.testing.assert_allclose(ours, found, rtol=0, atol=1e-11)


def test_complexity_is_entropy(theirs, maps, signed):
    for some in (maps, signed):
        # The library adds 1e-12 to each of the shares in the logarithm.
        some_error = 2e-12 * some[0].size
        np.testing.assert_allclose(entropy(some), theirs("Complexity", some), atol=some_error)


def test_sparseness_of_values_that_the_library_adds_to(theirs, maps, signed):
    for some in (maps, signed):
        sizes = np.abs(some)
        added = sizes / sizes.max() + 1e-7
        gini = theirs("Sparseness", some)
        np.testing.assert_allclose(sparseness(added), gini, rtol=0, atol=1e-12)
        np.testing.assert_allclose(sparseness(some), gini, rtol=0, atol=1e-6)


@pytest.mark.parametrize("eps", [1e-5, 0.3])
def test_effective_complexity_of_each_map_alone(theirs, maps, signed, eps):
    for some in (maps, signed):
        alone = [theirs("EffectiveComplexity", one[None], eps=eps)[0] for one in some]
        np.testing.assert_array_equal(effective_complexity(some, eps=eps), alone)


def test_effective_complexity_of_a_batch_depends_on_its_largest_map_in_the_library(theirs, maps):
    pair = np.stack([maps[0], 10 * maps[1]])
    alone = effective_complexity(maps[:2], eps=0.3)
    np.testing.assert_array_equal(effective_complexity(pair, eps=0.3), alone)
    found = theirs("EffectiveComplexity", pair, eps=0.3)
    assert found[0] == 0 < alone[0]
    assert found[1] == alone[1]
