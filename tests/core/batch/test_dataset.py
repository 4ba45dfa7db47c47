"""Data sets explained and evaluated into rows, by one process."""

from __future__ import annotations

import io
import json
import os
import tarfile
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

import camcore
from camcore.batch import PreparedPhoto, evaluate_dataset, explain_dataset, read_results
from camcore.batch.dataset.fold import fold
from camcore.batch.dataset.parts import part_files
from camcore.batch.dataset.plan import plan
from camcore.batch.dataset.sources import entries
from camcore.errors import CamcoreError, InputError, LayerError
from camcore.evaluated import Evaluation
from camcore.evaluated_json import from_json, to_json
from camcore.photos.io import encode, write_image
from camcore.testing import Conv, random_network

pyarrow = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")  # an attribute of the package once it is imported
MODEL = "tiny_models:named"


def picture(seed, shape=(30, 45, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def photos(tmp_path, tiny):
    """Twenty photographs, named by numbers, and one that is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(20):
        write_image(folder / f"{seed:03}.png", picture(seed))
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def packed(path, members):
    """Write a tar file of (name, bytes)."""
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return path


def ids(folder):
    return read_results(folder).to_pandas()["id"].tolist()


def test_rows_hold_what_explain_returns(photos, tmp_path, tiny):
    done = explain_dataset(photos, MODEL, tmp_path / "out", part=8, batch=1)
    assert (done.samples, done.failed, done.before) == (21, 1, 0)
    results = read_results(tmp_path / "out")
    assert (len(results), results.failed, len(results.files)) == (21, 1, 3)
    found = dict(results.explanations())
    assert sorted(found) == [f"{seed:03}.png" for seed in range(20)]
    frame = results.to_pandas().set_index("id")
    for seed in range(20):
        name = f"{seed:03}.png"
        alone = camcore.explain(tiny.named(), [photos / name])
        for here, there in zip(
            (found[name].maps, *found[name].raw.values(), found[name].outputs),
            (alone.maps, *alone.raw.values(), alone.outputs),
            strict=True,
        ):
            np.testing.assert_array_equal(here, there)
            assert here.dtype == there.dtype
        assert frame.loc[name, "class_name"] == tiny.CLASSES[alone.classes[0]]
        assert frame.loc[name, "score"] == alone.scores[0]
        assert frame.loc[name, "probability"] == alone.probabilities[0, alone.classes[0]]
        assert found[name].activation == alone.activation == "softmax"
    [(name, why)] = results.errors()
    assert name == "broken.png"
    assert "broken.png is no image that Pillow can read" in why
    assert results.most_common("class_name", 1)[0][1] == frame["class_name"].value_counts().iloc[0]


@pytest.mark.parametrize("maps", ["layer", "input", "none"])
def test_as_much_of_the_maps_is_kept_as_asked_for(photos, tmp_path, maps):
    explain_dataset(
        photos / "00?.png", MODEL, tmp_path / "out", maps=maps, layer=["relu1", "relu2"]
    )
    explain_dataset(photos / "00?.png", MODEL, tmp_path / "all", layer=["relu1", "relu2"])
    results = read_results(tmp_path / "out")
    columns = set(pyarrow.parquet.read_schema(results.files[0]).names)
    assert ({"raw_0", "raw_1"} <= columns) == (maps != "none")
    assert ("maps" in columns) == (maps == "input")
    if maps == "none":
        with pytest.raises(InputError, match="maps='none': it holds scores alone"):
            next(results.explanations())
        return
    for (_, here), (_, there) in zip(
        results.explanations(), read_results(tmp_path / "all").explanations(), strict=True
    ):
        np.testing.assert_array_equal(here.maps, there.maps)


def test_a_class_is_explained_by_its_name_or_number(photos, tmp_path):
    one = photos / "000.png"
    for number, target in enumerate(("espresso", 2, "2")):
        explain_dataset(one, MODEL, tmp_path / f"{number}", target=target)
        frame = read_results(tmp_path / f"{number}").to_pandas()
        assert frame[["class", "class_name"]].values.tolist() == [[2, "espresso"]]


def test_every_kind_of_source_gives_the_same_rows(photos, tmp_path):
    names = [f"{seed:03}.png" for seed in range(5)]
    files = [(photos / name).read_bytes() for name in names]
    listing = photos / "list.txt"
    listing.write_text(
        "\n".join([*names[:3], "", str(photos / names[3]), f"file://{photos / names[4]}"])
    )
    tar = packed(tmp_path / "a.tar", zip(names, files, strict=True))
    table = pyarrow.table({"image": files, "id": names})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    structs = pyarrow.table({"image": [{"bytes": one, "path": None} for one in files]})
    pyarrow.parquet.write_table(structs, tmp_path / "b.parquet")
    paths = pyarrow.table({"url": [str(photos / name) for name in names], "key": names})
    pyarrow.parquet.write_table(paths, tmp_path / "c.parquet")
    sources = {
        "pattern": str(photos / "00[0-4].png"),
        "braces": str(photos / "{000..004}.png"),
        "list": listing,
        "tar": tar,
        "bytes": tmp_path / "a.parquet",
        "structs": tmp_path / "b.parquet",
        "paths": tmp_path / "c.parquet",
        "uri": f"file://{photos}/00[0-4].png",
    }
    expected = None
    for kind, source in sources.items():
        done = explain_dataset(source, MODEL, tmp_path / kind, part=2)
        assert (done.samples, done.failed) == (5, 0), list(read_results(tmp_path / kind).errors())
        raw = [one.raw["relu2"].tolist() for _, one in read_results(tmp_path / kind).explanations()]
        assert expected in (None, raw), kind
        expected = raw
    assert ids(tmp_path / "bytes") == names
    assert ids(tmp_path / "paths") == names
    assert ids(tmp_path / "structs") == [f"{tmp_path}/b.parquet/{row}" for row in range(5)]
    assert ids(tmp_path / "tar") == [f"{tar}/{name[:3]}" for name in names]


def test_what_cannot_be_read_is_a_row_that_says_why(photos, tmp_path):
    good = (photos / "000.png").read_bytes()
    folder = tmp_path / "shards"
    folder.mkdir()
    packed(
        folder / "a.tar",
        [
            ("0.png", good),
            ("0.json", b"{}"),
            ("1.png", b"broken"),
            ("2.txt", b"no photograph"),
            ("3.seg.png", b"broken"),
            ("3.png", good),
            ("0.png", good),
        ],
    )
    whole = packed(folder / "b.tar", [("0.png", good), ("1.png", good)]).read_bytes()
    (folder / "b.tar").write_bytes(whole[: whole.index(good[-64:]) + 3 * 512])
    (folder / "c.tar").write_bytes(b"no tar file" * 100)
    (folder / "d.parquet").write_bytes(b"no table" * 100)
    done = explain_dataset(folder, MODEL, tmp_path / "out")
    said = dict(read_results(tmp_path / "out").errors())
    rows = ids(tmp_path / "out")
    assert len(rows) == len(set(rows)) == done.samples
    assert {"a.tar/0", "a.tar/3", "b.tar/0"} == set(rows) - set(said)
    assert "is no image" in said["a.tar/1"]
    assert "holds no photograph of the key 2" in said["a.tar/2"]
    assert "listed more than once" in said["a.tar/0 (again)"]
    assert "cannot be read" in said["c.tar"]
    assert "cannot be read as Parquet" in said["d.parquet"]
    assert done.failed == len(said)


def test_an_id_that_is_listed_twice_is_done_once(photos, tmp_path):
    listing = photos / "list.txt"
    listing.write_text("000.png\n001.png\n000.png\n000.png\n")
    data = [(photos / f"00{i}.png").read_bytes() for i in (0, 1, 2)]
    table = pyarrow.table({"image": data, "id": ["a", "b", "a"]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    done = explain_dataset([listing, tmp_path / "a.parquet"], MODEL, tmp_path / "out")
    assert (done.samples, done.failed) == (7, 3)
    assert ids(tmp_path / "out") == [
        "000.png",
        "000.png (again)",
        "000.png (again, 3)",
        "001.png",
        "a",
        f"a (again, row 2 of {tmp_path / 'a.parquet'})",
        "b",
    ]


def test_resume_does_what_is_missing_failed_or_changed(photos, tmp_path, monkeypatch):
    out = tmp_path / "out"
    explain_dataset(photos, MODEL, out, part=4)
    before = read_results(out).to_pandas().set_index("id")
    parts = part_files(out)
    parts[1].unlink()  # 004 to 007
    parts[2].write_bytes(b"damaged")  # 008 to 011
    write_image(photos / "broken.png", picture(100))
    write_image(photos / "013.png", picture(101))
    write_image(photos / "new.png", picture(102))
    told = []
    done = explain_dataset(
        photos, MODEL, out, part=4, resume=True, progress=lambda part, total: told.append(total)
    )
    assert (done.samples, done.failed, done.before) == (22, 0, 11)
    assert set(told) == {11}
    assert len(done.notes) == 1
    assert "0001-0000002-00000.parquet" in done.notes[0]
    after = read_results(out).to_pandas().set_index("id")
    assert after.index.is_unique
    same = [name for name in before.index if name not in ("broken.png", "013.png")]
    assert (after.loc[same, "score"] == before.loc[same, "score"]).all()
    assert after.loc["013.png", "score"] != before.loc["013.png", "score"]
    again = explain_dataset(photos, MODEL, out, part=4, resume=True)
    assert (again.samples, again.before) == (22, 22)
    assert {path.name for path in out.iterdir()} == {"camcore-run.json", "parts"}


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_resume_goes_on_within_a_file_that_holds_many(photos, tmp_path, kind):
    files = {f"{seed:03}": (photos / f"{seed:03}.png").read_bytes() for seed in range(10)}
    files["004"] = b"broken"
    path = tmp_path / f"a.{kind}"
    if kind == "tar":
        packed(path, [(f"{name}.png", data) for name, data in files.items()])
    else:
        table = pyarrow.table({"image": list(files.values()), "id": list(files)})
        pyarrow.parquet.write_table(table, path, row_group_size=5)
    out = tmp_path / "out"
    explain_dataset(path, MODEL, out, part=2)
    first = read_results(out).to_pandas()
    assert len(first) == 10
    part_files(out)[1].unlink()
    done = explain_dataset(path, MODEL, out, part=2, resume=True)
    assert (done.samples, done.failed) == (10, 1)
    frame = read_results(out).to_pandas()
    assert frame["id"].tolist() == first["id"].tolist()
    np.testing.assert_array_equal(frame["score"], first["score"])
    assert frame["error"].isna().tolist() == [i != 4 for i in range(10)]
    before = {path: path.stat().st_mtime_ns for path in part_files(out)}
    again = explain_dataset(path, MODEL, out, part=2, resume=True)
    assert (again.samples, again.before) == (10, 9)
    kept = [path for path in part_files(out) if before.get(path) == path.stat().st_mtime_ns]
    assert len(kept) == len(before) - 1  # but for that with the row that failed
    os.utime(path, ns=(1, 1))
    changed = explain_dataset(path, MODEL, out, part=2, resume=True)
    assert (changed.samples, changed.before) == (10, 0)


def test_resume_refuses_other_settings(photos, tmp_path):
    out = tmp_path / "out"
    explain_dataset(photos, MODEL, out)
    for other, says in (
        ({"layer": "relu1"}, "layer was not given and is relu1"),
        ({"target": 1}, "target was not given and is 1"),
        ({"maps": "input"}, "maps was layer and is input"),
        ({"method": "hirescam"}, "method was not given and is hirescam"),
        ({"batch": 4}, "batch was 8 and is 4"),
    ):
        with pytest.raises(InputError, match=says):
            explain_dataset(photos, MODEL, out, resume=True, **other)
    with pytest.raises(InputError, match="model was tiny_models:named and is tiny_models:other"):
        explain_dataset(photos, "tiny_models:other", out, resume=True)
    done = explain_dataset(photos, MODEL, out, layer="relu1")
    assert (done.samples, done.before) == (21, 0)
    assert len(ids(out)) == 21


def test_what_a_worker_has_left_is_not_done_again(photos, tmp_path, monkeypatch):
    """A shard that is handed out again goes on behind the parts that are there."""
    from camcore.batch.dataset.plan import Packed
    from camcore.batch.dataset.sources import Archive
    from camcore.batch.dataset.work import Explaining, Pace, Worker
    from camcore.zoo import ModelName

    files = [(f"{i:03}.png", (photos / f"{i:03}.png").read_bytes()) for i in range(10)]
    tar = packed(tmp_path / "a.tar", files)
    shard = Packed("0001-0000000", Archive("a", str(tar)))
    worker = Worker(Explaining(ModelName(MODEL), Pace(part=3)), tmp_path, {"run": "x"})
    begun = worker(shard)
    assert [next(begun).rows for _ in range(2)] == [3, 3]
    begun.close()
    first = [path.read_bytes() for path in part_files(tmp_path)]
    assert [one.rows for one in worker(shard)] == [3, 3, 3, 1]
    assert [path.read_bytes() for path in part_files(tmp_path)[:2]] == first
    rows = [
        row
        for path in part_files(tmp_path)
        for row in pyarrow.parquet.read_table(path)["id"].to_pylist()
    ]
    assert rows == [f"a/{i:03}" for i in range(10)]


def test_a_model_that_fails_on_one_photograph_takes_no_other_along(photos, tmp_path, tiny):
    loaded = tiny.named()
    bad = [PreparedPhoto.for_model(loaded, picture(seed)).inputs for seed in (3, 7)]

    def preprocess(photo):
        made = tiny.preprocess(photo)
        if np.array_equal(made, bad[0]):
            raise ZeroDivisionError("of preprocessing")
        return made

    class Fragile(Conv):
        def forward(self, x):
            if any(np.array_equal(one, bad[1][0]) for one in x):
                raise ZeroDivisionError("of the model")
            return super().forward(x)

    network = random_network(seed=tiny.SEED)
    first = next(iter(network.ops))
    network.ops[first] = Fragile(network.ops[first].weights, network.ops[first].bias)
    fragile = replace(loaded, model=network, preprocess=preprocess)
    done = explain_dataset(photos, fragile, tmp_path / "out")
    assert (done.samples, done.failed) == (21, 3)
    why = dict(read_results(tmp_path / "out").errors())
    assert "raised ZeroDivisionError: of preprocessing" in why["003.png"]
    assert "raised ZeroDivisionError: of the model" in why["007.png"]


def test_a_preprocessing_that_fails_on_all_photographs_ends_the_run(photos, tmp_path, tiny):
    def preprocess(photo):
        raise ZeroDivisionError("of preprocessing")

    broken = replace(tiny.named(), preprocess=preprocess)
    with pytest.raises(CamcoreError, match=r"None of the first 21 .* ZeroDivisionError"):
        explain_dataset(photos, broken, tmp_path / "out")


def test_an_error_that_would_meet_every_photograph_ends_the_run(photos, tmp_path, tiny):
    with pytest.raises(LayerError):
        explain_dataset(photos, MODEL, tmp_path / "a", layer="nowhere")
    with pytest.raises(CamcoreError, match="no class"):
        explain_dataset(photos, MODEL, tmp_path / "b", target="unicorn")
    with pytest.raises(InputError, match="holds no photograph"):
        explain_dataset(tmp_path / "a", MODEL, tmp_path / "c")
    table = pyarrow.table({"x": [b"1"]})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(InputError, match="has no column of photographs; it has x"):
        explain_dataset(tmp_path / "x.parquet", MODEL, tmp_path / "d")
    with pytest.raises(InputError, match="has no column 'y'"):
        explain_dataset(tmp_path / "x.parquet", MODEL, tmp_path / "e", image_column="y")
    with pytest.raises(InputError, match="must be named"):
        explain_dataset(photos, tiny.named(), tmp_path / "f", ray=True)
    with pytest.raises(InputError, match="holds no results of a data set"):
        read_results(tmp_path)


def test_overlays_are_written_where_asked_for(photos, tmp_path, tiny):
    from camcore.photos.io import read_photo
    from camcore.viz.photograph import overlay_over

    write_image(photos / "large.png", picture(7, (300, 450, 3)))
    done = explain_dataset(
        photos, MODEL, tmp_path / "out", overlays=True, overlay_size=150, recursive=True
    )
    folder = tmp_path / "out" / "overlays"
    assert done.failed == 1
    assert len(list(folder.iterdir())) == 21
    assert read_photo(folder / "large.png.overlay.jpg").shape == (100, 150, 3)
    alone = camcore.explain(tiny.named(), [photos / "000.png"])
    seen = alone.photographs[0]
    expected = overlay_over(seen.photo, alone.maps[0], seen.crop, alone.overlay_style)
    (tmp_path / "x.jpg").write_bytes(encode(expected, "jpg"))
    np.testing.assert_array_equal(
        read_photo(folder / "000.png.overlay.jpg"), read_photo(tmp_path / "x.jpg")
    )


def test_a_sample_of_the_results_has_its_photographs(photos, tmp_path, tiny):
    explain_dataset(photos, MODEL, tmp_path / "out", part=4)
    drawn = read_results(tmp_path / "out").sample(5, seed=1, model=tiny.named())
    names = [one.path.name for one in drawn.photographs]
    assert len(set(names)) == 5
    assert names == sorted(names)
    for name, one in zip(names, drawn, strict=True):
        alone = camcore.explain(tiny.named(), [photos / name])
        np.testing.assert_array_equal(one.photographs[0].photo, alone.photographs[0].photo)
        np.testing.assert_allclose(one.maps, alone.maps, atol=1e-6)
        assert one.photographs[0].crop == alone.photographs[0].crop
    assert drawn.maps.tolist() == (
        read_results(tmp_path / "out").sample(5, seed=1, model=tiny.named()).maps.tolist()
    )


def test_evaluations_are_those_of_evaluate_and_add_up_to_its_table(photos, tmp_path, tiny):
    wanted = {
        "methods": ["gradcam", "layercam"],
        "metrics": ["deletion", "average_drop"],
        "steps": 4,
    }
    done = evaluate_dataset(photos, MODEL, tmp_path / "out", **wanted)
    assert (done.samples, done.failed) == (21, 1)
    results = read_results(tmp_path / "out")
    joined, table = results.evaluation(), results.table()
    each = [
        camcore.evaluate(tiny.named(), [photos / f"{seed:03}.png"], **wanted) for seed in range(20)
    ]
    expected = Evaluation.concatenate(each)
    frame = results.to_pandas().dropna(subset=["gradcam/deletion"])
    for row in expected.rows:
        for metric in expected.metrics:
            np.testing.assert_array_equal(joined.values[row][metric], expected.values[row][metric])
            np.testing.assert_array_equal(frame[f"{row}/{metric}"], expected.values[row][metric])
            mean, low, high = table.interval(row, metric)
            np.testing.assert_allclose(mean, expected.interval(row, metric).mean, rtol=1e-12)
            spread = expected.interval(row, metric)
            width = spread.high - spread.low
            assert abs(low - spread.low) <= 0.25 * width
            assert abs(high - spread.high) <= 0.25 * width
            for other in expected.rows:
                apart = table.difference(row, other, metric)
                true = expected.difference(row, other, metric)
                np.testing.assert_allclose(apart.mean, true.mean, rtol=1e-9, atol=1e-12)
                assert apart.low <= apart.mean <= apart.high
    assert table.forwards == expected.forwards
    assert table.controls == expected.controls
    assert len(table) == 20
    assert table.to_markdown().count("\n") == expected.to_markdown().count("\n")


def one_evaluation(values, boxes=None):
    """An evaluation of one sample, as JSON: rows a and b by one metric."""
    found = Evaluation(
        {row: {"average_drop": np.array([value])} for row, value in values.items()},
        ("b",),
        dict.fromkeys(values, 3),
        dict.fromkeys(values, 0.5),
        dict.fromkeys(values, 0),
        {"recipe": "paper"},
        box_accuracy=boxes or {},
    )
    return json.loads(json.dumps(to_json(found)))


def test_a_fold_has_hand_values_whatever_the_order():
    values = [(1.0, 3.0), (2.0, np.nan), (6.0, 5.0)]
    given = [(f"{i}", one_evaluation({"a": a, "b": b})) for i, (a, b) in enumerate(values)]
    table = fold(given)
    assert table.interval("a", "average_drop").mean == 3
    assert table.interval("b", "average_drop").mean == 4
    assert table.difference("a", "b", "average_drop").mean == -0.5
    assert table.difference("b", "a", "average_drop").mean == 0.5
    assert table.difference("a", "a", "average_drop") == (0, 0, 0)
    assert table.forwards == {"a": 9, "b": 9}
    assert table.seconds == {"a": 1.5, "b": 1.5}
    assert "Left out as undefined, of b: average_drop (1)." in list(table.notes())
    turned = fold(given[::-1])
    for row in "ab":
        np.testing.assert_allclose(
            table.interval(row, "average_drop"), turned.interval(row, "average_drop"), rtol=1e-12
        )
    more = [(f"{i}", one_evaluation({"a": float(i * i), "b": 0.0})) for i in range(30)]
    assert fold(more, 1).interval("a", "average_drop") != fold(more).interval("a", "average_drop")
    alone = fold(given[:1]).interval("a", "average_drop")
    assert alone.mean == 1
    assert np.isnan([alone.low, alone.high]).all()


def test_an_interval_by_poisson_weights_covers_the_mean_as_often_as_it_says():
    random = np.random.default_rng(0)
    inside = 0
    for trial in range(60):
        given = [
            (f"{trial}/{i}", one_evaluation({"a": value, "b": 0.0}))
            for i, value in enumerate(random.normal(10, 3, 40))
        ]
        _, low, high = fold(given).interval("a", "average_drop")
        inside += low <= 10 <= high
    assert 51 <= inside <= 60


def test_box_hits_add_up_to_the_score_of_all_samples():
    from camcore.metrics.box_accuracy import BoxAccuracy

    thresholds, random = np.linspace(0, 1, 5), np.random.default_rng(3)
    parts = [BoxAccuracy(thresholds, random.random((1, 5)), np.array([0.5])) for _ in range(9)]
    parts.append(BoxAccuracy(thresholds, np.full((1, 5), np.nan), np.array([0.5])))
    given = [
        (f"{i}", one_evaluation({"a": 1.0, "b": 0.0}, {"a": one})) for i, one in enumerate(parts)
    ]
    together = BoxAccuracy.concatenate(parts)
    assert fold(given).box_scores() == {"a": (together.score, float(together.best_thresholds[0]))}


def test_evaluations_of_others_do_not_add_up():
    given = [("0", one_evaluation({"a": 1.0, "b": 0.0})), ("1", one_evaluation({"a": 1.0}))]
    with pytest.raises(InputError, match="of 1 has other rows"):
        fold(given)
    with pytest.raises(InputError, match="no evaluation to add up"):
        fold([])
    assert from_json(given[0][1]).controls == ("b",)


def test_masks_are_found_by_the_samples_names(photos, tmp_path, tiny):
    masks = tmp_path / "masks"
    masks.mkdir()
    marked = np.zeros((30, 45), np.uint8)
    marked[5:20, 10:30] = 255
    for seed in range(3):
        write_image(masks / f"{seed:03}.png", marked)
    done = evaluate_dataset(
        photos / "00[0-3].png",
        MODEL,
        tmp_path / "out",
        methods="gradcam",
        metrics="pointing_game",
        masks=masks,
        controls=False,
    )
    assert (done.samples, done.failed) == (4, 1)
    [(name, why)] = read_results(tmp_path / "out").errors()
    assert name.endswith("003.png")
    assert "no mask" in why
    expected = camcore.evaluate(
        tiny.named(),
        [photos / "000.png"],
        methods="gradcam",
        metrics="pointing_game",
        masks=[marked > 0],
        controls=False,
    )
    frame = read_results(tmp_path / "out").to_pandas()
    assert frame["gradcam/pointing_game"][0] == expected.values["gradcam"]["pointing_game"][0]


def test_memory_of_planning_does_not_grow_with_the_number_of_samples(tmp_path):
    def peak(count):
        listing = tmp_path / f"{count}.txt"
        listing.write_text("".join(f"/nowhere/{i:09}.jpg\n" for i in range(count)))
        (tmp_path / "out").mkdir(exist_ok=True)
        tracemalloc.start()
        try:
            planned = plan(entries([listing]), tmp_path / "out", 128, resume=False)
            assert planned.missing == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(100)
    few, many = peak(1_000), peak(10_000)
    # Nine thousand paths alone would be 700 kB; the 71 shards that they are in have 10 kB.
    assert many - few < 60_000
