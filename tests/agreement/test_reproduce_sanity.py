"""``camcore reproduce sanity --small`` on a data set of a few images, in PyTorch and in Keras."""

from __future__ import annotations

import json

import pytest

from camcore.studies.sanity import LABELS, METHODS

FRAMEWORKS = {"torch": "PyTorch", "tensorflow": "Keras"}


@pytest.fixture(scope="module")
def written(torch, keras, require, tmp_path_factory):
    """The page and the numbers of a run in both frameworks."""
    require("skimage")
    require("rich")
    from typer.testing import CliRunner

    from camcore.cli.app import app

    files = require("idx_files")
    place = tmp_path_factory.mktemp("reproduce")
    data = files.write_fashion(place / "tiny", files.striped(60), files.striped(12, seed=1))
    words = ["reproduce", "sanity", "--small", "--data", str(data), "-o", str(place / "out")]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    page = (place / "out" / "sanity.md").read_text("utf-8")
    return page, json.loads((place / "out" / "sanity.json").read_text("utf-8")), done.output


def test_both_frameworks_find_the_same(written):
    """They learn so little here that rounding does not drive them apart."""
    _, numbers, _ = written
    one, other = (numbers["frameworks"][name]["values"] for name in FRAMEWORKS)
    assert one.keys() == other.keys()
    assert len(one) == 3 + 3 * 7 * 4 * (4 + 3 + 2 + 1)
    for name, value in one.items():
        # The few steps on permuted labels take a map of guided Grad-CAM to the edge of being empty.
        edge = name.startswith("labels permuted guidedgradcam")
        learnt = name.startswith(("labels", "accuracy"))
        apart = 0.15 if edge else 0.03 if learnt else 0.01
        assert other[name] == pytest.approx(value, abs=apart), name


def test_the_page_has_the_numbers(written):
    page, numbers, _ = written
    assert page.startswith("# Sanity checks for saliency maps\n")
    assert "`camcore reproduce sanity --small --data tiny` wrote this page" in page
    assert "*A small run" in page
    sections = page.split("\n## ")
    for framework, label in FRAMEWORKS.items():
        of_framework = numbers["frameworks"][framework]
        (section,) = [one for one in sections if one.startswith(f"{label}: ")]
        values = of_framework["values"]

        def cell(key, values=values):
            ends = (values[f"{key}{end}"] for end in ("", " low", " high"))
            mean, low, high = (f"{round(end, 2) + 0.0:.2f}" for end in ends)
            return f"{mean} [{low}, {high}]"

        rows = [
            " | ".join(
                [METHODS[method]]
                + [
                    cell(f"cascading {at} {method} {name}")
                    for at in ("fc2", "fc1", "conv2", "conv1")
                ]
            )
            for name in LABELS
            for method in METHODS
        ]
        assert [row for row in rows if f"| {row} |" not in section] == []
        guided, plain = (
            cell(f"cascading fc1 {method} ssim") for method in ("guidedbackprop", "saliency")
        )
        assert (
            f"1. {'Held' if of_framework['findings'][0]['held'] else 'Did not hold'}: " in section
        )
        assert f"{guided} against {plain}" in section
        assert f"of {values['accuracy']:.2%} of the test images" in section.replace("class ", "")


def test_what_is_drawn_changes_maps_and_guided_ones_less(written):
    """So even in a network that has learnt next to nothing."""
    _, numbers, _ = written
    values = numbers["frameworks"]["torch"]["values"]
    assert values["cascading fc1 guidedbackprop ssim low"] > 0.6
    assert values["cascading fc1 saliency ssim high"] < 0.4
    assert abs(values["cascading fc1 saliency spearman"]) < 0.2


def test_missing_data_is_answered_by_what_to_install(torch, require, monkeypatch, tmp_path):
    from camcore.errors import InputError
    from camcore.studies import Setting, data, find_study, run_study

    require("skimage")
    monkeypatch.setattr(data, "FASHION_MNIST", tmp_path / "nowhere")
    with pytest.raises(InputError, match="apt install dataset-fashion-mnist"):
        run_study(find_study("sanity"), Setting("torch", small=True))
