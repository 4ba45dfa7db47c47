"""``camcore evaluate``: the library's own numbers, and files to work on with."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import camcore as library
from camcore.photos.io import write_image

MODEL = ("--model", "tiny_models:named")
QUICK = ("--method", "gradcam", "--metric", "deletion", "--metric", "average-drop", "--steps", 4)


@pytest.fixture(autouse=True)
def _tables(require):
    for package in ("scipy", "pandas"):
        require(package)


@pytest.fixture
def folder(tmp_path):
    home = tmp_path / "photos"
    home.mkdir()
    random = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        write_image(home / f"{name}.png", random.integers(0, 256, (30, 45, 3), dtype=np.uint8))
    return home


@pytest.fixture
def evaluated(camcore, folder, tmp_path):
    def run(*words, code=0):
        done = camcore("evaluate", folder, *MODEL, *words, "--output", tmp_path / "out")
        assert done.exit_code == code, done.output
        return done

    return run


def test_numbers_are_the_librarys_own_whatever_the_batch(evaluated, folder, tiny):
    found = json.loads(evaluated(*QUICK, "--json", "--batch", 2).stdout)
    expected = library.evaluate(
        tiny.named(),
        [folder / f"{name}.png" for name in "abc"],
        methods="gradcam",
        metrics=["deletion", "average_drop"],
        steps=4,
    )
    assert list(found["rows"]) == list(expected.rows)
    assert found["photographs"] == ["a.png", "b.png", "c.png"]
    assert [row for row, one in found["rows"].items() if one["control"]] == list(expected.controls)
    for row, one in found["rows"].items():
        for metric in expected.metrics:
            interval = expected.interval(row, metric)
            assert one["metrics"][metric]["mean"] == pytest.approx(
                interval.mean, rel=1e-4, abs=1e-4
            )
    assert found["settings"]["model"] == "tiny_models:named"
    assert found["settings"]["steps"] == "4"


def test_files_hold_every_value_and_the_table(evaluated, tmp_path):
    done = evaluated(*QUICK, "--no-controls")
    assert "deletion: lower is better" in done.stdout
    assert "3 samples; means [95 % bootstrap interval]; (controls)." in done.stdout
    with (tmp_path / "out" / "per_sample.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["sample"] for row in rows] == ["0", "1", "2"] * 2
    known = json.loads((tmp_path / "out" / "table.json").read_text())
    mean = known["rows"]["gradcam"]["metrics"]["deletion"]["mean"]
    assert np.mean([float(r["value"]) for r in rows[:3]]) == pytest.approx(mean)
    lines = (tmp_path / "out" / "table.md").read_text().splitlines()
    assert lines[2].startswith("| gradcam | ")
    assert len(lines) == 3


def test_metrics_as_a_library_has_them(evaluated, folder, tiny):
    words = (*QUICK[:2], "--metric", "average-drop", "--metric-recipe", "torchcam", "--json")
    found = json.loads(evaluated(*words, "--no-controls").stdout)
    expected = library.evaluate(
        tiny.named(),
        [folder / f"{name}.png" for name in "abc"],
        methods="gradcam",
        metrics="average_drop",
        metric_recipe="torchcam",
        controls=False,
    )
    mean = expected.interval("gradcam", "average_drop").mean
    assert found["rows"]["gradcam"]["metrics"]["average_drop"]["mean"] == pytest.approx(mean)
    assert found["settings"]["metrics"] == "torchcam 0.5.0"


def test_masks_lie_over_their_photographs(evaluated, folder, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    marked = np.zeros((30, 45, 3), np.uint8)
    marked[:, :22] = 255
    for name in "abc":
        write_image(masks / f"{name}.png", marked)
    asked = ("--metric", "energy-pointing-game", "--masks", masks, "--json")
    found = json.loads(evaluated(*QUICK[:2], *asked).stdout)
    # The model sees 8 pixels of 3 from column 12 on, of which three have their centres below 22.
    ones = found["rows"]["ones"]["metrics"]["energy_pointing_game"]["mean"]
    assert ones == pytest.approx((3 * 8 - 1) / 63)
    (masks / "b.png").unlink()
    done = evaluated(*QUICK[:2], *asked, code=1)
    assert "There is no mask of b.png" in done.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--metric", "deletoin"), "There is no metric 'deletoin'. Did you mean 'deletion'"),
        (("--method", "gradcamm"), "gradcam"),
        (("--recipe", "papier"), "paper"),
        (("--metric-recipe", "torch-cam"), "Did you mean 'torchcam'"),
        (("--metric-recipe", "torchcam", "--metric", "road"), "does not have road"),
    ],
)
def test_what_names_nothing_ends_with_2(evaluated, words, message):
    assert message in evaluated(*words, code=2).output


def test_curves_are_saved_and_joined_over_batches(evaluated, folder, tmp_path, tiny):
    found = json.loads(evaluated(*QUICK, "--json", "--batch", 2).stdout)
    expected = library.evaluate(
        tiny.named(),
        [folder / f"{name}.png" for name in "abc"],
        methods="gradcam",
        metrics="deletion",
        steps=4,
    )
    with np.load(tmp_path / "out" / "curves.npz") as curves:
        assert len(curves) == 2 * len(expected.rows)
        for row, kinds in expected.curves.items():
            scores = curves[f"{row}/deletion/scores"]
            np.testing.assert_allclose(scores, kinds["deletion"].scores, rtol=1e-4, atol=1e-6)
            fractions = curves[f"{row}/deletion/fractions"]
            np.testing.assert_array_equal(fractions, [0, 0.25, 0.5, 0.75, 1])
    assert found["settings"]["score"] == "probability"
    # Curves of an earlier call do not stay beside another table.
    evaluated("--method", "gradcam", "--metric", "complexity")
    assert not (tmp_path / "out" / "curves.npz").exists()


def test_a_report_has_the_maps_and_what_the_network_was_fed(evaluated, tmp_path, require):
    require("jinja2")
    done = evaluated(*QUICK, "--batch", 2, "--no-controls", "--report")
    assert "report.html" in done.output
    text = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert text.count('<article class="fed"') == 3
    assert text.count('class="cell photo-') == 3
    assert "Shown of 3 of 3 photographs" in text
    assert "camcore evaluate " in text
    assert all(f">{name}.png</a>" in text for name in "abc")


def test_a_report_shows_the_first_photographs(evaluated, tmp_path, monkeypatch, require):
    require("jinja2")
    monkeypatch.setattr("camcore.cli.evaluate.PHOTOGRAPHS", 2)
    evaluated(*QUICK, "--batch", 1, "--no-controls", "--report")
    text = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert text.count('<article class="fed"') == 2
    assert "Of 3 photographs, the maps of 2 are shown." in text
    assert "Means of 3 photographs" in text
