"""The README's commands, typed as they stand there in a folder that has what they name."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).parents[3] / "README.md"
COMMANDS = re.findall(
    r"^    (camcore (?:explain|compare|evaluate|layers|methods) .*)$",
    README.read_text("utf-8"),
    re.M,
)
INLINE = sorted(set(re.findall(r"`(camcore [a-z -]+)`", README.read_text("utf-8"))))


def state_dict(path, make):
    import torch

    torch.manual_seed(0)
    torch.save(make().state_dict(), path)


def keras_weights(path):
    code = (
        "import keras, sys; keras.utils.set_random_seed(0); "
        "keras.applications.ResNet50(weights=None).save_weights(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True)


def video(path):
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    for level in (40, 120, 200):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()


@pytest.fixture
def here(tmp_path, photographs, require):
    """A folder with every file that the README's commands name."""
    from camcore.photos.io import write_image

    (tmp_path / "photos").mkdir()
    for name in ("chelsea", "coffee"):
        write_image(tmp_path / "photos" / f"{name}.png", photographs[name])
    makers = {
        "cat.jpg": lambda path: write_image(path, photographs["chelsea"]),
        "walk.mp4": video,
        "resnet50.weights.h5": keras_weights,
        "lite0.pth": lambda path: state_dict(
            path, lambda: require("timm").create_model("tf_efficientnet_lite0")
        ),
        "resnet18.pth": lambda path: state_dict(path, require("torchvision").models.resnet18),
        "last.ckpt": lambda path: state_dict(
            path, lambda: require("timm").create_model("resnet18", num_classes=3)
        ),
        "names.txt": lambda path: path.write_text("cat\ncup\nother\n"),
    }

    def provide(command):
        for name, make in makers.items():
            if name in command:
                make(tmp_path / name)
        return tmp_path

    return provide


def test_the_readme_shows_commands():
    assert len(COMMANDS) == 8
    shown = {"camcore recipes", "camcore methods", "camcore --help", "camcore demo"}
    shown |= {"camcore compare", "camcore reproduce", "camcore app"}
    assert set(INLINE) == {*shown, "camcore --install-completion"}


@pytest.mark.parametrize("words", ["recipes", "methods", "reproduce", "--help"])
def test_a_command_within_a_sentence_works(words, camcore):
    done = camcore(*words.split())
    assert done.exit_code == 0
    assert done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_does_what_it_says(command, here, require):
    for framework in ("torch", "keras", "timm", "torchvision"):
        require(framework)
    folder = here(command)
    run = subprocess.run(
        [sys.executable, "-c", "from camcore.cli import main; main()", *shlex.split(command)[1:]],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    expected = {
        "explain cat": ["camcore-cat/overlay.png", "camcore-cat/explanation.npz"],
        "explain photos --model timm": [
            "camcore-photos/chelsea.overlay.jpg",
            "camcore-photos/report.html",
        ],
        "explain photos --model keras": [
            "camcore-photos/chelsea.overlay.jpg",
            "camcore-photos/coffee.overlay.jpg",
        ],
        "explain walk": ["camcore-walk/walk.overlay.mp4"],
        "compare": ["camcore-compare/report.html"],
        "evaluate": ["camcore-evaluate/per_sample.csv", "camcore-evaluate/table.md"],
        "layers": [],
        "methods": [],
    }
    (wanted,) = (files for words, files in expected.items() if words in command)
    assert [name for name in wanted if not (folder / name).exists()] == []
    if "layers" in command:
        assert "encoder.layers.encoder_layer_11.ln_1" in run.stdout
    if "methods" in command:
        assert "@inproceedings{selvaraju2017gradcam," in run.stdout
