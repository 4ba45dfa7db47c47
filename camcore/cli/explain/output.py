"""What is written of each photograph, where to, and which run the files are of."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import camcore
from camcore._shared.atomic import check_apart, whole
from camcore._shared.reading import reading
from camcore.batch import ExplainedPhoto, FoundPhotos
from camcore.cli import labels
from camcore.errors import InputError
from camcore.photos.io import Format
from camcore.photos.stamp import read_stamp
from camcore.viz import png_bytes
from camcore.viz.explanation import explanation_figure, with_score
from camcore.zoo import LoadedModel

REPORT = "report.html"
"""The page beside the results that shows all of them."""

RUN_FILE = "camcore-run.json"
"""The file beside the results that holds the settings of their run."""


@dataclass(frozen=True)
class OutputOptions:
    """What is written of each photograph.

    Parameters
    ----------
    kind : {"jpg", "png"}
        Format of the overlays.
    arrays, figures, report : bool
        Whether explanations are saved as ``.npz``, figures drawn, and one page written of all.
    """

    kind: Format = "jpg"
    arrays: bool = False
    figures: bool = False
    report: bool = False

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


def changed_settings(folder: Path, settings: Mapping[str, Any]) -> Sequence[str] | None:
    """List how `settings` differ from those of the run into `folder`; None where there was none.

    Raises
    ------
    InputError
        The file with the settings cannot be read.
    """
    file = folder / RUN_FILE
    if not file.is_file():
        return None
    with reading(
        file,
        "the settings of a run. Start over without --resume, or choose another --output",
        refusal="does not hold the settings of the results beside it",
    ):
        before = json.loads(file.read_text("utf-8"))["call"]
        names = dict.fromkeys([*before, *settings])
        return [
            f"{name} was {_in_words(before.get(name))} and is {_in_words(settings.get(name))}"
            for name in names
            if before.get(name) != settings.get(name)
        ]


def is_same_call(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Tell whether `folder` holds results of a run, and refuse those of other `settings`."""
    changed = changed_settings(folder, settings)
    if changed:
        raise InputError(
            f"{folder} holds the results of another call: {'; '.join(changed)}. Repeat that call "
            "to go on with it, leave --resume out to start over, or choose another --output."
        )
    return changed is not None


def write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write the `settings` of a run into its `folder`."""
    with whole(folder / RUN_FILE) as draft:
        text = json.dumps({"camcore": camcore.__version__, "call": settings}, indent=2)
        draft.write_text(text + "\n", "utf-8")


def _in_words(value: Any) -> str:
    if value in (None, []):
        return "not given"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


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
