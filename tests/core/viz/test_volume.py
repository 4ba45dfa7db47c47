"""Volumes in three planes: the right voxels in the right colours."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from camcore import Explanation
from camcore.errors import InputError
from camcore.medical import Volume
from camcore.medical.space import resized_affine
from camcore.resize import LINEAR, resize
from camcore.viz import (
    colour_table,
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


def grey_of(volume, ends=None):
    """Grey levels between the percentiles 0.5 and 99.5, or other ends."""
    low, high = np.percentile(volume, (0.5, 99.5)) if ends is None else ends
    return np.rint(np.clip((volume - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def pictures(drawing):
    return [np.asarray(a.images[0].get_array()) for a in drawing.axes if a.images]


def test_the_planes_cut_the_strongest_voxel(volume, heat):
    drawing = volume_figure(volume, heat, titles=["a"])
    enlarged = resize(heat[None], volume.shape, LINEAR)[0]
    point = np.unravel_index(enlarged.argmax(), enlarged.shape)
    grey = grey_of(volume)
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
    grey = grey_of(volume)
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


def test_one_bright_voxel_does_not_blacken_the_anatomy(volume, heat):
    bright = volume.copy()
    bright[0, 0, 0] = 1e9
    picture = pictures(volume_figure(bright, heat * 0, at=[(3, 4, 5)]))[0]
    assert np.array_equal(picture[..., 0], grey_of(bright)[3])
    assert np.ptp(picture) > 200
    mask = np.zeros((20, 20, 20))
    mask[3, 4, 5] = 1  # which no percentile sees
    assert pictures(volume_figure(mask, heat * 0, at=[(3, 4, 5)]))[0][4, 5, 0] == 255


def test_a_window_of_ones_own(volume, heat):
    found = pictures(volume_figure(volume, heat * 0, at=[(3, 4, 5)], window=(-1, 0.5)))[0]
    assert np.array_equal(found[..., 0], grey_of(volume, (-1, 0.5))[3])
    found = pictures(volume_figure(volume, heat * 0, at=[(3, 4, 5)], percentiles=(0, 100)))[0]
    assert np.array_equal(found[..., 0], grey_of(volume, (volume.min(), volume.max()))[3])


def test_contours_in_place_of_a_veil(volume):
    ramp = np.broadcast_to(np.linspace(0, 1, 10, dtype=np.float32), volume.shape)
    drawing = volume_figure(volume, ramp, at=[(2, 3, 4)], contour=[0.25, 2 / 3, 5])
    first = drawing.axes[0]
    assert np.array_equal(pictures(drawing)[0][..., 0], grey_of(volume)[2])
    (lines,) = first.collections
    assert lines.levels.tolist() == [0.25, 2 / 3]
    for level, path, colour in zip(
        lines.levels, lines.get_paths(), lines.get_edgecolor(), strict=True
    ):
        assert path.vertices[:, 0] == pytest.approx(level * 9, abs=1e-5)
        assert colour[:3] == pytest.approx(colour_table("inferno")[round(level * 255)], abs=1e-6)
    assert not drawing.axes[2].collections  # where the map is all of one value
    assert drawing.axes[3].get_xlabel() == "evidence, relative to the strongest"
    signed = volume_figure(volume, ramp - 0.5, at=[(2, 3, 4)], contour=-0.25, signed=True)
    (line,) = signed.axes[0].collections[0].get_paths()
    assert line.vertices[:, 0] == pytest.approx(2.25, abs=1e-5)
    half = volume_figure(volume, 0.8 * ramp, at=[(2, 3, 4)], contour=True)
    assert half.axes[0].collections[0].levels == pytest.approx([0.4])
    both = volume_figure(volume, ramp - 0.5, at=[(2, 3, 4)], contour=True, signed=True)
    assert both.axes[0].collections[0].levels == pytest.approx([-0.25, 0.25])
    veiled = volume_figure(volume, ramp, at=[(2, 3, 4)], contour=False)
    assert not veiled.axes[0].collections


RAS = np.array([[2.0, 0, 0, -7], [0, 3, 0, 5], [0, 0, 4, -20], [0, 0, 0, 1]])


def all_orientations(volume, heat, point):
    """The same patient on grids of all 48 orders and directions of axes."""
    for order in permutations(range(3)):
        for signs in product((1, -1), repeat=3):
            turned = np.eye(4)
            turned[:3, :3] = 0
            moved = np.zeros(3, int)
            for axis, (old, sign) in enumerate(zip(order, signs, strict=True)):
                last = volume.shape[old] - 1
                turned[old, axis] = sign
                turned[old, 3] = 0 if sign > 0 else last
                moved[axis] = point[old] if sign > 0 else last - point[old]
            flip = tuple(slice(None, None, sign) for sign in signs)
            arrays = (one.transpose(order)[flip] for one in (volume, heat))
            yield *arrays, tuple(moved.tolist()), RAS @ turned


def letters_of(panel):
    return [text.get_text() for text in panel.texts]


def test_a_patient_is_drawn_alike_whatever_the_order_of_the_axes(volume):
    heat = np.random.default_rng(2).random(volume.shape).astype(np.float32)
    point = (4, 1, 7)
    drawings = [
        volume_figure(array, maps, at=[at], affine=affine)
        for array, maps, at, affine in all_orientations(volume, heat, point)
    ]
    grey = grey_of(volume)
    # Rows run down from the front or the head, columns from the right, or from the front.
    expected = [
        (grey[:, :, 7].T[::-1, ::-1], heat[:, :, 7].T[::-1, ::-1], "axial, S 8.0 mm", "RLAP"),
        (grey[:, 1].T[::-1, ::-1], heat[:, 1].T[::-1, ::-1], "coronal, A 8.0 mm", "RLSI"),
        (grey[4].T[::-1, ::-1], heat[4].T[::-1, ::-1], "sagittal, R 1.0 mm", "APSI"),
    ]
    lines = [(8 - 1 - 1, 6 - 1 - 4), (10 - 1 - 7, 6 - 1 - 4), (10 - 1 - 7, 8 - 1 - 1)]
    assert len(drawings) == 48
    for drawing in drawings:
        cuts = zip(drawing.axes[:3], pictures(drawing), expected, lines, strict=True)
        for panel, picture, (under, over, title, ends), (row, column) in cuts:
            assert np.array_equal(picture, overlay(under[..., None], over)[0])
            assert panel.get_title() == title
            assert "".join(letters_of(panel)) == ends
            horizontal, vertical = panel.lines
            assert horizontal.get_ydata()[0] == row
            assert vertical.get_xdata()[0] == column


def test_the_other_convention_mirrors_two_planes(volume):
    heat = np.random.default_rng(2).random(volume.shape).astype(np.float32)
    radiological = pictures(volume_figure(volume, heat, affine=RAS))
    drawing = volume_figure(volume, heat, affine=RAS, convention="neurological")
    for index, picture in enumerate(pictures(drawing)):
        same = radiological[index] if index == 2 else radiological[index][:, ::-1]
        assert np.array_equal(picture, same)
    assert ["".join(letters_of(panel)) for panel in drawing.axes[:3]] == ["LRAP", "LRSI", "APSI"]


def test_voxels_have_the_proportions_that_the_affine_says(volume, heat):
    drawing = volume_figure(volume, heat, affine=RAS, titles=["what"])
    drawing.draw_without_rendering()
    # Six voxels of 2 mm to the right, eight of 3 to the front, ten of 4 to the head.
    for panel, (high, wide) in zip(drawing.axes, ((24, 12), (40, 12), (40, 24)), strict=False):
        box = panel.get_window_extent()
        assert box.height / box.width == pytest.approx(high / wide, rel=2e-2)


def test_oblique_directions_have_two_letters(volume, heat):
    angle = np.deg2rad(30)
    turned = np.eye(4)
    turned[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    drawing = volume_figure(volume, heat, affine=turned)
    assert [letters_of(panel) for panel in drawing.axes[:3]] == [
        ["R", "L", "AS", "PI"],
        ["R", "L", "SP", "IA"],
        ["AS", "PI", "SP", "IA"],
    ]


def test_what_brings_its_affine_is_turned_by_it(volume, heat):
    one = Volume(volume, RAS)
    expected = pictures(volume_figure(volume, heat, affine=RAS))
    for given in (one, [one]):
        assert all(map(np.array_equal, pictures(volume_figure(given, heat)), expected))
    two = volume_figure([one, Volume(volume, np.diag([-1.0, 1, 1, 1]))], np.stack([heat] * 2))
    assert "".join(letters_of(two.axes[3])) == "RLAP"
    assert np.array_equal(pictures(two)[0], expected[0])
    assert np.array_equal(
        pictures(two)[3], pictures(volume_figure(volume, heat, affine=np.diag([-1, 1, 1, 1])))[0]
    )


def test_an_explanation_that_knows_where_it_lies_draws_it_so(volume, heat):
    explained = Explanation(
        maps=heat[None],
        raw={"conv": heat[None, ::2, ::2, ::2]},
        scores=np.ones(1),
        classes=np.zeros(1, int),
        empty=np.zeros(1, bool),
        outputs=np.array([[1.0, 0.0]]),
        affines=RAS[None],
    )
    alone = explained.figure()
    assert alone.axes[0].get_title().startswith("axial")
    # Over a volume of twice the size the same field of view is drawn.
    twice = resized_affine(RAS, heat.shape, volume.shape)
    expected = volume_figure(volume, heat, affine=twice)
    drawing = explained.figure(volume, window=(-1, 1), convention="neurological")
    assert drawing.axes[0].get_title() == expected.axes[0].get_title()
    assert letters_of(drawing.axes[0])[0] == "L"
    own = explained.figure(Volume(volume, twice))
    assert own.axes[0].get_title() == expected.axes[0].get_title()
    elsewhere = twice.copy()
    elsewhere[2, 3] += 1
    with pytest.raises(InputError, match="lies up to 1 mm from what was explained"):
        explained.figure(Volume(volume, elsewhere))
    plain = explained.figure(volume, affine=None)
    assert plain.axes[0].get_title().startswith("depth")
    signed = explained.figure(kind="signed")
    assert signed.axes[0].get_title().startswith("axial")
    assert explained._repr_png_() is not None


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
    with pytest.raises(InputError, match="singular"):
        volume_figure(volume, heat, affine=np.diag([1, 1, 0, 1]))
    with pytest.raises(InputError, match="2 affines for 1 volumes"):
        volume_figure(volume, heat, affine=np.stack([RAS] * 2))
    with pytest.raises(InputError, match=r"not that of the affine, \(2\.0, 3\.0, 4\.0\)"):
        volume_figure(volume, heat, affine=RAS, spacing=(4, 3, 2))
    with pytest.raises(InputError, match="'radiological' or 'neurological'"):
        volume_figure(volume, heat, affine=RAS, convention="left")
    for window in ((1, 1), (2, 1), (0, np.nan), 40, (0, 1, 2)):
        with pytest.raises(InputError, match="window="):
            volume_figure(volume, heat, window=window)
    with pytest.raises(InputError, match="percentiles="):
        volume_figure(volume, heat, percentiles=(99, 1))
    with pytest.raises(InputError, match="over volumes"):
        volume_figure(None, heat, contour=0.5)
    with pytest.raises(InputError, match="contour="):
        volume_figure(volume, heat, contour=[])
    with pytest.raises(InputError, match="several sizes"):
        volume_figure([volume, volume[1:]], np.stack([heat] * 2))
