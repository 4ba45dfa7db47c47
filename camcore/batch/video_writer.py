"""Write pictures as H.264 video, which every browser and player shows, with a source's sound."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from camcore._shared.optional import needs
from camcore._shared.reading import reading
from camcore.errors import FileError, InputError

if TYPE_CHECKING:
    from av import Packet
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.video.stream import VideoStream

Picture = npt.NDArray[np.uint8]

SUFFIXES = (".mp4", ".avi", ".mkv")
"""Endings of the files that can be written."""

_QUALITY = {"crf": "18", "preset": "veryfast"}
"""Settings of x264: no loss that the eye sees, and faster than models."""


class VideoWriter:
    """Writes pictures one by one into a video file; a context manager.

    Sides are even numbers in H.264 with the colours that every player shows (yuv420p): the
    last row or column is left out where their number is odd.

    Parameters
    ----------
    path : Path
        The ``.mp4``, ``.avi`` or ``.mkv`` file.
    fps : float
        Frames per second.
    sound : Path, optional
        A video whose sound is kept beside the pictures, as long as these last.
    name : Path, optional
        What errors call the file; `path` unless given.

    Raises
    ------
    InputError
        The file has another ending, or `sound` cannot be read.
    MissingExtraError
        PyAV is not installed.
    """

    def __init__(
        self, path: Path, fps: float, sound: Path | None = None, *, name: Path | None = None
    ) -> None:
        with needs("video", "writing videos"):
            import av
        if path.suffix.lower() not in SUFFIXES:
            raise InputError(
                f"Videos are written as {', '.join(SUFFIXES)}, not {path.suffix!r}. "
                "Choose another file name."
            )
        self.name = name or path
        self.written = 0
        self._rate = Fraction(fps).limit_denominator(1001)
        self._opened = ExitStack()
        with self._opened:
            source = None if sound is None else self._opened.enter_context(_source(sound))
            options = {"movflags": "+faststart"} if path.suffix.lower() == ".mp4" else {}
            self._output = self._opened.enter_context(av.open(str(path), "w", options=options))
            self._sound = None if source is None else _Sound.beside(self._output, source)
            self._opened = self._opened.pop_all()
        self._stream: VideoStream | None = None

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None and self._stream is not None:
                self._mux(self._stream.encode(None))
        finally:
            with self._told():
                self._opened.close()

    def write(self, picture: Picture) -> None:
        """Write the next picture, ``(H, W, 3)`` uint8 RGB, of the size of those before.

        Raises
        ------
        InputError
            It has another size, or one of less than 2 by 2 pixels.
        FileError
            There is no room for it.
        """
        import av

        rows, columns = (side // 2 * 2 for side in picture.shape[:2])
        stream = self._stream = self._stream or self._video_stream(rows, columns)
        if (rows, columns) != (stream.height, stream.width):
            raise InputError(
                f"A picture of {rows} by {columns} pixels cannot follow those of {stream.height} "
                f"by {stream.width} in one video. Give pictures of one size."
            )
        even = np.ascontiguousarray(picture[:rows, :columns])
        frame = av.VideoFrame.from_ndarray(even, format="rgb24")
        frame.pts, frame.time_base = self.written, 1 / self._rate
        self._mux(stream.encode(frame))
        self.written += 1
        if self._sound is not None:
            self._mux(self._sound.until(self.written / self._rate))

    def _video_stream(self, rows: int, columns: int) -> VideoStream:
        if min(rows, columns) < 2:
            raise InputError(
                f"Pictures of {rows} by {columns} pixels make no video. Give 2 by 2 or more."
            )
        stream = self._output.add_stream("h264", rate=self._rate, options=dict(_QUALITY))
        stream.width, stream.height, stream.pix_fmt = columns, rows, "yuv420p"
        # What the conversion from RGB makes, said aloud, as players guess by the size else.
        context = stream.codec_context
        context.colorspace, context.color_range = _BT601, _LIMITED
        context.color_primaries, context.color_trc = _BT709, _BT709
        return stream

    def _mux(self, packets: Iterator[Packet[Any]] | list[Packet[Any]]) -> None:
        for packet in packets:
            with self._told():
                self._output.mux(packet)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell of a disk without room in one sentence."""
        try:
            yield
        except OSError as error:
            raise lacking(self.name, self.written) from error


_BT601, _BT709, _LIMITED = 6, 1, 1
"""Numbers of the colour matrix, the primaries and the range in video streams (ITU-T H.273)."""


def lacking(path: Path, count: int) -> FileError:
    """Make the error for a video that lacks frames, for which there was no room."""
    return FileError(
        f"{path} cannot be written: the video lacks some of its {count} frames. Make room on the "
        "disk, or write elsewhere."
    )


def count_frames(path: Path) -> int:
    """Count the frames that a video file really holds; 0 where it cannot be read."""
    import av

    try:
        with av.open(str(path)) as container:
            return sum(1 for packet in container.demux(video=0) if packet.size)
    except av.FFmpegError:
        return 0


class _Sound:
    """The sound of a video, packet by packet: copied, or as AAC where the new file takes it not.

    Times count from the source's first picture.
    """

    def __init__(self, source: InputContainer, stream: AudioStream, output: OutputContainer):
        self._path = Path(source.name)
        video = source.streams.video[0] if source.streams.video else None
        start = 0 if video is None else (video.start_time or 0) * (video.time_base or 0)
        self._start = Fraction(start)
        self._source, self._stream = source, stream
        name = stream.codec_context.codec.canonical_name
        pcm_in_mp4 = name.startswith("pcm_") and "mp4" in output.format.name
        if name in output.supported_codecs and not pcm_in_mp4:
            self._to = output.add_stream_from_template(stream)
            self._packets = self._copied()
        else:
            # The layout of plain samples is often not told, only how many channels they have.
            layout = "mono" if stream.layout.nb_channels == 1 else "stereo"
            self._to = output.add_stream("aac", rate=stream.rate, layout=layout)
            self._packets = self._encoded()
        self._next: Packet[Any] | None = None

    @classmethod
    def beside(cls, output: OutputContainer, source: InputContainer) -> _Sound | None:
        """Add the first sound of `source` to `output`; None where it has none."""
        streams = source.streams.audio
        return cls(source, streams[0], output) if streams else None

    def until(self, seconds: Fraction) -> Iterator[Packet[Any]]:
        """Yield the packets that begin before a time."""
        while (packet := self._next or self._read()) is not None:
            assert packet.pts is not None
            assert packet.time_base is not None
            if packet.pts * packet.time_base >= seconds:
                self._next = packet
                return
            self._next = None
            yield packet

    def _read(self) -> Packet[Any] | None:
        with reading(self._path, "a video whose sound FFmpeg reads"):
            return next(self._packets, None)

    def _copied(self) -> Iterator[Packet[Any]]:
        for packet in self._source.demux(self._stream):
            if packet.dts is None or packet.pts is None:
                continue
            shift = round(self._start / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = self._to
            yield packet

    def _encoded(self) -> Iterator[Packet[Any]]:
        for frame in self._source.decode(self._stream):
            if frame.pts is not None and frame.time_base is not None:
                frame.pts -= round(self._start / frame.time_base)
            yield from self._to.encode(frame)
        yield from self._to.encode(None)


@contextmanager
def _source(path: Path) -> Iterator[InputContainer]:
    """Open the video at `path` for its sound."""
    import av

    with reading(path, "a video that FFmpeg reads, such as MP4 or AVI"):
        container = av.open(str(path))
    with container:
        yield container
