"""Volumes in three planes: the right voxels in the right colours."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.errors import InputError
from camcore.resize import LINEAR, resize
from camcore.viz import (
    overlay,
    signed_map,
    signed_overlay,
    volume_figure,
)


@pytest.fixture
def volume():
    return np.random.default_rng(0).normal(size=(6, 8, 10)).astype(np.float32)


@pytest.fixture
def heat():
    return np.random.default_rng(1).random((3, 4, 5)).astype(np.float32)


def pictures(drawing):
    return [np.asarray(a.images[0].get_array()) for a in drawing.axes if a.images]


def test_the_planes_cut_the_strongest_voxel(volume, heat):
    drawing = volume_figure(volume, heat, titles=["a"])
    enlarged = resize(heat[None], volume.shape, LINEAR)[0]
    point = np.unravel_index(enlarged.argmax(), enlarged.shape)
    low, high = volume.min(), volume.max()
    grey = np.rint((volume - low) * (255 / (high - low))).astype(np.uint8)
    for axis, (picture, name) in enumerate(
        zip(pictures(drawing), ("depth", "row", "column"), strict=True)
    ):
        cut = np.take(grey, point[axis], axis)[..., None]
        assert np.array_equal(picture, overlay(cut, np.take(enlarged, point[axis], axis))[0])
        assert drawing.axes[axis].get_title() == f"{name} {point[axis]}"
    for panel, (down, across) in zip(drawing.axes, ((1, 2), (0, 2), (0, 1)), strict=False):
        horizontal, vertical = panel.lines
        assert horizontal.get_ydata()[0] == point[down]
        assert vertical.get_xdata()[0] == point[across]
    assert drawing.axes[0].get_ylabel() == "a"


def test_signed_volumes_at_a_point_of_ones_own(volume, heat):
    maps = np.stack([heat - 0.5, 0.25 - heat])
    drawing = volume_figure(np.stack([volume] * 2), maps, signed=True, at=[(1, 2, 3), (5, 7, 9)])
    enlarged = resize(maps, volume.shape, LINEAR)
    limit = np.abs(enlarged).max()
    first = pictures(drawing)[:3]
    low, high = volume.min(), volume.max()
    grey = np.rint((volume - low) * (255 / (high - low))).astype(np.uint8)
    for axis, at in enumerate((1, 2, 3)):
        cut, under = np.take(enlarged[0], at, axis), np.take(grey, at, axis)[..., None]
        assert np.array_equal(first[axis], signed_overlay(under, cut, limit=limit)[0])
    alone = pictures(volume_figure(None, enlarged, signed=True, at=[(0, 0, 0)] * 2))
    assert np.array_equal(alone[0], signed_map(enlarged[0, 0], limit=limit)[0])


def test_voxels_keep_their_proportions_and_nothing_is_cut_off(volume, heat):
    drawing = volume_figure(volume, heat, spacing=(3, 1, 2), titles=["what"])
    drawing.draw_without_rendering()
    sides = np.multiply(volume.shape, (3, 1, 2))
    for panel, (down, across) in zip(drawing.axes, ((1, 2), (0, 2), (0, 1)), strict=False):
        box = panel.get_window_extent()
        assert box.height / box.width == pytest.approx(sides[down] / sides[across], rel=2e-2)
    for axes in drawing.axes:
        box = axes.get_tightbbox()
        assert box.x0 >= -1
        assert box.y0 >= -1
        assert box.x1 <= drawing.bbox.x1 + 1
        assert box.y1 <= drawing.bbox.y1 + 1


def test_an_empty_volume_is_cut_in_the_middle():
    drawing = volume_figure(np.zeros((4, 6, 8)), np.zeros((2, 2, 2)))
    assert [a.get_title() for a in drawing.axes[:3]] == ["depth 2", "row 3", "column 4"]


def test_volumes_that_do_not_fit_are_named(volume, heat):
    with pytest.raises(InputError, match="without a channel axis"):
        volume_figure(volume[None, None], heat)
    with pytest.raises(InputError, match="outside a volume"):
        volume_figure(volume, heat, at=[(0, 8, 0)])
    with pytest.raises(InputError, match="2 volumes, 1 maps"):
        volume_figure(np.stack([volume] * 2), heat)
    with pytest.raises(InputError, match="spacing"):
        volume_figure(volume, heat, spacing=(1, 0, 1))
    with pytest.raises(InputError, match="signed"):
        volume_figure(volume, heat - 1)
    with pytest.raises(InputError, match="NaN"):
        volume_figure(volume * np.nan, heat)
