"""Scores and cotangents of classes: by hand, and against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camcore.errors import MethodError, TargetError
from camcore.targets import (
    Class,
    Contrast,
    Counterfactual,
    Linear,
    LogProbability,
    Probability,
    Similarity,
    softmax,
)
from camcore.targets.scale import Scale

# exp gives 1, 2, 4, 1, so p = 1/8, 1/4, 1/2, 1/8; the second sample is the first, turned.
LOGITS = np.log([[1.0, 2.0, 4.0, 1.0], [4.0, 1.0, 1.0, 2.0]])


P = np.array([[1, 2, 4, 1], [4, 1, 1, 2]]) / 8


LN2 = np.log(2)


BY_HAND = {
    "class": (Class(1), [LN2, 0], [[0, 1, 0, 0], [0, 1, 0, 0]], [1, 1]),
    "per sample": (Class([2, 3]), [2 * LN2, LN2], [[0, 0, 1, 0], [0, 0, 0, 1]], [2, 3]),
    "predicted": (Class(), [2 * LN2, 2 * LN2], [[0, 0, 1, 0], [1, 0, 0, 0]], [2, 0]),
    "runner-up": (Class(rank=1), [LN2, LN2], [[0, 1, 0, 0], [0, 0, 0, 1]], [1, 3]),
    # Classes 0 and 3 of the first sample tie: the lower index comes first.
    "rank 2": (Class(rank=2), [0, 0], [[1, 0, 0, 0], [0, 1, 0, 0]], [0, 1]),
    "counterfactual": (Counterfactual(1), [-LN2, 0], [[0, -1, 0, 0], [0, -1, 0, 0]], [1, 1]),
    # p_c (e_c - p)
    "probability": (
        Probability(1),
        [1 / 4, 1 / 8],
        [np.array([-1, 6, -4, -1]) / 32, np.array([-4, 7, -1, -2]) / 64],
        [1, 1],
    ),
    # e_c - p
    "log-probability": (
        LogProbability(1),
        [np.log(1 / 4), np.log(1 / 8)],
        [np.array([-1, 6, -4, -1]) / 8, np.array([-4, 7, -1, -2]) / 8],
        [1, 1],
    ),
    # 2 ln 2 - 0.6 (ln 2 + 0 + 0) / 3 = 1.8 ln 2
    "contrast": (
        Contrast(),
        [1.8 * LN2, 1.8 * LN2],
        [[-0.2, -0.2, 1, -0.2], [1, -0.2, -0.2, -0.2]],
        [2, 0],
    ),
    # The nearest to class 1 of the first sample is 0 (at ln 2, as 2 and 3, but first).
    "nearest": (
        Contrast(1, nearest=1, gamma=1),
        [LN2, 0],
        [[-1, 1, 0, 0], [0, 1, -1, 0]],
        [1, 1],
    ),
    "against": (
        Contrast(0, against=[1, 2], gamma=0.5),
        [-0.75 * LN2, 2 * LN2],
        [[1, -0.25, -0.25, 0], [1, -0.25, -0.25, 0]],
        [0, 0],
    ),
    "against one": (Contrast(0, against=3), [0, 1.4 * LN2], [[1, 0, 0, -0.6]] * 2, [0, 0]),
    "linear": (Linear([1, 2, 0, -1]), [2 * LN2, LN2], [[1, 2, 0, -1]] * 2, None),
    "linear per sample": (Linear(np.eye(2, 4)), [0, 0], [[1, 0, 0, 0], [0, 1, 0, 0]], None),
    "sum": (Class(1) + Class(2), [3 * LN2, 0], [[0, 1, 1, 0]] * 2, None),
    "difference": (Class(0) - Class(3), [0, LN2], [[1, 0, 0, -1]] * 2, None),
    "multiple": (2 * Class(1), [2 * LN2, 0], [[0, 2, 0, 0]] * 2, [1, 1]),
    "negative": (-Class(1) * 0.5, [-0.5 * LN2, 0], [[0, -0.5, 0, 0]] * 2, [1, 1]),
    "nested": (-(Class(0) - 2 * Class(1)), [2 * LN2, -2 * LN2], [[-1, 2, 0, 0]] * 2, None),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_equals_the_hand_computation(case):
    target, scores, cotangent, classes = BY_HAND[case]
    scored = target(LOGITS)
    np.testing.assert_allclose(scored.scores, scores, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(scored.cotangent, cotangent, rtol=1e-14, atol=1e-15)
    if classes is None:
        assert scored.classes is None
    else:
        np.testing.assert_array_equal(scored.classes, classes)


@pytest.mark.parametrize("case", BY_HAND)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_cotangent_is_the_derivative_of_the_score(case, seed):
    target = BY_HAND[case][0]
    rng = np.random.default_rng(seed)
    outputs, direction = rng.normal(size=(2, 2, 4))
    settled = target.settled(outputs)  # a step may not change which class is predicted
    step = 1e-6 * direction
    slope = (settled(outputs + step).scores - settled(outputs - step).scores) / 2e-6
    expected = (settled(outputs).cotangent * direction).sum(axis=1)
    np.testing.assert_allclose(slope, expected, atol=1e-8)


SCALES = {
    "softmax": Scale("softmax"),
    "sigmoid": Scale("sigmoid"),
    "probabilities": Scale("softmax", applied=True),
}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("case", BY_HAND)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.sampled_from([1, 4]))
def test_the_cotangent_along_a_direction_is_its_derivative(case, scale, seed, count):
    target = BY_HAND[case][0].on_scale(SCALES[scale])
    if count == 1:  # one sigmoid unit, of two sides
        target = (Probability(1) - 3 * LogProbability(0)).on_scale(Scale("sigmoid"))
    rng = np.random.default_rng(seed)
    outputs, direction = rng.uniform(0.1, 1, size=(2, 2, count))
    settled = target.settled(outputs)
    step = 1e-5 * direction
    slope = (settled(outputs + step).cotangent - settled(outputs - step).cotangent) / 2e-5
    along = settled.cotangent_along(outputs, direction)
    assert along.shape == outputs.shape
    np.testing.assert_allclose(along, slope, atol=2e-7)


def test_a_contrast_takes_what_classes_there_are():
    # All three others, and of two classes the one.
    four = Contrast(1, nearest=9)(LOGITS[:1])
    np.testing.assert_allclose(four.cotangent, [[-0.2, 1, -0.2, -0.2]], rtol=1e-15)
    two = Contrast(1)(LOGITS[:1, :2])
    np.testing.assert_allclose(two.cotangent, [[-0.6, 1]], rtol=1e-15)
    np.testing.assert_allclose(two.scores, [LN2], rtol=1e-15)


def test_a_second_derivative_by_hand():
    # p = (1/8, 1/4, 1/2, 1/8) and v = e_1: p·v = 1/4, and p ⊙ (v − p·v) = (−1, 6, −4, −1)/32.
    log = LogProbability(1).cotangent_along(LOGITS[:1], np.eye(4)[[1]])
    np.testing.assert_allclose(log, [np.array([1, -6, 4, 1]) / 32], rtol=1e-14)
    # With ReST, y_c + log p_c, the logit's own is none.
    rest = (Class(1) + LogProbability(1)).cotangent_along(LOGITS[:1], np.eye(4)[[1]])
    np.testing.assert_array_equal(rest, log)


def test_a_target_without_a_second_derivative_says_so():
    with pytest.raises(MethodError, match=r"ShapleyCAM needs a target .*; got Similarity"):
        Similarity(np.ones(4)).cotangent_along(LOGITS, LOGITS)


@pytest.mark.parametrize("case", BY_HAND)
def test_outputs_are_read_only_and_keep_their_dtype(case):
    outputs = LOGITS.astype(np.float32)
    outputs.setflags(write=False)
    scored = BY_HAND[case][0](outputs)
    assert scored.scores.dtype == scored.cotangent.dtype == np.float32
    assert scored.cotangent.shape == outputs.shape


@pytest.mark.parametrize("case", BY_HAND)
def test_a_settled_target_makes_the_same_choice_for_other_outputs(case):
    target = BY_HAND[case][0]
    scored = target(LOGITS)
    others = np.random.default_rng(0).normal(size=(5, 4))
    for sample in range(2):
        alone = target.settled(LOGITS, sample)
        if "probability" not in case:  # the others' cotangents do not depend on the outputs
            expected = np.tile(scored.cotangent[sample], (5, 1))
            np.testing.assert_array_equal(alone(others).cotangent, expected)
        assert alone(LOGITS[[sample]]).scores == pytest.approx(scored.scores[sample], rel=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_saturated_softmax_stays_finite(dtype):
    outputs = np.array([[1000, -1000, 0], [-1000, 1000, 1000]], dtype)
    with np.errstate(all="raise", under="ignore"):
        p = softmax(outputs)
        probability, log = Probability(0)(outputs), LogProbability(0)(outputs)
    np.testing.assert_array_equal(p, [[1, 0, 0], [0, 0.5, 0.5]])
    np.testing.assert_array_equal(probability.scores, [1, 0])
    np.testing.assert_array_equal(probability.cotangent, np.zeros((2, 3)))
    # Where the probability says nothing any more, its log still does.
    np.testing.assert_allclose(log.scores, [0, -2000 - LN2], rtol=1e-6)
    np.testing.assert_array_equal(log.cotangent, [[0, 0, 0], [1, -0.5, -0.5]])


def test_segmentation_outputs_take_a_linear_functional():
    # Class 1 inside a mask of two pixels.
    outputs = np.arange(2 * 3 * 2 * 2.0).reshape(2, 3, 2, 2)
    weights = np.zeros((3, 2, 2))
    weights[1, 0] = 0.5
    scored = Linear(weights)(outputs)
    np.testing.assert_array_equal(scored.scores, [4.5, 16.5])
    np.testing.assert_array_equal(scored.cotangent, [weights, weights])


def test_targets_of_a_single_score():
    scored = Class()(np.array([[3.0], [-2.0]]))
    np.testing.assert_array_equal(scored.scores, [3, -2])
    np.testing.assert_array_equal(scored.cotangent, [[1], [1]])
    np.testing.assert_array_equal(scored.classes, [0, 0])


@pytest.mark.parametrize(
    ("target", "outputs", "message"),
    [
        (Class(4), LOGITS, "Class 4 is out of range: the model scores 4 classes, 0 to 3"),
        (Class(-1), LOGITS, "Class -1 is out of range"),
        (Class([0, 9]), LOGITS, "Class 9 is out of range"),
        (Class([0, 1, 2]), LOGITS, "names 3 classes for a batch of 2 samples"),
        (Class(rank=4), LOGITS, "class at rank 4, but the model scores 4 classes"),
        (Class(0), LOGITS[None], r"outputs of shape \(batch, classes\); the model's are \(1, 2, 4"),
        (Probability(0), LOGITS[0], r"the model's are \(4,\).*Linear or a callable"),
        (LogProbability(7), LOGITS, "Class 7 is out of range"),
        (Contrast(0, against=[1, 4]), LOGITS, r"against \[1, 4\], but the model scores 4 classes"),
        (
            Contrast(0),
            LOGITS[:, :1],
            "nearest classes needs more than one class; the model scores 1",
        ),
        (Linear([1, 2]), LOGITS, r"shape \(2,\).*outputs are \(2, 4\), so \(4,\) or \(2, 4\)"),
        (Class(0) + Class(4), LOGITS, "Class 4 is out of range"),
    ],
)
def test_class_targets_refuse_outputs_that_do_not_fit(target, outputs, message):
    with pytest.raises(TargetError, match=message):
        target(outputs)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Class([[1, 2]]), r"one integer per sample; got \[\[1, 2\]\]"),
        (lambda: Class(np.array([True, False])), "A class is an integer"),
        (lambda: Class(rank=-1), "A rank counts from 0.*got None, rank=-1"),
        (lambda: Class(3, rank=1), "takes the place of a class; got 3, rank=1"),
        (lambda: Contrast(0, against=[]), r"at least one class.*against=\[\], nearest=3"),
        (lambda: Contrast(0, against=[1.5]), r"an integer.*against=\[1\.5\]"),
        (lambda: Contrast(0, nearest=0), "against=None, nearest=0"),
        (lambda: Linear([1.0, np.nan]), "finite real numbers; got dtype float64, with NaN"),
        (lambda: Linear(["a"]), "finite real numbers; got dtype <U1"),
    ],
)
def test_class_targets_refuse_what_is_no_class(make, message):
    with pytest.raises(TargetError, match=message):
        make()


@pytest.mark.parametrize("make", [Probability, LogProbability])
def test_samples_far_apart_are_scored_as_if_each_were_alone(make):
    outputs = np.array([[0.0, 1.0, 3.0], [1000.0, 1001.0, 1003.0], [-4e4, 1 - 4e4, 3 - 4e4]])
    scored = make(1)(outputs)
    p = np.exp([0.0, 1.0, 3.0]) / np.exp([0.0, 1.0, 3.0]).sum()
    expected = {Probability: p[1], LogProbability: np.log(p[1])}[make]
    np.testing.assert_allclose(scored.scores, [expected] * 3, rtol=1e-12)
    slope = (np.eye(3)[1] - p) * {Probability: p[1], LogProbability: 1}[make]
    np.testing.assert_allclose(scored.cotangent, [slope] * 3, rtol=1e-10)
