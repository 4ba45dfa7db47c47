"""What the template reads, number by number."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
import pytest

import camcore
from camcore.errors import InputError
from camcore.recipes import OverlayStyle
from camcore.report import Entry, compare_entries, context, samples
from camcore.report.entries import as_entries
from camcore.viz import heat_map, overlay

GREY = np.full((1, 256, 3), 128, np.uint8)


@pytest.fixture(scope="module")
def pairs(explanations):
    return compare_entries(as_entries(explanations))


@pytest.fixture(scope="module")
def known(explanations):
    """The library's own comparison of the two models, by method."""
    first, second = explanations.values()
    return {method: camcore.compare(first[method], second[method]).pairs[0] for method in first}


METHOD = {("Grad-CAM",): "gradcam", ("LayerCAM",): "layercam"}


def test_every_number_of_a_photograph_is_its_own(photos, explanations, pairs, known):
    entries = as_entries(explanations)
    names = [f"photo {i}" for i in range(4)]
    made = context.rows(photos, names, entries, pairs, 0.5, 40)
    assert [(row.index, row.name) for row in made] == list(enumerate(names))
    for i, row in enumerate(made):
        assert max(row.width, row.height) == 40
        assert row.width / row.height == pytest.approx(
            photos[i].shape[1] / photos[i].shape[0], 0.05
        )
        assert row.apart == max(pair.largest[i] for pair in known.values())
        for gap, compared in zip(row.gaps, pairs, strict=True):
            pair = known[METHOD[gap.alike]]
            assert gap.names == tuple(explanations)
            for field in ("largest", "pearson", "spearman", "ssim", "overlap"):
                assert getattr(gap, field) == getattr(pair, field)[i]
            assert gap.same == ("yes" if compared.same[i] else "no")
            assert gap.agrees == (pair.largest[i] <= 0.5)


def test_the_summary_is_each_pairs_worst(pairs, known):
    for gap, compared in zip(context.summary(pairs, 0.5), pairs, strict=True):
        pair = known[METHOD[gap.alike]]
        assert (gap.largest, gap.worst) == (pair.largest.max(), pair.largest.argmax())
        for field in ("pearson", "spearman", "ssim", "overlap"):
            assert getattr(gap, field) == getattr(pair, field).min()
        assert gap.same == f"{compared.same.sum()} of 4"
        assert gap.agrees == (pair.largest.max() <= 0.5)
    assert all(gap.agrees for gap in context.summary(pairs, None))
    exact = context.summary(pairs, pairs[0].largest)
    assert [gap.agrees for gap in exact] == [True, True]


def test_what_is_not_known_is_left_open(pairs):
    bare = replace(pairs[0], same=None, pair=replace(pairs[0].pair, ssim=None))
    (gap,) = context.summary([bare], None)
    assert (gap.ssim, gap.same) == (None, "")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (np.nan, "-"),
        (1.0, "1.0000"),
        (0.99995, "0.99995000"),
        (0.99994, "0.9999"),
        (1 - 1e-8, "0.99999999"),
        (1 - 1e-9, "1.0000"),
        (-0.12345, "-0.1235"),
    ],
)
def test_correlations_have_the_digits_they_need(value, shown):
    assert context.correlation(value) == shown


def test_filters_are_the_axes_on_which_entries_differ(explanations):
    names = list(explanations)
    entries = as_entries(explanations)
    assert context.filters(entries) == [("model", names), ("method", ["Grad-CAM", "LayerCAM"])]
    assert context.filters(entries[:1]) == []


def test_costs_and_calls_are_those_of_the_entry(explanations):
    one = explanations["first"]["gradcam"]
    entry = Entry(one, "first", seconds=0.0124, passes=1.058)
    assert context.cost(entry) == {
        "layers": "relu2",
        "seconds": "12 ms",
        "passes": "1.06×",
        "expected": "1",
    }
    assert context.cost(Entry(one))["seconds"] == context.cost(Entry(one))["passes"] == ""
    own = Entry(replace(one, method="my own"))
    assert context.cost(own)["expected"] == ""
    call = f"camcore.explain(model, images, target={one.classes.tolist()}, layer=['relu2'], "
    call += "method='gradcam', recipe='paper')"
    assert context.calls([entry]) == call + "  # model: first"
    assert context.calls([Entry(one), Entry(replace(one, classes=None))]).split("\n") == [
        call,
        call.replace(f"target={one.classes.tolist()}, ", ""),
    ]


def test_a_seed_is_given_or_the_methods_own_or_not_needed(explanations):
    one = explanations["first"]["gradcam"]
    drawn = replace(one, method="rise")
    assert context.seed([Entry(one)], None) == "no randomness used"
    assert context.seed([Entry(one), Entry(drawn)], None).startswith("the method's own")
    assert context.seed([Entry(one)], 0) == "0"


def test_photographs_are_counted_and_made_smaller_never_larger(photos):
    assert len(context.as_photos(photos[0], 1, 40)) == 1
    small = context.as_photos((photo for photo in photos), 4, 40)
    assert [max(photo.shape) for photo in small] == [40] * 4
    with pytest.raises(InputError, match="4 photographs and explanations of 3"):
        context.as_photos(photos, 3, 40)
    wide = np.zeros((30, 60, 3))
    wide[..., 1] = 0.5
    assert context.shrink(wide, 20).shape == (10, 20, 3)
    assert context.shrink(wide, 90).shape == (30, 60, 3)
    assert context.shrink(wide, 20)[5, 5].tolist() == [0, 128, 0]
    # Grey ones need no channel axis, alone or in a batch.
    assert context.shrink(wide[..., 1], 20)[5, 5].tolist() == [128] * 3
    greys = photos[0][..., 0]
    assert [one.shape for one in context.as_photos(greys, 1, 40)] == [(30, 40, 3)]
    stacked = context.as_photos(np.stack([greys, greys // 2]), 2, 40)
    assert np.abs(stacked[1].astype(int) - stacked[0] // 2).max() <= 1
    with pytest.raises(InputError, match="shape"):
        context.shrink(np.zeros((4, 4, 3, 1)), 20)


def test_pictures_are_smaller_the_more_there_are():
    assert context.largest_side(1, 1) == 896
    # A hundred photographs, each with its map alone and laid over: 300 pictures.
    side = context.largest_side(100, 1)
    assert 300 * side**2 <= 60e6 < 300 * (side + 1) ** 2
    assert context.largest_side(10**6, 5) == 160


def test_explained_classes_are_counted_for_each_model(photos, explanations):
    entries = as_entries(explanations)
    made = context.rows(photos, list("abcd"), entries, [], None, 16)
    found = context.explained_classes(entries, made)
    assert {one.model for one in found} == set(explanations)
    for model, one in ((m, e["gradcam"]) for m, e in explanations.items()):
        rows = [row for row in found if row.model == model]
        assert sum(row.count for row in rows) == 4
        assert [row.count for row in rows] == sorted((r.count for r in rows), reverse=True)
        for row in rows:
            which = [i for i, c in enumerate(one.classes) if f"class {c}" == row.name]
            shares = [one.probabilities[i, one.classes[i]] for i in which]
            assert row.count == len(which)
            assert (row.mean, row.lowest) == pytest.approx((np.mean(shares), min(shares)))
    assert context.explained_classes(entries, made[:1]) == []


def test_colour_bars_hold_the_colours_of_each_style(explanations, require):
    image = require("PIL.Image")
    one = explanations["first"]["gradcam"]
    jet = replace(one, recipe="monai", overlay_style=OverlayStyle("jet", 0.5, "mix"))
    first, second = context.colour_bars([Entry(one), Entry(jet), Entry(one)])
    assert (first.recipes, second.recipes) == ("paper", "monai")
    for bar, style in ((first, one.overlay_style), (second, jet.overlay_style)):
        for uri, expected in (
            (bar.alone, heat_map(np.linspace(0, 1, 256)[None], colormap=style.colormap)),
            (bar.over, overlay(GREY, np.linspace(0, 1, 256)[None], style=style)),
        ):
            with image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as read:
                pixels = np.asarray(read.convert("RGB")).astype(int)
            assert np.abs(pixels - expected[0]).max() <= 5


def test_files_of_pictures_are_named_after_photograph_model_method_and_recipe(explanations):
    entry = Entry(explanations["first"]["gradcam"], 'a "net" / b')
    assert context._file_name("dir/Cat & dog.png", entry) == "Cat-dog-a-net-b-Grad-CAM-paper"


def test_a_picture_in_the_page_is_a_jpeg_of_it(require):
    image = require("PIL.Image")
    picture = np.full((8, 16, 3), (200, 40, 90), np.uint8)
    head, _, data = samples.jpeg_uri(picture).partition(",")
    assert head == "data:image/jpeg;base64"
    with image.open(io.BytesIO(base64.b64decode(data))) as read:
        assert (read.format, read.size, read.mode) == ("JPEG", (16, 8), "RGB")
        assert np.abs(np.asarray(read).astype(int) - picture).max() <= 4
