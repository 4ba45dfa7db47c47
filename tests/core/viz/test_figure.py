"""Figures hold the very pixels they should, at the right place and scale."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest

from camcore.errors import InputError
from camcore.recipes import OverlayStyle
from camcore.viz import (
    compare_figure,
    figure,
    heat_map,
    overlay,
    panels,
    png_bytes,
    signed_map,
    signed_overlay,
)
from camcore.viz.overlay import framed


@pytest.fixture
def photos():
    random = np.random.default_rng(0)
    return [random.integers(0, 256, shape, dtype=np.uint8) for shape in ((30, 45, 3), (40, 30, 3))]


@pytest.fixture
def maps():
    return list(np.random.default_rng(1).random((2, 7, 7)).astype(np.float32))


def rows(drawing, columns):
    """Pictures of the panels, row by row; the scales' colours are no pictures."""
    panels = [axes for axes in drawing.axes if axes.images]
    shown = [np.asarray(axes.images[0].get_array()) for axes in panels]
    return [shown[i : i + columns] for i in range(0, len(shown), columns)]


def test_a_row_is_image_map_and_overlay(photos, maps):
    style = OverlayStyle("jet", 0.3)
    drawn = rows(figure(photos, maps, style=style), 3)
    for row, photo, heat in zip(drawn, photos, maps, strict=True):
        assert np.array_equal(row[0], photo)
        assert np.array_equal(row[1], heat_map(heat, photo.shape[:2], colormap="jet")[0])
        assert np.array_equal(row[2], overlay(photo, heat, style=style)[0])


def test_batches_in_one_array_and_a_lone_image(maps):
    batch = np.random.default_rng(2).random((2, 20, 20, 3))
    assert len(rows(figure(batch, np.stack(maps)), 3)) == 2
    assert len(rows(figure(batch[0], maps[0]), 3)) == 1


def test_a_large_picture_is_scaled_down_in_its_own_coordinates(maps, monkeypatch):
    monkeypatch.setattr(panels, "_PIXELS", 300)
    photo = np.random.default_rng(3).integers(0, 256, (31, 40, 3), dtype=np.uint8)
    drawn = figure(photo, maps[0])
    row = rows(drawn, 3)[0]
    # 31 x 40 is more than 4 x 300, so squares of 3 become one pixel.
    assert [picture.shape for picture in row] == [(11, 14, 3)] * 3
    whole = overlay(photo, maps[0])[0]
    square = whole[3:6, 6:9].astype(float).mean((0, 1))
    assert np.abs(row[2][1, 2] - square).max() <= 0.5
    panel = drawn.axes[0]
    assert panel.images[0].get_extent() == [-0.5, 41.5, 32.5, -0.5]
    assert panel.get_xlim() == (-0.5, 39.5)
    assert panel.get_ylim() == (30.5, -0.5)


def test_without_images_the_maps_are_shown_as_they_are(maps):
    drawn = rows(figure(None, maps), 1)
    assert [row[0].shape for row in drawn] == [(7, 7, 3)] * 2


def test_bars_are_as_long_as_their_values(photos, maps):
    top = [[("cat", 0.75), ("a name too long to stand beside anything at all", 0.25)]] * 2
    drawing = figure(photos, maps, titles=["one", "two"], bars=top)
    panel = drawing.axes[3]
    assert [bar.get_width() for bar in panel.patches] == [0.75, 0.25]
    assert panel.get_xlim() == (0, 1)
    assert panel.texts[0].get_text() == "cat  75.0%"
    assert [axes.get_ylabel() for axes in drawing.axes[:5:4]] == ["one", "two"]


@pytest.mark.parametrize("shape", [(224, 224, 3), (200, 300, 3), (280, 224, 3)])
@pytest.mark.parametrize("count", [1, 4])
def test_figure_leaves_no_more_than_margins_blank(shape, count):
    photos, maps = np.zeros((count, *shape), np.uint8), np.zeros((count, 7, 7))
    drawing = figure(photos, maps, titles=["tiger cat (39.5%)"] * count)
    drawing.draw_without_rendering()
    for panel in drawing.axes[: 3 * count]:
        room, shown = (panel.get_position(original).bounds for original in (True, False))
        wide, high = (room[i] - shown[i] for i in (2, 3))
        assert wide * drawing.get_figwidth() < 0.06
        assert high * drawing.get_figheight() < 0.3


def test_letters_stand_before_the_columns_titles(photos, maps):
    drawing = figure(photos, maps, letters=True, bars=[[("cat", 0.4)]] * 2)
    titles = [axes.get_title() for axes in drawing.axes[:8]]
    assert titles == ["(a) image", "(b) map", "(c) overlay", "(d) probability", *[""] * 4]
    compared = compare_figure(photos, maps, maps, letters=True)
    assert compared.axes[1].get_title() == "(b) PyTorch"
    one_column = figure(None, maps, letters=True)
    assert [axes.get_title() for axes in one_column.axes[:2]] == ["(a) map", "(b)"]


def test_the_explained_bar_stands_out_and_its_index_is_of_each_image(photos, maps):
    top = [[("cat", 0.75), ("dog", 0.25)]] * 2
    drawing = figure(photos, maps, bars=top, explained=[1, None])
    first, second = drawing.axes[3], drawing.axes[7]
    assert [text.get_fontweight() for text in first.texts] == ["normal", "bold"]
    one, other = (bar.get_facecolor() for bar in first.patches)
    assert one != other
    assert {bar.get_facecolor() for bar in second.patches} == {one}
    with pytest.raises(InputError, match="1 explained"):
        figure(photos, maps, bars=top, explained=[1])


def test_figure_cuts_off_and_squashes_nothing(photos, maps):
    titles = ["a title that is long enough to need more than one line", "two"]
    drawing = figure(photos, maps, titles=titles, bars=[[("tiger cat", 0.4)]] * 2)
    drawing.draw_without_rendering()
    frame = drawing.bbox
    for axes in drawing.axes:
        box = axes.get_tightbbox()
        assert box.x0 >= frame.x0 - 1
        assert box.y0 >= frame.y0 - 1
        assert box.x1 <= frame.x1 + 1
        assert box.y1 <= frame.y1 + 1
    for axes in (axes for axes in drawing.axes if axes.images):
        height, width = axes.images[0].get_array().shape[:2]
        box = axes.get_window_extent()
        assert box.height / box.width == pytest.approx(height / width, rel=1e-2)


def test_differences_share_one_scale_that_is_drawn(photos, maps):
    others = [maps[0], maps[1].copy()]
    others[1][0, 0] += 2e-6 if others[1][0, 0] < 0.5 else -2e-6
    drawing = compare_figure(photos, maps, others, names=("one", "other"))
    first, second = rows(drawing, 4)
    assert np.array_equal(first[1], first[2])
    assert (first[3] == first[3][0, 0]).all()
    coldest, hottest = heat_map(np.array([[0.0, 1.0]]), colormap="viridis")[0, 0]
    assert np.array_equal(first[3][0, 0], coldest)
    assert np.array_equal(second[3][0, 0], hottest)
    gap = np.abs(maps[1] - others[1]).max()
    labels = [label.get_text() for label in drawing.axes[-1].get_xticklabels()]
    assert float(labels[-1]) == pytest.approx(gap, rel=1e-2)
    assert [axes.get_title() for axes in drawing.axes[1:3]] == ["one", "other"]


def test_maps_that_agree_exactly_have_a_scale_too(photos, maps):
    drawing = compare_figure(photos, maps, maps)
    assert all((row[3] == row[3][0, 0]).all() for row in rows(drawing, 4))


def test_png_bytes_are_a_png_of_the_figures_size(photos, maps, require):
    image = require("PIL.Image")
    drawing = figure(photos, maps)
    width, height = drawing.get_size_inches()
    with image.open(io.BytesIO(png_bytes(drawing, dpi=50))) as png:
        assert png.format == "PNG"
        assert np.abs(np.subtract(png.size, (50 * width, 50 * height))).max() <= 1
    with image.open(io.BytesIO(png_bytes(photos[0]))) as png:
        assert np.array_equal(np.asarray(png), photos[0])


def test_figure_refuses_numbers_that_do_not_match(photos, maps):
    with pytest.raises(InputError, match="2 images, 1 maps"):
        figure(photos, maps[:1])
    with pytest.raises(InputError, match="1 titles"):
        figure(photos, maps, titles=["one"])
    with pytest.raises(InputError, match="at least"):
        figure(None, [])
    with pytest.raises(InputError, match=r"\(7, 7\) and \(6, 6\)"):
        compare_figure(photos[0], maps[0], np.zeros((6, 6)))


def test_no_pyplot_and_no_display():
    code = (
        "import sys, numpy as np, camcore.viz as viz;"
        "viz.png_bytes(viz.figure(np.zeros((4, 4, 3), np.uint8), np.zeros((2, 2))));"
        "assert 'matplotlib.pyplot' not in sys.modules and 'cv2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PATH": "", "MPLBACKEND": "agg"})


def test_importing_pictures_imports_no_library():
    code = (
        "import sys, camcore.viz, camcore.photos.io;"
        "assert not {'matplotlib', 'cv2', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_figure_is_bare_where_the_model_did_not_look(photos, maps):
    seen = [np.zeros(photo.shape[:2], bool) for photo in photos]
    for mask in seen:
        mask[5:20, 3:17] = True
    drawn = rows(figure(photos, maps, seen=seen), 3)
    compared = rows(compare_figure(photos, maps, maps, seen=seen), 4)
    window = slice(5, 20), slice(3, 17)
    for row, others, photo, heat, mask in zip(drawn, compared, photos, maps, seen, strict=True):
        expected = framed(photo, overlay(photo, heat)[0][window], window)
        for over in (row[2], *others[1:3]):
            assert np.array_equal(over, expected)
        for plain in (row[1], others[3]):
            assert (plain[~mask] == 255).all()
            assert not (plain[mask] == 255).all()


def test_where_the_model_saw_nothing_the_photograph_is_shown(photos, maps):
    nothing = np.zeros(photos[0].shape[:2], bool)
    (row,) = rows(figure(photos[:1], maps[:1], seen=[nothing]), 3)
    assert np.array_equal(row[2], photos[0])


@pytest.mark.parametrize("signed", [False, True])
def test_each_scale_shows_the_colours_of_the_panel_above(photos, maps, signed):
    grey = np.full((1, 255, 3), 128, np.uint8)
    steps = np.linspace(-1 if signed else 0, 1, 255)[None]
    if signed:
        maps = [heat - heat.max() for heat in maps]
        limit = max(np.abs(heat).max() for heat in maps)
        alone, over = signed_map(steps)[0, 0], signed_overlay(grey, steps)[0, 0]
        _, scale, scale_over = figure(photos, maps, signed=True).axes[-3:]
    else:
        limit = 1
        alone, over = heat_map(steps)[0, 0], overlay(grey, steps)[0, 0]
        _, scale, scale_over = figure(photos, maps).axes[-3:]
    for bar, expected in ((scale, alone), (scale_over, over)):
        colours = bar.collections[-1].cmap(np.linspace(0, 1, 255))[:, :3]
        # A step of the steepest colours is as large.
        assert np.abs(255 * colours - expected).max() < 5
        ends = [float(label.get_text()) for label in bar.get_xticklabels()]
        assert ends == pytest.approx([-limit if signed else 0, 0 if signed else 0.5, limit], 1e-2)
