"""The study of localisation: its columns by hand, its criteria, and a run with a known answer."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from colours import COLOURS, colour_network, write_discs
from PIL import Image

from camcore.errors import InputError
from camcore.evaluation import Evaluation
from camcore.studies import localisation
from camcore.studies.localisation import STUDY, Measured, completeness, decide
from camcore.studies.networks import LAYERS
from camcore.studies.scenes import Scene, Scenes
from camcore.studies.study import Setting
from camcore.studies.table import find_study, run_study
from camcore.testing import random_network

pytestmark = pytest.mark.filterwarnings("ignore::camcore.errors.PoorMapWarning")
EXACT = {"hirescam": 3e-16, "gradcam": 0.5}


def scene(*marked):
    """A scene of 2 by 4 whose objects lie at these positions."""
    masks = np.zeros((len(marked), 8), bool)
    for mask, where in zip(masks, marked, strict=True):
        mask[list(where)] = True
    return Scene(np.zeros((2, 4, 3)), masks.reshape(-1, 2, 4), range(len(marked)), ["x"])


def test_columns_are_those_computed_by_hand():
    scenes = [scene((0, 1), (6, 7)), scene((0,), (3,))]
    maps = np.zeros((4, 8))
    maps[0, :4] = 1, 0.5, 0.25, 0.25  # 3/4 of its energy on its object, none on the other
    maps[1, [1, 6]] = 1, 0.5  # a third on its object, two thirds on the other
    maps[2, [0, 3, 5]] = 1, 1, 2
    found, threshold = localisation.columns_of(maps.reshape(4, 2, 4), scenes, paired=True)
    assert found["energy"] == pytest.approx([(3 / 4 + 1 / 3) / 2, (1 / 4 + 0) / 2])
    # A map of zeros tells as little as can be.
    assert found["own"] == pytest.approx([(1 + 1 / 3) / 2, (1 / 2 + 1 / 2) / 2])
    # Every position of it is a maximum, and one of eight lies on the object.
    assert found["pointing"] == pytest.approx([1 / 2, (0 + 1 / 8) / 2])
    # From 0.26 to 0.5 the maps mark {0, 1}, {1, 6}, {0, 3, 5} and nothing: 1, 1/3, 1/3 and 0.
    assert threshold == pytest.approx(0.26)
    assert found["iou"] == pytest.approx([(1 + 1 / 3) / 2, (1 / 3 + 0) / 2])


def test_of_one_object_its_share_of_all_energy_stands_for_both():
    maps = np.zeros((2, 2, 4))
    maps[0, 0] = 1, 1, 1, 1
    found, _ = localisation.columns_of(maps, [scene((0,)), scene((5,))], paired=False)
    assert found["own"].tolist() == found["energy"].tolist() == [0.25, 0]


def measured(lifts, apart=0.0, paired=True):
    """Ten scenes: Grad-CAM's columns near 0.5, and LayerCAM's that much above."""
    rows = {}
    spread = np.linspace(-0.05, 0.05, 10)
    for layer in LAYERS:
        for method in localisation.METHODS:
            lift = lifts.get((layer, "own"), 0), lifts.get((layer, "iou"), 0)
            own, iou = lift if method == "layercam" else (0, 0)
            columns = {"own": 0.5 + own, "iou": 0.2 + iou, "energy": 0.3, "pointing": 0.4}
            rows[f"{method} {layer}"] = {name: mean + spread for name, mean in columns.items()}
    for control in ("random", "centre"):
        rows[control] = dict.fromkeys(localisation.COLUMNS, 0.1 + spread)
    values = Evaluation(rows)
    return Measured(values, dict.fromkeys(rows, 0.3), dict.fromkeys(rows, 0), paired, apart)


def test_each_layer_and_column_is_decided_about_on_its_own():
    # The mean of ten values 0.05 wide has an interval of about ± 0.02.
    lifts = {("stage 2", "own"): 0.1, ("stage 3", "iou"): 0.03, ("stage 5", "iou"): 0.1}
    found = decide(measured(lifts), EXACT)
    assert [finding.criterion for finding in found] == list(STUDY.criteria)
    assert [finding.held for finding in found] == [
        *(True, False),  # stage 2: own, IoU
        *(False, False),  # stage 3: 0.03 apart, and the intervals overlap
        *(False, True),  # stage 5
        *(True, True),
    ]
    assert "stage 2" in found[0].criterion
    assert "IoU" in found[5].criterion
    assert "stage 5" in found[5].criterion
    assert found[0].figures.startswith("LayerCAM 0.600 [0.5")
    assert "Grad-CAM 0.500 [0.4" in found[0].figures


def test_below_is_not_above():
    lifts = {(layer, column): -0.1 for layer in localisation.EARLY for column in ("own", "iou")}
    assert [f.held for f in decide(measured(lifts), EXACT)] == [False] * 6 + [True] * 2


@pytest.mark.parametrize(("apart", "held"), [(1e-5, True), (1.1e-5, False)])
def test_at_the_head_both_are_the_same_to_rounding(apart, held):
    assert decide(measured({}, apart), EXACT)[6].held is held


@pytest.mark.parametrize(
    ("sums", "held"),
    [
        ({"hirescam": 1e-12, "gradcam": 0.011}, True),
        ({"hirescam": 2e-12, "gradcam": 0.011}, False),
        ({"hirescam": 1e-16, "gradcam": 0.01}, False),
    ],
)
def test_sums_are_exact_of_one_and_not_of_the_other(sums, held):
    assert decide(measured({}), sums)[7].held is held


def test_sums_are_those_of_the_network_s_own_weights():
    network, images = random_network(head="flatten", seed=3), np.random.default_rng(3)
    images = images.normal(size=(8, 2, 8, 8))
    trace = network.run(images, ["relu2"])
    activations = trace.layers["relu2"].activations
    weights = network.ops["fc"].weights[np.arange(8) % 5].reshape(activations.shape)
    exact = (weights * activations).sum(axis=(1, 2, 3))  # y − b, and HiResCAM's sum
    means = weights.mean(axis=(2, 3)) * activations.sum(axis=(2, 3))
    found = completeness(3)
    assert found["hirescam"] < 1e-14
    expected = np.abs(means.sum(axis=1) - exact).max() / np.abs(exact).max()
    assert found["gradcam"] == pytest.approx(expected, rel=1e-12)


def test_a_control_that_is_better_is_told_of_and_so_are_empty_maps():
    made = measured({})
    rows = {row: dict(columns) for row, columns in made.values.values.items()}
    rows["eigencam head"]["pointing"] = rows["centre"]["pointing"] - 0.1
    rows["random"]["pointing"] = rows["eigencam head"]["pointing"]
    rows["gradcam stage 7"]["iou"] = rows["gradcam stage 7"]["iou"] + 0.1
    empty = {"gradcam stage 2": 3, "random": 0}
    said = localisation.notes(
        Measured(Evaluation(rows), made.thresholds, empty, True, 0.0), Scenes([], True, ["First."])
    )
    assert said == [
        "First.",
        "pointing game: a control is better: Eigen-CAM at the head by centre.",
        "Grad-CAM is above LayerCAM, with disjoint intervals: IoU at stage 7.",
        "Maps that are constant, and count as they are: gradcam stage 2 (3).",
    ]


def test_a_small_run_finds_what_the_network_looks_at(tmp_path, monkeypatch):
    monkeypatch.setattr(localisation, "load_network", lambda framework: colour_network())
    monkeypatch.setattr(localisation, "_SMALL", 2)
    study = find_study("localisation")
    discs = write_discs(tmp_path / "discs")
    outcome = run_study(study, Setting("torch", small=True, data=discs))
    for layer in LAYERS:
        for method in ("gradcam", "hirescam", "layercam"):
            # The network's features are zero but where its class's colour is.
            assert outcome.values[f"{method} {layer} own"] == pytest.approx(1, abs=1e-6)
            assert outcome.values[f"{method} {layer} pointing"] == 1
            assert outcome.values[f"{method} {layer} iou"] == 1
    assert outcome.values["random own"] == pytest.approx(0.5)
    assert outcome.values["centre pointing"] == 0
    assert outcome.values["scenes"] == 2
    assert "gradcampp head own" in outcome.values
    assert "gradcampp stage 2 own" not in outcome.values
    # Behind the only layer gradients are constant: nothing is above anything, and all are equal.
    assert [finding.held for finding in outcome.findings] == [False] * 6 + [True] * 2
    assert outcome.verdict == "reproduced in part"
    assert [len(table.rows) for table in outcome.tables] == [5] * 5 + [2]
    heads = outcome.tables[0].heads
    assert heads[2] == "own / (own + other) ↑"
    assert outcome.tables[0].rows[0][2] == "1.000 [1.000, 1.000]"


def test_a_run_on_photographs_has_the_columns_of_one_object(tmp_path, monkeypatch):
    monkeypatch.setattr(localisation, "load_network", lambda framework: colour_network())
    for folder in ("photos", "masks"):
        (tmp_path / folder).mkdir()
    for number, colour in enumerate(COLOURS.values()):
        photo = np.full((224, 224, 3), 127, np.uint8)
        photo[10:90, 10:90] = colour
        Image.fromarray(photo).save(tmp_path / f"photos/{number}.png")
        # Half of what has the colour is marked.
        mask = np.zeros((224, 224), np.uint8)
        mask[10:50, 10:90] = 255
        Image.fromarray(mask).save(tmp_path / f"masks/{number}.png")
    folders = {"photos": tmp_path / "photos", "masks": tmp_path / "masks"}
    outcome = run_study(STUDY, Setting("torch", small=True, **folders))
    assert outcome.values["scenes"] == 3
    for column in ("energy", "own", "iou"):
        assert outcome.values[f"layercam stage 5 {column}"] == pytest.approx(0.5, abs=1e-6)
    for table in outcome.tables:
        assert [*table.heads] == [
            *("map", "energy on the object ↑", "pointing game ↑", "IoU ↑", "threshold of IoU"),
        ]
    assert outcome.notes[0].startswith("3 of 3 photographs, which have masks")


@pytest.mark.parametrize("name", ["localisation", "arcc"])
def test_without_its_data_a_study_says_what_to_install(name, tmp_path, monkeypatch):
    module = importlib.import_module(f"camcore.studies.{name}")
    monkeypatch.setattr(module, "load_network", lambda framework: colour_network())
    with pytest.raises(InputError, match="apt install tuxpaint-stamps-default"):
        run_study(find_study(name), Setting("torch", data=tmp_path / "none"))
