"""The study of sanity checks: how criteria are decided, and what is drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from camcore.metrics.agreement import SIMILARITIES
from camcore.metrics.sanity import PAPER, Sanity
from camcore.studies import sanity
from camcore.studies.sanity import (
    CRITERIA,
    METHODS,
    STUDY,
    TOP_DOWN,
    Interval,
    Lab,
    Measured,
    Shown,
    batches,
    by_method,
    compared,
    drawn,
    findings,
    outcome,
    summary,
)

HIGH, LOW = 0.7, 0.1


def spread(mean, shape=(4, 4, 5), half=0.01):
    """Similarities of such a mean at each layer, half of them above and half below."""
    values = np.full(shape, mean)
    values[::2] += half
    values[1::2] -= half
    return values


def made_up(layers=TOP_DOWN, **means):
    """A similarity for each method: those named, else high of guided methods and low of others."""
    found = {}
    for method in METHODS:
        usual = HIGH if method.startswith("guided") else LOW
        values = {
            name: spread(
                means.get(f"{method}_{name}".replace("-", "_"), usual), (4, len(layers), 5)
            )
            for name in PAPER
        }
        found[method] = Sanity("cascading", tuple(layers), values)
    return found


def ends(found):
    """Means and extremes in the place of bootstrap intervals, which take seconds."""
    return {
        method: {
            name: {
                layer: Interval(*(float(of(values[:, at])) for of in (np.mean, np.min, np.max)))
                for at, layer in enumerate(one.layers)
            }
            for name, values in one.similarity.items()
        }
        for method, one in found.items()
    }


def held(**means):
    return [one.held for one in findings(ends(made_up(**means)))]


def test_every_criterion_holds_where_only_guided_maps_stay():
    every = made_up()
    found = findings(summary({name: every[name] for name in (*sanity.GUIDED, *sanity.PLAIN)}))
    assert [one.criterion for one in found] == list(CRITERIA) == list(STUDY.criteria)
    assert [one.held for one in found] == [True] * 10
    assert found[0].criterion == (
        "SSIM of Guided backpropagation is above that of Gradient once fc2 and fc1 are drawn anew, "
        "95 % intervals apart"
    )
    assert found[0].figures == "0.70 [0.69, 0.71] against 0.10 [0.09, 0.11]"
    assert found[8].criterion == "The signed Spearman correlation of Gradient is then within ±0.2"
    assert found[8].figures == "0.10 [0.09, 0.11]"


@pytest.mark.parametrize(
    ("means", "fails"),
    [
        ({"gradcam_hog": 0.9}, [3, 7]),
        ({"guidedgradcam_hog": 0.1}, [6, 7]),
        ({"guidedgradcam_hog": 0.3, "gradcam_hog": 0.4}, [7]),
        ({"guidedbackprop_ssim": 0.05}, [0, 1]),
        ({"saliency_ssim": 0.75}, [0, 4]),
        ({"saliency_spearman": 0.21}, [8]),
        ({"saliency_spearman": -0.21}, [8]),
        ({"gradcam_spearman": 0.19}, []),
        ({"gradcam_spearman": -0.5, "saliency_absolute_spearman": 0.9}, [9]),
        ({"smoothgrad_spearman": 0.9, "smoothgrad_ssim": 1.0}, []),
    ],
)
def test_each_criterion_looks_at_its_own_pair_and_similarity(means, fails):
    assert [at for at, one in enumerate(held(**means)) if not one] == fails


def test_intervals_that_overlap_do_not_hold():
    """The means are apart, their intervals are not."""
    found = made_up()
    wide = np.full((4, 4, 5), HIGH)
    wide[0], wide[1] = 1.0, -1.0
    found["guidedbackprop"].similarity["ssim"][:] = wide
    few = {name: found[name] for name in (*sanity.GUIDED, *sanity.PLAIN)}
    intervals = summary(few)
    of_ssim = intervals["guidedbackprop"]["ssim"]["fc1"]
    assert of_ssim.mean == pytest.approx(0.35)
    assert of_ssim.low < 0.11 < of_ssim.mean
    assert [one.held for one in findings(intervals)][:4] == [False, False, True, True]


def test_only_the_networks_down_to_fc1_are_looked_at():
    found = made_up()
    for one in found.values():
        for values in one.similarity.values():
            values[:, [0, 2, 3]] = 0.5
    assert all(one.held for one in findings(ends(found)))


def test_an_undefined_similarity_does_not_hold():
    found = made_up()
    found["gradcam"].similarity["hog"][:] = np.nan
    found["gradcam"].similarity["spearman"][:] = np.nan
    results = findings(ends(found))
    assert [at for at, one in enumerate(results) if not one.held] == [3, 7, 9]
    assert results[3].figures == "0.70 [0.69, 0.71] against undefined"


def test_intervals_are_written_without_a_negative_zero():
    assert str(Interval(-0.004, -0.016, 0.004)) == "0.00 [-0.02, 0.00]"
    assert str(Interval(np.nan, np.nan, np.nan)) == "undefined"


@pytest.mark.parametrize(
    ("shape", "bound"),
    [
        ((64, 32, 5, 5), np.sqrt(6 / (32 * 25 + 64 * 25))),
        ((10, 1024), np.sqrt(6 / 1034)),
    ],
)
def test_kernels_are_drawn_uniformly_within_glorots_bound(shape, bound):
    kernel = drawn(np.zeros(shape, np.float32), np.random.default_rng(0))
    assert kernel.shape == shape
    assert kernel.dtype == np.float32
    assert 0.99 * bound < np.abs(kernel).max() <= np.float32(bound)
    # The variance of a uniform draw is a third of its bound's square: 2 / (fan in + fan out).
    assert kernel.var() == pytest.approx(bound**2 / 3, rel=0.02)
    assert abs(kernel.mean()) < 4 * bound / np.sqrt(3 * kernel.size)


def test_biases_are_drawn_as_zeros_and_other_seeds_draw_otherwise():
    assert drawn(np.ones(7, np.float32), np.random.default_rng(0)).tolist() == [0] * 7
    one, other, again = (drawn(np.zeros((4, 3)), np.random.default_rng(s)) for s in (0, 1, 0))
    np.testing.assert_array_equal(one, again)
    assert not np.any(one == other)


def test_batches_show_every_image_once_an_epoch_with_its_label():
    images = np.arange(120, dtype=np.float32).reshape(-1, 1, 1, 1)
    shown = list(batches(images, np.arange(120) * 10, 2, seed=3))
    assert [len(labels) for _, labels in shown] == [50, 50, 20] * 2
    for batch, labels in shown:
        np.testing.assert_array_equal(batch[:, 0, 0, 0] * 10, labels)
    first, second = (np.concatenate([b for _, b in shown[at : at + 3]]) for at in (0, 3))
    assert sorted(first) == sorted(second) == list(range(0, 1200, 10))
    assert first.tolist() != second.tolist()
    again = [labels.tolist() for _, labels in batches(images, np.arange(120) * 10, 2, seed=3)]
    assert again == [labels.tolist() for _, labels in shown]


def test_images_are_shown_between_0_and_1():
    pixels = np.array([0, 51, 255], np.uint8).reshape(3, 1, 1)
    shown = Shown.of(pixels, np.array([7, 8, 9], np.uint8), 2)
    np.testing.assert_array_equal(shown.images, np.float32([0, 0.2]).reshape(2, 1, 1, 1))
    assert shown.images.dtype == np.float32
    assert shown.labels.tolist() == [7, 8]


def test_maps_of_all_methods_are_told_apart():
    lab = object.__new__(Lab)
    lab._size = replace(sanity.SMALL, slow=2)
    rows = lab.rows(3)
    assert {name: (at.start, at.stop) for name, at in rows.items()} == {
        "saliency": (0, 3),
        "gradienttimesinput": (3, 6),
        "gradcam": (6, 9),
        "guidedbackprop": (9, 12),
        "guidedgradcam": (12, 15),
        "smoothgrad": (15, 17),
        "integratedgradients": (17, 19),
    }
    values = np.arange(19.0 * 2).reshape(19, 2, 1)
    parts = by_method(Sanity("cascading", ("fc2", "fc1"), {"ssim": values}), rows)
    assert parts["gradcam"].similarity["ssim"][:, 0, 0].tolist() == [12, 14, 16]
    assert parts["integratedgradients"].similarity["ssim"][:, 1, 0].tolist() == [35, 37]
    assert parts["gradcam"].layers == ("fc2", "fc1")


def test_maps_are_compared_with_each_of_the_others(require):
    require("skimage")
    maps, one, other = np.random.default_rng(0).normal(size=(3, 4, 9, 9))
    found = compared(maps, {"one": one, "other": other})
    assert found.layers == ("one", "other")
    for name in PAPER:
        assert found.similarity[name].shape == (4, 2, 1)
        for at, maps_of in enumerate((one, other)):
            expected = SIMILARITIES[name](maps, maps_of)
            np.testing.assert_array_equal(found.similarity[name][:, at, 0], expected)


@pytest.fixture
def measured(monkeypatch):
    monkeypatch.setattr(sanity, "summary", ends)
    return Measured(
        few=2000,
        accuracies={"accuracy": 0.9125, "on permuted": 0.999, "of true": 0.832},
        cascading=made_up(gradcam_hog=0.9),
        alone=made_up(TOP_DOWN[1:], saliency_ssim=0.3),
        labels=made_up(("permuted", "true")),
        edges=made_up(("edges",), gradcam_ssim=-0.2),
    )


def test_an_outcome_has_tables_notes_and_the_numbers_in_full(measured):
    found = outcome(measured)
    assert found.verdict == "reproduced in part"
    assert [table.title for table in found.tables] == [
        "Spearman, signed: layers drawn anew from the output down",
        "Spearman, magnitudes: layers drawn anew from the output down",
        "SSIM: layers drawn anew from the output down",
        "HOG: layers drawn anew from the output down",
        "Against a network of permuted labels",
        "Against a network of as many true labels",
        "Magnitudes of the trained network's maps against edges",
        "Spearman, signed: one layer drawn anew",
        "Spearman, magnitudes: one layer drawn anew",
        "SSIM: one layer drawn anew",
        "HOG: one layer drawn anew",
    ]
    hog, labels, edges, alone = (found.tables[at] for at in (3, 4, 6, 9))
    assert list(hog.heads) == ["Method", "fc2", "and fc1", "and conv2", "and conv1"]
    assert list(hog.rows[2]) == ["Grad-CAM", *["0.90 [0.89, 0.91]"] * 4]
    assert list(labels.heads)[1:] == ["Spearman, signed", "Spearman, magnitudes", "SSIM", "HOG"]
    assert list(edges.rows[2]) == [
        "Grad-CAM",
        "0.10 [0.09, 0.11]",
        "-0.20 [-0.21, -0.19]",
        "0.10 [0.09, 0.11]",
    ]
    assert list(alone.heads) == ["Method", "fc1", "conv2", "conv1"]
    assert list(alone.rows[0]) == ["Gradient", *["0.30 [0.29, 0.31]"] * 3]
    assert found.values["accuracy"] == 0.9125
    assert found.values["cascading fc1 gradcam hog"] == pytest.approx(0.9)
    assert found.values["cascading fc1 gradcam hog low"] == pytest.approx(0.89)
    assert found.values["edges edges gradcam ssim high"] == pytest.approx(-0.19)
    assert len(found.values) == 3 + 3 * 7 * 4 * (4 + 3 + 2 + 1)


def test_notes_say_how_well_the_networks_learnt(measured):
    assert list(outcome(measured).notes) == [
        "The network finds the class of 91.25% of the test images.",
        "The network of permuted labels answers 99.90% of its 2,000 images with the permuted "
        "label; that of as many true labels finds the class of 83.20% of the test images.",
    ]
    poor = replace(measured, accuracies={"a": 0.8999, "b": 0.5, "c": 0.25})
    assert list(outcome(poor).notes) == [
        "The network finds the class of 89.99% of the test images, below the 90% that the protocol "
        "asks for.",
        "The network of permuted labels answers 50.00% of its 2,000 images with the permuted "
        "label, below the 95% that count as fitting them; that of as many true labels finds the "
        "class of 25.00% of the test images.",
    ]


def test_notes_count_the_maps_that_are_constant(measured):
    for found, count in ((measured.cascading, 3), (measured.labels, 1)):
        for name in ("spearman", "absolute-spearman", "hog"):
            found["guidedgradcam"].similarity[name][0, 0, :count] = np.nan
    assert outcome(measured).notes[2] == (
        "Maps that are constant have no Spearman correlation and no HOG, and are left out of these "
        "means: 3 of 80 of Guided Grad-CAM (cascading); 1 of 40 of Guided Grad-CAM (labels)."
    )
