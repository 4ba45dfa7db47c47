"""Classes as libraries explain them."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.errors import MethodError
from camcore.recipes.formulas.targets import probability
from camcore.recipes.pytorch_grad_cam import WeightedContrast, weighted_contrast
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
    with pytest.raises(MethodError, match="Name the class"):
        weighted_contrast(Class(rank=1))
