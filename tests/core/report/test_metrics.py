"""The tab of metrics: its table, its curves, and the pictures that the network was fed."""

from __future__ import annotations

import base64
import html
import io
import re

import numpy as np
import pytest

import camcore
from camcore.errors import InputError
from camcore.evaluated import CURVES, Evaluation
from camcore.report import metrics
from camcore.report.metrics import HEIGHT, WIDTH
from camcore.testing import random_network

ABOUT = {
    "methods": ["gradcam", "layercam"],
    "metrics": ["deletion", "insertion", "road", "average_drop"],
    "layer": "relu2",
    "activation": "softmax",
    "controls": ["random", "reversed"],
    "steps": 20,
}
pytestmark = pytest.mark.filterwarnings("ignore::camcore.errors.PoorMapWarning")


@pytest.fixture(scope="module")
def text(evaluated_page):
    return evaluated_page.read_text("utf-8")


def articles(text):
    found = re.findall(r'<article class="fed".*?</article>', text, re.S)
    assert found
    return found


def lines(part):
    """Points of each curve by the name of the chart and of the row."""
    found = {}
    for name, chart in re.findall(
        r'<figure class="chart" data-curve="(\w+)">(.*?)</figure>', part, re.S
    ):
        for points, row in re.findall(
            r'<polyline class="[^"]+" points="([^"]+)" data-row="(\w+)"', chart
        ):
            found[name, row] = np.array([p.split(",") for p in points.split()], float)
    return found


def values_of(points):
    """Undo a chart's axes: 0 to 1 across, and of probabilities up."""
    across = (points[:, 0] - 34) / (WIDTH - 34 - 8)
    return across, (HEIGHT - 32 - points[:, 1]) / (HEIGHT - 32 - 8)


def test_colours_are_the_photographs_own(text):
    assert "Shown of 3 of 4 photographs" in text
    assert "stretched" not in text[text.index('id="fed"') :]


def test_curves_of_the_page_are_those_of_the_evaluation(text, evaluation):
    whole = text[text.index('id="curves"') : text.index('id="fed"')]
    for (name, row), points in lines(whole).items():
        curve = evaluation.curves[row][name]
        fractions, scores = values_of(points)
        np.testing.assert_allclose(fractions, curve.fractions, atol=3e-4)
        np.testing.assert_allclose(scores, curve.scores.mean(axis=0), atol=5e-5)
    assert set(lines(whole)) == {(name, row) for name in CURVES for row in evaluation.rows}
    for sample, article in enumerate(articles(text)):
        for (name, row), points in lines(article).items():
            scores = evaluation.curves[row][name].scores[sample]
            np.testing.assert_allclose(values_of(points)[1], scores, atol=5e-5)


def strips(part):
    found = {}
    pattern = (
        r'<figure class="strip" data-row="(\w+)" data-label="[^"]+" data-curve="(\w+)" '
        r'data-done="(\w+)" data-fractions="([^"]+)" data-scores="([^"]+)">.*?'
        r'src="data:image/jpeg;base64,([^"]+)"'
    )
    from PIL import Image

    for row, name, done, fractions, scores, data in re.findall(pattern, part, re.S):
        numbers = (np.array(one.split(), float) for one in (fractions, scores))
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))), float)
        found[row, name] = (done, *numbers, picture)
    return found


def test_strips_show_what_was_scored(text, evaluation, photos, crops):
    for sample, article in enumerate(articles(text)):
        found = strips(article)
        assert set(found) == {(row, name) for row in ABOUT["methods"] for name in CURVES}
        seen = crops[sample].view(photos[sample], (96, 96)).astype(float)
        for (row, name), (done, fractions, scores, picture) in found.items():
            curve = evaluation.curves[row][name]
            places = [int(np.argmin(np.abs(curve.fractions - one))) for one in fractions]
            np.testing.assert_array_equal(fractions, curve.fractions[places])
            np.testing.assert_array_equal(scores, curve.scores[sample, places])
            assert done == CURVES[name].done
            assert len(fractions) == (9 if name.startswith("road") else 11)
            frames = np.split(picture, len(fractions), axis=1)
            assert frames[0].shape == (96, 96, 3)
            # The photograph itself, from the first or to the last picture, by its coarse pixels.
            own = {"deletion": 0, "insertion": -1}.get(name)
            if own is not None:
                cells = frames[own].reshape(8, 12, 8, 12, 3).mean((1, 3))
                np.testing.assert_allclose(
                    cells, seen.reshape(8, 12, 8, 12, 3).mean((1, 3)), atol=9
                )
            if name == "deletion":  # zeros of an input in [-1, 1] are mid grey; blue is 1 - red
                np.testing.assert_allclose(frames[-1].mean((0, 1)), 127.5, atol=4)


def test_the_table_is_the_evaluations(text, evaluation):
    table = re.search(r'<table id="values">(.*?)</table>', text, re.S)[1]
    rows = re.findall(r"<tr.*?>(.*?)</tr>", table, re.S)[1:]
    labels = ["Grad-CAM", "LayerCAM", "Random 7 x 7", "Reversed"]
    for row, label, part in zip(evaluation.rows, labels, rows, strict=True):
        assert label in part
        for metric in evaluation.metrics:
            assert str(evaluation.interval(row, metric)) in part
        assert ("control:" in part) == (row in evaluation.controls)
        assert f">{evaluation.forwards[row]}<" in part


def made(photos, **rows):
    """An evaluation of numbers, as many as photographs."""
    return Evaluation(
        {row: {"insertion": np.asarray(values, float)} for row, values in rows.items()},
        controls=tuple(row for row in rows if row in ("random", "centre", "ones")),
        empty={"layercam": 2},
    )


def test_stars_and_controls_that_do_better_are_said_in_words(explanations, photos):
    one = explanations["first"]["gradcam"]
    better = made(photos, gradcam=[5, 6, 7, 8], layercam=[1, 2, 3, 5], random=[0, 1, 2, 3])
    text = camcore.report.html(photos, one, evaluation=better)
    [star] = re.findall(r"<strong>([^<]+)<span aria-hidden=\"true\">★", text)
    assert star.strip() == str(better.interval("gradcam", "insertion"))
    assert "★ better than every other row" in text
    assert "2 of 4 maps of LayerCAM are constant" in text
    assert "What the network was fed" not in text
    worse = made(photos, gradcam=[1, 2, 3, 4], random=[2, 3, 4, 6], centre=[2, 3, 5, 5])
    text = html.unescape(camcore.report.html(photos, one, evaluation=worse))
    assert (
        "By insertion, Grad-CAM is no better than a map that knows nothing of the model: Random "
        "7 x 7 and Centre Gaussian do better." in text
    )
    assert "No row has a ★" in text


def test_without_an_evaluation_there_is_no_tab(explanations, photos):
    text = camcore.report.html(photos, explanations)
    for word in ('role="tablist"', 'id="part-metrics"', "data-score"):
        assert word not in text


def test_what_does_not_belong_together_is_refused(explanations, photos, evaluation):
    with pytest.raises(InputError, match="evaluation of 4 samples and explanations of 3"):
        camcore.report.html(photos[:3], explanations["first"]["gradcam"][:3], evaluation=evaluation)
    nothing = made(photos, gradcam=[1, 2, 3, 4])
    with pytest.raises(InputError, match=r"keeps no maps to be shown.*keep=8"):
        camcore.report.html(nothing)


def test_a_page_of_an_evaluation_is_of_the_samples_that_it_keeps(photos, inputs):
    found = camcore.evaluate(
        random_network(seed=4), inputs, keep=2, **{**ABOUT, "metrics": "deletion"}
    )
    text = camcore.report.html(photos[:2], found)
    assert len(articles(text)) == 2
    assert "Shown of 2 of 4 photographs" in text
    assert "Means of 4 photographs" in text
    assert text.count('class="cell photo-') == 4


def test_pages_are_of_bounded_size(monkeypatch, photos, inputs):
    many = np.concatenate([inputs] * 4)
    network = random_network(seed=4)
    about = {**ABOUT, "metrics": "deletion", "methods": "layercam", "controls": False}
    found = camcore.evaluate(network, many, keep=16, **about)
    text = camcore.report.html(photos * 4, found)
    assert len(articles(text)) == 12
    assert "Shown of 12 of 16 photographs" in text
    # Of two methods a strip of 11 pictures of 96 by 96 each.
    monkeypatch.setattr(metrics, "_PIXELS", 3 * 11 * 96 * 96)
    assert len(articles(camcore.report.html(photos * 4, found))) == 3
    large = np.random.default_rng(0).normal(size=(1, 2, 300, 150)).astype(np.float32)
    found = camcore.evaluate(network, large, keep=1, **{**about, "steps": 4})
    text = camcore.report.html([np.zeros((300, 150, 3), np.uint8)], found)
    [(_, fractions, _, picture)] = strips(text).values()
    assert picture.shape == (224, 5 * 112, 3)
    assert fractions.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert "each channel is stretched over its range" in text


def test_scores_that_are_no_probabilities_have_their_own_range(photos, inputs):
    about = {**ABOUT, "metrics": "deletion", "metric_recipe": "torchcam"}
    found = camcore.evaluate(random_network(seed=4), inputs, keep=4, **about)
    assert found.settings["score"] == "class"
    text = camcore.report.html(photos, found)
    whole = lines(text[text.index('id="curves"') : text.index('id="fed"')])
    scores = np.concatenate([one["deletion"].scores for one in found.curves.values()])
    low, high = scores.min(), scores.max()
    for (name, row), points in whole.items():
        mean = found.curves[row][name].scores.mean(axis=0)
        drawn = low + values_of(points)[1] * (high - low)
        np.testing.assert_allclose(drawn, mean, atol=1e-4 * (high - low))


@pytest.mark.parametrize("rank", [1, 3])
def test_signals_and_volumes_have_the_table_and_the_curves(rank):
    inputs = np.random.default_rng(0).normal(size=(2, 2, *[8] * rank))
    shown = np.random.default_rng(1).random((2, *[8] * rank))
    about = {**ABOUT, "metrics": ["deletion"], "keep": 2}
    found = camcore.evaluate(random_network(rank), inputs, **about)
    text = camcore.report.html(shown, found)
    noun = {1: "signal", 3: "volume"}[rank]
    assert f"Means of 2 {noun}s" in text
    assert set(lines(text)) == {("deletion", row) for row in found.rows}
    assert "What the network was fed" not in text
