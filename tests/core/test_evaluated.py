"""Curves of evaluations, what the network was fed for them, and evaluated explanations."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore.errors import InputError, TargetError
from camcore.evaluated import CURVES, Evaluation
from camcore.metrics import deletion, insertion, road
from camcore.metrics.faithfulness import Curve
from camcore.metrics.intervals import band, interval_of
from camcore.targets import Probability
from camcore.testing import random_network

IMAGES = np.random.default_rng(0).normal(size=(6, 2, 8, 8))
NETWORK = random_network(head="deep")
pytestmark = pytest.mark.filterwarnings("ignore::camcore.errors.PoorMapWarning")
ABOUT = {
    "methods": ["gradcam", "layercam"],
    "metrics": ["deletion", "insertion", "road"],
    "layer": "relu2",
    "steps": 8,
    "controls": ["random", "reversed"],
}


@pytest.fixture(scope="module")
def evaluation():
    return camcore.evaluate(NETWORK, IMAGES, keep=2, **ABOUT)


@pytest.fixture(scope="module")
def layercam():
    return camcore.explain(NETWORK, IMAGES, None, "relu2", "layercam")


@pytest.fixture(scope="module")
def score(layercam):
    target = Probability(layercam.classes)
    return camcore.Explainer(NETWORK, layer="relu2").evidence(IMAGES, target).score_images


def test_curves_are_those_that_metrics_are_computed_from(evaluation, layercam, score):
    assert evaluation.curve_names == tuple(CURVES)
    found = evaluation.curves["layercam"]
    for name, trace in (("deletion", deletion), ("insertion", insertion)):
        expected = trace(IMAGES, layercam.maps, score, steps=8)
        np.testing.assert_array_equal(found[name].fractions, np.arange(9) / 8)
        np.testing.assert_allclose(found[name].scores, expected.scores, rtol=1e-10)
        for row in evaluation.rows:
            curve = evaluation.curves[row][name]
            np.testing.assert_array_equal(evaluation.values[row][name], curve.auc)
    shares = road(IMAGES, layercam.maps, score)
    np.testing.assert_allclose(found["road_most"].scores, shares.most, rtol=1e-10)
    np.testing.assert_allclose(found["road_least"].scores, shares.least, rtol=1e-10)
    np.testing.assert_array_equal(found["road_least"].fractions, shares.shares)


def test_what_the_network_was_fed_can_be_made_again(evaluation, score):
    assert [one.sample for one in evaluation.kept] == [0, 1]
    for one in evaluation.kept:
        np.testing.assert_array_equal(one.image, IMAGES[one.sample])
        for row in ABOUT["methods"]:
            for name, curve in evaluation.curves[row].items():
                images = np.stack([*one.fed(row, name, curve.fractions)])
                again = score(one.sample, images)
                np.testing.assert_allclose(again, curve.scores[one.sample], rtol=1e-10)


@pytest.mark.parametrize("recipe", ["torchcam", "xplique", "rise-authors", "road-authors"])
def test_curves_of_a_librarys_own_can_be_made_again(recipe):
    names = ["road"] if recipe == "road-authors" else ["deletion", "insertion"]
    kept = Counting(NETWORK, IMAGES)
    found = camcore.evaluate(
        NETWORK, IMAGES, **{**ABOUT, "metrics": names}, metric_recipe=recipe, keep=1
    )
    for name, curve in found.curves["gradcam"].items():
        images = np.stack([*found.kept[0].fed("gradcam", name, curve.fractions)])
        np.testing.assert_allclose(kept(found, images), curve.scores[0], rtol=1e-10)


class Counting:
    """Scores alterations of the first sample as an evaluation did."""

    def __init__(self, network, images):
        self.network, self.images = network, images

    def __call__(self, found, images):
        kind = {"probability": Probability, "class": camcore.targets.Class}[found.settings["score"]]
        classes = camcore.explain(self.network, self.images, layer="relu2").classes
        evidence = camcore.Explainer(self.network, layer="relu2").evidence(
            self.images, kind(classes.tolist())
        )
        return evidence.score_images(0, images)


def test_parts_are_joined_with_their_curves(evaluation):
    parts = [
        camcore.evaluate(NETWORK, IMAGES[part], keep=1, **ABOUT)
        for part in (slice(0, 2), slice(2, 6))
    ]
    joined = Evaluation.concatenate(parts)
    assert [one.sample for one in joined.kept] == [0, 2]
    for row in joined.rows:
        for name, curve in joined.curves[row].items():
            expected = evaluation.curves[row][name].scores
            np.testing.assert_allclose(curve.scores, expected, atol=1e-6)
    other = camcore.evaluate(NETWORK, IMAGES, **{**ABOUT, "metrics": ["complexity"]})
    with pytest.raises(InputError, match="other metrics cannot be joined"):
        Evaluation.concatenate([joined, other])


def test_curves_of_other_fractions_are_joined_by_lines():
    ramp = Curve(np.array([0, 0.5, 1]), np.array([[0, 1, 2.0]]), 3, np.zeros(1), np.zeros(1, bool))
    fine = Curve(np.array([0, 0.2, 1]), np.array([[0, 4, 8.0]]), 3, np.ones(1), np.ones(1, bool))
    joined = Curve.concatenate([ramp, fine])
    np.testing.assert_allclose(joined.scores, [[0, 1, 2], [0, 5.5, 8]])
    assert joined.forwards == 6
    np.testing.assert_array_equal(joined.tied, [0, 1])
    np.testing.assert_array_equal(joined.empty, [False, True])


def test_curves_are_saved_whole(evaluation, tmp_path):
    path = tmp_path / "curves.npz"
    evaluation.save_curves(path)
    with np.load(path) as found:
        assert len(found) == 4 * 4 * 2
        for row, curves in evaluation.curves.items():
            for name, curve in curves.items():
                np.testing.assert_array_equal(found[f"{row}/{name}/scores"], curve.scores)
                np.testing.assert_array_equal(found[f"{row}/{name}/fractions"], curve.fractions)
    assert [one.name for one in tmp_path.iterdir()] == ["curves.npz"]


def test_a_band_is_the_interval_of_each_point():
    scores = np.random.default_rng(1).normal(size=(9, 3))
    scores[:, 1] = 0.1
    low, high = band(scores, seed=4)
    for point in range(3):
        mean, *ends = interval_of(scores[:, point], seed=4)
        np.testing.assert_allclose([low[point], high[point]], ends, rtol=1e-12)
        assert low[point] <= mean + 1e-12
    assert np.isnan(band(scores[:1])).all()


def test_a_figure_has_a_panel_for_each_curve_and_a_line_for_each_row(evaluation, require):
    require("matplotlib")
    panels = evaluation.figure().axes
    assert [panel.get_title() for panel in panels] == [kind.title for kind in CURVES.values()]
    for panel, name in zip(panels, CURVES, strict=True):
        assert len(panel.lines) == 4
        for line, row in zip(panel.lines, evaluation.rows, strict=True):
            curve = evaluation.curves[row][name]
            np.testing.assert_allclose(line.get_ydata(), curve.scores.mean(axis=0))
        # A band for each method, and none for controls, which are grey.
        bands = [one.get_paths()[0].vertices for one in panel.collections]
        assert len(bands) == 2
        low, high = band(evaluation.curves["gradcam"][name].scores)
        assert bands[0][:, 1].min() == pytest.approx(low.min())
        assert bands[0][:, 1].max() == pytest.approx(high.max())
        assert {line.get_color() for line in panel.lines[2:]} == {"#8b97a8"}
        assert panel.lines[0].get_color() != panel.lines[1].get_color()
        assert panel.get_ylabel() == "probability"
    texts = [text.get_text() for text in panels[0].get_legend().get_texts()]
    assert texts[1] == f"layercam  {evaluation.interval('layercam', 'deletion')}"
    assert texts[2].startswith("(random)  ")
    least = evaluation.curves["gradcam"]["road_least"].scores.mean(axis=1)
    assert panels[3].get_legend().get_texts()[0].get_text() == f"gradcam  {interval_of(least)}"


def test_a_curve_is_drawn_by_itself(evaluation, require):
    require("matplotlib")
    curve = evaluation.curves["gradcam"]["deletion"]
    [panel] = curve.figure().axes
    np.testing.assert_allclose(panel.lines[0].get_ydata(), curve.scores.mean(axis=0))
    assert panel.get_title() == "6 samples"
    label = panel.get_legend().get_texts()[0].get_text()
    assert label == f"area {interval_of(curve.auc)}"
    single = Curve(curve.fractions, curve.scores[:1]).figure().axes[0]
    assert single.get_title() == "1 sample"
    assert not single.collections


def test_without_a_curve_there_is_nothing_to_draw(tmp_path):
    found = camcore.evaluate(NETWORK, IMAGES, **{**ABOUT, "metrics": ["complexity", "entropy"]})
    for act in (found.figure, lambda: found.save_curves(tmp_path / "curves.npz")):
        with pytest.raises(InputError, match=r"complexity, entropy were computed without .*road"):
            act()
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("method", ["layercam", "eigencam", "rise", "scorecam"])
def test_an_explanations_own_maps_have_the_numbers_of_its_method(method):
    asked = {"metrics": ["deletion", "road", "adcc", "max_sensitivity"], "steps": 4}
    layer = None if method == "rise" else "relu2"
    result = camcore.explain(NETWORK, IMAGES, None, layer, method)
    found = result.evaluate(NETWORK, IMAGES, **asked)
    expected = camcore.evaluate(NETWORK, IMAGES, methods=method, layer=layer, **asked)
    assert found.rows == expected.rows
    assert found.settings == expected.settings
    for row in expected.rows:
        for metric in expected.metrics:
            np.testing.assert_array_equal(found.values[row][metric], expected.values[row][metric])


def test_explanations_by_method_are_evaluated_together():
    asked = {"metrics": "deletion", "steps": 4, "controls": False}
    both = camcore.explain(NETWORK, IMAGES, [0, 1, 2, 3, 4, 0], "relu2", ["gradcam", "layercam"])
    found = camcore.evaluate(NETWORK, IMAGES, methods=both, **asked)
    expected = camcore.evaluate(
        NETWORK, IMAGES, [0, 1, 2, 3, 4, 0], methods=[*both], layer="relu2", **asked
    )
    for row in ("gradcam", "layercam"):
        np.testing.assert_array_equal(
            found.values[row]["deletion"], expected.values[row]["deletion"]
        )


def test_several_layers_and_another_convention_are_as_they_were_explained():
    asked = {"metrics": ["deletion", "coherency"], "steps": 4, "controls": False}
    about = {"layer": ["relu1", "relu2"], "recipe": "notebook", "fusion": "max"}
    result = camcore.explain(NETWORK, IMAGES, 1, method="layercam", **about)
    found = result.evaluate(NETWORK, IMAGES, **asked)
    expected = camcore.evaluate(NETWORK, IMAGES, 1, methods="layercam", **about, **asked)
    for metric in expected.metrics:
        np.testing.assert_array_equal(
            found.values["layercam"][metric], expected.values["layercam"][metric]
        )


def test_photographs_that_were_explained_need_not_be_given_again(tmp_path):
    photos = [np.random.default_rng(i).integers(0, 256, (16, 24, 3), np.uint8) for i in (0, 1)]

    def shown(photo):
        return np.moveaxis(np.asarray(photo)[:8, :8, :2] / 255, -1, 0)[None]

    asked = {"metrics": ["deletion"], "steps": 4, "controls": False, "preprocess": shown}
    result = camcore.explain(NETWORK, photos, layer="relu2", preprocess=shown)
    found = result.evaluate(NETWORK, **asked)
    expected = camcore.evaluate(NETWORK, photos, methods="gradcam", layer="relu2", **asked)
    given = found.values["gradcam"]["deletion"]
    np.testing.assert_array_equal(given, expected.values["gradcam"]["deletion"])
    result.save(tmp_path / "result.npz")
    loaded = camcore.load(tmp_path / "result.npz").evaluate(NETWORK, **asked)
    np.testing.assert_array_equal(loaded.values["gradcam"]["deletion"], given)
    with pytest.raises(InputError, match="another model: its outputs differ"):
        result.evaluate(NETWORK, **{**asked, "preprocess": lambda photo: 1 - shown(photo)})


def test_inputs_that_were_not_explained_are_refused(layercam):
    with pytest.raises(InputError, match="Arrays were explained, not photographs"):
        layercam.evaluate(NETWORK)
    with pytest.raises(InputError, match="'layercam' explains 6 other inputs than the 6 given"):
        layercam.evaluate(NETWORK, IMAGES[::-1].copy())
    with pytest.raises(TargetError, match="names 6 classes for a batch of 3"):
        layercam.evaluate(NETWORK, IMAGES[:3])
    with pytest.raises(InputError, match="methods= holds a list"):
        camcore.evaluate(NETWORK, IMAGES, methods={"a": [layercam]})


class Batches:
    """Counts how many inputs each call of an explainer takes."""

    def __init__(self, monkeypatch):
        self.sizes = []
        call = camcore.Explainer.__call__

        def counted(explainer, inputs, target=None):
            self.sizes.append(len(inputs))
            return call(explainer, inputs, target)

        monkeypatch.setattr(camcore.Explainer, "__call__", counted)


def test_images_under_their_maps_are_explained_in_batches(monkeypatch):
    asked = {"methods": "layercam", "metrics": "coherency", "layer": "relu2", "controls": False}
    alone = camcore.evaluate(NETWORK, IMAGES, **asked, batch_size=1)
    batches = Batches(monkeypatch)
    found = camcore.evaluate(NETWORK, IMAGES, **asked, batch_size=4)
    assert batches.sizes == [6, 4, 2]
    np.testing.assert_allclose(
        found.values["layercam"]["coherency"], alone.values["layercam"]["coherency"], rtol=1e-6
    )


def test_many_ties_are_told_row_by_row():
    def curve(*tied):
        scores = np.zeros((2, 2))
        return Curve(np.array([0.0, 1.0]), scores, tied=np.array(tied), empty=np.zeros(2, bool))

    values = {row: {"deletion": np.zeros(2)} for row in ("gradcam", "layercam", "centre")}
    curves = {
        "gradcam": {"deletion": curve(0.1, 0.4), "insertion": curve(0.0, 0.2)},
        "layercam": {"deletion": curve(0.1, 0.1)},
        "centre": {},
    }
    found = Evaluation(values, ("centre",), curves=curves)
    assert found.tied == {"gradcam": 0.25, "layercam": 0.1}
    told = [note for note in found.notes() if "tie" in note]
    assert told == ["Share of positions that tie, removed in the order they lie in: gradcam 25%."]
    named = dict.fromkeys(found.rows, "") | {"gradcam": "Grad-CAM"}
    assert next(found.missing(named)).endswith(": Grad-CAM 25%.")


def test_samples_are_called_by_their_names(evaluation, tmp_path):
    names = [f"{i}.jpg" for i in range(6)]
    evaluation.to_csv(tmp_path / "values.csv", names)
    frame = evaluation.to_pandas(names)
    assert frame["sample"].unique().tolist() == names
    of_one = frame[(frame["sample"] == "4.jpg") & (frame["row"] == "layercam")]
    expected = [evaluation.values["layercam"][m][4] for m in ABOUT["metrics"]]
    assert of_one["value"].tolist() == expected
    lines = (tmp_path / "values.csv").read_text().splitlines()
    assert lines[1].startswith("0.jpg,gradcam,False,deletion,")
