"""Explain the frames of a video in batches, and smooth their maps over time."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from camcore._shared.atomic import check_apart, whole
from camcore._shared.optional import needs
from camcore._shared.reading import reading
from camcore.adapter import Array
from camcore.batch.photos import ExplainedPhoto, PreparedPhoto, explain_prepared
from camcore.batch.pipeline import Failed, Stages, pipelined
from camcore.batch.video_writer import VideoWriter, count_frames, lacking
from camcore.errors import InputError
from camcore.explainer import Explainer
from camcore.explanation import Explanation
from camcore.recipes import RecipeLike
from camcore.targets import TargetLike
from camcore.zoo import LoadedModel

if TYPE_CHECKING:
    import cv2

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Clip:
    """A video file.

    Parameters
    ----------
    path : Path
        The file.
    fps : float
        Frames per second.
    size : (int, int)
        Height and width of a frame.
    length : int
        Number of frames by the file's header; 0 where the header does not tell.
    """

    path: Path
    fps: float
    size: tuple[int, int]
    length: int

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Clip:
        """Read the frame rate, size and length of the video at `path`.

        Raises
        ------
        InputError
            There is no such file, or OpenCV cannot read it.
        MissingExtraError
            OpenCV is not installed.
        """
        with _capture(Path(path)) as capture:
            import cv2

            _, first = capture.read()
            if first is None:
                raise InputError(f"{path} has no frame that OpenCV can read. Save it as MP4.")
            fps = capture.get(cv2.CAP_PROP_FPS)
            length = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        return cls(
            Path(path),
            fps if math.isfinite(fps) and fps > 0 else 25.0,
            first.shape[:2],
            int(length) if math.isfinite(length) and length > 0 else 0,
        )

    def frames(self) -> Iterator[Picture]:
        """Yield the frames in order, each ``(H, W, 3)`` uint8 RGB."""
        with _capture(self.path) as capture:
            while (frame := capture.read()[1]) is not None:
                yield np.ascontiguousarray(frame[..., ::-1])


class TemporalSmoothing:
    """Smooth the maps of successive frames, and keep their colours comparable.

    The signed maps of frame t become ``s[t] = a s[t-1] + (1 - a) m[t]``, with ``s[0] = m[0]``,
    an exponential moving average. They are shown as the recipe has it, times
    ``peak(s[t]) / p[t]``: the strongest evidence of a frame has the hottest colour only where
    it is the strongest of the last frames, with
    ``p[t] = max(peak(s[t]), a p[t-1] + (1 - a) peak(s[t]))``.

    Parameters
    ----------
    amount : float in [0, 1)
        The weight a of the last frame's map; 0 changes nothing.
    recipe : str or Recipe, optional
        The recipe that makes the maps, where it is one of your own.

    Raises
    ------
    InputError
        `amount` is outside [0, 1).
    """

    def __init__(self, amount: float, recipe: RecipeLike | None = None) -> None:
        if not 0 <= amount < 1:
            raise InputError(f"steady is {amount}. Give a number from 0 to below 1.")
        self.amount = amount
        self.recipe = recipe
        self._signed: dict[str, Array] = {}
        self._peak = 0.0

    def __call__(self, result: Explanation) -> Explanation:
        """Smooth `result`, the explanation of the next frame, a batch of one."""
        if not self.amount:
            return result
        signed = {name: self._smoothed(name, maps) for name, maps in result.raw.items()}
        peak = max(0.0, *(float(maps.max()) for maps in signed.values()))
        self._peak = max(peak, self.amount * self._peak + (1 - self.amount) * peak)
        self._signed = signed
        shown = replace(result, raw=signed, by_channel=None).at(result.maps.shape[1:], self.recipe)
        heat = np.float32(peak / self._peak) if self._peak else np.float32(0)
        return replace(shown, maps=shown.maps * heat, empty=np.array([peak == 0]))

    def _smoothed(self, name: str, maps: Array) -> Array:
        last = self._signed.get(name, maps)
        if last.shape != maps.shape:
            raise InputError(
                f"Frames whose maps at {name} are {last.shape[1:]} and {maps.shape[1:]} cannot be "
                "smoothed. Give frames of one size."
            )
        smoothed: Array = (self.amount * last + (1 - self.amount) * maps).astype(maps.dtype)
        return smoothed


def explain_frames(
    loaded: LoadedModel,
    frames: Iterable[Picture],
    *,
    target: TargetLike = None,
    steady: float = 0.0,
    every: int = 1,
    batch: int = 8,
    finish: Callable[[ExplainedPhoto], Any] | None = None,
    **options: Any,
) -> Generator[Any, None, None]:
    """Explain the successive frames of a video.

    Parameters
    ----------
    loaded : LoadedModel
        The model with its preprocessing, from `camcore.zoo.load_model`.
    frames : iterable of (H, W, 3) uint8 array
        RGB, all of one size.
    target : None, int, or Target
        The target in each; None for the class predicted for it, which may change from
        frame to frame.
    steady : float in [0, 1)
        The weight of the last frame's map; see `TemporalSmoothing`.
    every : int
        Explain every N-th frame; frames between reuse the last map.
    batch : int
        Number of frames in one run of the model.
    finish : callable, optional
        Called in a thread with each `ExplainedPhoto`; what it returns is yielded instead.
    **options
        What `camcore.Explainer` takes: `layer`, `method` (one of them), `recipe`, ...

    Yields
    ------
    ExplainedPhoto, or what `finish` returned
        For each frame, in order.

    Raises
    ------
    InputError
        A frame cannot be explained, or an argument is out of range.
    """
    if every < 1:
        raise InputError(f"every is {every}. Give 1 for each frame, 2 for every second, ...")
    explainer = Explainer(loaded.model, **{**loaded.defaults, **options})
    smooth = TemporalSmoothing(steady, explainer.recipe)
    last: ExplainedPhoto | None = None

    def prepare(numbered: tuple[int, Picture]) -> PreparedPhoto | Picture:
        number, frame = numbered
        return frame if number % every else PreparedPhoto.for_model(loaded, frame)

    def run(batch: Sequence[PreparedPhoto | Picture]) -> list[ExplainedPhoto | Failed]:
        nonlocal last
        prepared = [one for one in batch if isinstance(one, PreparedPhoto)]
        explained = iter(explain_prepared(explainer, prepared, target) if prepared else ())
        results: list[ExplainedPhoto | Failed] = []
        for one in batch:
            if isinstance(one, PreparedPhoto):
                found = next(explained)
                if isinstance(found, Failed):
                    raise found.error
                last = replace(found, explanation=smooth(found.explanation))
                results.append(last)
            else:
                assert last is not None  # The first frame is explained.
                results.append(replace(last, photo=one))
        return results

    def done(one: ExplainedPhoto) -> Any:
        return one if finish is None else finish(one)

    together = min(batch * every, max(batch, 16))
    for _, one in pipelined(enumerate(frames), Stages(prepare, run, done), batch=together):
        if isinstance(one, Failed):
            raise one.error
        yield one


def overlay_video(
    loaded: LoadedModel,
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    progress: Callable[[], object] | None = None,
    **options: Any,
) -> int:
    """Write a video of `source` with each frame's map laid over it.

    It is H.264 in the size, the speed and with the sound of `source`; the last row or column
    is left out where their number is odd.

    Parameters
    ----------
    loaded : LoadedModel
        The model with its preprocessing, from `camcore.zoo.load_model`.
    source : path
        A video that OpenCV reads.
    output : path
        The ``.mp4``, ``.avi`` or ``.mkv`` file to write, which is either whole or not there.
    progress : callable, optional
        Called when a frame is done.
    **options
        Options of `explain_frames`: `target`, `steady`, `every`, `batch`, `method`, ...

    Returns
    -------
    int
        Number of frames written.

    Raises
    ------
    InputError
        The video cannot be read or written.
    FileError
        There is no room for it, or it would be written over `source`.
    MissingExtraError
        OpenCV or PyAV is not installed.
    """
    clip = Clip.open(source)
    check_apart([Path(source)], [Path(output)])
    pictures = explain_frames(loaded, clip.frames(), finish=ExplainedPhoto.overlay, **options)
    with closing(pictures):
        return write_video(output, pictures, clip.fps, sound=source, progress=progress)


def write_video(
    path: str | os.PathLike[str],
    pictures: Iterable[Picture],
    fps: float,
    *,
    sound: str | os.PathLike[str] | None = None,
    progress: Callable[[], object] | None = None,
) -> int:
    """Write `pictures` as an H.264 video; the file is either whole or not there.

    The last row or column is left out where their number is odd: players show no others.

    Parameters
    ----------
    path : path
        The ``.mp4``, ``.avi`` or ``.mkv`` file to write; an existing one is replaced.
    pictures : iterable of (H, W, 3) uint8 array
        RGB, all of one size.
    fps : float
        Frames per second.
    sound : path, optional
        A video whose sound the new one keeps, as long as its pictures last.
    progress : callable, optional
        Called when a frame is written.

    Returns
    -------
    int
        Number of frames written.

    Raises
    ------
    InputError
        There is no picture, pictures differ in size, the file has another ending, or `sound`
        cannot be read.
    FileError
        There is no room for it.
    MissingExtraError
        PyAV is not installed.
    """
    path = Path(path)
    with whole(path, suffix=path.suffix) as draft:
        with VideoWriter(draft, fps, None if sound is None else Path(sound), name=path) as writer:
            for picture in pictures:
                writer.write(picture)
                if progress is not None:
                    progress()
        if not writer.written:
            raise InputError(f"{path} would be a video without a frame. Give at least one picture.")
        if count_frames(draft) != writer.written:
            raise lacking(path, writer.written)
    return writer.written


@contextmanager
def _capture(path: Path) -> Iterator[cv2.VideoCapture]:
    """Open the video at `path`, and close it in the end."""
    with needs("viz", "reading videos"):
        import cv2
    with reading(path, "a video that OpenCV reads, such as MP4 or AVI"):
        capture = cv2.VideoCapture(str(path))
        try:
            if not capture.isOpened():
                raise InputError(f"{path} is no video that OpenCV can read. Save it as MP4 or AVI.")
            yield capture
        finally:
            capture.release()
