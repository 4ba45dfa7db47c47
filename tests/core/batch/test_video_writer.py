"""Written videos are H.264 that browsers play, with the sound of their source."""

from __future__ import annotations

import sys
from fractions import Fraction

import numpy as np
import pytest

from camcore.batch import overlay_video, write_video
from camcore.batch.video_writer import VideoWriter, count_frames
from camcore.errors import InputError, MissingExtraError, MissingFileError

FPS, RATE, TONE = 25, 44100, 440


@pytest.fixture(autouse=True)
def av(require):
    require("cv2")
    return require("av")


@pytest.fixture
def frames():
    """Two seconds of a slope that brightens."""
    slope = np.add.outer(np.arange(48), np.arange(64))[..., None] * [1, 0.5, 1.5]
    return [np.clip(slope + 2 * t, 0, 255).astype(np.uint8) for t in range(50)]


def with_sound(av, path, frames, codec, seconds=2.0, late=0):
    """Write pictures with a tone, both beginning `late` pictures after zero."""
    tone = np.sin(2 * np.pi * TONE * np.arange(int(seconds * RATE)) / RATE).astype(np.float32) / 2
    kind = "s16" if codec.startswith("pcm") else "fltp"
    values = (tone * 32767).astype(np.int16) if kind == "s16" else tone
    with av.open(str(path), "w") as file:
        video = file.add_stream("mpeg4", rate=FPS)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = file.add_stream(codec, rate=RATE, layout="mono")
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number + late, Fraction(1, FPS)
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        for start in range(0, len(values), 1024):
            sound = av.AudioFrame.from_ndarray(values[None, start : start + 1024], kind, "mono")
            sound.sample_rate, sound.time_base = RATE, Fraction(1, RATE)
            sound.pts = start + late * RATE // FPS
            file.mux(audio.encode(sound))
        file.mux(audio.encode(None))
    return path


def packets(av, path):
    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(audio=0) if packet.size]


def heard(av, path):
    """Decode the sound of a video, and tell when it begins."""
    with av.open(str(path)) as file:
        decoded = list(file.decode(audio=0))
    kind = decoded[0].to_ndarray().dtype
    scale = 32768 if kind == np.int16 else 1
    samples = np.concatenate([one.to_ndarray().reshape(-1) for one in decoded]) / scale
    return samples, float(decoded[0].pts * decoded[0].time_base)


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv"])
def test_a_video_is_h264_in_the_colours_that_every_player_shows(av, name, frames, tmp_path):
    write_video(tmp_path / name, frames, FPS)
    with av.open(str(tmp_path / name)) as file:
        (stream,) = file.streams
        about = stream.codec_context
        assert (about.name, about.pix_fmt) == ("h264", "yuv420p")
        shown = [frame.to_ndarray(format="rgb24") for frame in file.decode(stream)]
    assert len(shown) == 50
    for picture, found in zip(frames, shown, strict=True):
        assert np.abs(picture.astype(int) - found).mean() < 2
    assert count_frames(tmp_path / name) == 50


def test_an_mp4_begins_with_its_index_so_that_it_plays_before_it_is_all_there(frames, tmp_path):
    write_video(tmp_path / "a.mp4", frames, FPS)
    data = (tmp_path / "a.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("fps", [24, 12.5, 30000 / 1001, 24000 / 1001])
def test_rates_of_broadcasts_are_kept_exactly(av, fps, frames, tmp_path):
    write_video(tmp_path / "a.mp4", frames, fps)
    with av.open(str(tmp_path / "a.mp4")) as file:
        assert float(file.streams.video[0].average_rate) == pytest.approx(fps, rel=1e-12)


def test_the_sound_of_a_source_is_kept_packet_by_packet(av, frames, tiny, tmp_path):
    source = with_sound(av, tmp_path / "in.mp4", frames, "aac")
    assert overlay_video(tiny.named(), source, tmp_path / "out.mp4") == 50
    kept, given = packets(av, tmp_path / "out.mp4"), packets(av, source)
    assert kept == given[: len(kept)]
    assert len(given) - len(kept) <= 2
    (first, begin), (second, other) = heard(av, source), heard(av, tmp_path / "out.mp4")
    assert begin == pytest.approx(other, abs=0.03)
    assert np.array_equal(first[: len(second)], second)


def test_sound_that_an_mp4_cannot_hold_is_encoded_anew(av, frames, tmp_path):
    source = with_sound(av, tmp_path / "in.avi", frames, "pcm_s16le")
    write_video(tmp_path / "out.mp4", frames, FPS, sound=source)
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert file.streams.audio[0].codec_context.name == "aac"
    samples, _ = heard(av, tmp_path / "out.mp4")
    middle = samples[RATE // 2 : RATE // 2 + RATE]
    loudest = np.abs(np.fft.rfft(middle)).argmax()
    assert loudest == TONE
    assert np.sqrt((middle**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


def test_sound_stays_in_step_with_pictures_that_begin_late(av, frames, tmp_path):
    source = with_sound(av, tmp_path / "in.mkv", frames, "pcm_s16le", late=25)
    write_video(tmp_path / "out.mkv", frames, FPS, sound=source)
    assert heard(av, source)[1] == pytest.approx(1, abs=0.05)
    assert heard(av, tmp_path / "out.mkv")[1] == pytest.approx(0, abs=0.05)


def test_sound_ends_with_the_pictures(av, frames, tmp_path):
    source = with_sound(av, tmp_path / "in.mp4", frames, "aac")
    write_video(tmp_path / "out.mp4", frames[:20], FPS, sound=source)
    assert len(heard(av, tmp_path / "out.mp4")[0]) / RATE == pytest.approx(20 / FPS, abs=0.06)


def test_a_source_without_sound_gives_none(av, frames, tmp_path):
    write_video(tmp_path / "in.mp4", frames, FPS)
    write_video(tmp_path / "out.mp4", frames, FPS, sound=tmp_path / "in.mp4")
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert [stream.type for stream in file.streams] == ["video"]


def test_pictures_that_make_no_video_are_refused_and_nothing_is_left(frames, tmp_path):
    other = np.zeros((48, 70, 3), np.uint8)
    for pictures, says in (
        ([frames[0], other], "48 by 70 pixels cannot follow those of 48 by 64"),
        ([frames[0][:1]], "0 by 64 pixels make no video"),
    ):
        with pytest.raises(InputError, match=says):
            write_video(tmp_path / "a.mp4", pictures, FPS)
    with pytest.raises(MissingFileError, match="gone"):
        write_video(tmp_path / "a.mp4", frames, FPS, sound=tmp_path / "gone.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(InputError, match="FFmpeg reads"):
        write_video(tmp_path / "a.mp4", frames, FPS, sound=tmp_path / "text.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["text.mp4"]
    assert count_frames(tmp_path / "text.mp4") == 0


def test_a_missing_library_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"camcore\[video\]"):
        VideoWriter(tmp_path / "a.mp4", FPS)


def test_a_video_plays_in_a_browser(av, frames, chromium, tmp_path):
    source = with_sound(av, tmp_path / "in.mp4", frames, "aac")
    odd = [np.pad(frame, ((0, 1), (0, 1), (0, 0)), "edge") for frame in frames]
    write_video(tmp_path / "out.mp4", odd, FPS, sound=source)
    page = tmp_path / "page.html"
    page.write_text('<!DOCTYPE html><video src="out.mp4" muted></video>')
    chromium.get(page.as_uri())
    told = chromium.execute_async_script(
        """
        const done = arguments[arguments.length - 1];
        const video = document.querySelector("video");
        video.addEventListener("error", () => done({ error: video.error.message }));
        video.addEventListener("timeupdate", () => {
          if (video.currentTime < 0.2) return;
          done({
            ready: video.readyState,
            size: [video.videoWidth, video.videoHeight],
            seconds: video.duration,
            heard: video.webkitAudioDecodedByteCount > 0,
          });
        });
        video.play();
        """
    )
    assert told["ready"] >= 2, told
    assert told["size"] == [64, 48]
    assert told["seconds"] == pytest.approx(2, abs=0.1)
    assert told["heard"]
