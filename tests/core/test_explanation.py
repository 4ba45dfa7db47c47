"""What an explanation tells, and that a file gives back what was put in."""

from __future__ import annotations

import json
import pickle
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest

import camcore
from camcore.errors import InputError, RecipeError
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
        (LOGITS, None, [[1 / 8, 1 / 4, 1 / 2, 1 / 8]]),
        (LOGITS, "softmax", [[1 / 8, 1 / 4, 1 / 2, 1 / 8]]),
        (LOGITS, "log_softmax", [[1 / 8, 1 / 4, 1 / 2, 1 / 8]]),
        # Scores of 0, ln 2, ln 4, 0: e / (1 + e).
        (LOGITS, "sigmoid", [[1 / 2, 2 / 3, 4 / 5, 1 / 2]]),
        ([[-1000.0, 1000.0]], "sigmoid", [[0, 1]]),
        ([[-1000.0, 1000.0]], None, [[0, 1]]),
        # Probabilities already: a softmax's, and a single sigmoid's.
        ([[0.25, 0.75], [1.0, 0.0]], None, [[0.25, 0.75], [1.0, 0.0]]),
        ([[0.9], [0.2]], None, [[0.9], [0.2]]),
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
    (ranked,) = of(LOGITS).top(3)
    assert [index for index, _ in ranked] == [2, 1, 0]
    assert [p for _, p in ranked] == pytest.approx([1 / 2, 1 / 4, 1 / 8], rel=1e-14)
    assert len(of(LOGITS).top(99)[0]) == 4
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
