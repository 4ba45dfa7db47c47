"""The study of ARCC: rank correlations by hand, its criteria, and a run with a known answer."""

from __future__ import annotations

import numpy as np
import pytest
from colours import colour_network, write_discs

from camcore.evaluation import Evaluation
from camcore.metrics import adcc, arcc
from camcore.studies import arcc as study
from camcore.studies.study import Setting
from camcore.studies.table import find_study, run_study

pytestmark = pytest.mark.filterwarnings("ignore::camcore.errors.PoorMapWarning")


def table(**columns):
    """Rows by map of (scenes, maps) columns."""
    count = len(next(iter(columns.values()))[0])
    return {
        f"map {i}": {name: np.array(values, float)[:, i] for name, values in columns.items()}
        for i in range(count)
    }


def test_tau_is_that_of_pairs_counted_by_hand():
    rows = table(
        arcc=[[1, 2, 3, 4], [4, 3, 2, 1], [1, 2, 3, 3], [5, 5, 5, 5]],
        deletion=[[1, 2, 3, 4]] * 4,
        iou=[
            [0.1, 0.3, 0.2, 0.4],
            [0.1, 0.2, 0.3, 0.4],
            [0.1, 0.2, 0.3, 0.4],
            [0.1, 0.2, 0.3, 0.4],
        ],
    )
    found = study.taus(rows, "arcc", "iou")
    # 5 pairs of 6 in order and 1 not; none; 5 in order and 1 tied; all tied, so that none ranks.
    np.testing.assert_allclose(found[:3], [4 / 6, -1, 5 / np.sqrt(5 * 6)], rtol=1e-12)
    assert np.isnan(found[3])
    # Of deletion the lower value is the better one.
    np.testing.assert_allclose(study.taus(rows, "deletion", "iou"), [-4 / 6, -1, -1, -1])


def found(arcc, adcc):
    return Evaluation({"arcc": {"iou": np.array(arcc)}, "adcc": {"iou": np.array(adcc)}})


SPREAD = np.linspace(-0.3, 0.3, 10)


@pytest.mark.parametrize(
    ("arcc", "adcc", "held"),
    [
        (0.5 + SPREAD, 0.2 + SPREAD, [True, True]),
        # Paired: each scene's ARCC is above its ADCC, though the intervals overlap.
        (0.5 + SPREAD, 0.48 + SPREAD, [True, True]),
        (0.5 + SPREAD, 0.5 - SPREAD, [True, False]),
        (0.05 + SPREAD, -0.3 + SPREAD, [False, True]),
        (-0.5 + SPREAD, 0.2 + SPREAD, [False, False]),
    ],
)
def test_criteria_are_decided_by_intervals(arcc, adcc, held):
    findings = study.decide(found(arcc, adcc))
    assert [finding.held for finding in findings] == held
    assert [finding.criterion for finding in findings] == list(study.STUDY.criteria)


def test_figures_have_means_and_intervals():
    first, second = study.decide(found(0.5 + SPREAD, 0.2 + SPREAD))
    interval = found(0.5 + SPREAD, SPREAD).interval("arcc", "iou")
    assert first.figures == f"ARCC's mean tau is 0.500 [{interval.low:.3f}, {interval.high:.3f}]."
    assert second.figures.endswith("ARCC's less ADCC's +0.300 [+0.300, +0.300].")


def test_an_undefined_coherency_counts_nothing():
    columns = {
        "road": np.array([0.2, 0.2]),
        "coherency": np.array([80.0, np.nan]),
        "complexity": np.array([30.0, 30]),
        "average_drop": np.array([40.0, 40]),
        **{name: np.zeros(2) for name in ("average_gain", "deletion", "insertion")},
        **{name: np.array([0.5, 0.5]) for name in ("iou", "energy_pointing_game")},
    }
    made = study._composed(columns)
    # Three over the sum of reciprocals: of 2 · ROAD = 0.4, or 1 − drop = 0.6, and 0.8 and 0.7.
    expected = {
        name: 300 / (1 / told + 1 / 0.8 + 1 / 0.7) for name, told in (("arcc", 0.4), ("adcc", 0.6))
    }
    for name, value in expected.items():
        np.testing.assert_allclose(made[name], [value, 0], rtol=1e-12)
    assert arcc([0.2], [0.8], [0.3]) == pytest.approx(expected["arcc"] / 100)
    assert adcc([0.4], [0.8], [0.3]) == pytest.approx(expected["adcc"] / 100)


def test_controls_that_outrank_methods_are_named():
    values = np.linspace(0.4, 0.6, 10)
    rows = {
        "gradcam stage 5": {"arcc": values, "average_drop": values},
        "layercam stage 7": {"arcc": values + 0.3, "average_drop": values + 0.3},
        "random": {"arcc": values - 0.1, "average_drop": values + 0.1},
        "centre": {"arcc": values + 0.1, "average_drop": values + 0.1},
    }
    assert study.outranked(rows, "arcc") == ["(centre) over Grad-CAM, stage 5"]
    # A smaller drop is better.
    assert study.outranked(rows, "average_drop") == [
        "(random) over LayerCAM, stage 7",
        "(centre) over LayerCAM, stage 7",
    ]


def test_scenes_that_a_metric_does_not_rank_are_counted():
    same = np.zeros(10)
    rows = {name: dict.fromkeys(["arcc", "adcc", "road", "iou", "energy"], same) for name in "ab"}
    rows |= {"random": rows["a"], "centre": rows["a"]}
    taus = {metric: {"iou": np.full(10, 0.5)} for metric in study.BETTER}
    taus["average_gain"] = {"iou": np.array([np.nan] * 3 + [0.5] * 7)}
    said = study.notes(rows, Evaluation(taus))
    assert said[-1] == "average gain % ranks nothing in 3 scenes, which are left out."
    assert len(said) == 6
    taus["average_gain"]["iou"][1:] = 0.5
    one = "average gain % ranks nothing in 1 scene, which is left out."
    assert study.notes(rows, Evaluation(taus))[-1] == one
    assert said[0].endswith("ARCC % ranks no control over a method, by paired differences.")


def test_a_small_run_ranks_maps_of_a_network_that_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "load_network", lambda framework: colour_network())
    monkeypatch.setattr(study, "METHODS", ("layercam",))
    monkeypatch.setattr(study, "AT", ("stage 5",))
    monkeypatch.setattr(study, "SHARES", (0.8,))
    monkeypatch.setattr(study, "_STEPS", 4)
    one = find_study("arcc")
    outcome = run_study(one, Setting("torch", small=True, data=write_discs(tmp_path / "discs")))
    assert outcome.values["layercam stage 5 iou"] == 1
    assert outcome.values["layercam stage 5 energy"] == pytest.approx(1, abs=1e-6)
    # Under its own map nothing of the object is lost, and the other object is.
    assert outcome.values["layercam stage 5 average_drop"] == 0
    assert outcome.values["layercam stage 5 coherency"] == pytest.approx(1, abs=1e-4)
    assert outcome.values["random coherency"] == pytest.approx(1)
    assert outcome.values["layercam stage 5 road"] > 0.3
    assert outcome.values["scenes"] == 2
    assert [finding.criterion for finding in outcome.findings] == list(one.criteria)
    assert [table.title for table in outcome.tables][1] == "The maps"
    assert [row[0] for row in outcome.tables[1].rows] == [
        "LayerCAM, stage 5",
        "(random)",
        "(centre)",
    ]
    assert any(note.startswith("Does a control outrank methods? ARCC") for note in outcome.notes)
