"""What is written of each photograph, where to, and which run the files are of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zlib import crc32

from camcore._shared.atomic import check_apart
from camcore._shared.settings_file import RUN_FILE
from camcore.batch import ExplainedPhoto, FoundPhotos
from camcore.cli import labels
from camcore.photos.io import Format
from camcore.photos.stamp import read_stamp
from camcore.viz import png_bytes
from camcore.viz.explanation import explanation_figure, with_score
from camcore.zoo import LoadedModel

OVERLAY_SIZE = 1024
"""Longer side of overlays unless another is asked for, in pixels."""

REPORT = "report.html"
"""The page beside the results that shows all of them."""


@dataclass(frozen=True)
class OutputOptions:
    """What is written of each photograph.

    Parameters
    ----------
    kind : {"jpg", "png"}
        Format of the overlays.
    arrays, figures, report : bool
        Whether explanations are saved as ``.npz``, figures drawn, and one page written of all.
    side : int
        Overlays of larger photographs are scaled down to this longer side, in pixels.
    """

    kind: Format = "jpg"
    arrays: bool = False
    figures: bool = False
    report: bool = False
    side: int = OVERLAY_SIZE

    @property
    def endings(self) -> dict[str, str]:
        """How the name of each output file ends."""
        endings = {"overlay": f".overlay.{self.kind}"}
        if self.arrays:
            endings["arrays"] = ".npz"
        if self.figures:
            endings["figure"] = ".figure.png"
        return endings


@dataclass(frozen=True)
class OutputPaths:
    """Where the outputs of each photograph go, and which of them are done.

    Parameters
    ----------
    stems : mapping of Path to Path
        For each photograph, the path of its outputs without their endings.
    options : OutputOptions
        What is written.
    photos : mapping of Path to sequence of int
        Size and time of the last change of each photograph, as the run began; none where it
        cannot be read.
    """

    stems: Mapping[Path, Path]
    options: OutputOptions
    photos: Mapping[Path, Sequence[int]]

    @classmethod
    def below(
        cls, folder: Path, found: FoundPhotos, options: OutputOptions, kept: Sequence[Path] = ()
    ) -> OutputPaths:
        """Mirror the folders of the photographs below `folder`.

        Photographs whose names differ in the suffix alone keep it.

        Raises
        ------
        FileError
            An output would be written over a photograph, one of the files `kept`, or another
            output.
        """
        within = {path: found.within(path) for path in found.paths}
        shared = Counter(_without_suffix(place) for place in within.values())
        stems = {
            path: folder / (place if shared[_without_suffix(place)] > 1 else place.with_suffix(""))
            for path, place in within.items()
        }
        paths = cls(stems, options, {path: _size_and_time(path) for path in stems})
        made = [paths.file(path, output) for path in stems for output in options.endings]
        inputs = [*found.paths, *found.passed_over, *kept]
        page = [folder / REPORT] if options.report else []
        check_apart(inputs, [*made, *page, folder / RUN_FILE])
        return paths

    def file(self, path: Path, output: str) -> Path:
        """Return the path of an `output` ("overlay", "arrays" or "figure") of a photograph."""
        stem = self.stems[path]
        return stem.with_name(stem.name + self.options.endings[output])

    def stamp(self, path: Path, run: str) -> dict[str, Any]:
        """Say what the overlay of a photograph is of: the photograph, the run, and the other files.

        It is the same again as long as none of them changes.
        """
        others = {
            output: crc32(file.read_bytes()) if file.is_file() else None
            for output in self.options.endings
            if output != "overlay" and (file := self.file(path, output))
        }
        return {"photograph": list(self.photos[path]), "run": run, **others}

    def is_done(self, path: Path, run: str) -> bool:
        """Tell whether the photograph's outputs are there, whole, and of this `run`."""
        stamp = read_stamp(self.file(path, "overlay"))
        return stamp is not None and stamp == self.stamp(path, run)


def _without_suffix(place: Path) -> str:
    """Name a place without its suffix, as a system does that does not tell cases apart."""
    return str(place.with_suffix("")).casefold()


def _size_and_time(path: Path) -> Sequence[int]:
    try:
        about = path.stat()
    except OSError:  # that it cannot be read is told when it is its turn
        return ()
    return about.st_size, about.st_mtime_ns


def draw_figure(loaded: LoadedModel, one: ExplainedPhoto, top: int) -> bytes:
    """Draw the photograph, its map, their overlay and the `top` highest classes, as PNG."""
    result = one.explanation
    drawing = explanation_figure(
        replace(result, maps=one.map()[None]),
        [one.photo],
        names=loaded.classes or (),
        titles=[with_score(labels.explained(loaded, result), result, 0)],
        top=top,
        seen=None if one.crop is None else [one.crop.seen()],
    )
    return png_bytes(drawing)
