"""``camcore explain`` on folders: all that can be done is done once, the rest is named."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import camcore as library
from camcore.batch import PreparedPhoto
from camcore.photos.io import read_photo, write_image

MODEL = ("--model", "tiny_models:named")


def pixels(seed, shape=(30, 45, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Five photographs in two folders, two of them told apart by their endings alone."""
    for number, name in enumerate(["a.png", "b.png", "in/a.png", "in/b.png"]):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, pixels(number))
    write_image(tmp_path / "photos" / "a.bmp", pixels(4))
    (tmp_path / "photos" / "notes.txt").write_text("not a photograph, and not called one")
    (tmp_path / "photos" / ".hidden.png").write_text("not looked at")
    return tmp_path / "photos"


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def lines(done):
    """JSON lines by photograph, and the summary."""
    *each, last = map(json.loads, done.stdout.splitlines())
    return {line["path"]: line for line in each}, last["summary"]


def test_overlays_of_a_folder_are_no_larger_than_asked(camcore, folder, tmp_path):
    out = tmp_path / "out"
    done = camcore("explain", folder, *MODEL, "--max-dim", 15, "--format", "png", "--output", out)
    assert done.exit_code == 0, done.output
    assert {read_photo(path).shape for path in out.glob("*.png")} == {(10, 15, 3)}


def test_each_photograph_gets_the_librarys_own_overlay_at_a_mirrored_place(
    camcore, folder, tiny, tmp_path
):
    out = tmp_path / "out"
    done = camcore("explain", folder, *MODEL, "-r", "--format", "png", "--batch", 2, "-o", out)
    assert done.exit_code == 0, done.output
    assert "Explained 5 of 5 photographs" in done.stdout
    assert "no photographs by their names: 1" in done.stderr
    assert names(out) == [
        "a.bmp.overlay.png",
        "a.png.overlay.png",
        "b.overlay.png",
        "camcore-run.json",
        "in/a.overlay.png",
        "in/b.overlay.png",
    ]
    for path, made in (("a.bmp", "a.bmp"), ("a.png", "a.png"), ("in/b.png", "in/b")):
        loaded = tiny.named()
        photo = PreparedPhoto.for_model(loaded, read_photo(folder / path))
        result = library.explain(loaded.model, photo.inputs)
        expected = photo.explained(result).overlay(exact=True).astype(int)
        assert np.abs(read_photo(out / f"{made}.overlay.png") - expected).max() <= 1


def test_the_classes_that_were_explained_are_counted(camcore, folder, tmp_path):
    done = camcore("explain", folder, *MODEL, "--target", 1, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "Most often: tiger cat (3)\n" in done.stdout


def test_json_says_what_the_library_says(camcore, folder, tiny, tmp_path):
    (folder / "c.png").write_text("no picture")
    done = camcore("explain", folder, *MODEL, "--json", "--save", "npz", "-o", tmp_path / "out")
    assert done.exit_code == 1
    each, summary = lines(done)
    assert list(each) == [str(folder / name) for name in ("a.bmp", "a.png", "b.png", "c.png")]
    assert (summary["photographs"], summary["explained"], summary["failed"]) == (4, 3, 1)
    assert "is no image" in each[str(folder / "c.png")]["error"]
    assert len({tuple(line) for line in each.values()}) == 1  # the same keys in every line
    for name, stem in (("a.bmp", "a.bmp"), ("b.png", "b")):
        line = each[str(folder / name)]
        loaded = tiny.named()
        photo = PreparedPhoto.for_model(loaded, read_photo(folder / name))
        expected = library.explain(loaded.model, photo.inputs, activation="softmax")
        index, probability = expected.top(1)[0][0]
        assert (line["class"], line["class_name"]) == (index, tiny.CLASSES[index])
        assert line["probability"] == pytest.approx(probability, abs=1e-6)
        assert line["score"] == pytest.approx(expected.scores[0], abs=1e-6)
        assert line["empty"] is False
        assert Path(line["output"]) == tmp_path / "out" / f"{stem}.overlay.jpg"
        saved = library.load(tmp_path / "out" / f"{stem}.npz")
        assert saved.maps == pytest.approx(expected.maps, abs=1e-6)


def test_files_and_patterns_are_explained_with_figures(camcore, folder, tmp_path):
    out = tmp_path / "out"
    words = [folder / "a.bmp", f"{folder}/**/b.png", folder / "a.bmp", *MODEL]
    done = camcore("explain", *words, "--figures", "--target", 1, "--json", "-o", out)
    assert done.exit_code == 0
    each, _ = lines(done)
    assert {line["class"] for line in each.values()} == {1}
    assert [Path(path).name for path in each] == ["a.bmp", "b.png", "b.png"]
    assert [name for name in names(out) if "figure" in name] == [
        "a.figure.png",
        "b.figure.png",
        "in/b.figure.png",
    ]
    assert (out / "a.figure.png").stat().st_size > 5000


def test_results_within_the_folder_are_not_explained_again(camcore, folder, monkeypatch):
    monkeypatch.chdir(folder)
    for output in ("out", "."):
        for _ in range(2):
            done = camcore("explain", ".", *MODEL, "-r", "-o", output, "--json")
            assert lines(done)[1]["photographs"] == 5


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["*.webp"], "matches no file"),
        (["empty"], "without photographs"),
        (["photos", "--every", "2"], "for a video"),
        (["photos", "--batch", "0"], "batch"),
        (["photos", "--format", "gif"], "gif"),
        (["a.mp4", "b.mp4"], "by itself"),
        (["a.mp4", "--resume"], "--resume"),
    ],
)
def test_misuse_is_exit_code_2_and_nothing_is_made(
    words, says, camcore, folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    done = camcore("explain", *words, *MODEL, "-o", "out")
    assert done.exit_code == 2
    assert says in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()


def test_what_is_wrong_with_every_photograph_ends_the_run_at_once(camcore, folder, tmp_path):
    done = camcore("explain", folder, *MODEL, "--target", "99", "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert done.stderr.count("99") == 1
    assert "failed" not in done.stderr


def test_resume_does_what_is_missing_and_refuses_another_call(camcore, folder, tmp_path):
    out = tmp_path / "out"
    words = ["explain", folder, *MODEL, "-o", out, "--resume", "--json"]
    first, summary = lines(camcore(*words))
    assert summary["explained"] == 3
    gone = Path(first[str(folder / "b.png")]["output"])
    gone.unlink()
    write_image(folder / "z.png", pixels(9))
    each, summary = lines(camcore(*words))
    assert (summary["explained"], summary["skipped"]) == (2, 2)
    assert [Path(path).name for path, line in each.items() if not line["skipped"]] == [
        "b.png",
        "z.png",
    ]
    assert gone.exists()
    for change, says in (
        (["--target", "1"], "target was not given and is 1"),
        (["--layer", "relu1", "--layer", "relu2"], "layer was not given and is relu1, relu2"),
        (["--method", "LayerCAM"], "method was gradcam and is layercam"),
        (["--format", "png"], "format was jpg and is png"),
    ):
        done = camcore(*words, *change)
        assert done.exit_code == 1
        assert says in done.stderr
    # The same method by another name is the same call.
    assert camcore(*words, "--method", "Grad-CAM").exit_code == 0
    (out / "camcore-run.json").write_text("{")
    assert "Start over without --resume" in " ".join(camcore(*words).stderr.split())


def test_another_run_into_the_same_folder_is_refused(camcore, folder, tmp_path):
    pytest.importorskip("fcntl")
    from camcore._shared.atomic import alone_in

    with alone_in(tmp_path):
        done = camcore("explain", folder, *MODEL, "-o", tmp_path)
    assert done.exit_code == 1
    assert "Another run" in done.stderr


def test_a_full_disk_ends_the_run_and_says_how_to_go_on(camcore, folder, tmp_path, monkeypatch):
    from camcore.cli.explain import folder as command

    def full(path, data):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(command, "write_image", full)
    done = camcore("explain", folder, *MODEL, "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "No space left on device" in done.stderr
    assert "--resume" in done.stderr


def test_files_that_are_missing_or_have_odd_names_are_named(camcore, folder, tmp_path):
    odd = os.fsdecode(bytes(folder) + b"/\xff.png")
    try:
        Path(odd).write_text("no picture")
    except OSError:
        pytest.skip("this file system has names of text only")
    words = ["explain", folder / "b.png", folder / "gone.png", odd, *MODEL, "-o", tmp_path / "out"]
    done = camcore(*words)
    assert done.exit_code == 1
    assert "Explained 1 of 3 photographs" in done.stdout
    assert f"\n  {folder / 'gone.png'} does not exist" in done.stderr
    assert "?.png is no image" in done.stderr
    each, summary = lines(camcore(*words, "--json"))
    assert summary["failed"] == 2
    assert "is no image" in each[odd]["error"]


def test_a_folder_without_permission_is_misuse(camcore, folder, tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("camcore.batch.find.os.listdir", refuse)
    done = camcore("explain", folder, *MODEL, "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert "cannot be looked into (Permission denied)" in " ".join(done.stderr.split())


BROKEN = {
    "empty.jpg": lambda whole: b"",
    "empty.png": lambda whole: b"",
    "half.jpg": lambda whole: whole["jpg"][: len(whole["jpg"]) // 2],
    "half.png": lambda whole: whole["png"][: len(whole["png"]) // 2],
    "stub.jpg": lambda whole: whole["jpg"][:20],
    "text.jpg": lambda whole: b"not a picture",
    "page.png": lambda whole: b"<!doctype html>",
    "zeros.webp": lambda whole: bytes(500),
    "float.tif": lambda whole: whole["float"],
}


@pytest.fixture(scope="module")
def five_hundred(tmp_path_factory, require):
    """490 photographs of 48 by 48, and ten that are broken, one of them a folder."""
    pillow = require("PIL.Image")
    folder = tmp_path_factory.mktemp("many")
    for number in range(490):
        kind = "jpg" if number % 2 else "png"
        pillow.fromarray(pixels(number, (48, 48, 3))).save(folder / f"{number:03}.{kind}")
    pillow.fromarray(np.full((8, 8), np.nan, np.float32)).save(folder / "float.tif")
    whole = {
        "jpg": (folder / "001.jpg").read_bytes(),
        "png": (folder / "000.png").read_bytes(),
        "float": (folder / "float.tif").read_bytes(),
    }
    for name, broken in BROKEN.items():
        (folder / name).write_bytes(broken(whole))
    (folder / "folder.jpg").mkdir()
    return folder


def start(folder, out, *words):
    """The command in a process of its own."""
    here = str(Path(__file__).parents[2] / "support")
    path = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [
            *(sys.executable, "-c", "from camcore.cli import main; main()", "explain", folder),
            *("--model", "tiny_models:slow", "--json", "--output", out, *words),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
    )


def overlays(out):
    """What is there, with when it was written."""
    return {path.name: path.stat().st_mtime_ns for path in out.glob("*.overlay.jpg")}


def drafts(out):
    return [path.name for path in out.glob(".*")]


@pytest.mark.parametrize("stop", ["SIGINT", "SIGKILL"])
def test_five_hundred_files_stopped_and_resumed_are_done_once_and_the_broken_named(
    stop, five_hundred, tmp_path
):
    out = tmp_path / "out"
    run = start(five_hundred, out)
    deadline = time.monotonic() + 60
    while len(overlays(out)) < 100 and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    run.send_signal(getattr(signal, stop))
    said, errors = run.communicate(timeout=60)
    before = overlays(out)
    assert 100 <= len(before) < 490, errors
    for name in before:
        assert read_photo(out / name).shape == (48, 48, 3)
    if stop == "SIGINT":
        assert run.returncode == 130
        assert "--resume" in errors
        assert drafts(out) == []
    else:
        assert run.returncode == -signal.SIGKILL
        (out / f".001.overlay.jpg.{'0a' * 16}.part").write_bytes(b"half written")
    told = [json.loads(line) for line in said.splitlines() if line.endswith("}")]
    first = {Path(line["output"]).name for line in told if line["output"]}
    assert first <= set(before)

    run = start(five_hundred, out, "--resume")
    said, errors = run.communicate(timeout=120)
    assert run.returncode == 1
    each = [json.loads(line) for line in said.splitlines()]
    summary = each.pop()["summary"]
    second = {Path(line["output"]).name for line in each if line["output"] and not line["skipped"]}
    after = overlays(out)
    assert second.isdisjoint(before)
    assert (
        second | set(before) == set(after) == {f"{number:03}.overlay.jpg" for number in range(490)}
    )
    assert {name: after[name] for name in before} == before
    assert drafts(out) == []
    assert summary["explained"] == len(second) == 490 - len(before)
    assert summary["failed"] == 10
    failed = {Path(line["path"]).name for line in each if line["error"]}
    assert failed == {*BROKEN, "folder.jpg"}
    for name in failed:
        assert f"{five_hundred / name} " in errors
    for name in after:
        assert read_photo(out / name).shape == (48, 48, 3)
