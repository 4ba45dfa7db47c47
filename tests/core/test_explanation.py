"""What an explanation tells, and that a file gives back what was put in."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
import zipfile
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest

import camcore
from camcore.errors import FileError, InputError, RecipeError
from camcore.photos import CentreCrop
from camcore.photos.prepared import PhotoInput
from camcore.recipes import PAPER, OverlayStyle
from camcore.testing import random_network

PHOTOS = np.random.default_rng(0).normal(size=(2, 2, 8, 8))
# exp gives 1, 2, 4, 1.
LOGITS = np.log([[1.0, 2.0, 4.0, 1.0]])


@pytest.fixture
def result():
    return camcore.explain(random_network(), PHOTOS, layer=["relu1", "relu2"])


def of(outputs, activation=None):
    """An explanation of a model with these outputs."""
    outputs = np.asarray(outputs)
    maps = np.zeros((len(outputs), 2, 2), np.float32)
    empty = np.ones(len(outputs), bool)
    return camcore.Explanation(maps, {}, outputs[:, 0], None, empty, outputs, activation)


def assert_same(one, other):
    for name in ("maps", "scores", "empty", "outputs"):
        found, expected = getattr(one, name), getattr(other, name)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    assert list(one.raw) == list(other.raw)
    for name, maps in other.raw.items():
        assert one.raw[name].dtype == maps.dtype
        np.testing.assert_array_equal(one.raw[name], maps)
    if other.classes is None:
        assert one.classes is None
    else:
        np.testing.assert_array_equal(one.classes, other.classes)
    for name in ("activation", "method", "recipe", "overlay_style", "fusion"):
        assert getattr(one, name) == getattr(other, name)


def test_a_file_gives_back_what_each_channel_has(tmp_path):
    found = camcore.explain(random_network(), PHOTOS, method="integratedgradients", steps=2)
    found.save(tmp_path / "one.npz")
    again = camcore.load(tmp_path / "one.npz")
    assert_same(again, found)
    assert again.by_channel.dtype == found.by_channel.dtype
    np.testing.assert_array_equal(again.by_channel, found.by_channel)
    both = camcore.Explanation.concatenate([again[1], found[0]])
    np.testing.assert_array_equal(both.by_channel, found.by_channel[::-1])
    with pytest.raises(InputError, match="differ in the shape of by_channel"):
        camcore.Explanation.concatenate([found, replace(found, by_channel=None)])
    odd = replace(found, by_channel=found.by_channel[..., :-1])
    with pytest.raises(InputError, match=r"by_channel has shape \(2, 2, 8, 7\)"):
        odd.save(tmp_path / "odd.npz")


@pytest.mark.parametrize("name", ["cat.npz", "cat", "Katze ü.npz"])
def test_a_file_gives_back_everything(result, tmp_path, name):
    result.save(tmp_path / name)
    assert [found.name for found in tmp_path.iterdir()] == [name]
    assert_same(camcore.load(tmp_path / name), result)


def test_a_file_gives_back_what_is_out_of_the_ordinary(result, tmp_path):
    odd = replace(
        result,
        classes=None,
        raw={"block/with.odd name#-1": result.raw["relu1"].astype(np.float32)},
        activation="softmax",
        method="layercam",
        recipe="mine",
        overlay_style=OverlayStyle("jet", 0.4, "add_clip"),
        fusion="product",
    )
    odd.save(str(tmp_path / "odd.npz"))
    assert_same(camcore.load(str(tmp_path / "odd.npz")), odd)


def test_a_file_holds_no_pickle(result, tmp_path):
    result.save(tmp_path / "cat.npz")
    with np.load(tmp_path / "cat.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    assert {array.dtype.kind for array in arrays.values()} <= set("fibU")


def test_saving_replaces_what_was_there(result, tmp_path):
    path = tmp_path / "cat.npz"
    path.write_bytes(b"something else")
    result.save(path)
    assert_same(camcore.load(path), result)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError("disk full")])
@pytest.mark.parametrize("writing", [True, False])
def test_an_interrupted_save_leaves_what_was_there(
    result, tmp_path, monkeypatch, interruption, writing
):
    path = tmp_path / "cat.npz"
    path.write_bytes(b"the old file")

    def half(file, **arrays):
        file.write(b"PK half of it")
        raise interruption

    def not_yet(self, target):
        raise interruption

    owner, name, function = (
        (np, "savez_compressed", half) if writing else (Path, "replace", not_yet)
    )
    monkeypatch.setattr(owner, name, function)
    with pytest.raises((KeyboardInterrupt, OSError)):
        result.save(path)
    assert path.read_bytes() == b"the old file"
    assert list(tmp_path.iterdir()) == [path]


def spoilt(tmp_path, result, kind):
    path = tmp_path / kind
    result.save(path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    contents = {
        "text": b"no archive at all\n",
        "empty": b"",
        "pickle": pickle.dumps({"maps": 1}),
        "truncated": whole[:middle],
        "damaged": whole[:middle] + bytes(50) + whole[middle + 50 :],
    }
    if kind in contents:
        path.write_bytes(contents[kind])
    elif kind == "bare array":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif kind == "other archive":
        with path.open("wb") as file:
            np.savez(file, maps=np.zeros(3))
    return path


@pytest.mark.parametrize(
    "kind", ["text", "empty", "pickle", "truncated", "damaged", "bare array", "other archive"]
)
def test_what_is_no_explanation_is_refused(result, tmp_path, kind):
    path = spoilt(tmp_path, result, kind)
    with pytest.raises(InputError, match=rf"{kind} is .*no explanation saved by camcore"):
        camcore.load(path)


def archive(path, about, arrays):
    with path.open("wb") as file:
        np.savez(file, about=np.array(about), **arrays)


SAID = {  # what a change makes of the settings
    "no layers": {"layers": None},
    "layers that are a word": {"layers": "ab"},
    "layers of numbers": {"layers": [1, 2]},
    "a layer without a name": {"layers": ["relu1", ""]},
    "a layer twice": {"layers": ["relu1", "relu1"]},
    "fewer layers than maps": {"layers": ["relu1"]},
    "more layers than maps": {"layers": ["relu1", "relu2", "relu3"]},
    "an activation that is not known": {"activation": "tanh"},
    "an activation that is no word": {"activation": 3},
    "a method that is no word": {"method": ["gradcam"]},
    "a method without a name": {"method": ""},
    "a recipe that is no word": {"recipe": None},
    "a style that is no mapping": {"overlay_style": "inferno"},
    "a style with more than it has": {"overlay_style": {"colour": "red"}},
    "a blend that is not known": {"overlay_style": {"blend": "stir"}},
    "an alpha that is no number": {"overlay_style": {"alpha": "1"}},
    "an alpha that is true": {"overlay_style": {"alpha": True}},
    "an alpha beyond one": {"overlay_style": {"alpha": 1.5}},
    "an alpha that is not a number": {"overlay_style": {"alpha": float("nan")}},
    "a fusion that is not known": {"fusion": "median"},
    "a fusion that is a list": {"fusion": ["mean"]},
    "a setting too many": {"shape": [8, 8]},
}
HELD = {  # what a change makes of the arrays
    "an array too many": lambda a: {"more": a["maps"]},
    "maps without samples": lambda a: {"maps": a["maps"][0, 0]},
    "maps with channels": lambda a: {"maps": a["maps"][:, None, None, None]},
    "maps of no size": lambda a: {"maps": a["maps"][:, :0]},
    "maps of integers": lambda a: {"maps": a["maps"].astype(int)},
    "maps of complex numbers": lambda a: {"maps": a["maps"].astype(complex)},
    "maps of words": lambda a: {"maps": a["maps"].astype(str)},
    "maps with NaN": lambda a: {"maps": np.where(a["maps"] > 0.5, np.nan, a["maps"])},
    "maps below zero": lambda a: {"maps": a["maps"] - 0.1},
    "maps beyond one": lambda a: {"maps": a["maps"] * 1.01},
    "maps of fewer samples": lambda a: {"maps": a["maps"][:1]},
    "raw maps with infinity": lambda a: {"raw_1": np.full_like(a["raw_1"], np.inf)},
    "raw maps of fewer samples": lambda a: {"raw_0": a["raw_0"][:1]},
    "raw maps of integers": lambda a: {"raw_0": a["raw_0"].astype(np.int8)},
    "scores with infinity": lambda a: {"scores": a["scores"] * np.inf},
    "scores by class": lambda a: {"scores": a["outputs"]},
    "scores of more samples": lambda a: {"scores": np.repeat(a["scores"], 2)},
    "one score for all": lambda a: {"scores": a["scores"][0]},
    "classes of floats": lambda a: {"classes": a["classes"].astype(float)},
    "classes beyond the outputs": lambda a: {"classes": a["classes"] + 5},
    "classes below none": lambda a: {"classes": a["classes"] - 9},
    "classes by sample and place": lambda a: {"classes": a["classes"][:, None]},
    "empty as numbers": lambda a: {"empty": a["empty"].astype(int)},
    "empty of one sample": lambda a: {"empty": a["empty"][:1]},
    "outputs with NaN": lambda a: {"outputs": a["outputs"] * np.nan},
    "outputs of complex numbers": lambda a: {"outputs": a["outputs"] * 1j},
    "outputs of fewer samples": lambda a: {"outputs": a["outputs"][:1]},
    "no outputs": lambda a: {"outputs": None},
    "no maps": lambda a: {"maps": None},
    "no raw maps": lambda a: {"raw_0": None},
    "no scores": lambda a: {"scores": None},
    "dates": lambda a: {"scores": a["scores"].astype("datetime64[s]")},
}


def refused(path):
    with pytest.raises(InputError, match="is no explanation saved by camcore") as raised:
        camcore.load(path)
    assert raised.value.__cause__ is not None
    assert str(path) in str(raised.value)
    assert len(str(raised.value)) < 600


@pytest.fixture
def parts(result):
    return {"format": 1, **result._settings()}, result._arrays()


@pytest.mark.parametrize("kind", SAID)
def test_settings_that_cannot_be_are_refused(kind, parts, tmp_path):
    about, arrays = parts
    change = dict(SAID[kind])
    if isinstance(style := change.get("overlay_style"), dict):
        change["overlay_style"] = {**about["overlay_style"], **style}
    archive(tmp_path / "cat.npz", json.dumps({**about, **change}), arrays)
    refused(tmp_path / "cat.npz")


@pytest.mark.parametrize("kind", HELD)
def test_arrays_that_cannot_be_are_refused(kind, parts, tmp_path):
    about, arrays = parts
    changed = {**arrays, **HELD[kind](arrays)}
    changed = {name: array for name, array in changed.items() if array is not None}
    archive(tmp_path / "cat.npz", json.dumps(about), changed)
    refused(tmp_path / "cat.npz")


@pytest.mark.parametrize("about", ["", "{", "[]", "3", '{"format": 1}', "[" * 100_000])
def test_settings_that_are_no_settings_are_refused(about, parts, tmp_path):
    archive(tmp_path / "cat.npz", about, parts[1])
    refused(tmp_path / "cat.npz")


def npy(header):
    """The beginning of an array's file, with this header and nothing after it."""
    text = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "member",
    [
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000, 1000)}"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 8, -8)}"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 8, 8)}"),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (2,)}") + pickle.dumps([1, 2]),
        npy("{'descr': '<f4'}"),
        npy("__import__('os').abort()"),
        b"\x93NUMPY",
        b"",
    ],
)
def test_arrays_that_are_not_what_they_declare_are_refused(member, result, parts, tmp_path):
    path = tmp_path / "cat.npz"
    archive(path, json.dumps(parts[0]), {k: v for k, v in parts[1].items() if k != "maps"})
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("maps.npy", member)
    refused(path)


def test_an_array_that_is_there_twice_is_refused(result, tmp_path):
    path = tmp_path / "cat.npz"
    result.save(path)
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("maps.npy", file.read("maps.npy"))
    refused(path)


def test_what_is_no_file_is_refused_without_reading_it(tmp_path):
    with pytest.raises(InputError, match="it is a folder"):
        camcore.load(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
        with pytest.raises(InputError, match="it is a device or pipe"):
            camcore.load(tmp_path / "pipe")


def test_an_archive_that_unpacks_to_far_more_than_it_is_is_refused_unread(tmp_path):
    path = tmp_path / "bomb.npz"
    block = bytes(2**24)
    archive = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with archive, archive.open("maps.npy", "w", force_zip64=True) as member:
        for _ in range(65):
            member.write(block)
    assert path.stat().st_size < 2**23
    with pytest.raises(InputError, match="would unpack to 1,090,519,040, more than is safe"):
        camcore.load(path)


@pytest.mark.parametrize("kind", ["maps with NaN", "scores with infinity", "maps beyond one"])
def test_what_could_not_be_loaded_is_not_saved(kind, result, tmp_path):
    spoiled = replace(result, **HELD[kind](result._arrays()))
    (tmp_path / "cat.npz").write_bytes(b"before")
    with pytest.raises(InputError, match="is not saved"):
        spoiled.save(tmp_path / "cat.npz")
    assert (tmp_path / "cat.npz").read_bytes() == b"before"


SAVER = """
import sys, camcore
one = camcore.load(sys.argv[1])
print("ready", flush=True)
while True:
    one.save(sys.argv[2])
"""


def test_four_savers_and_a_reader_of_one_file_see_whole_files_alone(result, tmp_path):
    path = tmp_path / "one.npz"
    sources = []
    for number in range(4):
        source = tmp_path / f"{number}.npz"
        replace(result, scores=np.full(2, float(number))).save(source)
        sources.append(source)
    stop, failed = threading.Event(), []

    def save(source):
        one = camcore.load(source)
        while not stop.is_set():
            try:
                one.save(path)
            except Exception as error:
                failed.append(error)

    camcore.load(sources[0]).save(path)
    threads = [threading.Thread(target=save, args=(one,)) for one in sources[:2]]
    processes = [
        subprocess.Popen([sys.executable, "-c", SAVER, one, path], stdout=subprocess.PIPE)
        for one in sources[2:]
    ]
    seen = []
    try:
        for process in processes:
            process.stdout.readline()
        for thread in threads:
            thread.start()
        for _ in range(60):
            found = camcore.load(path)
            seen.append(found.scores[0])
            assert_same(found, replace(result, scores=np.full(2, seen[-1])))
    finally:
        stop.set()
        for process in processes:
            process.terminate()
            process.communicate()
        for thread in threads:
            thread.join()
    assert not failed
    assert len(seen) == 60
    assert len(set(seen)) > 1


def test_a_later_format_is_named(result, tmp_path):
    path = tmp_path / "cat.npz"
    result.save(path)
    with np.load(path) as file:
        arrays = dict(file)
    about = json.loads(str(arrays["about"])) | {"format": 99}
    np.savez(path, **(arrays | {"about": np.array(json.dumps(about))}))
    with pytest.raises(InputError, match="has format 99; this version reads format 1"):
        camcore.load(path)


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        camcore.load(tmp_path / "nothing.npz")


@pytest.mark.parametrize(
    ("outputs", "activation", "expected"),
    [
        # Nothing makes probabilities of scores where it is not known what does.
        (LOGITS, None, None),
        (LOGITS, "none", None),
        (LOGITS, "softmax", [[1 / 8, 1 / 4, 1 / 2, 1 / 8]]),
        (LOGITS, "log_softmax", [[1 / 8, 1 / 4, 1 / 2, 1 / 8]]),
        # Scores of 0, ln 2, ln 4, 0: e / (1 + e).
        (LOGITS, "sigmoid", [[1 / 2, 2 / 3, 4 / 5, 1 / 2]]),
        ([[-1000.0, 1000.0]], "sigmoid", [[0, 1]]),
        ([[-1000.0, 1000.0]], "softmax", [[0, 1]]),
        ([[-1000.0, 1000.0]], None, None),
        # One sigmoid unit tells two classes.
        (np.log([[3.0], [1 / 9]]), "sigmoid", [[1 / 4, 3 / 4], [9 / 10, 1 / 10]]),
        # Probabilities already add up to one; a lone number in [0, 1] may be anything.
        ([[0.25, 0.75], [1.0, 0.0]], None, [[0.25, 0.75], [1.0, 0.0]]),
        ([[0.25, 0.75], [1.0, 0.0]], "none", None),
        ([[0.9], [0.2]], None, None),
        # No class scores.
        ([[3.0], [-2.0]], None, None),
        (np.zeros((1, 2, 3, 3)), None, None),
    ],
)
def test_probabilities_follow_from_outputs(outputs, activation, expected):
    with np.errstate(over="raise", invalid="raise"):
        found = of(outputs, activation).probabilities
    if expected is None:
        assert found is None
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_top_ranks_classes_and_keeps_ties_in_order():
    (ranked,) = of(LOGITS, "softmax").top(3)
    assert [index for index, _ in ranked] == [2, 1, 0]
    assert [p for _, p in ranked] == pytest.approx([1 / 2, 1 / 4, 1 / 8], rel=1e-14)
    assert len(of(LOGITS).top(99)[0]) == 4
    (scores,) = of(LOGITS).top(2)
    assert scores == [(2, np.log(4.0)), (1, np.log(2.0))]
    ((first, p), (second, q)) = of(np.log([[1 / 3]]), "sigmoid").top(5)[0]
    assert (first, second) == (0, 1)
    assert [p, q] == pytest.approx([0.75, 0.25], rel=1e-14)
    with pytest.raises(InputError, match=r"shape \(1, 2, 3, 3\) are no class scores"):
        of(np.zeros((1, 2, 3, 3))).top()


def test_maps_can_be_made_at_another_size():
    network = random_network()
    for options in ({}, {"fusion": "product"}, {"recipe": "notebook"}):
        result = camcore.explain(network, PHOTOS, layer=["relu1", "relu2"], **options)
        np.testing.assert_array_equal(result.at((8, 8)).maps, result.maps)
        larger = result.at((20, 31))
        assert larger.maps.shape == (2, 20, 31)
        assert larger.raw is result.raw
    mine = PAPER.derive("mine", fusion="max")
    result = camcore.explain(network, PHOTOS, layer=["relu1", "relu2"], recipe=mine)
    np.testing.assert_array_equal(result.at((8, 8), mine).maps, result.maps)
    with pytest.raises(RecipeError, match="no recipe 'mine'"):
        result.at((8, 8))


def test_an_explanation_says_what_it_is(result):
    classes = result.classes.tolist()
    assert repr(result) == (
        f"Explanation(gradcam of 2 at relu1, relu2, classes={classes}, "
        "maps (2, 8, 8), recipe 'paper')"
    )
    assert len(result) == 2
    assert result.layers == ("relu1", "relu2")


def test_an_explanation_is_compared_by_identity_and_cannot_be_changed(result):
    assert result == result
    assert result != replace(result)
    assert len({result, replace(result)}) == 2
    with pytest.raises(FrozenInstanceError):
        result.maps = None


@pytest.mark.parametrize("samples", [0, 1, -1, np.int64(1), slice(1, 2), slice(None), [1, 0], ()])
def test_selecting_samples_takes_them_from_every_array(result, samples):
    index = [samples] if isinstance(samples, int | np.integer) else samples
    index = list(index) if isinstance(index, tuple) else index
    found = result[samples]
    expected = replace(
        result,
        maps=result.maps[index],
        raw={name: maps[index] for name, maps in result.raw.items()},
        scores=result.scores[index],
        classes=result.classes[index],
        empty=result.empty[index],
        outputs=result.outputs[index],
    )
    assert_same(found, expected)
    assert found.maps.shape[1:] == (8, 8)
    assert replace(result, classes=None)[samples].classes is None


def test_selecting_a_sample_equals_explaining_it_alone(result):
    for index in range(2):
        alone = camcore.explain(
            random_network(), PHOTOS[index : index + 1], layer=["relu1", "relu2"]
        )
        np.testing.assert_allclose(result[index].maps, alone.maps, rtol=0, atol=1e-6)
        np.testing.assert_allclose(result[index].outputs, alone.outputs, rtol=1e-12)
        assert result[index].classes.tolist() == alone.classes.tolist()


def test_a_sample_that_is_not_there_is_an_index_error_so_that_loops_end(result):
    for wrong in (2, -3, [0, 2]):
        with pytest.raises(IndexError):
            result[wrong]
    assert [len(one) for one in result] == [1, 1]


def test_concatenating_selected_samples_gives_back_the_explanation(result):
    assert_same(camcore.Explanation.concatenate([result[0], result[1]]), result)
    assert_same(camcore.Explanation.concatenate(one for one in result), result)
    assert_same(camcore.Explanation.concatenate([result]), result)
    unnamed = replace(result, classes=None)
    assert_same(camcore.Explanation.concatenate([unnamed[:1], unnamed[1:]]), unnamed)


def test_concatenating_keeps_the_order(result):
    swapped = camcore.Explanation.concatenate([result[1], result[0]])
    assert swapped.scores.tolist() == result.scores[::-1].tolist()
    np.testing.assert_array_equal(swapped.maps, result.maps[::-1])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"method": "layercam"}, "method ('gradcam' and 'layercam')"),
        ({"recipe": "captum"}, "recipe ('paper' and 'captum')"),
        ({"raw": {"relu1": np.zeros((2, 6, 6))}}, "layers (['relu1', 'relu2'] and ['relu1'])"),
        ({"fusion": "max"}, "fusion ('mean' and 'max')"),
        ({"activation": "softmax"}, "activation (None and 'softmax')"),
        ({"classes": None}, "the shape of classes (() and None)"),
        ({"maps": np.zeros((2, 9, 9))}, "the shape of maps ((8, 8) and (9, 9))"),
    ],
)
def test_explanations_that_differ_in_more_than_their_samples_are_not_joined(result, change, says):
    with pytest.raises(InputError) as raised:
        camcore.Explanation.concatenate([result, replace(result, **change)])
    assert says in str(raised.value)
    assert str(raised.value).endswith("inputs of one size.")


def test_concatenating_nothing_is_refused():
    with pytest.raises(InputError, match="no explanation to join"):
        camcore.Explanation.concatenate([])


def test_layers_taken_apart_keep_the_size_of_the_maps():
    result = camcore.explain(random_network(), PHOTOS, layer=["relu1", "relu2"]).at((20, 31))
    for name, one in result.by_layer().items():
        assert one.layers == (name,)
        assert one.maps.shape == (2, 20, 31)
        alone = camcore.explain(random_network(), PHOTOS, layer=name).at((20, 31))
        np.testing.assert_array_equal(one.maps, alone.maps)


@pytest.fixture
def explained(require):
    """Two photographs of different sizes, each with a map of what lies in its middle."""
    require("cv2")
    rng = np.random.default_rng(3)
    photos = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((40, 60, 3), (40, 90, 3))]
    crops = [CentreCrop(photo.shape, 20) for photo in photos]
    maps = np.zeros((2, 20, 20), np.float32)
    maps[0, 5:10, 5:15], maps[1, 15:, 15:] = 1, 0.5
    kept = tuple(
        PhotoInput(photo, crop, path=Path("/photos/one.png"))
        for photo, crop in zip(photos, crops, strict=True)
    )
    return replace(
        of(np.zeros((2, 3))),
        maps=maps,
        raw={"layer": maps},
        empty=np.zeros(2, bool),
        photographs=kept,
        preprocessing="middle 20 × 20",
        names=("a", "b", "c"),
    )


def test_photographs_are_overlaid_where_the_model_saw_them(explained):
    pictures = explained.overlay()
    for picture, one, shown in zip(pictures, explained.photographs, explained.maps, strict=True):
        by_hand = camcore.viz.overlay(one.photo, one.crop.to_photo(shown))[0]
        window = one.crop.seen_window
        np.testing.assert_array_equal(picture[window], by_hand[window])
        corner = np.s_[:, : window[1].start - 2]
        np.testing.assert_array_equal(picture[corner], one.photo[corner])
    assert explained[0].overlay().shape == (1, 40, 60, 3)
    bare = explained[0].overlay(alpha=0)[0]
    np.testing.assert_array_equal(bare[:, 10:50], explained.photographs[0].photo[:, 10:50])


def test_masks_and_boxes_lie_in_the_photographs(explained, require):
    require("cv2")
    # The first map's rows 5 to 10 are rows 10 to 20 of a photograph twice as large, columns 5
    # to 15 are 10 to 30 behind the ten columns that the model did not see.
    assert explained.boxes(0.5)[0].tolist() == [[20, 10, 40, 20]]
    assert explained.boxes(0.5)[1].tolist() == [[54, 30, 64, 40]]
    assert [mask.shape for mask in explained.mask()] == [(40, 60), (40, 90)]
    assert explained.mask(0.5)[0].sum() == 10 * 20
    bare = replace(explained, photographs=())
    assert bare.boxes(0.5)[0].tolist() == [[5, 5, 15, 10]]


def test_overlays_are_written_under_names_of_their_own(explained, tmp_path, require):
    image = require("PIL.Image")
    explained.save_overlay([tmp_path / "one.png", tmp_path / "two.png"])
    written = [np.asarray(image.open(tmp_path / name)) for name in ("one.png", "two.png")]
    for picture, expected in zip(written, explained.overlay(), strict=True):
        np.testing.assert_array_equal(picture, expected)
    with pytest.raises(InputError, match="1 names were given for 2 overlays"):
        explained.save_overlay(tmp_path / "one.png")
    with pytest.raises(FileError, match="would be written over"):
        explained[0].save_overlay("/photos/one.png")


def test_a_file_keeps_the_photographs(explained, tmp_path):
    explained.save(tmp_path / "both.npz")
    back = camcore.load(tmp_path / "both.npz")
    assert_same(back, explained)
    assert (back.names, back.preprocessing) == (("a", "b", "c"), "middle 20 × 20")
    for one, other in zip(back.photographs, explained.photographs, strict=True):
        np.testing.assert_array_equal(one.photo, other.photo)
        assert (one.crop.box, one.path) == (other.crop.box, other.path)
    for one, other in zip(back.overlay(), explained.overlay(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_samples_keep_their_photographs(explained):
    assert [one.photographs[0] for one in explained] == list(explained.photographs)
    again = camcore.Explanation.concatenate([explained[1], explained[0]])
    assert again.photographs == explained.photographs[::-1]
    assert again.names == ("a", "b", "c")


def test_a_photograph_itself_is_overlaid_as_it_was_explained(explained):
    one = explained[0]
    photo = one.photographs[0].photo
    given, own = one.overlay(photo)[0], one.overlay()[0]
    np.testing.assert_array_equal(given[:, 10:50], own[:, 10:50])


def test_images_of_another_aspect_ratio_are_refused(result):
    photo = np.zeros((60, 90, 3), np.uint8)
    with pytest.raises(InputError, match=r"60 by 90 pixels and the maps 8 by 8.*CentreCrop"):
        result[0].overlay(photo)
    crop = CentreCrop(photo.shape, 8)
    by_hand = camcore.viz.overlay(photo, crop.to_photo(result.maps[0]))
    np.testing.assert_array_equal(result[0].overlay(photo, crop=crop), by_hand)
    stretched = camcore.viz.overlay(photo, result.maps[:1])
    np.testing.assert_array_equal(result[0].overlay(photo, stretch=True), stretched)


@pytest.mark.parametrize("shape", [(80, 80, 3), (81, 80, 3), (224, 190, 3)])
def test_sides_that_a_library_rounded_are_of_one_aspect_ratio(result, shape):
    if shape[1] == 190:
        with pytest.raises(InputError, match="another aspect ratio"):
            result[0].overlay(np.zeros(shape, np.uint8))
    else:
        assert result[0].overlay(np.zeros(shape, np.uint8)).shape == (1, *shape)


def test_what_was_not_explained_as_a_photograph_is_said(result, explained):
    for call in (result.overlay, result.maps_on_photographs):
        with pytest.raises(InputError, match="Arrays were explained, not photographs"):
            call()
    lost = replace(
        explained, photographs=tuple(replace(p, crop=None) for p in explained.photographs)
    )
    with pytest.raises(InputError, match="middle 20 × 20 does more than scale, crop and fill up"):
        lost.overlay()
    np.testing.assert_array_equal(
        lost[0].overlay(stretch=True)[0],
        camcore.viz.overlay(lost.photographs[0].photo, lost.maps[:1])[0],
    )


def test_a_picture_is_not_saved_as_arrays(result, tmp_path):
    with pytest.raises(InputError, match=r"cat.png has the ending of a picture.*save_overlay"):
        result.save(tmp_path / "cat.png")
    assert not list(tmp_path.iterdir())


def test_an_array_of_an_explanation_is_its_maps(result):
    np.testing.assert_array_equal(np.asarray(result), result.maps)
    assert np.asarray(result, np.float64).dtype == np.float64


def test_a_figure_shows_what_the_model_saw(explained):
    drawing = explained[0].figure()
    shown = drawing.axes[0].images[0].get_array()
    crop = explained.photographs[0].crop
    expected = crop.view(explained.photographs[0].photo, (440, 440))
    np.testing.assert_array_equal(np.asarray(shown), expected)


def test_one_column_of_which_nothing_is_known_is_a_raw_number():
    assert of([[0.3], [2.0]]).is_raw_number
    assert not of([[0.3], [2.0]], "sigmoid").is_raw_number
    assert not of([[0.3, 0.5], [2.0, 1.0]]).is_raw_number
