"""The options that say what a model is loaded with, and how results are shown."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import camcore as library
from camcore.augment import FLIPS_AND_SCALES, Flip
from camcore.batch import PreparedPhoto
from camcore.photos.io import read_photo, write_image
from camcore.recipes import OverlayStyle

NAMED = ("-m", "tiny_models:named")


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(1)
    (tmp_path / "photos").mkdir()
    for name in ("a", "b"):
        pixels = rng.integers(0, 256, (24, 30, 3), dtype=np.uint8)
        write_image(tmp_path / "photos" / f"{name}.png", pixels)
    return tmp_path / "photos"


@pytest.fixture
def asked(monkeypatch, tiny):
    """What `load_model` is asked for, in the place of loading."""
    from camcore import zoo

    calls = []

    def load(spec, weights=None, **options):
        calls.append((spec, weights, {k: v for k, v in options.items() if v}))
        return tiny.named()

    monkeypatch.setattr(zoo, "load_model", load)
    return calls


OPTIONS = ("--checkpoint", "c.ckpt", "--num-classes", 5, "--device", "cpu")


def test_a_model_is_loaded_as_the_options_say(camcore, photo, tmp_path, asked):
    names = tmp_path / "names.txt"
    names.write_text("a\nb\nc\nd\ne\n")
    given = {"checkpoint": "c.ckpt", "num_classes": 5, "device": "cpu"}
    out = ("--output", tmp_path / "out")
    done = camcore("explain", photo, "-m", "timm:x", *OPTIONS, "--classes", names, *out)
    assert done.exit_code == 0, done.output
    assert camcore("layers", "timm:x", *OPTIONS).exit_code == 0
    camcore("explain", photo, "-m", "timm:x", "--pretrained", *out)
    assert asked == [
        ("timm:x", None, {**given, "classes": names}),
        ("timm:x", None, given),
        ("timm:x", None, {"pretrained": True}),
    ]


def test_models_are_compared_as_the_options_say(camcore, photo, tmp_path, asked):
    done = camcore(
        *("compare", photo, "-m", "timm:x", "-m", "timm:y", "--checkpoint", "c.ckpt"),
        *("--checkpoint", "-", "--num-classes", 5, "--output", tmp_path / "out"),
    )
    assert done.exit_code == 0, done.output
    assert asked == [
        ("timm:x", None, {"checkpoint": "c.ckpt", "num_classes": 5}),
        ("timm:y", None, {"num_classes": 5}),
    ]


def test_classes_are_named_by_a_file(camcore, photo, tmp_path):
    names = tmp_path / "names.json"
    names.write_text(json.dumps({str(i): f"kind {i}" for i in range(5)}))
    words = ("explain", photo, *NAMED, "--classes", names, "--output", tmp_path / "out")
    assert "of kind 3 (class 3, score" in camcore(*words, "--target", "Kind 3").stdout
    names.write_text("[")
    failed = camcore(*words)
    assert failed.exit_code == 1
    assert "cannot be read" in failed.stderr
    assert "loading" not in failed.stderr


def test_files_that_a_model_is_loaded_from_are_not_written_over(camcore, photo, tmp_path):
    names = tmp_path / "out" / "overlay.png"
    names.parent.mkdir()
    names.write_text("a\nb\nc\nd\ne\n")
    done = camcore("explain", photo, *NAMED, "--classes", names, "--output", names.parent)
    assert done.exit_code == 1
    assert names.read_text() == "a\nb\nc\nd\ne\n"


def test_resume_notices_names_and_checkpoints_that_changed(camcore, folder, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("a\nb\nc\nd\ne\n")
    words = ("explain", folder, *NAMED, "--classes", names, "--output", tmp_path / "out", "--json")

    def explained(*more):
        return json.loads(camcore(*words, *more).stdout.splitlines()[-1])["summary"]["explained"]

    assert [explained(), explained("--resume")] == [2, 0]
    names.write_text("a\nb\nc\nd\nother\n")
    assert explained("--resume") == 2
    other = camcore(*words, "--resume", "--alpha", "0.9")
    assert other.exit_code == 1
    assert "alpha was not given and is 0.9" in " ".join(other.stderr.split())


@pytest.mark.parametrize("count", [1, 3])
def test_as_many_classes_are_listed_as_are_asked_for(camcore, photo, tmp_path, count):
    done = camcore("explain", photo, *NAMED, "--top", count, "--output", tmp_path / "out")
    assert sum("%" in line for line in done.stdout.splitlines()) == count


def test_overlays_have_the_colours_that_are_asked_for(camcore, photo, tiny, tmp_path):
    said = ("--colormap", "jet", "--alpha", "0.3")
    camcore("explain", photo, *NAMED, *said, "--output", tmp_path)
    loaded, pixels = tiny.named(), read_photo(photo)
    prepared = PreparedPhoto.for_model(loaded, pixels)
    one = prepared.explained(library.explain(loaded.model, prepared.inputs, **loaded.defaults))
    style = OverlayStyle(colormap="jet", alpha=0.3)
    assert np.array_equal(read_photo(tmp_path / "overlay.png"), one.overlay(style, exact=True))
    assert library.load(tmp_path / "explanation.npz").overlay_style == style
    failed = camcore("explain", photo, *NAMED, "--colormap", "jett", "--output", tmp_path)
    assert (failed.exit_code, "loading" in failed.stderr) == (2, False)
    assert camcore("explain", photo, *NAMED, "--alpha", 2).exit_code == 2


@pytest.mark.parametrize(
    ("word", "views"), [("flip", (Flip(),)), ("flips-and-scales", FLIPS_AND_SCALES)]
)
def test_maps_are_averaged_over_views(camcore, photo, tiny, tmp_path, word, views):
    camcore("explain", photo, *NAMED, "--augment", word, "--output", tmp_path)
    loaded = tiny.named()
    inputs = PreparedPhoto.for_model(loaded, read_photo(photo)).inputs
    expected = library.explain(loaded.model, inputs, augment=views, **loaded.defaults)
    plain = library.explain(loaded.model, inputs, **loaded.defaults)
    saved = library.load(tmp_path / "explanation.npz")
    np.testing.assert_array_equal(saved.maps, expected.maps)
    assert not np.array_equal(saved.maps, plain.maps)


def test_json_changes_what_is_printed_and_not_what_is_written(camcore, photo, tmp_path):
    plain = camcore("explain", photo, *NAMED, "--output", tmp_path / "a")
    done = camcore("explain", photo, *NAMED, "--output", tmp_path / "b", "--json")
    written = [sorted(p.name for p in (tmp_path / name).iterdir()) for name in "ab"]
    assert written[0] == written[1]
    for name in ("overlay.png", "figure.png", "explanation.npz"):
        first, second = ((tmp_path / one / name).read_bytes() for one in "ab")
        assert first == second
    line, last = map(json.loads, done.stdout.splitlines())
    saved = library.load(tmp_path / "b" / "explanation.npz")
    assert line["class"] == saved.classes[0]
    assert line["score"] == pytest.approx(float(saved.scores[0]))
    assert line["output"] == str(tmp_path / "b" / "overlay.png")
    assert line["class_name"] in plain.stdout
    assert last["summary"]["explained"] == 1


def test_a_report_shows_every_photograph_of_a_folder(camcore, folder, tmp_path):
    (folder / "broken.png").write_text("no picture")
    words = ("explain", folder, *NAMED, "--target", "tabby", "--output", tmp_path / "out")
    done = camcore(*words, "--report")
    assert done.exit_code == 1
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/") >= 4
    for said in ("a.png", "b.png", "tabby", "Left out broken.png", "--target tabby --report"):
        assert said in page
    assert "report.html" in done.stdout
    last = json.loads(camcore(*words, "--report", "--json").stdout.splitlines()[-1])
    assert last["summary"]["report"] == str(tmp_path / "out" / "report.html")
    assert camcore(*words, "--report", "--resume").exit_code == 2
    one = camcore("explain", folder / "a.png", *NAMED, "--report", "-o", tmp_path / "one")
    assert one.exit_code == 0
    assert (tmp_path / "one" / "report.html").exists()


def test_a_report_of_many_photographs_shows_the_first(camcore, folder, tmp_path, monkeypatch):
    from camcore.cli.explain import report

    monkeypatch.setattr(report, "PICTURES", 1)
    camcore("explain", folder, *NAMED, "--report", "--output", tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Of 2 photographs, the first 1 are shown." in page
    assert "b.png" not in page


def test_what_a_model_makes_of_a_class_is_explained(camcore, photo, tiny, tmp_path, monkeypatch):
    from camcore import zoo
    from camcore.targets import Class

    def aim(index):
        return -Class(1 if index is None else index)

    monkeypatch.setattr(zoo, "load_model", lambda *a, **o: replace(tiny.named(), aim=aim))
    for words, index in ((), 1), (("--target", "crane"), None), (("--target", 2), 2):
        done = camcore("explain", photo, *NAMED, *words, "--output", tmp_path)
        if index is None:
            assert "names the classes [3, 4]" in done.stderr
            continue
        loaded = tiny.named()
        inputs = PreparedPhoto.for_model(loaded, read_photo(photo)).inputs
        expected = library.explain(loaded.model, inputs, -Class(index), **loaded.defaults)
        saved = library.load(tmp_path / "explanation.npz")
        np.testing.assert_array_equal(saved.maps, expected.maps)
