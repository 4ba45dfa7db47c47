"""Grids: every panel holds what its row and column say, on the scale that is drawn."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import camcore
from camcore.errors import InputError
from camcore.methods import TABLE
from camcore.testing import random_network
from camcore.viz import Marks, figure, grid, heat_map, overlay, signed_overlay


@pytest.fixture(scope="module")
def photos():
    return np.random.default_rng(0).integers(0, 256, (2, 24, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def results():
    inputs = np.random.default_rng(1).normal(size=(2, 2, 8, 8))
    return camcore.explain(
        random_network(), inputs, layer=["relu1", "relu2"], method=["gradcam", "layercam"]
    )


def panels(drawing, columns):
    """Pictures of the panels, row by row; None where a panel is empty."""
    found = [axes for axes in drawing.axes if axes.get_label() != "scale"]
    shown = [np.asarray(a.images[0].get_array()) if a.images else None for a in found]
    return [shown[i : i + columns] for i in range(0, len(shown), columns)]


def scales(drawing):
    """Ends of the drawn scales."""
    found = [axes for axes in drawing.axes if axes.get_label() == "scale"]
    return [[float(t.get_text().replace("−", "-")) for t in a.get_xticklabels()] for a in found]


def test_methods_by_images(photos, results):
    drawing = grid(photos, results, titles=["one", "two"])
    for i, row in enumerate(panels(drawing, 3)):
        assert np.array_equal(row[0], photos[i])
        for picture, result in zip(row[1:], results.values(), strict=True):
            assert np.array_equal(picture, overlay(photos[i], result.maps[i])[0])
    assert [a.get_title() for a in drawing.axes[:3]] == ["image", "Grad-CAM", "LayerCAM"]
    assert [a.get_ylabel() for a in drawing.axes[:6:3]] == ["one", "two"]
    assert scales(drawing) == [[0, 0.5, 1]]


def test_layers_by_images_are_each_layers_own_map(photos, results):
    result = results["gradcam"]
    by_layer = result.by_layer()
    drawn = panels(grid(photos, result, kind="map", colormap="jet"), 3)
    assert list(by_layer) == ["relu1", "relu2"]
    for i, row in enumerate(drawn):
        for picture, (name, one) in zip(row[1:], by_layer.items(), strict=True):
            signed = result.raw[name]
            assert one.raw == {name: signed}
            assert one.maps[i].max() == pytest.approx(1 if signed[i].max() > 0 else 0)
            assert np.array_equal(
                picture, heat_map(one.maps[i], photos.shape[1:3], colormap="jet")[0]
            )


def test_frameworks_by_methods_stand_in_blocks(photos, results):
    halves = {name: result.maps / 2 for name, result in results.items()}
    drawing = grid(photos, {"PyTorch": results, "Keras": halves})
    drawn = panels(drawing, 3)
    assert len(drawn) == 4
    assert np.array_equal(drawn[2][0], photos[1])
    assert drawn[1][0] is None
    assert drawn[3][0] is None
    for i in range(2):
        for column, name in enumerate(results, start=1):
            whole, half = drawn[2 * i][column], drawn[2 * i + 1][column]
            assert np.array_equal(whole, overlay(photos[i], results[name].maps[i])[0])
            assert np.array_equal(half, overlay(photos[i], halves[name][i])[0])
    assert [a.get_ylabel() for a in drawing.axes[1:12:3]] == ["PyTorch", "Keras"] * 2


def test_signed_maps_have_a_scale_for_each_column(photos, results):
    raw = {f"{n} at {k}": m for n, r in results.items() for k, m in r.raw.items()}
    drawing = grid(photos, raw, kind="signed")
    limits = [np.abs(maps).max() for maps in raw.values()]
    assert scales(drawing) == [
        pytest.approx([-limit, 0, limit], rel=1e-2, abs=1e-12) for limit in limits
    ]
    for i, row in enumerate(panels(drawing, 5)):
        for picture, maps, limit in zip(row[1:], raw.values(), limits, strict=True):
            assert np.array_equal(picture, signed_overlay(photos[i], maps[i], limit=limit)[0])


def test_grid_takes_a_lone_image_and_its_map(photos):
    drawn = panels(grid(photos[0], {"a": np.eye(4), "b": [np.eye(3)]}, kind="map"), 3)
    assert len(drawn) == 1
    assert np.array_equal(drawn[0][1], heat_map(np.eye(4), (24, 32))[0])


def test_long_names_stay_inside_and_apart(photos, results):
    names = ["backbone/conv5_block3_out_of_a_network_with_long_names", "a", "Element-wise Grad-CAM"]
    drawing = grid(photos, dict.fromkeys(names, results["gradcam"].maps), titles=["x " * 40, "y"])
    drawing.draw_without_rendering()
    frame = drawing.bbox
    boxes = [axes.get_tightbbox() for axes in drawing.axes]
    for box in boxes:
        assert box.x0 >= frame.x0 - 1
        assert box.y0 >= frame.y0 - 1
        assert box.x1 <= frame.x1 + 1
        assert box.y1 <= frame.y1 + 1
    for left, right in pairwise(boxes[:4]):
        assert left.x1 <= right.x0 + 1
    for axes in drawing.axes[:4]:
        box = axes.get_window_extent()
        assert box.height / box.width == pytest.approx(24 / 32, rel=1e-2)


def test_grid_refuses_what_makes_none(photos, results):
    with pytest.raises(InputError, match="2 images, 1 maps of a"):
        grid(photos, {"a": np.zeros((1, 4, 4))})
    with pytest.raises(InputError, match="overlay, map, signed"):
        grid(photos, results, kind="heat")
    with pytest.raises(InputError, match="by layer"):
        grid(photos, results, kind="signed")
    with pytest.raises(InputError, match="the same in each"):
        grid(photos, {"a": results, "b": {"gradcam": results["gradcam"]}})
    with pytest.raises(InputError, match="give one kind"):
        grid(photos, {"a": results, "b": results["gradcam"]})
    with pytest.raises(InputError, match="A grid of a list"):
        grid(photos, [results])
    with pytest.raises(InputError, match="2, 1 maps of 'm'"):
        grid(photos, {"a": {"m": np.zeros((2, 4, 4))}, "b": {"m": np.zeros((1, 4, 4))}})


def test_a_methods_own_name_is_its_label(results):
    assert {m.label for m in TABLE if m.name in results} == {"Grad-CAM", "LayerCAM"}


def test_marks_lie_on_every_panel_and_level_lines_on_those_of_maps(photos, results):
    mask = np.zeros(photos.shape[1:3], bool)
    mask[5:9, 10:20] = True
    marks = Marks(contours=[0.5], masks=[mask, ~mask])
    drawn = [a for a in grid(photos, results, marks=marks).axes if a.images]
    alone = figure(photos, results["layercam"].maps, marks=marks)
    for i in range(2):
        image, *maps = drawn[3 * i : 3 * i + 3]
        assert (len(image.collections), [len(a.collections) for a in maps]) == (1, [2, 2])
        expected = [a for a in alone.axes if a.images][3 * i + 1]
        for found, known in zip(maps[1].collections, expected.collections, strict=True):
            for one, other in zip(found.get_paths(), known.get_paths(), strict=True):
                np.testing.assert_array_equal(one.vertices, other.vertices)
