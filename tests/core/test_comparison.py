"""Explanations held against one another, on maps whose distances are known by hand."""

from __future__ import annotations

import numpy as np
import pytest

import camcore
from camcore.comparison import compare
from camcore.errors import InputError
from camcore.explanation import Explanation
from camcore.metrics import agreement

RAMP = np.arange(64, dtype=np.float32).reshape(1, 8, 8) / 63


def explanation(maps, **about):
    maps = np.asarray(maps, dtype=np.float32)
    nothing = np.zeros(len(maps))
    return Explanation(maps, {"layer": maps}, nothing, None, nothing > 0, nothing[:, None], **about)


def test_the_public_name_is_the_function():
    assert camcore.compare is compare


def test_equal_maps_are_not_apart():
    (pair,) = compare(explanation(RAMP), explanation(RAMP)).pairs
    assert pair.largest == [0]
    for measure in (pair.pearson, pair.spearman, pair.ssim, pair.overlap):
        np.testing.assert_allclose(measure, [1], rtol=1e-12)


def test_an_inverted_map_is_told_by_every_measure():
    comparison = compare(explanation(RAMP), explanation(1 - RAMP))
    (row,) = comparison.table()
    assert row["largest"] == comparison.largest == 1
    assert row["pearson"] == pytest.approx(-1, abs=1e-12)
    assert row["spearman"] == pytest.approx(-1, abs=1e-12)
    assert row["overlap"] == 0
    assert row["ssim"] < 0
    assert row["where"] == (0, 0)


def test_compare_finds_one_spoilt_image_of_a_batch():
    maps = np.concatenate([RAMP, RAMP, RAMP])
    other = maps.copy()
    other[1, 2, 5] += 0.25
    (pair,) = compare(explanation(maps), explanation(other)).pairs
    assert (pair.worst, pair.where[1]) == (1, (2, 5))
    np.testing.assert_allclose(pair.largest, [0, 0.25, 0], atol=1e-7)


@pytest.mark.parametrize(("share", "expected"), [(0.25, 0.5), (0.5, 0.75), (1, 1)])
def test_overlap_counts_common_positions_among_the_strongest(share, expected):
    first = np.array([[8.0, 7, 6, 5, 4, 3, 2, 1]])
    second = np.array([[8.0, 4, 6, 5, 7, 3, 2, 1]])
    # The two strongest are {0, 1} and {0, 4}; the four, {0, 1, 2, 3} and {0, 2, 3, 4}.
    assert agreement.top_overlap(first, second, share) == [expected]


def test_ssim_of_small_and_of_tiny_maps():
    assert agreement.ssim(RAMP[:, :4, :4], RAMP[:, :4, :4]) == [1]
    assert np.isnan(agreement.ssim(RAMP[:, :2, :2], RAMP[:, 2:4, :2])).all()


def test_ssim_of_volumes():
    volume = np.random.default_rng(0).random((2, 7, 7, 7))
    assert np.all(agreement.ssim(volume, volume[::-1]) < 0.5)


def test_maps_of_two_sizes_meet_at_the_larger():
    coarse = explanation([[[0.0, 1.0]]])
    fine = explanation([[[0.0, 0.25, 0.75, 1.0]]])
    (pair,) = compare(coarse, fine).pairs
    assert pair.maps[0].shape == (1, 1, 4)
    assert pair.largest == [0]


def test_scaled_maps_are_compared_by_shape_alone():
    comparison = compare(explanation(RAMP), explanation(10 * RAMP - 3), scaled=True)
    assert comparison.largest == pytest.approx(0, abs=1e-6)
    assert compare(explanation(RAMP), explanation(10 * RAMP - 3)).largest > 3


def test_each_of_several_is_held_against_each():
    several = {
        name: explanation(RAMP * factor) for name, factor in zip("abc", (1, 0.5, 0), strict=True)
    }
    comparison = compare(several)
    assert [pair.names for pair in comparison.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    np.testing.assert_allclose([row["largest"] for row in comparison.table()], [0.5, 1, 0.5])
    assert np.isnan(comparison.table()[1]["pearson"])


def test_names_are_what_tells_explanations_apart():
    recipes = [explanation(RAMP, recipe=name) for name in ("paper", "monai")]
    methods = [explanation(RAMP, method=name) for name in ("gradcam", "layercam")]
    assert compare(recipes).pairs[0].names == ("paper", "monai")
    assert compare(*methods).pairs[0].names == ("gradcam", "layercam")
    assert compare([recipes[0], recipes[0]]).pairs[0].names == ("#0", "#1")


def test_mappings_are_compared_by_name_and_sequences_in_order():
    ours = {"gradcam": explanation(RAMP), "layercam": explanation(RAMP / 2)}
    theirs = {"layercam": explanation(RAMP / 2), "gradcam": explanation(RAMP)}
    assert compare(ours, theirs).largest == 0
    assert compare(list(ours.values()), list(theirs.values())).largest == 0.5


def test_the_table_reads():
    text = str(compare({"one": explanation(RAMP), "other": explanation(1 - RAMP)})).splitlines()
    assert text[0].split() == ["largest", "Pearson", "Spearman", "SSIM", "top", "10%", "where"]
    assert text[1].split()[:5] == ["one", "other", "1", "-1.0000", "-1.0000"]
    assert text[1].endswith("0.0000   image 0 at (0, 0)")


def test_without_scikit_image_the_table_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "skimage.metrics", None)
    comparison = compare(explanation(RAMP), explanation(RAMP))
    assert comparison.pairs[0].ssim is None
    assert str(comparison).splitlines()[-1].endswith('pip install "camcore[metrics]"')


def test_the_figure_has_a_row_for_each_pair():
    several = {
        name: explanation(RAMP * factor) for name, factor in zip("abc", (1, 0.5, 0), strict=True)
    }
    drawing = compare(several).figure()
    panels = [axes for axes in drawing.axes if axes.get_title()]
    assert [p.get_title() for p in panels[:3]] == ["a", "b", "difference, at most 0.5"]
    assert len(panels) == 9
    # Maps on a scale from 0 to 1, differences on one whose end is the largest of them all.
    shown = [p.images[0] for p in panels]
    assert [image.get_clim() for image in shown] == [
        (0, 1),
        (0, 1),
        (0, 1),
        (0, 1),
        (0, 1),
        (0, 1),
        (0, 0.5),
        (0, 0.5),
        (0, 1),
    ]
    assert [image.get_cmap().name for image in shown[:3]] == ["inferno", "inferno", "viridis"]
    assert all(len(p.get_xticks()) == len(p.get_yticks()) == 0 for p in panels)
    marks = [tuple(float(value[0]) for value in p.lines[0].get_data()) for p in panels[2::3]]
    assert marks == [pair.where[pair.worst][::-1] for pair in compare(several).pairs]
    assert sum("colorbar" in str(axes.get_label()) for axes in drawing.axes) == 1
    with pytest.raises(InputError, match="can be drawn"):
        compare(explanation(RAMP[0]), explanation(RAMP[0])).figure()


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (explanation(RAMP), None, "nothing to be compared"),
        (explanation(RAMP), explanation(np.repeat(RAMP, 2, axis=0)), "not of the same images"),
        (explanation(RAMP), explanation(RAMP[0]), "not of the same images"),
        ([explanation(RAMP)] * 2, [explanation(RAMP)], "as many of each"),
        ({"a": explanation(RAMP)}, {"b": explanation(RAMP)}, "the same names"),
    ],
)
def test_compare_refuses_what_cannot_be_compared(first, second, message):
    with pytest.raises(InputError, match=message):
        compare(first, second)


@pytest.mark.parametrize("share", [0, -1, 1.5])
def test_a_share_is_a_share(share):
    with pytest.raises(InputError, match="no share of the positions"):
        compare(explanation(RAMP), explanation(RAMP), share=share)
