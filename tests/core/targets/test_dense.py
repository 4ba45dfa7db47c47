"""Targets of segmentations and embeddings, by hand and against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.errors import TargetError
from camcore.outputs import OutputSelector
from camcore.targets import Class, Segmentation, Similarity

# Two samples, three classes, two by two positions. Predicted classes:
#   [[2, 0], [2, 1]] of the first, [[1, 1], [0, 1]] of the second.
OUTPUTS = np.array(
    [
        [[[1.0, 6.0], [0.0, 2.0]], [[2.0, 5.0], [1.0, 3.0]], [[4.0, 0.0], [7.0, -1.0]]],
        [[[0.0, 1.0], [9.0, 0.0]], [[1.0, 2.0], [8.0, 5.0]], [[-1.0, 0.0], [0.0, 0.0]]],
    ]
)


OUTPUTS.setflags(write=False)


LEFT = np.array([[True, False], [True, False]])


TOP = np.array([[1, 1], [0, 0]])


EACH = np.stack([LEFT, TOP])


Z = np.zeros((2, 2))


SEGMENTATIONS = {
    # Added up over all positions: 2 + 5 + 1 + 3 and 1 + 2 + 8 + 5.
    "a class": (Segmentation(1), [11, 16], [1, 1], [np.ones((2, 2))] * 2),
    "inside a mask": (Segmentation(1, LEFT), [3, 9], [1, 1], [LEFT] * 2),
    "a class each": (Segmentation([2, 0], LEFT), [11, 9], [2, 0], [LEFT] * 2),
    "a mask each": (Segmentation(1, EACH), [3, 3], [1, 1], [LEFT, TOP]),
    "weights": (Segmentation(0, TOP / 4), [7 / 4, 1 / 4], [0, 0], [TOP / 4] * 2),
    # Class 2 at two positions of the first, class 1 at three of the second.
    "predicted": (Segmentation(), [10, 16], [2, 1], [np.ones((2, 2))] * 2),
    # On the left classes 2 and 2, then 1 and 0: the lower of those that tie.
    "predicted inside": (Segmentation(mask=LEFT), [11, 9], [2, 0], [LEFT] * 2),
    "predicted inside each": (Segmentation(mask=EACH), [11, 3], [2, 1], [LEFT, TOP]),
}


def last(array):
    return np.moveaxis(array, 1, -1)


@pytest.mark.parametrize("case", SEGMENTATIONS)
def test_a_segmentation_adds_up_a_class_over_a_region(case):
    target, scores, classes, weights = SEGMENTATIONS[case]
    scored = target(OUTPUTS)
    expected = np.zeros((2, 3, 2, 2))
    expected[[0, 1], classes] = weights
    np.testing.assert_array_equal(scored.scores, scores)
    np.testing.assert_array_equal(scored.classes, classes)
    np.testing.assert_array_equal(scored.cotangent, expected)
    # The same where the framework's custom is to have classes last.
    native = target.laid_out("last")(last(OUTPUTS))
    np.testing.assert_array_equal(native.scores, scores)
    np.testing.assert_array_equal(native.classes, classes)
    np.testing.assert_array_equal(native.cotangent, last(expected))


def test_segmentation_takes_the_axis_of_classes():
    said = Segmentation(1, LEFT, channels="last")
    for target in (said, said.laid_out("first")):
        np.testing.assert_array_equal(target(last(OUTPUTS)).scores, [3, 9])
    first = Segmentation(1, LEFT, channels="first").laid_out("last")
    np.testing.assert_array_equal(first(OUTPUTS).scores, [3, 9])


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 5, 4), (2, 3, 2, 3, 4)])
def test_regions_have_any_rank(shape):
    rng = np.random.default_rng(0)
    outputs, mask = rng.normal(size=shape), rng.random(shape[2:])
    expected = (outputs[:, 1] * mask).reshape(2, -1).sum(axis=1)
    np.testing.assert_allclose(Segmentation(1, mask)(outputs).scores, expected, rtol=1e-13)
    found = Segmentation(1, mask, "last")(last(outputs))
    np.testing.assert_allclose(found.scores, expected, rtol=1e-13)


# Lengths 5 and 13; with (0, 1) the cosines are 4/5 and -5/13.
PAIR = np.array([[3.0, 4.0], [12.0, -5.0]])


def test_similarity_is_the_cosine_and_does_not_see_lengths():
    for embedding in ([0, 1], [0, 7.5]):
        scored = Similarity(embedding)(PAIR)
        np.testing.assert_allclose(scored.scores, [4 / 5, -5 / 13], rtol=1e-15)
        # (v - s u) / |u|: ((0, 1) - 4/5 (3/5, 4/5)) / 5 and ((0, 1) + 5/13 (12/13, -5/13)) / 13
        expected = [[-12 / 125, 9 / 125], [60 / 2197, 144 / 2197]]
        np.testing.assert_allclose(scored.cotangent, expected, rtol=1e-14)
        assert scored.classes is None
    each = Similarity([[3, 4], [5, 12]])(PAIR)
    np.testing.assert_allclose(each.scores, [1, 0], atol=1e-15)
    np.testing.assert_allclose(each.cotangent, [[0, 0], [5 / 169, 12 / 169]], atol=1e-15)


def test_outputs_of_zeros_are_similar_to_nothing():
    scored = Similarity([1.0, 2.0])(np.zeros((1, 2), np.float32))
    np.testing.assert_array_equal(scored.scores, [0])
    np.testing.assert_array_equal(scored.cotangent, [[0, 0]])


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_similarity_of_extreme_outputs_is_finite(size):
    outputs = (size * PAIR).astype(np.float32)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        scored = Similarity(np.float32([0, size]))(outputs)
    np.testing.assert_allclose(scored.scores, [4 / 5, -5 / 13], rtol=1e-6)
    assert np.all(np.isfinite(scored.cotangent))


def test_similarity_of_feature_maps_is_of_all_their_values():
    one = OUTPUTS[1]
    flat = Similarity(one.ravel())(OUTPUTS.reshape(2, -1))
    scored = Similarity(one)(OUTPUTS)
    np.testing.assert_array_equal(scored.scores, flat.scores)
    np.testing.assert_array_equal(scored.cotangent, flat.cotangent.reshape(OUTPUTS.shape))
    assert scored.scores[1] == pytest.approx(1, rel=1e-15)


RNG = np.random.default_rng(0)


TARGETS = {
    **{name: case[0] for name, case in SEGMENTATIONS.items()},
    "similarity": Similarity(RNG.normal(size=(3, 2, 2))),
    "similarity each": Similarity(RNG.normal(size=(2, 3, 2, 2))),
    "difference": Segmentation(2, LEFT) - 0.5 * Segmentation(0, TOP),
    "sum": -Segmentation(mask=EACH) + 2 * Similarity(RNG.normal(size=(3, 2, 2))),
}


# Their embeddings have the outputs' own shape, and their cotangents depend on the outputs.
SIMILAR = {"similarity", "similarity each", "sum"}


@pytest.mark.parametrize(
    ("name", "channels"),
    [*((name, "first") for name in TARGETS), *((n, "last") for n in TARGETS if n not in SIMILAR)],
)
def test_the_cotangent_is_the_derivative_of_the_score(name, channels):
    target = TARGETS[name].laid_out(channels)
    outputs = OUTPUTS if channels == "first" else last(OUTPUTS)
    settled = target.settled(outputs)
    direction = np.random.default_rng(1).normal(size=outputs.shape)
    step = 1e-6 * direction
    slope = (settled(outputs + step).scores - settled(outputs - step).scores) / 2e-6
    expected = (settled(outputs).cotangent * direction).reshape(2, -1).sum(axis=1)
    np.testing.assert_allclose(slope, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", TARGETS)
def test_a_settled_target_makes_the_same_choice_for_other_outputs(name):
    target = TARGETS[name]
    scored = target(OUTPUTS)
    others = np.random.default_rng(2).normal(size=(5, 3, 2, 2))
    for sample in range(2):
        alone = target.settled(OUTPUTS, sample)
        np.testing.assert_array_equal(alone(OUTPUTS[[sample]]).scores, scored.scores[[sample]])
        if name not in SIMILAR:
            expected = [scored.cotangent[sample]] * 5
            np.testing.assert_array_equal(alone(others).cotangent, expected)


@pytest.mark.parametrize("name", TARGETS)
def test_outputs_keep_their_type(name):
    outputs = OUTPUTS.astype(np.float32)
    outputs.setflags(write=False)
    scored = TARGETS[name](outputs)
    assert scored.scores.dtype == scored.cotangent.dtype == np.float32
    assert scored.cotangent.shape == outputs.shape


def test_dense_outputs_are_explained_in_the_frameworks_layout():
    explained = OutputSelector(None, "logit", channels="last")
    scored = explained.apply(Segmentation(1, LEFT) * 2, {"": last(OUTPUTS)})
    np.testing.assert_array_equal(scored.scores, [6, 18])
    assert scored.cotangent[""].shape == (2, 2, 2, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Segmentation(1.5), r"A class is an integer.*got 1\.5"),
        (lambda: Segmentation(0, [[0, -1]]), "weights are not negative; the least is -1"),
        (lambda: Segmentation(0, [[np.nan]]), "A mask's weights are finite real .* with NaN"),
        (lambda: Segmentation(0, [["a"]]), "A mask's weights are finite real .*got dtype <U1"),
        (lambda: Segmentation(0, channels="middle"), "channels='middle'; expected 'first'"),
        (lambda: Similarity([np.inf]), "An embedding's values are finite real numbers; .*infinity"),
    ],
)
def test_dense_targets_refuse_arrays_that_are_none(make, message):
    with pytest.raises(TargetError, match=message):
        make()


@pytest.mark.parametrize(
    ("target", "outputs", "message"),
    [
        (Segmentation(1), OUTPUTS[:, :, 0, 0], r"\(batch, classes, \*space\); .*are \(2, 3\). Use"),
        (Segmentation(3), OUTPUTS, "Class 3 is out of range: the model scores 3 classes, 0 to 2"),
        (Segmentation(2, channels="last"), OUTPUTS, "Class 2 is out of range: .* scores 2 classes"),
        (Segmentation([0, 1, 2]), OUTPUTS, "names 3 classes for a batch of 2"),
        (
            Segmentation(1, np.ones((3, 3))),
            OUTPUTS,
            r"mask has shape \(3, 3\); outputs with 3 classes first leave \(2, 2\), so that or "
            r"\(2, 2, 2\) is expected. Resize the mask, or say",
        ),
        (Segmentation(1, LEFT), last(OUTPUTS), r"with 2 classes first leave \(2, 3\)"),
        (Segmentation(1, [LEFT, 0 * LEFT]), OUTPUTS, "The mask of sample 1 marks no position"),
        (Segmentation(mask=0 * LEFT), OUTPUTS, "The mask of sample 0 marks no position"),
        (Similarity([1, 2, 3]), PAIR, r"shape \(3,\); the outputs are \(2, 2\), so \(2,\) or"),
        (Similarity([0, 0]), PAIR, "An embedding of zeros has no direction"),
        (Similarity([[0, 1], [0, 0]]), PAIR, "An embedding of zeros has no direction"),
        (Class(1), OUTPUTS, r"are \(2, 3, 2, 2\). Use camcore.targets.Segmentation, Similarity"),
    ],
)
def test_dense_targets_refuse_outputs_that_do_not_fit(target, outputs, message):
    with pytest.raises(TargetError, match=message):
        target(outputs)


def test_targets_say_what_they_are():
    assert repr(Segmentation(3)) == "Segmentation(3)"
    assert repr(Segmentation(mask=LEFT)) == "Segmentation(None, mask of shape (2, 2))"
    assert repr(Similarity([1, 2])) == "Similarity(shape=(2,))"
