"""Folders and pipelines of transformers are explained as their module is by hand."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch

import camcore
from camcore import zoo
from camcore.batch import PreparedPhoto
from camcore.errors import BackendError, InputError
from camcore.photos.crop import Crop
from camcore.resize import resize

SQUARE = {"height": 64, "width": 64}


@pytest.fixture
def transformers(require, monkeypatch):
    constants = require("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return require("transformers")


@pytest.fixture
def vit(transformers):
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=64,
        patch_size=16,
        id2label={0: "cat", 1: "dog", 2: "emu"},
        label2id={"cat": 0, "dog": 1, "emu": 2},
    )
    return transformers.ViTForImageClassification(config).eval()


def convolutions(transformers, kind):
    torch.manual_seed(0)
    if kind == "resnet":
        config = transformers.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=3
        )
        return transformers.ResNetForImageClassification(config).eval()
    config = transformers.ConvNextConfig(
        hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, num_labels=3
    )
    return transformers.ConvNextForImageClassification(config).eval()


def processors(transformers):
    """Image processors, and the geometry that each is known by."""
    return {
        "ViT": (transformers.ViTImageProcessor(size=SQUARE), ("stretch", 64, 64)),
        "ConvNeXT": (
            transformers.ConvNextImageProcessor(size={"shortest_edge": 64}),
            ("crop", 64, 73),
        ),
        "ConvNeXT, large": (
            transformers.ConvNextImageProcessor(size={"shortest_edge": 384}),
            ("stretch", 384, 384),
        ),
        "CLIP": (
            transformers.CLIPImageProcessor(size={"shortest_edge": 72}, crop_size=SQUARE),
            ("crop", 64, 72),
        ),
        "LeViT": (
            transformers.LevitImageProcessor(size={"shortest_edge": 64}, crop_size=SQUARE),
            ("crop", 64, 73),
        ),
        "EfficientNet": (
            transformers.EfficientNetImageProcessor(
                size={"height": 72, "width": 72}, crop_size=SQUARE, do_center_crop=True
            ),
            ("stretch", 64, 72),
        ),
    }


PROCESSORS = ("ViT", "ConvNeXT", "ConvNeXT, large", "CLIP", "LeViT", "EfficientNet")


def saved(folder, *parts):
    for part in parts:
        part.save_pretrained(folder)
    return f"hf:{folder}"


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("photo", ["chelsea", "rocket"])
def test_photographs_are_shown_as_the_processor_shows_them(
    transformers, tmp_path, photographs, photo, name
):
    processor, geometry = processors(transformers)[name]
    model = convolutions(transformers, "resnet")
    loaded = zoo.load_model(saved(tmp_path, model, processor))
    assert (loaded.fit, loaded.size, loaded.resize) == geometry
    for turned in (photographs[photo], photographs[photo].swapaxes(0, 1).copy()):
        expected = processor(turned, return_tensors="np")["pixel_values"]
        np.testing.assert_array_equal(PreparedPhoto.for_model(loaded, turned).inputs, expected)


@pytest.mark.parametrize("kind", ["vit", "resnet", "convnext"])
def test_maps_are_those_of_the_module_by_hand(transformers, vit, tmp_path, photographs, kind):
    processor = transformers.ViTImageProcessor(size=SQUARE)
    model = vit if kind == "vit" else convolutions(transformers, kind)
    loaded = zoo.load_model(saved(tmp_path, model, processor))
    prepared = PreparedPhoto.for_model(loaded, photographs["chelsea"])
    pixels = processor(photographs["chelsea"], return_tensors="pt")["pixel_values"]
    found = camcore.explain(loaded.model, prepared.inputs, 1, **loaded.defaults)
    expected = camcore.explain(model, pixels, 1, activation="softmax")
    np.testing.assert_array_equal(found.maps, expected.maps)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    assert not found.empty[0]
    assert loaded.classes == (("cat", "dog", "emu") if kind == "vit" else None)
    assert loaded.pretrained


def test_a_pipeline_is_understood(transformers, vit, photographs):
    processor = transformers.ViTImageProcessor(size=SQUARE)
    pipeline = transformers.ImageClassificationPipeline(model=vit, image_processor=processor)
    pixels = processor(photographs["coffee"], return_tensors="pt")["pixel_values"]
    expected = camcore.explain(vit, pixels, 1)
    np.testing.assert_array_equal(camcore.explain(pipeline, pixels, 1).maps, expected.maps)
    loaded = zoo.load_model(pipeline)
    assert (loaded.model, loaded.classes) == (vit, ("cat", "dog", "emu"))
    shown = PreparedPhoto.for_model(loaded, photographs["coffee"]).inputs
    np.testing.assert_array_equal(shown, pixels)


def test_a_pipeline_of_texts_says_what_to_give(transformers):
    class Texts(transformers.Pipeline):
        def __init__(self):
            self.task, self.image_processor = "text-classification", None

        _sanitize_parameters = preprocess = _forward = postprocess = None

    with pytest.raises(BackendError, match=r"Texts is for text-classification, which takes no ima"):
        camcore.explain(Texts(), np.zeros((1, 3, 64, 64), np.float32))


def test_other_weights_and_classes_are_loaded_into_a_folders_model(transformers, vit, tmp_path):
    spec = saved(tmp_path / "folder", vit, transformers.ViTImageProcessor(size=SQUARE))
    config = type(vit.config)(**{**vit.config.to_dict(), "num_labels": 5})
    other = type(vit)(config)
    torch.save({"state_dict": other.state_dict()}, tmp_path / "last.ckpt")
    path = str(tmp_path / "last.ckpt")
    with pytest.raises(InputError, match=r"They are for 5 classes: say so, by num_classes=5"):
        zoo.load_model(spec, checkpoint=path)
    loaded = zoo.load_model(spec, checkpoint=path, num_classes=5)
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
    assert loaded.classes is None
    assert not zoo.load_model(spec, num_classes=5).pretrained


def test_what_a_configuration_says_of_its_outputs_is_taken(transformers, vit, tmp_path):
    processor = transformers.ViTImageProcessor(size=SQUARE)
    for problem, activation in {
        "multi_label_classification": "sigmoid",
        "single_label_classification": "softmax",
        "regression": "none",
    }.items():
        vit.config.problem_type = problem
        loaded = zoo.load_model(saved(tmp_path / problem, vit, processor))
        assert loaded.activation == activation


def test_folders_without_all_weights_are_refused(transformers, vit, tmp_path):
    processor = transformers.ViTImageProcessor(size=SQUARE)
    spec = saved(tmp_path / "body", vit.vit, processor)
    config = json.loads((tmp_path / "body" / "config.json").read_text())
    config["architectures"] = ["ViTForImageClassification"]
    (tmp_path / "body" / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        InputError, match=r"not all of the model's: 2 missing, such as classifier.b"
    ):
        zoo.load_model(spec)
    spec = saved(tmp_path / "bare", vit, processor)
    (tmp_path / "bare" / "model.safetensors").unlink()
    with pytest.raises(
        InputError, match=r"bare cannot be loaded: .* Expected a folder with config"
    ):
        zoo.load_model(spec)
    with pytest.raises(InputError, match=r"cannot be loaded: .* preprocessor_config\.json"):
        zoo.load_model(saved(tmp_path / "no processor", vit))


def test_code_in_a_folder_is_not_run(transformers, vit, tmp_path):
    spec = saved(tmp_path, vit, transformers.ViTImageProcessor(size=SQUARE))
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: pass\n")
    with pytest.raises(InputError, match=r"brings code, which is never run here: load it yourself"):
        zoo.load_model(spec)
    assert not (tmp_path / "ran").exists()


def keepers_of_sides(transformers):
    """Processors that show no square."""
    longest = {"shortest_edge": 64, "longest_edge": 90}
    oblong = {"height": 48, "width": 64}
    return {
        "DETR": transformers.DetrImageProcessor(size=longest),
        "YOLOS": transformers.YolosImageProcessor(size=longest),
        "SegFormer": transformers.SegformerImageProcessor(size=oblong),
        "CLIP": transformers.CLIPImageProcessor(size={"shortest_edge": 72}, crop_size=oblong),
    }


@pytest.mark.parametrize("name", ["DETR", "YOLOS", "SegFormer", "CLIP"])
def test_processors_that_show_no_square_are_measured(transformers, tmp_path, photographs, name):
    processor = keepers_of_sides(transformers)[name]
    model = convolutions(transformers, "resnet")
    loaded = zoo.load_model(saved(tmp_path, model, processor))
    assert loaded.fit == "measured"
    for turned in (photographs["chelsea"], photographs["chelsea"].swapaxes(0, 1).copy()):
        pixels = processor(turned, return_tensors="np")["pixel_values"]
        prepared = PreparedPhoto.for_model(loaded, turned)
        np.testing.assert_array_equal(prepared.inputs, pixels)
        assert prepared.crop.grid == pixels.shape[2:]
        found = camcore.explain(loaded, turned, 1)
        expected = camcore.explain(model, torch.tensor(pixels), 1, **loaded.defaults)
        np.testing.assert_array_equal(found.maps, expected.maps)
        if name != "CLIP":
            assert prepared.crop == Crop.whole(turned.shape[:2], pixels.shape[2:])
            laid = resize(expected.maps, turned.shape[:2])[0]
            np.testing.assert_allclose(found.maps_on_photographs()[0], laid, atol=1e-6)
    assert "as the model's own library does it" in found.preprocessing


def test_a_processor_that_does_more_than_scale_and_crop_is_refused(transformers, vit):
    from camcore_torch.zoo_transformers import described

    class Mirrored(transformers.ViTImageProcessor):
        def __call__(self, images, **options):
            made = super().__call__(images, **options)
            made["pixel_values"] = made["pixel_values"][..., ::-1].copy()
            return made

    with pytest.raises(
        InputError, match=r"Mirrored shows photographs in a way that cannot be laid"
    ):
        described(vit, Mirrored(size=SQUARE))


def test_a_name_of_the_hub_is_looked_up_in_the_cache_alone(
    transformers, vit, tmp_path, monkeypatch, require
):
    monkeypatch.setattr(require("huggingface_hub.constants"), "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        InputError, match=r"Nothing is downloaded unless it is asked for: pretrained"
    ):
        zoo.load_model("hf:somebody/vit")
    with pytest.raises(InputError, match=r"own weights of hf:somebody/vit cannot be loaded: "):
        zoo.load_model("hf:somebody/vit", pretrained=True)
    repository = tmp_path / "models--somebody--vit"
    saved(repository / "snapshots" / ("0" * 40), vit, transformers.ViTImageProcessor(size=SQUARE))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    before = zoo.fingerprint("hf:somebody/vit")
    assert len(before) == 3  # the configuration, the weights, and the processor's
    os.utime(repository / "snapshots" / ("0" * 40) / "model.safetensors", (1, 1))
    assert zoo.fingerprint("hf:somebody/vit") != before
    for pretrained in (False, True):
        loaded = zoo.load_model("hf:somebody/vit", pretrained=pretrained)
        for name, value in loaded.model.state_dict().items():
            assert torch.equal(value, vit.state_dict()[name])


def test_loading_prints_nothing_and_leaves_the_librarys_settings(
    transformers, vit, tmp_path, capfd
):
    spec = saved(tmp_path, vit, transformers.ViTImageProcessor(size=SQUARE))
    logging = transformers.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    capfd.readouterr()
    zoo.load_model(spec)
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_deep_photographs_are_shown_with_all_their_levels(transformers, vit, tmp_path):
    loaded = zoo.load_model(saved(tmp_path, vit, transformers.ViTImageProcessor(size=SQUARE)))
    photo = np.random.default_rng(0).uniform(0, 255, (80, 120, 3)).astype(np.float32)
    deep = PreparedPhoto.for_model(loaded, camcore.photos.Photo(photo)).inputs
    flat = PreparedPhoto.for_model(replace(loaded, view=None), camcore.photos.Photo(photo)).inputs
    assert np.unique(deep).size > 256
    np.testing.assert_allclose(deep, flat, atol=0.02)
