"""An explanation is drawn as its kind asks, and shows itself in a notebook."""

from __future__ import annotations

import base64
import pickle
import re

import numpy as np
import pytest

import camcore
from camcore.errors import InputError, MissingExtraError
from camcore.testing import random_network
from camcore.viz import figure


@pytest.fixture
def result():
    inputs = np.random.default_rng(1).normal(size=(2, 2, 8, 8))
    return camcore.explain(random_network(), inputs, layer=["relu1", "relu2"], activation="softmax")


def test_an_explanation_draws_each_kind(result, require):
    photos = np.random.default_rng(0).random((2, 8, 8, 3))
    names = ["zero", "one", "two"]
    drawing = result.figure(photos, names=names)
    expected = [names[c] if c < 3 else f"class {c}" for c in result.classes]
    assert [a.get_ylabel() for a in drawing.axes[:8:4]] == expected
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
    assert [a.get_ylabel() for a in drawing.axes[:6:3]] == [names[c] for c in result.classes]


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
