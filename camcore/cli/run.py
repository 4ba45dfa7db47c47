"""A run over many photographs: where results go, what is done already, what they say."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camcore._shared.atomic import whole
from camcore.batch.find import Found
from camcore.errors import InputError
from camcore.photos.io import Format

RECORD = "camcore-run.json"
"""Says, in the folder of results, which call they are of."""


@dataclass(frozen=True)
class Kept:
    """What is written of each photograph.

    Parameters
    ----------
    kind : {"jpg", "png"}
        Of the overlays.
    arrays, figures : bool
        Whether explanations are kept as ``.npz``, and figures drawn.
    """

    kind: Format = "jpg"
    arrays: bool = False
    figures: bool = False

    @property
    def endings(self) -> dict[str, str]:
        """What is written, with how its name ends."""
        endings = {"overlay": f".overlay.{self.kind}"}
        if self.arrays:
            endings["arrays"] = ".npz"
        if self.figures:
            endings["figure"] = ".figure.png"
        return endings


@dataclass(frozen=True)
class Places:
    """Where the results of photographs go.

    Parameters
    ----------
    stems : mapping of Path to Path
        For each photograph, the path of its results without their endings.
    kept : Kept
        What is written.
    """

    stems: Mapping[Path, Path]
    kept: Kept

    @classmethod
    def of(cls, found: Found, folder: Path, kept: Kept) -> Places:
        """Mirror the photographs' places below a folder.

        Photographs that differ in their endings alone keep them.

        Raises
        ------
        InputError
            Two would have the same name all the same.
        """
        within = {path: found.within(path) for path in found.paths}
        shared = Counter(place.with_suffix("") for place in within.values())
        stems = {
            path: folder / (place if shared[place.with_suffix("")] > 1 else place.with_suffix(""))
            for path, place in within.items()
        }
        takers: dict[Path, Path] = {}
        for path, stem in stems.items():
            if stem in takers:
                raise InputError(
                    f"{takers[stem]} and {path} would both be written as {stem.name}; rename one."
                )
            takers[stem] = path
        return cls(stems, kept)

    def file(self, path: Path, what: str) -> Path:
        """Where the overlay, arrays or figure of a photograph goes."""
        stem = self.stems[path]
        return stem.with_name(stem.name + self.kept.endings[what])

    def is_done(self, path: Path) -> bool:
        """Whether everything is there; files appear whole, so that what is there is complete."""
        return all(self.file(path, what).is_file() for what in self.kept.endings)


def differences(folder: Path, said: Mapping[str, Any]) -> Sequence[str] | None:
    """How an earlier call into a folder differs from this one; None where there was none.

    Raises
    ------
    InputError
        The record of it cannot be read.
    """
    record = folder / RECORD
    if not record.is_file():
        return None
    try:
        before = json.loads(record.read_text("utf-8"))["call"]
        names = dict.fromkeys([*before, *said])
        return [
            f"{name} was {_words(before.get(name))} and is {_words(said.get(name))}"
            for name in names
            if before.get(name) != said.get(name)
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{record} does not say which call the results beside it are of ({error}); start "
            "over without --resume, or choose another --output."
        ) from error


def record(folder: Path, version: str, said: Mapping[str, Any]) -> None:
    """Say in a folder which call its results are of."""
    with whole(folder / RECORD) as draft:
        text = json.dumps({"camcore": version, "call": said}, indent=2)
        draft.write_text(text + "\n", "utf-8")


def _words(value: Any) -> str:
    if value in (None, []):
        return "not given"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
