"""How the study of Score-CAM decides, from values known by hand; and maps with half muted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from camcore.evaluation import Evaluation
from camcore.metrics.case import Case, Counted
from camcore.studies import scorecam
from camcore.studies.evaluations import BOTTLENECK, LAST
from camcore.studies.photos import Photographs
from camcore.studies.scorecam import AUTHORS, CRITERIA, HEADS, METRICS, STUDY, findings, half_muted
from camcore.studies.study import Setting


@pytest.fixture(autouse=True)
def _bootstrap(require):
    require("scipy")


def evaluation(drops=(20, 20), rises=(50, 50), gradcam=(30, 40), plusplus=(35, 45)):
    """Two kinds of photographs, eight of each, at which Score-CAM is better unless said."""
    lost = {
        "gradcam": (30, 30), "gradcampp": (35, 35), "fasterscorecam": (30, 30),
        "scorecam": drops, AUTHORS: drops, "centre": (5, 5),
    }  # fmt: skip
    risen = dict.fromkeys(lost, (0, 0)) | {
        "scorecam": rises, "gradcam": gradcam, "gradcampp": plusplus,
    }  # fmt: skip
    columns = {name: lost if "drop" in name else risen for name in HEADS}
    values = {row: {m: np.tile(np.array(columns[m][row], float), 8) for m in HEADS} for row in lost}
    return Evaluation(values, ("centre",))


def held(last=None, bottleneck=None):
    found = findings({LAST: last or evaluation(), BOTTLENECK: bottleneck or evaluation()})
    assert [one.criterion for one in found] == list(CRITERIA)
    return [one.held for one in found]


def test_all_hold_where_the_paper_is_right():
    assert held() == [True, True, True, True]
    assert tuple(STUDY.criteria) == CRITERIA


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"drops": (30, 30)}, [False, True]),  # as Grad-CAM
        ({"drops": (32, 32)}, [False, True]),  # better than Grad-CAM++ alone
        ({"drops": (0, 50)}, [False, True]),  # better in the mean, and the interval holds 0
        ({"drops": (29, 29)}, [True, True]),
        ({"rises": (45, 45)}, [True, True]),
        ({"rises": (40, 40)}, [True, False]),  # as Grad-CAM++, better than Grad-CAM
        ({"rises": (0, 100)}, [True, False]),
        ({"gradcam": (60, 60)}, [True, False]),
    ],
)
def test_a_criterion_fails_alone_and_at_its_layer(values, expected):
    assert held(last=evaluation(**values)) == [*expected, True, True]
    assert held(bottleneck=evaluation(**values)) == [True, True, *expected]


def test_figures_are_the_differences():
    found = findings({LAST: evaluation(), BOTTLENECK: evaluation(drops=(60, 60))})
    assert found[2].figures == (
        "at the last bottleneck, Score-CAM's average drop differs, in points, by 30 [30, 30] from "
        "Grad-CAM's; 25 [25, 25] from Grad-CAM++'s."
    )


def test_an_outcome_compares_both_forms_and_names_the_controls_that_win():
    worse = evaluation(drops=(60, 60), rises=(0, 0))
    found = scorecam.outcome({LAST: evaluation(), BOTTLENECK: worse}, ["Photographs: ten."])
    assert found.verdict == "reproduced in part"
    assert [row[0] for row in found.tables[1].rows] == [
        f"{one} − {other}"
        for one in ("Score-CAM", AUTHORS, "Faster Score-CAM")
        for other in ("Grad-CAM", "Grad-CAM++")
    ]
    assert found.tables[3].rows[0][1:3] == ["30 [30, 30]", "0 of 16"]
    assert found.values["the last bottleneck: scorecam average_drop"] == 60
    beaten = [note for note in found.notes if "a control, beats" in note]
    assert beaten[0].startswith("At the last activation, centre blob, a control, beats Grad-CAM, ")
    assert beaten[0].endswith(" by average drop.")
    muted = [note for note in found.notes if "half muted as the paper" in note]
    assert muted[0] == (
        "At the last activation, with half muted as the paper has it, Score-CAM's average drop "
        "differs by -10 [-10, -10] from Grad-CAM's and -15 [-15, -15] from Grad-CAM++'s, in "
        "points."
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([[0.4, 0.3], [0.2, 0.1]], [[0.4, 0.3], [0, 0]]),
        ([[0.1, 0.2], [0.3, 0.4]], [[0, 0], [0.3, 0.4]]),
        ([[0.5, 0.5], [0.5, 0.5]], [[0.5, 0.5], [0, 0]]),
        ([[0.5, 1.0, 0.25]], [[0.5, 1.0, 0]]),
    ],
)
def test_half_of_the_positions_are_muted(given, expected):
    maps = np.array([given, given])
    before = maps.copy()
    np.testing.assert_array_equal(half_muted(maps), [expected, expected])
    np.testing.assert_array_equal(maps, before)


def test_metrics_of_the_half_are_known_by_hand():
    # The score is the mean of what is left: 1 of ones, (1 + 1/2) / 4 under the map's upper half.
    images = np.ones((1, 1, 2, 2))
    maps = np.array([[[1, 0.5], [0.25, 0]]])

    def score(sample, altered):
        return altered.mean(axis=(1, 2, 3))

    case = Case(images, maps, Counted(score), lambda *_: maps, np.ones(1))
    lost, risen = METRICS[2:]
    np.testing.assert_allclose(lost(case), [62.5], rtol=1e-12)
    assert risen(case).tolist() == [0]
    rising = Case(images, maps, Counted(score), lambda *_: maps, np.full(1, 0.25))
    assert METRICS[2](rising).tolist() == [0]
    assert METRICS[3](rising).tolist() == [100]


def test_few_photographs_are_taken_at_the_dear_layer_unless_a_person_brought_them():
    every = Photographs(range(28), "28")
    own = Setting("torch", photos=Path("photos"))
    assert len(scorecam._taken(every, LAST, Setting("torch"))) == 8
    assert len(scorecam._taken(every, BOTTLENECK, Setting("torch"))) == 28
    assert len(scorecam._taken(every, LAST, own)) == 28
