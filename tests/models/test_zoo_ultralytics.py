"""Files of ultralytics, and YOLO itself, are explained as their module is by hand."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

import camcore
from camcore import zoo
from camcore.batch import PreparedPhoto
from camcore.errors import BackendError, InputError, MissingFileError
from camcore.targets import Box, Class


@pytest.fixture
def ultralytics(require):
    return require("ultralytics")


@pytest.fixture
def photo(photographs):
    return photographs["chelsea"]


def made(ultralytics, name, **train_args):
    """A model with weights drawn at random, as its trainer writes it."""
    torch.manual_seed(0)
    model = ultralytics.YOLO(name).model
    return {"model": model, "train_args": {"imgsz": 64, **train_args}, "date": "today"}


def images():
    torch.manual_seed(1)
    return torch.rand(2, 3, 64, 64)


def test_a_yolo_that_classifies_is_explained_by_the_logits_of_its_module(ultralytics):
    yolo = ultralytics.YOLO("yolo11n-cls.yaml")
    found = camcore.explain(yolo, images(), 1)
    expected = camcore.explain(yolo.model, images(), 1, output="1")
    np.testing.assert_array_equal(found.raw["model.10.conv"], expected.raw["model.10.conv"])
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert found.activation == "softmax"
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-6)
    inside = camcore.explain(yolo.model, images(), 1)
    np.testing.assert_array_equal(found.maps, inside.maps)


def test_a_yolo_is_explained_as_before_once_it_has_predicted(ultralytics):
    yolo = ultralytics.YOLO("yolo11n-cls.yaml")
    before = camcore.explain(yolo, images(), 1, layer="model.10.conv.conv")
    yolo.predict(np.zeros((64, 64, 3), np.uint8), imgsz=64, verbose=False)
    after = camcore.explain(yolo, images(), 1)
    np.testing.assert_allclose(after.scores, before.scores, rtol=1e-4)


def test_boxes_of_a_yolo_need_no_output_named(ultralytics):
    yolo = ultralytics.YOLO("yolo11n.yaml")
    box = Box(3, of_class=2, arranged="yolo")
    found = camcore.explain(yolo, images(), box, layer="model.15")
    expected = camcore.explain(yolo.model, images(), box, layer="model.15", output="0")
    np.testing.assert_array_equal(found.raw["model.15"], expected.raw["model.15"])
    assert np.abs(found.raw["model.15"]).max() > 0


def test_of_a_detector_the_best_box_is_explained_and_not_a_class(ultralytics):
    yolo = ultralytics.YOLO("yolo11n.yaml")
    found, best = (camcore.explain(yolo, images(), target) for target in (None, yolo_box(yolo)))
    np.testing.assert_array_equal(found.maps, best.maps)
    np.testing.assert_array_equal(found.scores, best.scores)
    with pytest.raises(camcore.errors.TargetError, match="Say which one is explained: output="):
        camcore.explain(yolo, images(), Class(1))


def yolo_box(yolo):
    return zoo.load_model(yolo).aim(None)


def test_a_yolo_that_runs_a_file_says_what_to_give(ultralytics, tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"")
    yolo = ultralytics.YOLO(str(tmp_path / "net.onnx"), task="detect")
    with pytest.raises(BackendError, match=r"runs an exported file, .*net\.onnx, which has no lay"):
        camcore.explain(yolo, images())


def test_photographs_are_letterboxed_as_by_the_predictor(ultralytics, photo):
    from ultralytics.data.augment import LetterBox

    yolo = ultralytics.YOLO("yolo11n.yaml")
    loaded = zoo.load_model(yolo)
    assert (loaded.model, loaded.size, loaded.fit) == (yolo.model, 640, "letterbox")
    yolo.predict(photo[:, :, ::-1], rect=False, verbose=False)
    expected = yolo.predictor.preprocess([photo[:, :, ::-1]])
    prepared = PreparedPhoto.for_model(loaded, photo)
    np.testing.assert_array_equal(prepared.inputs, expected.numpy())
    bars = (LetterBox((640, 640), auto=False)(image=photo + 0 * photo) == 114).all(-1)
    assert np.array_equal((prepared.inputs[0] == np.float32(114 / 255)).all(0), bars)


def test_photographs_are_cropped_as_by_the_predictor_that_classifies(ultralytics, photo):
    yolo = ultralytics.YOLO("yolo11n-cls.yaml")
    yolo.predict(photo[:, :, ::-1], verbose=False)
    expected = yolo.predictor.preprocess([photo[:, :, ::-1]])
    prepared = PreparedPhoto.for_model(zoo.load_model(yolo), photo)
    np.testing.assert_allclose(prepared.inputs, expected.numpy(), atol=1e-6)


def test_a_file_is_explained_as_the_module_in_it(ultralytics, tmp_path, photo):
    checkpoint = made(ultralytics, "yolo11n-cls.yaml")
    checkpoint["model"].names = {i: f"kind {i}" for i in range(1000)}
    torch.save(checkpoint, tmp_path / "best.pt")
    loaded = zoo.load_model(f"ultralytics:{tmp_path / 'best.pt'}")
    assert (loaded.size, loaded.fit, loaded.activation) == (64, "crop", "softmax")
    assert loaded.classes[:2] == ("kind 0", "kind 1")
    inputs = PreparedPhoto.for_model(loaded, photo).inputs
    found, expected = (camcore.explain(m, inputs, 5) for m in (loaded.model, checkpoint["model"]))
    np.testing.assert_array_equal(found.maps, expected.maps)


@pytest.mark.parametrize("name", ["yolo11n", "yolo11n-seg", "yolo11n-pose", "yolo11n-obb"])
def test_the_best_box_and_those_of_a_class_are_explained(ultralytics, tmp_path, photo, name):
    checkpoint = made(ultralytics, f"{name}.yaml")
    torch.save(checkpoint, tmp_path / "best.pt")
    loaded = zoo.load_model(f"ultralytics:{tmp_path / 'best.pt'}")
    inputs = PreparedPhoto.for_model(loaded, photo).inputs
    layer = {"layer": "model.16"}
    best = camcore.explain(loaded.model, inputs, loaded.aim(None), **layer)
    outputs = checkpoint["model"].eval()(torch.from_numpy(inputs))[0]
    outputs = outputs[0] if isinstance(outputs, tuple) else outputs
    classes = 15 if name.endswith("obb") else 1 if name.endswith("pose") else 80
    scores = outputs[0, 4 : 4 + classes].detach().numpy()
    np.testing.assert_allclose(best.scores, scores.max(), rtol=1e-5)
    some = camcore.explain(loaded.model, inputs, loaded.aim(0), **layer)
    assert some.scores[0] > 0


def test_a_description_takes_weights_and_a_number_of_classes(ultralytics, tmp_path):
    checkpoint = made(ultralytics, "yolo11n.yaml")
    torch.save(checkpoint, tmp_path / "best.pt")
    path = str(tmp_path / "best.pt")
    assert not zoo.load_model("ultralytics:yolo11n.yaml").pretrained
    loaded = zoo.load_model("ultralytics:yolo11n.yaml", checkpoint=path)
    assert loaded.pretrained
    for name, value in checkpoint["model"].state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value)
    assert zoo.load_model("ultralytics:yolo11n.yaml", num_classes=3).model.model[-1].nc == 3
    with pytest.raises(InputError, match=r"do not fit DetectionModel: .*of another shape"):
        zoo.load_model("ultralytics:yolo11n.yaml", checkpoint=path, num_classes=3)


class Runs:
    """Makes a folder as it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_what_a_file_pickles_beside_the_model_is_not_run(ultralytics, tmp_path):
    checkpoint = made(ultralytics, "yolo11n-cls.yaml")
    torch.save({**checkpoint, "more": Runs(str(tmp_path / "ran"))}, tmp_path / "best.pt")
    with pytest.raises(InputError, match=r"load it yourself, ultralytics\.YOLO\(path\), and give"):
        zoo.load_model(f"ultralytics:{tmp_path / 'best.pt'}")
    assert not (tmp_path / "ran").exists()


def test_nothing_is_downloaded_unless_it_is_asked_for(ultralytics, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def refused(*args, **options):
        raise ConnectionError("Download failure, environment is not online")

    monkeypatch.setattr(ultralytics.nn.tasks, "torch_safe_load", refused)
    with pytest.raises(MissingFileError, match=r"yolo11n\.pt does not exist"):
        zoo.load_model("ultralytics:yolo11n.pt")
    with pytest.raises(
        InputError, match=r"own weights of ultralytics:yolo11n\.pt cannot be loaded"
    ):
        zoo.load_model("ultralytics:yolo11n.pt", pretrained=True)
    with pytest.raises(InputError, match=r"nothing\.yaml cannot be made: .* such as yolo11n\.yaml"):
        zoo.load_model("ultralytics:nothing.yaml")


def test_loading_prints_nothing(ultralytics, tmp_path, capfd):
    torch.save(made(ultralytics, "yolo11n-cls.yaml"), tmp_path / "best.pt")
    capfd.readouterr()
    zoo.load_model(f"ultralytics:{tmp_path / 'best.pt'}")
    zoo.load_model("ultralytics:yolo11n-cls.yaml")
    assert capfd.readouterr() == ("", "")
