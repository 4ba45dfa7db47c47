"""Level lines, boxes and outlines lie where they are meant; files for print are whole."""

from __future__ import annotations

import base64
import re

import numpy as np
import pytest

import camcore
from camcore.errors import InputError, MissingExtraError
from camcore.testing import random_network
from camcore.viz import Marks, figure, save_figure


@pytest.fixture(autouse=True)
def _matplotlib(require):
    require("matplotlib")


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_a_box_covers_its_pixels_and_no_others(photo):
    drawing = figure(photo, np.eye(4), marks=Marks(boxes=[[(3, 5, 10, 12)]]))
    for panel in drawing.axes[:3]:
        (box,) = (patch for patch in panel.patches if patch.get_label() == "box")
        (left, top), (right, bottom) = box.get_bbox().get_points()
        # Pixel i of a panel reaches from i - 1/2 to i + 1/2.
        assert (left, top, right, bottom) == (2.5, 4.5, 9.5, 11.5)


def test_a_level_line_runs_where_the_map_has_that_value(photo):
    ramp = np.tile(np.linspace(0, 1, 30, dtype=np.float32), (20, 1))
    drawing = figure(photo, ramp, marks=Marks(contours=(0.25, 0.75, 2.0)))
    plain, heat, over = drawing.axes[:3]
    assert not plain.collections
    for panel in (heat, over):
        (lines,) = panel.collections
        columns = [path.vertices[:, 0] for path in lines.get_paths()]
        assert np.allclose(columns[0], 0.25 * 29, atol=1e-4)
        assert np.allclose(columns[1], 0.75 * 29, atol=1e-4)
        assert len(columns) == 2


def test_an_outline_follows_its_mask_also_at_the_edge(photo):
    mask = np.zeros((20, 30), bool)
    mask[10:, 20:] = True
    drawing = figure(photo, np.eye(4), marks=Marks(masks=[mask]))
    for panel in drawing.axes[:3]:
        (lines,) = panel.collections
        (path,) = lines.get_paths()
        assert path.vertices.min(axis=0).tolist() == [19.5, 9.5]
        assert path.vertices.max(axis=0).tolist() == [29.5, 19.5]
        assert panel.get_xlim() == (-0.5, 29.5)
        assert panel.get_ylim() == (19.5, -0.5)


def test_marks_that_do_not_fit_are_named(photo):
    with pytest.raises(InputError, match="2 boxes"):
        figure(photo, np.eye(4), marks=Marks(boxes=[[], []]))
    with pytest.raises(InputError, match="left, top, right, bottom"):
        figure(photo, np.eye(4), marks=Marks(boxes=[[(5, 5, 3, 9)]]))
    with pytest.raises(InputError, match=r"a mask of shape \(3, 3\)"):
        figure(photo, np.eye(4), marks=Marks(masks=[np.ones((3, 3))]))
    figure(photo, np.zeros((4, 4)), marks=Marks((0.5,), [[]], [np.zeros((20, 30))]))


@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
def test_the_same_figure_is_the_same_file(kind, photo, tmp_path):
    paths = [
        save_figure(figure(photo, np.eye(4), titles=["tiger cat"]), tmp_path / f"{i}.{kind}")
        for i in range(2)
    ]
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert first.startswith({"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[kind])
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"0.{kind}", f"1.{kind}"]


def test_pixels_per_inch_are_those_asked_for(photo, tmp_path, require):
    drawing = figure(photo, np.eye(4))
    path = save_figure(drawing, tmp_path / "a.png", dpi=200)
    with require("PIL.Image").open(path) as image:
        assert np.abs(np.subtract(image.size, 200 * drawing.get_size_inches())).max() <= 1


def test_letters_stay_letters_and_photographs_keep_their_pixels(photo, tmp_path, require):
    drawing = figure(photo, np.eye(4), titles=["tiger cat"])
    svg = save_figure(drawing, tmp_path / "a.svg").read_text("utf-8")
    assert re.search(r"<text[^>]*>[^<]*tiger cat", svg)
    pdf = save_figure(drawing, tmp_path / "a.pdf").read_bytes()
    assert b"/Type3" not in pdf
    assert b"/CreationDate" not in pdf
    widths = [int(width) for width in re.findall(rb"/Subtype /Image.*?/Width (\d+)", pdf, re.S)]
    assert widths.count(30) == 3, widths
    # Writing them leaves the figure as it was: on a screen they are smoothed.
    assert {axes.images[0].get_interpolation() for axes in drawing.axes[:3]} == {"auto"}


def test_other_endings_are_refused(photo, tmp_path):
    with pytest.raises(InputError, match=r"\.pdf, \.svg or \.png"):
        save_figure(figure(photo, np.eye(4)), tmp_path / "a.jpg")
    with pytest.raises(InputError, match="dpi is 0"):
        save_figure(figure(photo, np.eye(4)), tmp_path / "a.png", dpi=0)


@pytest.fixture
def result():
    inputs = np.random.default_rng(1).normal(size=(2, 2, 8, 8))
    return camcore.explain(random_network(), inputs, layer=["relu1", "relu2"])


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


def test_figures_and_comparisons_show_themselves(result, photo):
    drawing = figure(photo, np.eye(4))
    assert drawing._repr_png_() == camcore.viz.png_bytes(drawing, dpi=90)
    comparison = camcore.compare(result, result)
    assert comparison._repr_html_() == f"<pre>{comparison}</pre>"


def test_maps_that_a_recipe_leaves_signed_show_themselves_too():
    inputs = np.random.default_rng(1).normal(size=(2, 2, 8, 8))
    result = camcore.explain(random_network(), inputs, layer="relu2", recipe="captum")
    assert result.maps.min() < 0 or result.maps.max() > 1
    assert result._repr_png_().startswith(b"\x89PNG")
