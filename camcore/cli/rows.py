"""Keep what is evaluated, photograph by photograph, so that a run can go on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camcore._shared.atomic import whole
from camcore._shared.reading import reading
from camcore.evaluated import Evaluation
from camcore.evaluated_json import from_json, to_json

FOLDER = "rows"
"""The folder beside the tables with a file for each photograph."""


@dataclass(frozen=True)
class Rows:
    """The files of a run's photographs, one each.

    Parameters
    ----------
    folder : Path
        Where they lie.
    settings : mapping of str to value
        What the numbers depend on, beside the photographs.
    """

    folder: Path
    settings: Mapping[str, Any]

    def file(self, name: str) -> Path:
        """Return the file of the photograph of a `name`, in folders as the photograph's."""
        return self.folder / f"{name}.json"

    @property
    def run(self) -> str:
        """Identify the settings."""
        return hashlib.sha256(json.dumps(self.settings).encode()).hexdigest()[:16]

    def remove(self, names: Sequence[str]) -> None:
        """Remove the files of photographs, where there are any."""
        for name in names:
            self.file(name).unlink(missing_ok=True)

    def is_done(self, name: str, sources: Sequence[Any]) -> bool:
        """Tell whether a photograph's file is there, of this run and of the same `sources`."""
        path = self.file(name)
        if not path.is_file():
            return False
        found = self._read(path)
        return bool(found.get("run") == self.run and found.get("sources") == list(sources))

    def write(self, name: str, sources: Sequence[Any], one: Evaluation) -> None:
        """Write the evaluation of one photograph.

        Parameters
        ----------
        name : str
            The photograph.
        sources : sequence of JSON values
            What was read for it, such as the photograph's size and time of change.
        one : Evaluation
            Of one sample.
        """
        path = self.file(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        about = {"photograph": name, "run": self.run, "sources": sources, **to_json(one)}
        with whole(path) as draft:
            draft.write_text(json.dumps(about) + "\n", "utf-8")

    def read(self, name: str) -> Evaluation:
        """Read the evaluation of one photograph, to the last bit as it was written."""
        return from_json(self._read(self.file(name)))

    def _read(self, path: Path) -> Any:
        with reading(
            path,
            "the numbers of a photograph. Start over without --resume",
            refusal="does not hold the numbers of a photograph",
        ):
            return json.loads(path.read_text("utf-8"))
