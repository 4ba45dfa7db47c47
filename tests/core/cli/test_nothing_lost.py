"""No command writes over what it reads, and none takes an old or broken result for a good one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from camcore.photos.io import encode, read_photo, write_image

MODEL = ("--model", "tiny_models:named")


def pixels(seed):
    return np.random.default_rng(seed).integers(0, 256, (30, 45, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three photographs in the working directory, one of them named like a result."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, name in enumerate(["a.jpg", "b.png", "a.overlay.jpg"]):
        write_image(folder / name, pixels(number))
    monkeypatch.chdir(folder)
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "words",
    [
        ["explain", "a.jpg", "a.overlay.jpg", *MODEL, "--output", "."],
        ["explain", ".", *MODEL, "--output", "."],
        ["explain", "*.jpg", *MODEL, "--output", "../photos"],
        ["explain", "overlay.png", *MODEL, "--output", "."],
        ["explain", "figure.png", *MODEL, "--output", "."],
        ["explain", "soft.jpg", *MODEL, "--output", "."],
        ["explain", "hard.jpg", "b.png", *MODEL, "--output", "."],
        ["explain", "c.jpg", "C.png", "c.png", "C.jpg", *MODEL, "--output", "out"],
        ["compare", "a.jpg", *MODEL, *MODEL, "--report", "a.jpg", "--output", "out"],
        ["compare", "a.jpg", *MODEL, *MODEL, "--report", "out/../a.jpg", "--output", "out"],
        ["compare", "a.jpg", *MODEL, *MODEL, "--report", "link.html", "--output", "out"],
        ["compare", ".", *MODEL, *MODEL, "--report", "a.overlay.jpg", "--output", "out"],
    ],
)
def test_what_is_read_is_not_written_over(words, camcore, folder):
    for name in ("overlay.png", "figure.png", "c.jpg", "C.png", "c.png", "C.jpg"):
        write_image(folder / name, pixels(4))
    os.symlink("overlay.png", folder / "soft.jpg")
    os.link("a.overlay.jpg", folder / "hard.jpg")
    os.link("a.jpg", folder / "link.html")
    if words[1] == "hard.jpg":  # the results of hard.jpg are elsewhere: what it is linked to
        os.link("a.overlay.jpg", folder / "b.overlay.jpg")
    before = contents(folder)
    done = camcore(*words)
    assert done.exit_code == 1
    assert "would be written over" in done.stderr or "would be one file" in done.stderr
    assert contents(folder) == before


def test_the_models_file_is_not_written_over(camcore, folder, monkeypatch):
    weights = folder / "weights.html"
    weights.write_text("weights")
    words = ["-m", "torchvision:resnet18", "--weights", weights, *MODEL, "--weights", "-"]
    done = camcore("compare", "a.jpg", *words, "--report", weights)
    assert done.exit_code == 1
    assert "weights.html would be written over" in done.stderr


def test_a_video_is_not_written_over(camcore, folder, require):
    require("cv2")
    from camcore.batch import overlay_video, write_video
    from camcore.errors import FileError

    write_video(folder / "walk.overlay.mp4", [pixels(0)] * 2, 5)
    os.symlink("walk.overlay.mp4", folder / "walk.mp4")
    before = (folder / "walk.overlay.mp4").read_bytes()
    done = camcore("explain", "walk.mp4", *MODEL, "--output", ".")
    assert done.exit_code == 1
    assert "would be written over walk.mp4" in done.stderr
    with pytest.raises(FileError, match="would be written over"):
        overlay_video(None, "walk.mp4", "walk.mp4")
    assert (folder / "walk.overlay.mp4").read_bytes() == before


def test_a_photograph_named_like_a_result_is_named_and_results_are_known(camcore, folder):
    for _ in range(2):
        done = camcore("explain", ".", *MODEL, "--output", "out", "--recursive", "--json")
        summary = json.loads(done.stdout.splitlines()[-1])["summary"]
        assert (summary["photographs"], summary["explained"]) == (2, 2)
        assert summary["passed_over"] == ["a.overlay.jpg"]
        assert "passed over, since they look like results but are of no run: 1" in done.stderr
        assert "(a.overlay.jpg)" in done.stderr
    write_image(folder / "out" / "mine.png", pixels(3))
    done = camcore("explain", ".", *MODEL, "--output", "out", "--recursive")
    assert "of no run: 2 (a.overlay.jpg, out/mine.png)" in done.stderr
    done = camcore("explain", "a.overlay.jpg", *MODEL, "--output", "out", "--format", "jpg")
    assert done.exit_code == 0
    assert (folder / "out" / "a.overlay.overlay.jpg").is_file()
    done = camcore("compare", ".", *MODEL, "--method", "gradcam", "--method", "layercam")
    assert "left out a.overlay.jpg: it is named like a result" in done.stderr


WORDS = ("explain", "a.jpg", "b.png", "--save", "npz", "--figures", "--json", "-o", "out")


def redone(camcore, *words):
    """Explain with --resume, and list the photographs that were not skipped."""
    done = camcore(*words, "--resume")
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines()[:-1]]
    return [line["path"] for line in lines if not line["skipped"]]


def spoil(how, path):
    whole = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        middle = len(whole) // 2
        zeros = whole[:middle] + bytes(20) + whole[middle + 20 :]
        path.write_bytes({"empty": b"", "cut short": whole[:middle], "broken": zeros}[how])


@pytest.mark.parametrize("how", ["gone", "empty", "cut short", "broken"])
@pytest.mark.parametrize("output", ["a.overlay.jpg", "a.npz", "a.figure.png"])
def test_a_result_that_is_not_whole_is_made_again(how, output, camcore, folder):
    assert redone(camcore, *WORDS, *MODEL) == ["a.jpg", "b.png"]
    before = (folder / "out" / output).read_bytes()
    assert redone(camcore, *WORDS, *MODEL) == []
    spoil(how, folder / "out" / output)
    assert redone(camcore, *WORDS, *MODEL) == ["a.jpg"]
    assert redone(camcore, *WORDS, *MODEL) == []
    if output != "a.npz":  # an archive holds the time of day
        assert (folder / "out" / output).read_bytes() == before


def test_a_photograph_that_changed_is_explained_again(camcore, folder):
    assert redone(camcore, *WORDS, *MODEL) == ["a.jpg", "b.png"]
    before = os.stat("a.jpg")
    Path("a.jpg").write_bytes(Path("a.jpg").read_bytes())  # as long as before
    os.utime("a.jpg", ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert redone(camcore, *WORDS, *MODEL) == ["a.jpg"]
    Path("b.png").write_bytes(encode(pixels(9), "png") + b"longer")
    os.utime("b.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert redone(camcore, *WORDS, *MODEL) == ["b.png"]
    assert redone(camcore, *WORDS, *MODEL) == []


def test_a_result_of_another_photograph_in_its_place_is_made_again(camcore, folder):
    assert redone(camcore, *WORDS, *MODEL) == ["a.jpg", "b.png"]
    for ending in ("overlay.jpg", "npz", "figure.png"):
        whole = (folder / "out" / f"a.{ending}").read_bytes()
        (folder / "out" / f"b.{ending}").write_bytes(whole)
    assert redone(camcore, *WORDS, *MODEL) == ["b.png"]


def test_results_of_an_earlier_call_do_not_count_after_one_that_was_stopped(
    camcore, folder, monkeypatch
):
    first = [*WORDS[:3], *WORDS[6:], *MODEL]
    assert redone(camcore, *first) == ["a.jpg", "b.png"]
    from camcore.cli.explain import folder as command

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(command, "_run", stop)
        assert camcore(*first, "--method", "layercam").exit_code == 130
    assert redone(camcore, *first, "--method", "layercam") == ["a.jpg", "b.png"]


def test_a_model_whose_function_or_file_changed_is_explained_with_again(
    camcore, folder, tmp_path, monkeypatch
):
    import importlib
    import sys

    monkeypatch.syspath_prepend(tmp_path)
    source = tmp_path / "my_own_model.py"
    source.write_text("from tiny_models import named\n\n\ndef make():\n    return named()\n")
    words = [*WORDS, "--model", "my_own_model:make"]
    try:
        assert redone(camcore, *words) == ["a.jpg", "b.png"]
        assert redone(camcore, *words) == []
        seen = read_photo("out/a.overlay.jpg")
        source.write_text(source.read_text().replace("named()", "named(seed=1)"))
        importlib.invalidate_caches()
        del sys.modules["my_own_model"]
        assert redone(camcore, *words) == ["a.jpg", "b.png"]
        assert np.abs(read_photo("out/a.overlay.jpg").astype(int) - seen).max() > 5
    finally:
        sys.modules.pop("my_own_model", None)


def test_weights_that_changed_are_explained_with_again(camcore, folder, tiny, monkeypatch):
    from camcore import zoo

    weights = folder / "weights.pth"
    weights.write_text("one")
    monkeypatch.setattr(zoo, "load_model", lambda spec, weights, **options: tiny.named())
    words = [*WORDS, "--model", "timm:resnet18", "--weights", weights]
    assert redone(camcore, *words) == ["a.jpg", "b.png"]
    assert redone(camcore, *words) == []
    about = os.stat(weights)
    weights.write_text("two")
    os.utime(weights, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    assert redone(camcore, *words) == ["a.jpg", "b.png"]
    assert redone(camcore, *words) == []
