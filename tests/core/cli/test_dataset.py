"""Data sets from the command line: rows in place of pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest

from camcore.batch import Cluster, explain_dataset, read_results
from camcore.photos.io import write_image

pytest.importorskip("pyarrow")


@pytest.fixture
def photos(tmp_path):
    """Five photographs, and one that is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(5):
        pixels = np.random.default_rng(seed).integers(0, 256, (30, 45, 3), dtype=np.uint8)
        write_image(folder / f"{seed}.png", pixels)
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def test_a_folder_is_explained_into_rows(camcore, photos, tmp_path):
    out = tmp_path / "out"
    done = camcore("explain", photos, "-m", "tiny_models:named", "-o", out, "--save", "rows")
    assert done.exit_code == 1
    assert "Explained 5 of 6 photographs" in done.stdout
    assert f"camcore.batch.read_results('{out}')" in done.stdout
    assert "1 of 6 photographs failed" in done.stderr
    assert "broken.png is no image" in done.stderr
    explain_dataset(photos, "tiny_models:named", tmp_path / "alone")
    here, there = (read_results(tmp_path / name) for name in ("out", "alone"))
    assert here.to_pandas()["score"].equals(there.to_pandas()["score"])
    for (_, one), (_, other) in zip(here.explanations(), there.explanations(), strict=True):
        np.testing.assert_array_equal(one.maps, other.maps)
    (photos / "broken.png").unlink()
    again = camcore(
        *("explain", photos, "-m", "tiny_models:named", "-o", out, "--save", "rows", "--resume")
    )
    assert again.exit_code == 0
    assert "5 were done before" in again.stdout
    assert len(read_results(out)) == 5


def test_what_is_asked_for_reaches_the_run(camcore, photos, tmp_path):
    out = tmp_path / "out"
    listing = photos / "some.txt"
    listing.write_text("0.png\n3.png\n")
    words = ["explain", listing, "-m", "tiny_models:named", "-o", out, "--target", "espresso"]
    words += ["--layer", "relu1", "--method", "layercam", "--overlay-size", "20"]
    assert camcore(*words).exit_code == 0
    results = read_results(out)
    assert results.to_pandas()["class_name"].tolist() == ["espresso", "espresso"]
    _, one = next(results.explanations())
    assert (one.layers, one.method) == (("relu1",), "layercam")
    overlays = sorted(path.name for path in (out / "overlays").iterdir())
    assert overlays == ["0.png.overlay.jpg", "3.png.overlay.jpg"]


def test_a_list_is_evaluated_into_rows_and_a_table(camcore, photos, tmp_path):
    listing = photos / "some.txt"
    listing.write_text("0.png\n1.png\n2.png\n")
    out = tmp_path / "out"
    words = ["evaluate", listing, "-m", "tiny_models:named", "-o", out, "--method", "gradcam"]
    words += ["--metric", "average_drop", "--no-controls"]
    done = camcore(*words)
    assert done.exit_code == 0, done.output
    table = read_results(out).table()
    mean = table.interval("gradcam", "average_drop").mean
    found = json.loads((out / "table.json").read_text())
    assert found["rows"]["gradcam"]["metrics"]["average_drop"]["mean"] == mean
    assert found["samples"] == 3
    assert (out / "table.md").read_text() == table.to_markdown() + "\n"
    assert f"{mean:.4g}" in done.stdout
    told = camcore(*words, "--resume", "--json")
    assert json.loads(told.stdout) == found


@pytest.mark.parametrize(
    ("typed", "cluster"),
    [
        ((), False),
        (("--ray",), Cluster()),
        (("--ray", "auto"), Cluster("auto")),
        (("--ray", "10.0.0.7:6379", "--workers", "3"), Cluster("10.0.0.7:6379", 3)),
        (("--ray", "ray://head:10001", "--gpus", "0.5"), Cluster("ray://head:10001", None, 0.5)),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_ray_may_stand_alone_or_before_an_address(
    camcore, photos, tmp_path, monkeypatch, typed, cluster, first
):
    asked = []

    def explained(source, model, output, *, ray, **options):
        asked.append((list(source), ray))
        return explain_dataset(source, model, output)

    monkeypatch.setattr("camcore.cli.explain.dataset.explain_dataset", explained)
    rest = ["-m", "tiny_models:named", "-o", tmp_path / "out", "--save", "rows"]
    words = [*typed, photos, *rest] if first else [photos, *rest, *typed]
    assert camcore("explain", *words).exit_code == 1
    assert asked == [([str(photos)], cluster)]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--workers", "2"), "--workers is for Ray's workers; give --ray, too"),
        (("--save", "rows", "--figures"), "A data set gives rows; leave --figures out"),
        (("--save", "rows", "--report"), "A data set gives rows; leave --report out"),
        (("--save", "rows", "--json"), "A data set gives rows; leave --json out"),
        (("--save", "rows", "--layer", "nowhere"), "nowhere"),
    ],
)
def test_what_does_not_go_together_is_refused(camcore, photos, tmp_path, words, says):
    done = camcore("explain", photos, "-m", "tiny_models:named", "-o", tmp_path / "out", *words)
    assert done.exit_code in (1, 2)
    assert says in " ".join(done.stderr.replace("│", " ").split())


def test_ctrl_c_names_what_goes_on(camcore, photos, tmp_path, monkeypatch):
    def interrupted(*given, progress, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("camcore.cli.explain.dataset.explain_dataset", interrupted)
    done = camcore(
        *("explain", photos, "-m", "tiny_models:named", "-o", tmp_path / "out", "--save", "rows")
    )
    assert done.exit_code == 130
    assert "The same command with --resume does the others" in done.stderr


def test_overlays_are_as_large_as_asked_for(camcore, tmp_path):
    from camcore.photos.io import read_photo

    photos = tmp_path / "photos"
    photos.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (900, 1500, 3), dtype=np.uint8)
    write_image(photos / "large.png", pixels)
    for typed, shape in (
        ((), (614, 1024, 3)),
        (("--overlay-size", "200"), (120, 200, 3)),
        (("--overlay-size", "4000"), (900, 1500, 3)),
    ):
        out = tmp_path / "out"
        done = camcore("explain", photos, "-m", "tiny_models:named", "-o", out, *typed)
        assert done.exit_code == 0
        assert read_photo(out / "large.overlay.jpg").shape == shape
