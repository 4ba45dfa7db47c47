"""Sums of targets, and the target of no score."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.errors import TargetError
from camcore.targets import (
    Box,
    Class,
    Combination,
    Contrast,
    Counterfactual,
    Linear,
    LogProbability,
    Nothing,
    Probability,
    Segmentation,
    Similarity,
)

# exp gives 1, 2, 4, 1, so p = 1/8, 1/4, 1/2, 1/8; the second sample is the first, turned.
LOGITS = np.log([[1.0, 2.0, 4.0, 1.0], [4.0, 1.0, 1.0, 2.0]])


@pytest.mark.parametrize(
    "combine",
    [
        lambda: Class(1) + 1,
        lambda: 1 - Class(1),
        lambda: Class(1) * "2",
        lambda: Class(1) * Class(2),
    ],
)
def test_operators_take_targets_and_numbers_alone(combine):
    with pytest.raises(TypeError):
        combine()


def test_a_sum_of_nothing_is_refused():
    with pytest.raises(TargetError, match=r"Combination\(\) has no terms"):
        Combination()


def test_numpy_numbers_scale_targets():
    for target in (np.float64(2) * Class(1), Class(1) * np.float32(2)):
        np.testing.assert_array_equal(target(LOGITS).cotangent, [[0, 2, 0, 0]] * 2)


def test_targets_say_what_they_are():
    assert repr(Class(3)) == "Class(3)"
    assert repr(Probability([1, 2])) == "Probability([1, 2])"
    assert repr(Class()) == "Class()"
    assert repr(Class(rank=2)) == "Class(rank=2)"
    assert repr(Linear(np.ones((2, 3)))) == "Linear(shape=(2, 3))"
    # A sum of sums is one sum.
    assert repr(-(Class(1) - 2 * Class(2))) == "-1*Class(1) + 2*Class(2)"


def test_nothing_target_has_no_score_and_no_cotangent():
    scored = Nothing()({"0.scores": np.array([0.9, 0.8]), "1.scores": np.array([0.6])})
    assert not scored.scores.any()
    assert scored.cotangent == {}


@pytest.mark.parametrize(
    ("target", "linear"),
    [
        (Class(1), True),
        (Counterfactual(1), True),
        (Contrast(1, nearest=2), True),
        (Linear([1.0, 0, 2]), True),
        (Segmentation(1), True),
        (Box(0), True),
        (Box(0, arranged="yolov5"), False),
        (Box(overlapping=(0, 0, 1, 1), with_overlap=True), False),
        (Probability(1), False),
        (LogProbability(1), False),
        (Similarity([1.0, 0, 2]), False),
        (2 * Class(1) - Class(0), True),
        (Class(1) + Probability(0), False),
    ],
    ids=str,
)
def test_a_target_knows_whether_it_is_linear(target, linear):
    assert target.linear is linear
    if not isinstance(target, Box):
        shape = (1, 3, 2) if isinstance(target, Segmentation) else (1, 3)
        outputs = np.random.default_rng(0).normal(size=shape)
        target = target.settled(outputs)
        doubled = np.abs(target(2 * outputs).scores - 2 * target(outputs).scores).max() < 1e-12
        assert doubled == linear
