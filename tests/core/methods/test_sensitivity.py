"""Sobol indices and HSIC: by hand, by identities, and against their formulas written out."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest

from camcore import methods
from camcore.errors import MethodError, MissingExtraError
from camcore.methods import sensitivity
from camcore.resize import Interpolation

WEIGHTS = np.array([[1.0, 2.0], [0.0, -3.0]])
CELLS = np.ones((1, 1, 2, 2))
"""An image of four positions that are each a cell."""


def linear(sample, images):
    return (images[:, 0] * WEIGHTS).sum(axis=(1, 2))


def written_out_jansen(masks, score, designs):
    """The mean square of what another draw of a cell changes, over twice the variance."""
    whole = [score(mask) for mask in masks[:designs]]
    indices = []
    for cell in range(masks.shape[1]):
        replaced = masks[designs * (cell + 1) : designs * (cell + 2)]
        changes = [(a - score(mask)) ** 2 for a, mask in zip(whole, replaced, strict=True)]
        indices.append(sum(changes) / designs / (2 * np.var(whole, ddof=1)))
    return indices


def written_out_hsic(masks, scores):
    """The trace of the product of both kernels, centred."""
    count = len(masks)
    centring = np.eye(count) - 1 / count
    alike = np.exp(-((scores[:, None] - scores) ** 2) / (2 * np.median(scores) ** 2))
    values = []
    for cell in masks.T:
        kernel = 1 + (0.5 - (cell[:, None] - cell) ** 2)
        values.append(np.trace(kernel @ centring @ alike @ centring) / count)
    return values


def test_total_indices_by_hand():
    # Scores 1 and 3, whose variance is 2; with another draw of the first cell 2 and 2, of the
    # second 1 and 3.
    found = sensitivity.total_indices(np.array([1.0, 3.0, 2.0, 2.0, 1.0, 3.0]), 2)
    np.testing.assert_allclose(found, [(1 + 1) / 2 / 4, 0], rtol=1e-15)


def test_dependence_by_hand():
    # Scores 1 and 3 with median 2 are alike by exp(-4/8); the centred masks are -1/2 and 1/2.
    found = sensitivity.dependence(np.array([[0, 1], [1, 1]]), np.array([1.0, 3.0]))
    np.testing.assert_allclose(found, [(1 - np.exp(-0.5)) / 2, 0], rtol=1e-14)


def test_replicated_masks_by_hand():
    # The sequence's points are (1/2, 1/2) and (3/4, 1/4).
    np.testing.assert_array_equal(
        sensitivity.replicated_masks(2, 1), [[0.5], [0.75], [0.5], [0.25]]
    )


def test_replicated_masks_differ_in_one_cell_each():
    masks = sensitivity.replicated_masks(8, 5).reshape(6, 8, 5)
    for cell in range(5):
        differs = (masks[cell + 1] != masks[0]).any(axis=0)
        np.testing.assert_array_equal(differs, np.arange(5) == cell)


def test_total_indices_of_a_sum_are_shares_of_its_variance():
    found = methods.sobol(CELLS, linear, cells=2, designs=2048)[0]
    np.testing.assert_allclose(found, WEIGHTS**2 / (WEIGHTS**2).sum(), atol=2e-3)
    assert found[1, 0] == 0  # which the score does not depend on
    np.testing.assert_allclose(found.sum(), 1, atol=2e-3)


def test_total_indices_of_a_product_add_up_to_more_than_one():
    # Of the product of two uniform numbers: E[m²] Var(m) / (E[m²]² - E[m]⁴) = 4/7 each.
    found = methods.sobol(CELLS, lambda _, x: x[:, 0, 0, 0] * x[:, 0, 0, 1], cells=2, designs=4096)[
        0
    ]
    np.testing.assert_allclose(found, [[4 / 7, 4 / 7], [0, 0]], atol=2e-3)


def test_hsic_is_zero_exactly_where_the_score_does_not_depend_on_a_cell():
    every = np.array(list(itertools.product([0.0, 1.0], repeat=5)))
    scores = np.tanh(every[:, 0] + 2 * every[:, 1] * every[:, 2]) + 0.5
    found = sensitivity.dependence(every, scores)
    np.testing.assert_allclose(found[3:], 0, atol=1e-15)
    assert found[:3].min() > 0.1


def test_hsic_of_a_constant_score_is_zero():
    found = methods.hsic(CELLS, lambda _, x: np.ones(len(x)), cells=2, masks=64)
    np.testing.assert_allclose(found, 0, atol=1e-14)


def test_a_median_of_zero_compares_scores_by_whether_they_are_equal():
    masks = np.array([[0.0], [0.0], [1.0], [1.0]])
    found = sensitivity.dependence(masks, np.array([0.0, 0.0, 0.0, 5.0]))
    # Centred masks are -1/2 and 1/2; the last score is like itself alone: the quadratic form is
    # (1/2)² + (-1/2 - 1/2 + 1/2)².
    np.testing.assert_allclose(found, [2 / 4 * (0.25 + 0.25)], rtol=1e-15)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_indices_are_those_written_out_for_the_same_masks(rank):
    grid, rng = (3,) * rank, np.random.default_rng(rank)
    image = rng.normal(size=(1, 2, *[6] * rank))
    weights = rng.normal(size=image.shape[1:])

    def score(sample, images):
        return np.tanh((images * weights).reshape(len(images), -1).sum(axis=1))

    def of_mask(mask):
        seen = mask.reshape(grid)
        for axis in range(rank):
            seen = np.repeat(seen, 2, axis)
        return score(0, image * seen + 0.3 * (1 - seen))[0]

    how = {"cells": 3, "baseline": 0.3, "enlarge": Interpolation("nearest")}
    every_second = (0, *[slice(None, None, 2)] * rank)
    masks = sensitivity.replicated_masks(4, 3**rank)
    expected = np.reshape(written_out_jansen(masks, of_mask, 4), grid)
    found = methods.sobol(image, score, designs=4, **how)
    np.testing.assert_allclose(found[every_second], expected, rtol=1e-11)
    # The same binary masks: what the sequence rounds to.
    kept = np.round(sensitivity._sequence(40, 3**rank))
    scores = np.array([of_mask(mask) for mask in kept])
    found = methods.hsic(image, score, masks=40, **how)
    expected = np.reshape(written_out_hsic(kept, scores), grid)
    np.testing.assert_allclose(found[every_second], expected, rtol=1e-9, atol=1e-13)
    assert found.max() > 1e-3


@pytest.mark.parametrize("name", ["sobol", "hsic"])
def test_the_score_is_asked_for_every_mask_once(name):
    asked = []

    def score(sample, images):
        asked.append((sample, len(images)))
        return linear(sample, images)

    options = {"sobol": {"designs": 4}, "hsic": {"masks": 20}}[name]
    found = getattr(methods, name)(
        np.repeat(CELLS, 2, axis=0), score, cells=2, batch_size=8, **options
    )
    assert asked == [(0, 8), (1, 8), (0, 8), (1, 8), (0, 4), (1, 4)]
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize("name", ["sobol", "hsic"])
def test_a_grid_is_no_finer_than_the_input(name):
    video = np.ones((1, 1, 2, 4, 9))
    options = {"sobol": {"designs": 4}, "hsic": {"masks": 20}}[name]
    grids = []

    def score(sample, images):
        grids.append([len(np.unique(images[0], axis=axis + 1)) for axis in range(3)])
        return images[:, 0, 0, 0].sum(axis=1)

    assert getattr(methods, name)(video, score, cells=4, **options).shape == (1, 2, 4, 9)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sobol", {"designs": 12}, "designs=12; .* Take 8 or 16"),
        ("sobol", {"designs": 0}, "designs=0; it must be at least 1"),
        ("hsic", {"masks": 0}, "masks=0; it must be at least 1"),
        ("hsic", {"cells": 0}, "cells=0; it must be at least 1"),
        ("sobol", {"batch_size": 0}, "batch_size=0; it must be at least 1"),
        ("hsic", {"cells": 103}, r"cells=103; a grid of 103 x 103 has 10609 cells, .* for 10600"),
    ],
)
def test_options_out_of_range_are_named(name, options, message):
    with pytest.raises(MethodError, match=message):
        getattr(methods, name)(np.ones((1, 1, 110, 110)), linear, **options)


@pytest.mark.parametrize("name", ["sobol", "hsic"])
def test_without_scipy_the_extra_is_named(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(MissingExtraError, match=r'pip install "camcore\[metrics\]"'):
        getattr(methods, name)(CELLS, linear, cells=2)


def test_a_single_design_has_no_variance():
    np.testing.assert_array_equal(methods.sobol(CELLS, linear, cells=2, designs=1), [[[0] * 2] * 2])
