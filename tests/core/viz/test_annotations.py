"""Level lines, boxes and outlines lie where they are meant."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.errors import InputError
from camcore.viz import Marks, figure


def test_a_box_covers_its_pixels_and_no_others(photo):
    drawing = figure(photo, np.eye(4), marks=Marks(boxes=[[(3, 5, 10, 12)]]))
    for panel in drawing.axes[:3]:
        (box,) = (patch for patch in panel.patches if patch.get_label() == "box")
        assert not box.get_fill()
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
    with pytest.raises(InputError, match=r"A mask of shape \(3, 3\)"):
        figure(photo, np.eye(4), marks=Marks(masks=[np.ones((3, 3))]))
    figure(photo, np.zeros((4, 4)), marks=Marks((0.5,), [[]], [np.zeros((20, 30))]))
