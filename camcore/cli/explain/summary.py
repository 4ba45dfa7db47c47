"""What is counted and printed of explained photographs, as text and as JSON."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from camcore.batch import ExplainedPhoto, Failed
from camcore.cli import labels
from camcore.photos.io import ValueRange
from camcore.zoo import LoadedModel


@dataclass(frozen=True)
class PhotoSummary:
    """What is printed of a photograph.

    Parameters
    ----------
    output : Path
        Its overlay.
    index, name : int and str, or None
        The explained class, where the target is one and it has a name.
    probability : float or None
        Of that class, where outputs are class scores.
    score : float
        The explained score.
    empty : bool
        Whether the map is all zeros.
    stretched : bool
        Whether the map left [0, 1].
    value_range : (float, float) or None
        The file's values that were black and white; None for a file of 8 bits.
    """

    output: Path
    index: int | None
    name: str | None
    probability: float | None
    score: float
    empty: bool
    stretched: bool
    value_range: ValueRange | None


@dataclass
class RunSummary:
    """Counts of what was done so far."""

    total: int
    skipped: int = 0
    explained: int = 0
    empty: int = 0
    stretched: bool = False
    classes: Counter[str] = field(default_factory=Counter)
    failed: dict[Path, Failed] = field(default_factory=dict)
    report: Path | None = None
    started: float = field(default_factory=time.perf_counter)

    def add(self, path: Path, one: PhotoSummary | Failed) -> None:
        """Count the photograph at `path`."""
        if isinstance(one, Failed):
            self.failed[path] = one
            return
        self.explained += 1
        self.empty += one.empty
        self.stretched |= one.stretched
        if one.index is not None:
            self.classes[one.name or f"class {one.index}"] += 1

    @property
    def seconds(self) -> float:
        """Seconds since the first photograph."""
        return time.perf_counter() - self.started


def summarised(loaded: LoadedModel, one: ExplainedPhoto, output: Path) -> PhotoSummary:
    """Summarise an explained photograph whose overlay is `output`."""
    result = one.explanation
    index = None if result.classes is None else int(result.classes[0])
    name = probability = None
    if index is not None:
        name = None if loaded.classes is None else labels.explained(loaded, result)
        if result.probabilities is not None:
            probability = float(result.probabilities[0, index])
    return PhotoSummary(
        output=output,
        index=index,
        name=name,
        probability=probability,
        score=float(result.scores[0]),
        empty=bool(result.empty[0]),
        stretched=one.is_stretched,
        value_range=one.value_range,
    )


def print_result(path: Path, one: PhotoSummary | Failed) -> None:
    """Print the JSON of a photograph."""
    if isinstance(one, Failed):
        print_line(path, error=str(one))
        return
    print_line(
        path,
        **{"class": one.index},
        class_name=one.name,
        probability=one.probability,
        score=one.score,
        empty=one.empty,
        value_range=one.value_range,
        output=str(one.output),
    )


_KEYS = ("class", "class_name", "probability", "score", "empty", "value_range", "output", "error")


def print_line(path: Path, **values: Any) -> None:
    """Print the JSON of a photograph, always with the same keys; missing values are null."""
    line = {"path": str(path), **dict.fromkeys(_KEYS), "skipped": False, **values}
    typer.echo(json.dumps(line))


def print_counts(summary: RunSummary, folder: Path, passed_over: Sequence[Path] = ()) -> None:
    """Print the JSON that sums up a run into `folder`."""
    counts = {
        "photographs": summary.total,
        "explained": summary.explained,
        "skipped": summary.skipped,
        "failed": len(summary.failed),
        "passed_over": [str(path) for path in passed_over],
        "seconds": round(summary.seconds, 3),
        "output": str(folder),
        "report": None if summary.report is None else str(summary.report),
    }
    typer.echo(json.dumps({"summary": counts}))
