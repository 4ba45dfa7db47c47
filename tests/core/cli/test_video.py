"""``camcore explain`` on a video."""

from __future__ import annotations

import json

import numpy as np
import pytest

from camcore.batch import Clip, write_video

FPS = 12.5


@pytest.fixture(autouse=True)
def _packages(require):
    require("cv2")
    require("av")


@pytest.fixture
def clip(tmp_path):
    """Eleven frames of a bright square that wanders."""
    frames = np.full((11, 48, 64, 3), 60, np.uint8)
    for t, frame in enumerate(frames):
        frame[16:32, 4 * t : 4 * t + 16] = (250, 180, 90)
    write_video(tmp_path / "walk.mp4", frames, FPS)
    return tmp_path / "walk.mp4"


def test_a_video_gives_a_video_of_its_overlays(camcore, clip, tmp_path):
    out = tmp_path / "out"
    words = ["explain", clip, "-m", "tiny_models:named", "--steady", 0.7, "--every", 2, "-o", out]
    done = camcore(*words)
    assert done.exit_code == 0, done.output
    assert "11 frames" in done.stdout
    assert [path.name for path in out.iterdir()] == ["walk.overlay.mp4"]
    assert len(list(Clip.open(out / "walk.overlay.mp4").frames())) == 11
    told = json.loads(camcore(*words, "--json").stdout)
    assert (told["frames"], told["fps"]) == (11, FPS)
    assert told["output"] == str(out / "walk.overlay.mp4")


def test_a_file_that_is_no_video_is_named_and_nothing_is_left(camcore, tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    done = camcore("explain", text, "-m", "tiny_models:named", "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "no video that OpenCV can read" in done.stderr
    missing = camcore("explain", tmp_path / "gone.mp4", "-m", "tiny_models:named")
    assert "does not exist" in missing.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["text.mp4"]
