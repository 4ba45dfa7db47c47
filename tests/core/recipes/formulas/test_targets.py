"""Classes as libraries explain them."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.errors import MethodError
from camcore.recipes.formulas.targets import WeightedContrast, probability, weighted_contrast
from camcore.recipes.tf_explain import NormalisedLog
from camcore.targets import Class, Linear, Probability


@pytest.mark.parametrize(
    "target", [WeightedContrast(gamma=0.7), WeightedContrast([2, 4]), NormalisedLog([1, 3])]
)
def test_cotangents_are_the_derivatives_of_the_scores(target):
    outputs = np.abs(np.random.default_rng(0).normal(size=(2, 6))) + 0.1
    target = target.settled(outputs)
    cotangent = target(outputs).cotangent
    step = 1e-6
    for place in np.ndindex(outputs.shape):
        moved = [outputs.copy(), outputs.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        up, down = (target(one).scores[place[0]] for one in moved)
        assert cotangent[place] == pytest.approx((up - down) / (2 * step), abs=1e-8)


def test_a_share_that_is_cut_off_has_no_slope():
    scored = NormalisedLog(0)(np.array([[-1.0, 2.0], [1.0, 1.0]]))
    np.testing.assert_allclose(scored.scores, np.log([1e-7, 0.5]))
    assert not scored.cotangent[0].any()


def test_targets_that_recipes_explain_are_made_of_classes():
    assert isinstance(probability(Class(3)), Probability)
    assert isinstance(weighted_contrast(Class()), WeightedContrast)
    for aim in (probability, weighted_contrast):
        with pytest.raises(MethodError, match="recipe='paper'"):
            aim(Linear(np.ones(3)))
    with pytest.raises(MethodError, match=r"got Class\(rank=1\). Give the class by its index"):
        weighted_contrast(Class(rank=1))


def test_a_weighted_contrast_to_classes_of_no_weight_is_nothing():
    # Beside the explained class, the others' shares add up to e = 1e-9 or less, which is what
    # the divisor has besides: the mean of gaps falls from 20 to half of it, and on to nothing.
    outputs = np.array([[0.0, 20.0, 0.0], [0.0, 200.0, 0.0], [0.0, 2.0, 0.0]])
    scored = WeightedContrast(1, against=[0, 2], gamma=1.0)(outputs)
    others = 2 / (np.exp([20.0, 200.0, 2.0]) + 2)
    expected = others * [20, 200, 2] / (others + 1e-9)
    np.testing.assert_allclose(scored.scores, expected, rtol=1e-9)
    assert 0.7 < scored.scores[0] / 20 < 0.9
    step = 1e-4
    for place in np.ndindex(3, 3):
        sides = [outputs.copy() for _ in range(2)]
        sides[0][place] += step
        sides[1][place] -= step
        up, down = (WeightedContrast(1, against=[0, 2], gamma=1.0)(one).scores for one in sides)
        slope = (up - down)[place[0]] / (2 * step)
        assert scored.cotangent[place] == pytest.approx(slope, rel=1e-6, abs=1e-9)
