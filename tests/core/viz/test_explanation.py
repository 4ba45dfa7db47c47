"""An explanation is drawn as its kind asks, and shows itself in a notebook."""

from __future__ import annotations

import base64
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest

import camcore
from camcore.errors import InputError, MissingExtraError
from camcore.testing import random_network
from camcore.viz import caption_text, figure
from camcore.viz.explanation import highest


@pytest.fixture
def result():
    inputs = np.random.default_rng(1).normal(size=(2, 2, 8, 8))
    return camcore.explain(random_network(), inputs, layer=["relu1", "relu2"], activation="softmax")


def test_an_explanation_draws_each_kind(result, require):
    photos = np.random.default_rng(0).random((2, 8, 8, 3))
    names = ["zero", "one", "two"]
    drawing = result.figure(photos, names=names)
    called = [names[c] if c < 3 else f"class {c}" for c in result.classes]
    shares = [result.probabilities[i, c] for i, c in enumerate(result.classes)]
    expected = [f"{name} ({share:.1%})" for name, share in zip(called, shares, strict=True)]
    assert [a.get_ylabel().replace("\n", " ") for a in drawing.axes[:8:4]] == expected
    assert drawing.axes[3].get_title() == "probability"
    first = drawing.axes[3].texts[0].get_text()
    c, p = result.top(1)[0][0]
    assert first == f"{names[c] if c < 3 else f'class {c}'}  {p:.1%}"
    assert result.figure(photos, kind="layers").axes[2].get_title() == "relu2"
    one = result.by_layer()["relu2"]
    signed = one.figure(photos, kind="signed").axes[1].images[0].get_array()
    limit = np.abs(one.raw["relu2"]).max()
    shown = camcore.viz.signed_map(one.raw["relu2"], (8, 8), limit=limit)
    assert np.array_equal(signed, shown[0])
    with pytest.raises(InputError, match="map, signed, layers"):
        result.figure(photos, kind="heat")
    with pytest.raises(InputError, match="by_layer"):
        result.figure(kind="layers")


def test_names_title_signed_maps_of_several_layers(result):
    photos = np.random.default_rng(0).random((2, 8, 8, 3))
    names = [f"n{i}" for i in range(5)]
    drawing = result.figure(photos, "signed", names=names)
    assert [a.get_title() for a in drawing.axes[:3]] == ["image", "relu1", "relu2"]
    assert [a.get_ylabel().split(" (")[0] for a in drawing.axes[:6:3]] == [
        names[c] for c in result.classes
    ]


def test_a_heading_says_method_layers_recipe_and_model(result):
    photos = np.random.default_rng(0).random((2, 8, 8, 3))
    said = "Grad-CAM at relu1, relu2, recipe paper"
    assert result.figure(photos).get_suptitle() == said
    named = result.figure(photos, "layers", model="a small network")
    assert named.get_suptitle() == f"{said}, a small network"
    assert result.figure().get_supxlabel() == ""


def test_a_caption_takes_the_place_of_the_heading(result):
    photos = np.random.default_rng(0).random((2, 8, 8, 3))
    words = {"names": list("abcde"), "model": "a small network"}
    drawing = result.figure(photos, caption=True, **words)
    text = caption_text(result, **words)
    assert drawing.get_supxlabel().replace("\n", " ") == text
    assert drawing.get_suptitle() == ""
    a, b = (
        f"{'abcde'[c]} ({result.probabilities[i, c]:.1%})" for i, c in enumerate(result.classes)
    )
    assert text.startswith(
        f"Grad-CAM of {a} and {b} at the layers relu1, relu2 of a small network, by the recipe "
        "paper of camcore "
    )
    assert text.endswith(" relative to the strongest of each map.")
    one = result[[0]].by_layer()["relu2"]
    assert " at the layer relu2, by" in caption_text(one)
    assert caption_text(one, "signed").endswith(
        "Red speaks for what is explained, blue against it."
    )
    assert " of 4 samples at" in caption_text(result[[0, 1, 0, 1]])


def test_the_explained_class_stands_out_among_the_highest(result):
    names = list("abcde")
    lowest = result.class_scores.argmin(axis=1)
    drawing = replace(result, classes=lowest).figure(np.zeros((2, 8, 8, 3)), names=names)
    for panel, which in zip(drawing.axes[3:8:4], lowest, strict=True):
        bold = [text.get_text() for text in panel.texts if text.get_fontweight() == "bold"]
        assert [text.split()[0] for text in bold] == [names[which]]
        colours = [bar.get_facecolor() for bar in panel.patches]
        assert [colours.count(colour) for colour in colours] == [4, 4, 4, 4, 1]


def test_an_explained_class_below_the_five_highest_has_a_bar_of_its_own():
    shares = np.array([[0.3, 0.25, 0.2, 0.1, 0.08, 0.04, 0.03]])
    inputs = np.random.default_rng(1).normal(size=(1, 2, 8, 8))
    one = camcore.explain(random_network(), inputs, layer="relu2", activation="softmax")
    far = replace(one, outputs=np.log(shares), classes=np.array([6]))
    found = highest(far, None)
    assert [name for name, _ in found["bars"][0]] == [f"class {c}" for c in (0, 1, 2, 3, 4, 6)]
    assert found["bars"][0][-1][1] == pytest.approx(0.03)
    assert found["explained"] == [5]
    assert found["shares"]


def test_scores_that_are_no_probabilities_are_titled_as_scores():
    inputs = np.random.default_rng(1).normal(size=(1, 2, 8, 8))
    one = camcore.explain(random_network(), inputs, layer="relu2")
    assert one.probabilities is None
    drawing = one.figure(np.zeros((1, 8, 8, 3)), names=list("abcde"))
    name = "abcde"[one.classes[0]]
    assert drawing.axes[0].get_ylabel().replace("\n", " ") == f"{name} (score {one.scores[0]:.4g})"
    assert drawing.axes[3].get_title() == "score"


def test_an_explanation_shows_itself(result, require, monkeypatch):
    html = result._repr_html_()
    assert "gradcam at relu1, relu2, recipe paper" in html
    for score, c in zip(result.scores, result.classes, strict=True):
        assert f"<td>class {c}</td><td>{score:.4g}</td>" in html
    data = re.search(r"base64,([^\"]+)", html)[1]
    assert base64.b64decode(data) == result._repr_png_()

    def missing(*_, **__):
        raise MissingExtraError("matplotlib")

    monkeypatch.setattr("camcore.viz.explanation.panels", missing)
    assert result._repr_png_() is None
    assert "img" not in result._repr_html_()
    assert "<table>" in result._repr_html_()


def test_figures_and_comparisons_show_themselves(result):
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    drawing = figure(photo, np.eye(4))
    assert drawing._repr_png_() == camcore.viz.png_bytes(drawing, dpi=90)
    copied = pickle.loads(pickle.dumps(drawing))
    assert copied._repr_png_() == drawing._repr_png_()
    comparison = camcore.compare(result, result)
    assert comparison._repr_html_() == f"<pre>{comparison}</pre>"


def test_maps_that_a_recipe_leaves_signed_show_themselves_too():
    inputs = np.random.default_rng(1).normal(size=(2, 2, 8, 8))
    result = camcore.explain(random_network(), inputs, layer="relu2", recipe="captum")
    assert result.maps.min() < 0 or result.maps.max() > 1
    assert result._repr_png_().startswith(b"\x89PNG")
