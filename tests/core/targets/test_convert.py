"""Whatever a target can be, read as targets."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.adapter import NativeScore
from camcore.errors import TargetError
from camcore.targets import (
    Class,
    Each,
    Probability,
    as_target,
    top,
)

# exp gives 1, 2, 4, 1, so p = 1/8, 1/4, 1/2, 1/8; the second sample is the first, turned.
LOGITS = np.log([[1.0, 2.0, 4.0, 1.0], [4.0, 1.0, 1.0, 2.0]])


def test_top_is_each_rank():
    several = top(3)
    assert isinstance(several, Each)
    classes = [target(LOGITS).classes.tolist() for target in several.targets]
    assert classes == [[2, 0], [1, 3], [0, 1]]


def test_each_reads_whatever_a_target_can_be():
    def native(outputs):
        return outputs.sum()

    each = Each(3, [0, 1], None, Probability(2), native)
    kinds = [type(target) for target in each.targets]
    assert kinds == [Class, Class, Class, Probability, NativeScore]
    assert each.targets[-1].function is native


def test_as_target_keeps_targets_and_reads_indices():
    own = Probability(1)
    assert as_target(own) is own
    for given_, expected in [(2, [2, 2]), (np.int64(1), [1, 1]), ((3, 0), [3, 0]), (None, [2, 0])]:
        target = as_target(given_)
        assert isinstance(target, Class)
        np.testing.assert_array_equal(target(LOGITS).classes, expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: as_target(True), "a Target or a callable; got True"),
        (lambda: as_target("cat"), "classes have no names; give an index, not 'cat'"),
        (lambda: as_target(Class), "got <class 'camcore.targets.*Class'>"),
        (lambda: as_target(Each(1)), "a Target or a callable; got <camcore.targets.*Each"),
        (lambda: as_target(1.5), r"A class is an integer.*got 1\.5.*camcore.targets.Linear"),
        (lambda: as_target([0.5, 0.5]), r"A class is an integer.*got \[0.5, 0.5\]"),
        (lambda: as_target([]), r"A class is an integer.*got \[\]"),
        (lambda: as_target([[1], [2, 3]]), r"A class is an integer.*got \[\[1\], \[2, 3\]\]"),
        (lambda: Each(), r"Each\(\) names no target"),
        (lambda: top(0), r"names no target"),
        (lambda: top("5"), r"top\('5'\): expected how many classes, a whole number"),
        (lambda: as_target(lambda scores, labels: scores), r"takes \(scores, labels\), and is"),
        (lambda: as_target(np.eye(3)[[0, 2]]), r"give the indices: labels.argmax\(1\)"),
        (lambda: as_target([[1], [2]]), r"Give one axis: labels\[:, 0\]"),
        (lambda: as_target([0.5, 2]), "For soft weights over classes use camcore.targets.Linear"),
    ],
)
def test_as_target_refuses_what_is_no_target(make, message):
    with pytest.raises(TargetError, match=message):
        make()
