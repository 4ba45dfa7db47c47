"""``camcore evaluate``: the library's own numbers, and files to work on with."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import camcore as library
from camcore.photos.io import write_image
from camcore.testing import NumpyAdapter

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


@pytest.mark.parametrize("batch", [2, 32])
def test_numbers_are_the_librarys_own_whatever_the_batch(evaluated, folder, tiny, batch):
    found = json.loads(evaluated(*QUICK, "--json", "--batch", batch).stdout)
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
    assert [row["sample"] for row in rows] == ["a.png", "b.png", "c.png"] * 2
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


BOXED = ("--method", "layercam", "--metric", "box-iou", "--metric", "energy-pointing-game")


def boxes_file(path, boxes):
    path.write_text(json.dumps(boxes))
    return path


def test_boxes_are_read_by_name_or_from_cocos_annotations(
    evaluated, folder, tmp_path, tiny, require
):
    require("cv2")
    boxes = {
        "a.png": [[12, 0, 20, 30]],
        "b.png": [10, 3, 30, 20.5],
        "c.png": [[8, 8, 20, 20], [20, 10, 36, 30]],
    }
    plain = boxes_file(tmp_path / "boxes.json", boxes)
    coco = {
        "images": [{"id": 7 + i, "file_name": name} for i, name in enumerate(boxes)],
        "annotations": [
            {"image_id": 7, "bbox": [12, 0, 8, 30], "category_id": 1},
            {"image_id": 9, "bbox": [8, 8, 12, 12], "category_id": 2, "iscrowd": 0},
            {"image_id": 8, "bbox": [10, 3, 20, 17.5]},
            {"image_id": 9, "bbox": [20, 10, 16, 20]},
            {"image_id": 9, "bbox": [0, 0, 45, 30], "iscrowd": 1},
        ],
    }
    expected = library.evaluate(
        tiny.named(),
        [folder / f"{name}.png" for name in "abc"],
        methods="layercam",
        metrics=["box_iou", "energy_pointing_game"],
        boxes=[boxes["a.png"], [boxes["b.png"]], boxes["c.png"]],
    )
    for file in (plain, boxes_file(tmp_path / "coco.json", coco)):
        found = json.loads(evaluated(*BOXED, "--boxes", file, "--json").stdout)
        for row in expected.rows:
            for metric in expected.metrics:
                mean = found["rows"][row]["metrics"][metric]["mean"]
                assert mean == pytest.approx(expected.interval(row, metric).mean, rel=1e-6)
            common = expected.box_accuracy[row]
            assert found["box_accuracy"][row] == {
                "MaxBoxAcc": common.score,
                "threshold": common.best_thresholds[0],
            }
    done = evaluated(*BOXED, "--boxes", plain)
    assert "MaxBoxAcc, the share of samples whose box has an IoU of 0.5 or more" in done.stdout


def test_boxes_of_photographs_in_folders_go_by_their_whole_names(camcore, folder, tmp_path):
    (folder / "in").mkdir()
    (folder / "a.png").rename(folder / "in" / "b.png")
    (folder / "c.png").unlink()
    boxes = {"b.png": [0, 0, 45, 30], "in/b.png": [0, 0, 22, 30]}
    file = boxes_file(tmp_path / "boxes.json", boxes)
    words = ("evaluate", folder, *MODEL, "--method", "gradcam", "--metric", "energy-pointing-game")
    done = camcore(*words, "--boxes", file, "--output", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    with (tmp_path / "out" / "per_sample.csv").open() as table:
        ones = {
            one["sample"]: float(one["value"])
            for one in csv.DictReader(table)
            if one["row"] == "ones"
        }
    # All of what the model sees, and 3 of its 8 columns.
    assert ones == {"b.png": 1, "in/b.png": pytest.approx((3 * 8 - 1) / 63)}
    file = boxes_file(tmp_path / "boxes.json", {"b.png": boxes["b.png"]})
    done = camcore(*words, "--boxes", file, "--output", tmp_path / "out")
    assert done.exit_code == 1
    assert "has no boxes of in/b.png, but of 1 others. 2 photographs are called b.png" in " ".join(
        done.output.split()
    )


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ({"a.png": [0, 0, 9, 9], "b.png": [0, 0, 9, 9]}, "has no boxes of c.png, but of 2 others"),
        ({"c.png": [40, 0, 50, 9]}, "c.png leaves a photograph of 45 by 30 pixels: 40, 0, 50, 9"),
        ({"c.png": [9, 0, 9, 9]}, "c.png has no area: 9, 0, 9, 9"),
        ({"c.png": []}, "c.png has no box"),
        ({"c.png": [[0, 0, 9]]}, "has something else than boxes of c.png: [[0, 0, 9]]"),
        ({"c.png": [0, 0, "9", 9]}, "has something else than boxes of c.png"),
        ([1, 2], "holds a list. Expected JSON of each photograph's name and its boxes"),
        ({"images": [{"id": 1}], "annotations": []}, "but not as COCO's: KeyError('file_name')"),
    ],
)
def test_boxes_that_are_none_say_so(evaluated, tmp_path, boxes, message, require):
    require("cv2")
    if isinstance(boxes, dict) and "c.png" in boxes:
        boxes = {"a.png": [0, 0, 9, 9], "b.png": [0, 0, 9, 9], **boxes}
    file = boxes_file(tmp_path / "boxes.json", boxes)
    done = evaluated(*BOXED, "--boxes", file, code=1)
    assert message in " ".join(done.output.split())


def test_boxes_that_are_no_json_say_so(evaluated, tmp_path):
    file = tmp_path / "boxes.json"
    file.write_text("left, top, right, bottom")
    done = evaluated(*BOXED, "--boxes", file, code=1)
    assert "Expected JSON of each photograph's name" in " ".join(done.output.split())


@pytest.fixture
def passes(monkeypatch):
    """How many images went through the network since it was last asked."""
    seen = []
    run = NumpyAdapter.run

    def counted(self, inputs, *args, **options):
        seen.append(len(inputs))
        return run(self, inputs, *args, **options)

    def taken():
        total = sum(seen)
        seen.clear()
        return total

    monkeypatch.setattr(NumpyAdapter, "run", counted)
    return taken


@pytest.fixture
def stopped(monkeypatch):
    """Stop a run as Ctrl-C does, before so many photographs are evaluated."""
    from camcore.cli import evaluate as command

    def after(count):
        original, calls = library.evaluate, []

        def once_more(*args, **options):
            calls.append(args[1])
            if len(calls) > count:
                raise KeyboardInterrupt
            return original(*args, **options)

        monkeypatch.setattr(command, "evaluate", once_more)
        return calls

    return after


ALL = ("--method", "gradcam", "--method", "layercam", "--metric", "deletion", "--metric", "adcc")
RUN = (*ALL, "--metric", "road", "--steps", 4)


def test_an_interrupted_run_goes_on_to_the_same_numbers(evaluated, tmp_path, passes, stopped):
    out, whole = tmp_path / "out", tmp_path / "whole"
    evaluated(*RUN)
    once = passes()
    out.rename(whole)
    calls = stopped(2)
    done = evaluated(*RUN, code=130)
    assert "interrupted; 2 of 3 photographs are done" in " ".join(done.output.split())
    first = passes()
    assert not (out / "per_sample.csv").exists()
    assert sorted(path.name for path in (out / "rows").iterdir()) == ["a.png.json", "b.png.json"]
    calls = stopped(1)
    done = evaluated(*RUN, "--resume")
    assert [path.name for (path,) in calls] == ["c.png"]
    assert "2 of 3 photographs were done before." in done.stdout
    assert first + passes() == once
    assert (out / "per_sample.csv").read_bytes() == (whole / "per_sample.csv").read_bytes()
    found, expected = (json.loads((one / "table.json").read_text()) for one in (out, whole))
    for table in (found, expected):
        for row in table["rows"].values():
            assert row.pop("seconds") >= 0
    assert found == expected
    assert not list(out.rglob("*.part"))


def test_what_is_done_already_takes_no_pass(evaluated, tmp_path, passes):
    evaluated(*RUN)
    assert passes() > 0
    before = (tmp_path / "out" / "table.json").read_bytes()
    evaluated(*RUN, "--resume")
    assert passes() == 0
    assert (tmp_path / "out" / "table.json").read_bytes() == before
    evaluated(*RUN)
    assert passes() > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--steps", 5), "steps was 4 and is 5"),
        (("--seed", 3), "seed was 0 and is 3"),
        (("--method", "fem"), "methods was gradcam, layercam and is gradcam, layercam, fem"),
        (("--metric", "entropy"), "is deletion, adcc, road, entropy"),
        (("--metric-recipe", "torchcam"), "metric-recipe was paper and is torchcam"),
        (("--no-controls",), "controls was True and is False"),
        (("--model", "tiny_models:other"), "model was tiny_models:named and is tiny_models:other"),
    ],
)
def test_other_settings_are_refused_with_what_changed(evaluated, words, message):
    quick = ("--metric", "deletion") if "torchcam" in words else ("--metric", "deletion", *ALL[6:])
    quick = (*ALL[:4], *quick, "--metric", "road", "--steps", 4)
    quick = quick if "torchcam" not in words else (*ALL[:4], "--metric", "deletion", "--steps", 4)
    evaluated(*quick)
    done = evaluated(*quick, *words, "--resume", code=1)
    said = " ".join(done.output.split())
    assert "holds the results of another call" in said
    assert message in said


def test_another_model_behind_the_same_name_is_refused(camcore, folder, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "changing_model.py"
    module.write_text("from tiny_models import named\n\n\ndef make():\n    return named(seed=4)\n")
    words = ("evaluate", folder, "--model", "changing_model:make", *QUICK, "-o", tmp_path / "out")
    assert camcore(*words).exit_code == 0
    assert camcore(*words, "--resume").exit_code == 0
    module.write_text("from tiny_models import named\n\n\ndef make():\n    return named(seed=1)\n")
    done = camcore(*words, "--resume")
    assert done.exit_code == 1
    assert "files and code of the model was" in " ".join(done.output.split())


def test_photographs_masks_and_boxes_that_changed_are_done_again(
    evaluated, folder, tmp_path, stopped, require
):
    require("cv2")
    masks = tmp_path / "masks"
    masks.mkdir()
    random = np.random.default_rng(5)
    for name in "abc":
        write_image(masks / f"{name}.png", np.full((30, 45, 3), 255, np.uint8))
    boxes = {f"{name}.png": [5, 5, 30, 25] for name in "abc"}
    file = boxes_file(tmp_path / "boxes.json", boxes)
    words = (*BOXED, "--masks", masks, "--boxes", file)
    evaluated(*words)

    def redone():
        calls = stopped(3)
        evaluated(*words, "--resume")
        return [path.name for (path,) in calls]

    assert redone() == []
    write_image(folder / "b.png", random.integers(0, 256, (30, 45, 3), dtype=np.uint8))
    assert redone() == ["b.png"]
    write_image(masks / "c.png", np.full((30, 45, 3), 200, np.uint8))
    assert redone() == ["c.png"]
    boxes_file(file, {**boxes, "a.png": [5, 5, 30, 26]})
    assert redone() == ["a.png"]
    write_image(folder / "d.png", random.integers(0, 256, (30, 45, 3), dtype=np.uint8))
    write_image(masks / "d.png", np.full((30, 45, 3), 255, np.uint8))
    boxes_file(file, {**boxes, "a.png": [5, 5, 30, 26], "d.png": [0, 0, 9, 9]})
    assert redone() == ["d.png"]
    with (tmp_path / "out" / "per_sample.csv").open() as table:
        assert {one["sample"] for one in csv.DictReader(table)} == {f"{n}.png" for n in "abcd"}


def test_a_row_that_is_no_row_is_named(evaluated, tmp_path):
    evaluated(*QUICK)
    (tmp_path / "out" / "rows" / "b.png.json").write_text("{")
    done = evaluated(*QUICK, "--resume", code=1)
    assert "does not hold the numbers of a photograph" in " ".join(done.output.split())
    evaluated(*QUICK)


def test_undefined_values_are_kept_as_such(evaluated, folder, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    for name in "abc":
        write_image(masks / f"{name}.png", np.full((30, 45, 3), 255 * (name != "b"), np.uint8))
    words = ("--method", "gradcam", "--metric", "pointing-game", "--masks", masks)
    evaluated(*words)
    done = evaluated(*words, "--resume")
    assert "Left out as undefined, of gradcam: pointing_game (1)." in done.stdout
    with (tmp_path / "out" / "per_sample.csv").open() as table:
        values = {one["sample"]: one["value"] for one in csv.DictReader(table)}
    assert values["b.png"] == ""


def test_a_row_is_not_written_over_what_is_read(camcore, folder, tmp_path, require):
    require("cv2")
    out = tmp_path / "out"
    (out / "rows").mkdir(parents=True)
    boxes = {f"{name}.png": [5, 5, 30, 25] for name in "abc"}
    file = boxes_file(out / "rows" / "a.png.json", boxes)
    done = camcore("evaluate", folder, *MODEL, *BOXED, "--boxes", file, "--output", out)
    assert done.exit_code == 1
    assert "would be written over" in " ".join(done.output.split())
    assert json.loads(file.read_text()) == boxes


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
