"""How the study of Fake-CAM decides, from values known by hand; and Fake-CAM itself."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.evaluation import Evaluation, Interval
from camcore.metrics import adcc, coherency, drop, l1_complexity
from camcore.metrics.controls import CONTROLS
from camcore.studies.evaluations import BOTTLENECK, LAST
from camcore.studies.fakecam import CRITERIA, FAKE, METHODS, STUDY, about_half, findings, outcome


@pytest.fixture(autouse=True)
def _bootstrap(require):
    require("scipy")


def evaluation(lost=(0, 0.2), risen=(0, 100), joined=(0, 0), method=(70, 70), blob=(60, 60)):
    """Two kinds of photographs, eight of each; one method beside the controls."""
    rows = {
        "gradcam": (10, 10), "random": (10, 10), FAKE: lost, "centre": (10, 10),
    }  # fmt: skip
    shares = {"gradcam": method, "random": (40, 40), FAKE: joined, "centre": blob}
    values = {
        row: {
            "average_drop": np.tile(np.array(rows[row], float), 8),
            "increase": np.tile(np.array(risen, float), 8),
            "coherency": np.full(16, 100.0),
            "complexity": np.full(16, 50.0),
            "adcc": np.tile(np.array(shares[row], float), 8),
        }
        for row in rows
    }
    return Evaluation(values, ("random", FAKE, "centre"))


def held(**values):
    return [finding.held for finding in findings({"Lite0": evaluation(**values)})]


def test_all_hold_where_the_paper_is_right():
    assert held() == [True, True, True]
    assert STUDY.name == "fakecam"
    assert tuple(STUDY.criteria) == CRITERIA
    found = findings({"Lite0": evaluation()})
    assert [one.criterion for one in found] == list(CRITERIA)
    assert found[0].figures.startswith("average drop 0.1 [0.0")
    assert found[0].figures.endswith("] % with Lite0.")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"lost": (1, 1)}, [False, True, True]),
        ({"lost": (0.9, 0.9)}, [True, True, True]),
        ({"lost": (0, 1.9)}, [False, True, True]),  # a mean of 0.95, and an interval beyond 1
        ({"risen": (100, 100)}, [True, False, True]),
        ({"risen": (0, 0)}, [True, False, True]),
        ({"joined": (5, 5)}, [True, True, False]),
        ({"joined": (0, 9.8)}, [True, True, False]),
        ({"joined": (4.9, 4.9)}, [True, True, True]),
    ],
)
def test_a_criterion_fails_alone(values, expected):
    assert held(**values) == expected


def test_a_criterion_has_to_hold_for_every_network():
    found = findings({"Lite0": evaluation(), "Lite2": evaluation(lost=(1, 1))})
    assert [one.held for one in found] == [False, True, True]
    assert found[0].figures.endswith("] % with Lite0; 1 [1, 1] % with Lite2.")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (15, 55, True),
        (50, 50, True),
        (44, 48, True),
        (52, 58, True),
        (39, 48, False),
        (52, 61, False),
        (0, 40, False),
        (float("nan"), float("nan"), False),
    ],
)
def test_about_half(low, high, expected):
    assert about_half(Interval((low + high) / 2, low, high)) is expected


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ((70, 70), ", below Grad-CAM."),
        ((50, 50), " and beats Grad-CAM."),
        ((50, 70), ", and ADCC does not tell it from Grad-CAM: these intervals hold 0."),
    ],
)
def test_the_blob_is_said_to_be_where_it_is(method, said):
    found = outcome({"Lite0": {LAST: evaluation(method=method)}}, ["Photographs: ten."])
    assert found.notes[0] == "Photographs: ten."
    (note,) = [note for note in found.notes if "blob that never saw" in note]
    assert note == (
        "At Lite0, the last activation, the blob that never saw the model has an ADCC of "
        f"60 [60, 60] %{said}"
    )


def test_an_outcome_has_tables_values_and_what_beats_what():
    found = outcome({"Lite0": {"here": evaluation(method=(50, 50)), "there": evaluation()}}, [])
    assert found.verdict == "reproduced"
    assert [table.title[:11] for table in found.tables] == [
        *["Lite0, here"] * 2,
        *["Lite0, ther"] * 2,
    ]
    assert [row[0] for row in found.tables[1].rows] == [
        "Grad-CAM − centre blob",
        "Grad-CAM − random 7 × 7",
    ]
    assert found.values["Lite0, here: gradcam adcc"] == 50
    assert found.values["Lite0, there: gradcam adcc"] == 70
    assert "At Lite0, here, centre blob, a control, beats Grad-CAM by ADCC." in found.notes
    assert "At Lite0, there, centre blob, a control, beats Grad-CAM by ADCC." not in found.notes
    assert "At Lite0, there, Fake-CAM, a control, beats Grad-CAM by average drop." in found.notes


def test_scores_that_hardly_move_are_counted():
    # Eight photographs do not move, and eight rise; then eight fall instead.
    for lost, count in (((0, 0), 8), ((0.2, 0), 0)):
        note = outcome({"Lite0": {LAST: evaluation(lost=lost)}}, []).notes[0]
        assert note.startswith(
            f"With Lite0, one corner's zero moves the score of {count} of 16 photographs by less"
        )


@pytest.mark.parametrize("size", [(4, 6), (224, 224)])
def test_fake_cam_is_ones_but_for_the_first_corner(size):
    maps = CONTROLS[FAKE].function(np.zeros((2, 3, *size)))
    expected = np.ones((2, *size))
    expected[:, 0, 0] = 0
    np.testing.assert_array_equal(maps, expected)


def test_fake_cams_adcc_is_known_by_hand():
    # Coherency 1, drop 0, complexity (P - 1) / P: 3 / (1 + P + 1).
    maps = CONTROLS[FAKE].function(np.zeros((1, 3, 8, 8)))
    parts = drop([0.5], [0.5]), coherency(maps, maps), l1_complexity(maps)
    np.testing.assert_allclose(adcc(*parts), 3 / 66, rtol=1e-12)


def test_xgradcam_is_left_out_of_the_linear_layer():
    assert set(METHODS[LAST]) - set(METHODS[BOTTLENECK]) == {"xgradcam"}
