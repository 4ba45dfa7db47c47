"""Keep what is evaluated, photograph by photograph, so that a run can go on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from camcore._shared.atomic import whole
from camcore._shared.reading import reading
from camcore.evaluation import Evaluation
from camcore.metrics.box_accuracy import BoxAccuracy
from camcore.metrics.faithfulness import Curve

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
        about = {"photograph": name, "run": self.run, "sources": sources, **_written(one)}
        with whole(path) as draft:
            draft.write_text(json.dumps(about) + "\n", "utf-8")

    def read(self, name: str) -> Evaluation:
        """Read the evaluation of one photograph, to the last bit as it was written."""
        return _evaluation(self._read(self.file(name)))

    def _read(self, path: Path) -> Any:
        with reading(
            path,
            "the numbers of a photograph. Start over without --resume",
            refusal="does not hold the numbers of a photograph",
        ):
            return json.loads(path.read_text("utf-8"))


def _written(one: Evaluation) -> dict[str, Any]:
    """Describe the evaluation of one sample as JSON; what is undefined is null."""

    def number(values: Any) -> float | None:
        value = float(values[0])
        return None if np.isnan(value) else value

    rows = {
        row: {
            "control": row in one.controls,
            "forwards": one.forwards[row],
            "seconds": one.seconds[row],
            "empty": one.empty[row],
            "metrics": {metric: number(values) for metric, values in metrics.items()},
        }
        for row, metrics in one.values.items()
    }
    boxes = {
        row: {
            "thresholds": found.thresholds.tolist(),
            "iou": found.iou.tolist(),
            # Runs of equal ones: there are no more values than the 256 that a map is cut at.
            "values": [
                [None if value == "nan" else float(value), len(list(run))]
                for value, run in groupby(map(repr, found.values[0].tolist()))
            ],
        }
        for row, found in one.box_accuracy.items()
    }
    curves = {
        row: {
            name: {
                "fractions": curve.fractions.tolist(),
                "scores": curve.scores[0].tolist(),
                "forwards": curve.forwards,
                "tied": float(curve.tied[0]),
                "empty": bool(curve.empty[0]),
            }
            for name, curve in named.items()
        }
        for row, named in one.curves.items()
    }
    found = {"settings": dict(one.settings), "rows": rows, "curves": curves}
    return {**found, "box_accuracy": boxes}


def _evaluation(found: Mapping[str, Any]) -> Evaluation:
    """Make the evaluation that `_written` described."""
    rows = found["rows"]
    return Evaluation(
        {
            row: {metric: np.array([value], float) for metric, value in one["metrics"].items()}
            for row, one in rows.items()
        },
        tuple(row for row, one in rows.items() if one["control"]),
        {row: one["forwards"] for row, one in rows.items()},
        {row: one["seconds"] for row, one in rows.items()},
        {row: one["empty"] for row, one in rows.items()},
        found["settings"],
        curves={
            row: {
                name: Curve(
                    np.array(one["fractions"]),
                    np.array([one["scores"]]),
                    one["forwards"],
                    np.array([one["tied"]]),
                    np.array([one["empty"]]),
                )
                for name, one in named.items()
            }
            for row, named in found["curves"].items()
        },
        box_accuracy={
            row: BoxAccuracy(
                np.array(one["thresholds"]),
                np.array([[value for value, many in one["values"] for _ in range(many)]], float),
                np.array(one["iou"]),
            )
            for row, one in found["box_accuracy"].items()
        },
    )
