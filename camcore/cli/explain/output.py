"""What is written of each photograph, where to, and which run the files are of."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import camcore
from camcore._shared.atomic import whole
from camcore.batch import ExplainedPhoto, FoundPhotos
from camcore.cli import labels
from camcore.errors import InputError
from camcore.photos.io import Format
from camcore.viz import figure, png_bytes
from camcore.zoo import LoadedModel

RUN_FILE = "camcore-run.json"
"""The file beside the results that holds the settings of their run."""


@dataclass(frozen=True)
class OutputOptions:
    """What is written of each photograph.

    Parameters
    ----------
    kind : {"jpg", "png"}
        Format of the overlays.
    arrays, figures : bool
        Whether explanations are saved as ``.npz``, and figures drawn.
    """

    kind: Format = "jpg"
    arrays: bool = False
    figures: bool = False

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
    """Where the outputs of each photograph go.

    Parameters
    ----------
    stems : mapping of Path to Path
        For each photograph, the path of its outputs without their endings.
    options : OutputOptions
        What is written.
    """

    stems: Mapping[Path, Path]
    options: OutputOptions

    @classmethod
    def below(cls, folder: Path, found: FoundPhotos, options: OutputOptions) -> OutputPaths:
        """Mirror the folders of the photographs below `folder`.

        Photographs whose names differ in the suffix alone keep it.

        Raises
        ------
        InputError
            Two photographs would have outputs of the same name all the same.
        """
        within = {path: found.within(path) for path in found.paths}
        shared = Counter(place.with_suffix("") for place in within.values())
        stems = {
            path: folder / (place if shared[place.with_suffix("")] > 1 else place.with_suffix(""))
            for path, place in within.items()
        }
        owners: dict[Path, Path] = {}
        for path, stem in stems.items():
            if stem in owners:
                raise InputError(
                    f"{owners[stem]} and {path} would both be written as {stem.name}. Rename one."
                )
            owners[stem] = path
        return cls(stems, options)

    def file(self, path: Path, output: str) -> Path:
        """Return the path of an `output` ("overlay", "arrays" or "figure") of a photograph."""
        stem = self.stems[path]
        return stem.with_name(stem.name + self.options.endings[output])

    def is_done(self, path: Path) -> bool:
        """Tell whether all outputs are there; files appear whole, so these are complete."""
        return all(self.file(path, output).is_file() for output in self.options.endings)


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
    try:
        before = json.loads(file.read_text("utf-8"))["call"]
        names = dict.fromkeys([*before, *settings])
        return [
            f"{name} was {_in_words(before.get(name))} and is {_in_words(settings.get(name))}"
            for name in names
            if before.get(name) != settings.get(name)
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file} does not hold the settings of the results beside it ({error}). Start over "
            "without --resume, or choose another --output."
        ) from error


def write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write the `settings` of a run into its `folder`."""
    with whole(folder / RUN_FILE) as draft:
        text = json.dumps({"camcore": camcore.__version__, "call": settings}, indent=2)
        draft.write_text(text + "\n", "utf-8")


def _in_words(value: Any) -> str:
    if value in (None, []):
        return "not given"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def draw_figure(loaded: LoadedModel, one: ExplainedPhoto) -> bytes:
    """Draw the photograph, its map, their overlay and the highest classes, as PNG."""
    result = one.explanation
    bars = labels.top(loaded, result)
    drawing = figure(
        one.photo,
        one.map(),
        titles=None if result.classes is None else [labels.label(loaded, int(result.classes[0]))],
        bars=[bars] if bars else None,
        seen=None if one.crop is None else [one.crop.seen()],
        style=result.overlay_style,
    )
    return png_bytes(drawing)
