"""The lines that other libraries take for everyday things run, and are counted as the page says.

Where the two do the same, the numbers are compared.
"""

from __future__ import annotations

import inspect
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from everyday import FUNCTIONS, LIBRARIES, OURS, of_library, table

import camcore
from camcore.targets import Contrast, top

PAGE = Path(__file__).parents[2] / "docs/everyday.md"

VIT = {"layer": "vit.layers.1.layernorm_before"}
STRONGEST = {"target": lambda outputs: outputs[0][:, 4:].amax((1, 2)), "layer": "model.22"}

SAME = {
    "overlay": {},
    "named": {"target": 281},
    "good": {},
    "five": {"target": top(5)},
    "loader": {},
    "own_names": {"target": 7},
    "volume": {"layer": "1"},
    "yolo": STRONGEST,
    ("pytorch-grad-cam", "layer"): {"layer": "blocks.4"},
    ("pytorch-grad-cam", "layers"): {"layer": ["blocks.4", "blocks.6"], "method": "layercam"},
    ("pytorch-grad-cam", "methods"): {"method": ["gradcam", "layercam", "eigencam"]},
    ("pytorch-grad-cam", "smooth"): {"eigen_smooth": True},
    ("pytorch-grad-cam", "transformers"): VIT,
    ("captum", "layer"): {"layer": "blocks.4"},
    ("captum", "methods"): {"method": ["gradcam", "hirescam"]},
    ("captum", "pixels"): {"method": "integratedgradients", "steps": 8, "layer": None},
    ("captum", "signed"): {"target": Contrast(281)},
    ("captum", "transformers"): {"method": "saliency", "layer": None},
    ("tf-explain", "layer"): {"layer": "block6d_add"},
    ("tf-explain", "methods"): {},
}
"""How camcore is asked for what a library makes first, by section, or by library and section."""

PICTURES = {"overlay", "methods", "pixels", "transformers", "yolo", "volume"}
"""Sections that leave a picture."""


@pytest.fixture(scope="module")
def things(require, tmp_path_factory):
    """What functions are given, by library and by name."""
    data, torch = require("skimage.data"), require("torch")
    folder = tmp_path_factory.mktemp("photos")
    cat = camcore.photos.write_image(folder / "cat.png", data.chelsea())
    cup = camcore.photos.write_image(folder / "cup.png", data.coffee())
    nn, seed = torch.nn, torch.manual_seed(0)
    convolution = nn.Sequential(nn.Conv3d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1))
    volumes = torch.rand(1, 1, 16, 24, 24, generator=seed)

    def given(library, name):
        if name == "network":
            return model_of(library)
        if name == "batches":  # the last of which is looked at
            pixels = np.stack([data.chelsea()[:224, 9:233], data.coffee()[:224, 99:323]])
            images = (pixels.astype(np.float32) - 127) / 128
            return (
                [images]
                if library == "tf-explain"
                else [torch.tensor(images.transpose(0, 3, 1, 2))]
            )
        return {
            "path": lambda: cat,
            "other": lambda: cup,
            "names": camcore.imagenet_classes,
            "classify": lambda: classifier(require("transformers")),
            "detector": lambda: require("ultralytics").YOLO("yolo11n.yaml"),
            "network_of_volumes": lambda: nn.Sequential(
                *convolution, nn.Flatten(), nn.Linear(4, 2)
            ),
            "volumes": lambda: volumes,
        }[name]()

    return given


@cache
def model_of(library):
    framework = "demo-keras" if library == "tf-explain" else "demo-torch"
    return camcore.load_model(f"{framework}:efficientnet_lite0").model


def classifier(transformers):
    config = transformers.ViTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2)
    vit = transformers.ViTForImageClassification(config).eval()
    processor = transformers.ViTImageProcessor()
    return transformers.pipeline("image-classification", model=vit, image_processor=processor)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("library", "name"), list(FUNCTIONS), ids=map("-".join, FUNCTIONS))
def test_other_libraries_lines_do_what_they_are_counted_for(
    library, name, things, tmp_path, monkeypatch, require
):
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    function = FUNCTIONS[library, name]
    given = {one: things(library, one) for one in inspect.signature(function).parameters}
    inputs, found, *_ = function(**given)
    if name in PICTURES:
        assert np.ptp(np.asarray(require("PIL.Image").open("where.png"))) > 100
    how = SAME.get((library, name), SAME.get(name) if library in LIBRARIES else None)
    if how is not None:
        ours = in_camcore(library, given, inputs, how)
        check = assert_same_pictures if library == "tf-explain" else assert_same_maps
        check(ours, found[: len(ours)])
    else:
        assert np.ptp(found) > 0


def in_camcore(library, given, inputs, how):
    """Ask camcore for the same, and stack what it gives: maps, or pictures."""
    model = given.get("network", given.get("network_of_volumes"))
    if model is None:
        model = given["classify"].model if "classify" in given else given["detector"].model
    layer = "head_relu" if library == "tf-explain" else "bn2"
    results = camcore.explain(model, inputs, recipe=library, **{"layer": layer, **how})
    results = list(results.values()) if isinstance(results, dict) else results
    results = results if isinstance(results, list) else [results]
    if library == "tf-explain":
        pictures = ((inputs + 1) / 2 * 255).astype(np.uint8)
        return np.concatenate([one.overlay(pictures) for one in results])
    return np.concatenate([one.maps for one in results])


def assert_same_maps(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5 * np.abs(theirs).max())
    assert np.ptp(theirs) > 0


def assert_same_pictures(ours, theirs):
    if theirs.shape[1:] != ours.shape[1:]:  # several in a square
        theirs = theirs.reshape(ours.shape)
    # A map's eight bits may be one apart, which is up to three in a colour.
    apart = np.abs(ours.astype(int) - theirs)
    assert apart.max() <= 3
    assert np.mean(apart > 1) < 1e-3
    assert np.ptp(theirs) > 100


def test_by_name_and_by_itself_are_the_same_layer(things, monkeypatch, tmp_path):
    for library in LIBRARIES:
        about = {one: things(library, one) for one in ("network", "path")}
        _, by_name, by_itself = FUNCTIONS[library, "layer"](**about)
        np.testing.assert_array_equal(by_name, by_itself)


def test_every_section_is_done_or_said_to_be_not_offered():
    titles = [line[3:] for line in PAGE.read_text("utf-8").splitlines() if line.startswith("## ")]
    assert titles == [*OURS.values(), "Beside other libraries"]
    for module in LIBRARIES.values():
        functions = {n for n, f in inspect.getmembers(module, inspect.isfunction)}
        assert functions | set(module.NOT_OFFERED) == set(OURS)
        assert not functions & set(module.NOT_OFFERED)


def test_lines_are_counted_without_imports_and_what_is_returned():
    assert of_library("pytorch-grad-cam", "loader").splitlines()[-1] == (
        "        maps = cam(input_tensor=images, targets=None)"
    )
    assert len(of_library("pytorch-grad-cam", "loader").splitlines()) == 5  # an import, a space


def test_the_page_shows_the_counts():
    page = PAGE.read_text("utf-8")
    assert page.endswith(f"<!-- counted -->\n{table(page)}\n")
