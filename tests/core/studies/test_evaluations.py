"""Tables and notes of studies, from evaluations whose values are known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.evaluation import Evaluation
from camcore.studies.evaluations import (
    Run,
    _side_by_side,
    beaten,
    differences,
    label,
    means,
    numbers,
    undefined,
)

NAN = np.nan


@pytest.fixture(autouse=True)
def _bootstrap(require):
    require("scipy")


@pytest.fixture
def evaluation():
    """Grad-CAM loses 10 points less than the blob on each of four photographs, and is coherent."""
    values = {
        "gradcam": {"average_drop": [10, 20, 30, 40], "adcc": [50, 50, 50, NAN]},
        "centre": {"average_drop": [20, 30, 40, 50], "adcc": [60, 60, 60, 60]},
    }
    arrays = {row: {m: np.array(v, float) for m, v in one.items()} for row, one in values.items()}
    return Evaluation(arrays, ("centre",), empty={"gradcam": 1})


HEADS = {"average_drop": "drop", "adcc": "ADCC"}


def test_means_stand_with_controls_in_brackets(evaluation):
    table = means("means", evaluation, HEADS)
    assert list(table.heads) == ["", "drop", "ADCC"]
    assert [row[0] for row in table.rows] == ["Grad-CAM", "(centre blob)"]
    assert table.rows[1][2] == "60 [60, 60]"
    assert table.rows[0][1].startswith("25 [")


def test_differences_say_on_how_many_the_first_is_better(evaluation):
    table = differences("", evaluation, [("gradcam", "centre")], HEADS)
    assert list(table.heads) == ["", "drop", "better on", "ADCC", "better on"]
    assert table.rows == [
        ["Grad-CAM − centre blob", "-10 [-10, -10]", "4 of 4", "-10 [-10, -10]", "0 of 3"]
    ]


def test_a_control_that_beats_a_method_is_said(evaluation):
    told = list(beaten(evaluation, {"average_drop": "average drop", "adcc": "ADCC"}, "a layer"))
    assert told == ["At a layer, centre blob, a control, beats Grad-CAM by ADCC."]


def test_what_is_undefined_is_counted(evaluation):
    assert list(undefined(evaluation, "a layer")) == [
        "At a layer, Grad-CAM is undefined and left out: adcc on 1.",
        "At a layer, 1 maps of Grad-CAM are constant.",
    ]


def test_numbers_are_means_by_place_row_and_metric(evaluation):
    assert numbers(evaluation, "here") == {
        "here: gradcam average_drop": 25,
        "here: gradcam adcc": 50,
        "here: centre average_drop": 35,
        "here: centre adcc": 60,
    }


def test_runs_stand_side_by_side_with_the_controls_of_the_first():
    first = Evaluation({"gradcam": {"adcc": np.ones(2)}, "ones": {"adcc": np.zeros(2)}}, ("ones",))
    second = Evaluation({"gradcam": {"adcc": np.full(2, 3.0)}})
    filled = [
        Evaluation(one.values, one.controls, *[dict.fromkeys(one.rows, n) for _ in range(3)])
        for n, one in enumerate((first, second))
    ]
    joined = _side_by_side(filled, [Run({"gradcam": "gradcam"}), Run({"gradcam": "theirs"})])
    assert joined.rows == ("gradcam", "theirs", "ones")
    assert joined.controls == ("ones",)
    assert [joined.interval(row, "adcc").mean for row in joined.rows] == [1, 3, 0]
    assert (
        joined.forwards == joined.seconds == joined.empty == {"gradcam": 0, "theirs": 1, "ones": 0}
    )


def test_labels_are_those_that_people_know():
    rows = ("gradcam", "random", "ones", "centre", "anything else")
    assert [label(row) for row in rows] == [
        "Grad-CAM",
        "random 7 × 7",
        "Fake-CAM",
        "centre blob",
        "anything else",
    ]
