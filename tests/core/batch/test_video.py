"""Videos: every frame is there, looks as its overlay does, and maps are steady on request."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

import camcore as library
from camcore.batch import (
    Clip,
    PreparedPhoto,
    TemporalSmoothing,
    explain_frames,
    overlay_video,
    write_video,
)
from camcore.errors import InputError

SIZE = (48, 64)
FPS = 12.5


@pytest.fixture(autouse=True)
def _packages(require):
    require("cv2")
    require("av")


@pytest.fixture
def frames():
    """A bright blot that wanders over a slope of colours."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    slope = np.stack([rows * 4, columns * 3, 200 - columns * 2], -1).astype(float)
    return [
        np.clip(
            slope + 200 * np.exp(-((rows - 24) ** 2 + (columns - 8 - 4 * t) ** 2) / 60)[..., None],
            0,
            255,
        ).astype(np.uint8)
        for t in range(11)
    ]


@pytest.fixture
def clip(frames, tmp_path):
    write_video(tmp_path / "walk.mp4", frames, FPS)
    return tmp_path / "walk.mp4"


def close(one, other):
    """Mean difference in levels, which a lossy codec keeps small."""
    return np.abs(one.astype(int) - other.astype(int)).mean()


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv"])
@pytest.mark.parametrize("shape", [(48, 64), (45, 31)])
def test_a_written_video_has_the_frames_the_size_and_the_speed(name, shape, frames, tmp_path):
    pictures = [frame[: shape[0], : shape[1]] for frame in frames]
    assert write_video(tmp_path / name, iter(pictures), FPS) == 11
    clip = Clip.open(tmp_path / name)
    even = tuple(side // 2 * 2 for side in shape)
    assert (clip.size, clip.fps, clip.length) == (even, pytest.approx(FPS), 11)
    back = list(clip.frames())
    assert len(back) == 11
    assert max(close(a, b[: even[0], : even[1]]) for a, b in zip(back, pictures, strict=True)) < 6
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_overlays_are_those_of_the_frames(clip, tiny, tmp_path):
    loaded = tiny.named()
    assert overlay_video(loaded, clip, tmp_path / "out.mp4", batch=4) == 11
    source, made = Clip.open(clip), Clip.open(tmp_path / "out.mp4")
    assert (made.size, made.fps, made.length) == (source.size, source.fps, source.length)
    for frame, shown in zip(source.frames(), made.frames(), strict=True):
        before = PreparedPhoto.for_model(loaded, frame)
        result = library.explain(loaded.model, before.inputs)
        # Colours have half the resolution, of which edges and the frame lose some.
        assert close(shown, before.explained(result).overlay()) < 7
        assert close(shown, frame) > 15


def test_frames_between_keep_the_map_of_the_one_before(frames, tiny):
    loaded = tiny.named()
    every = list(explain_frames(loaded, frames, batch=3))
    third = list(explain_frames(loaded, frames, batch=3, every=3))
    assert len(third) == 11
    for number, one in enumerate(third):
        assert np.array_equal(one.photo, frames[number])
        expected = every[number // 3 * 3].explanation
        assert one.explanation.maps == pytest.approx(expected.maps, abs=1e-6)


def test_steady_maps_follow_the_formula(frames, tiny):
    loaded, share = tiny.named(), 0.8
    each = [one.explanation for one in explain_frames(loaded, frames, target=1)]
    steady = [one.explanation for one in explain_frames(loaded, frames, target=1, steady=share)]
    smoothed, peak = next(iter(each[0].raw.values())), 0.0
    for one, result in zip(each, steady, strict=True):
        (name, signed) = next(iter(one.raw.items()))
        smoothed = share * smoothed + (1 - share) * signed
        assert result.raw[name] == pytest.approx(smoothed, rel=1e-6)
        highest = max(smoothed.max(), 0)
        peak = max(highest, share * peak + (1 - share) * highest)
        shown = library.recipes.TABLE["paper"].render([smoothed], (8, 8))
        assert result.maps == pytest.approx(shown * highest / peak, abs=1e-6)


def test_flicker_is_damped_by_the_computed_amount(frames, tiny):
    """Of maps that go back and forth, a share (1 - a) / (1 + a) of the change remains."""
    loaded, share = tiny.named(), 0.6
    flicker = [frames[0], frames[8]] * 20

    def change(steady):
        results = explain_frames(loaded, flicker, target=1, steady=steady)
        maps = [next(iter(one.explanation.raw.values())) for one in results]
        return np.abs(np.diff(maps[-10:], axis=0)).mean()

    assert change(share) / change(0.0) == pytest.approx((1 - share) / (1 + share), rel=1e-4)


def test_a_shared_scale_keeps_weak_frames_weak(tiny):
    loaded = tiny.named()
    photo = np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    result = library.explain(loaded.model, PreparedPhoto.for_model(loaded, photo).inputs, target=1)
    assert result.maps.max() == pytest.approx(1)
    weak = replace(result, raw={name: maps / 10 for name, maps in result.raw.items()})
    smooth = TemporalSmoothing(0.5)
    assert smooth(result).maps.max() == pytest.approx(1)
    # s = (1 + 0.1) / 2 = 0.55 of the first peak, p = max(0.55, (1 + 0.55) / 2) = 0.775 of it.
    assert smooth(weak).maps.max() == pytest.approx(0.55 / 0.775, rel=1e-5)
    negative = replace(result, raw={name: -abs(maps) for name, maps in result.raw.items()})
    shown = TemporalSmoothing(0.5)(negative)
    assert shown.empty.tolist() == [True]
    assert not shown.maps.any()


def test_what_makes_no_video_is_refused_and_nothing_is_left(tiny, frames, tmp_path):
    with pytest.raises(InputError, match=r"written as \.mp4, \.avi"):
        write_video(tmp_path / "a.gif", frames, FPS)
    with pytest.raises(InputError, match="without a frame"):
        write_video(tmp_path / "a.mp4", [], FPS)
    with pytest.raises(InputError, match="steady is 1"):
        TemporalSmoothing(1)
    with pytest.raises(InputError, match="every is 0"):
        next(explain_frames(tiny.named(), frames, every=0))

    def breaks():
        yield frames[0]
        raise RuntimeError("the camera fell")

    with pytest.raises(RuntimeError, match="camera"):
        write_video(tmp_path / "a.mp4", breaks(), FPS)
    assert [path.name for path in tmp_path.iterdir()] == []


FEW_BYTES = """
import resource, sys
import numpy as np
from camcore.batch import write_video

frames = np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3), dtype=np.uint8)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
write_video(sys.argv[1], frames, 25)
"""


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv"])
def test_a_video_for_which_there_is_no_room_is_an_error_and_not_there(suffix, tmp_path):
    pytest.importorskip("resource")
    words = [sys.executable, "-c", FEW_BYTES, tmp_path / f"a.{suffix}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert re.search(rf"FileError: .*a\.{suffix} cannot be written: the video lacks", done.stderr)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv"])
def test_damaged_videos_are_refused_or_shorter(suffix, frames, tmp_path):
    random = np.random.default_rng(0)
    path = tmp_path / f"a.{suffix}"
    write_video(path, frames, FPS)
    whole = path.read_bytes()
    for _ in range(20):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 8):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged[: random.integers(1, len(whole))])
        with suppress(InputError):
            # An error of any other type would fail the test.
            assert sum(frame.shape[-1] == 3 for frame in Clip.open(path).frames()) <= len(frames)
