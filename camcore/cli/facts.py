"""A comparison for other programs to read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import camcore
from camcore.cli.album import Album
from camcore.report import Entry, Held


def as_json(
    album: Album,
    entries: Sequence[Entry],
    held: Sequence[Held],
    call: str,
    tolerance: float | None,
    path: Path,
) -> str:
    """Write everything down; what is no number is null.

    Parameters
    ----------
    album : Album
        The photographs.
    entries : sequence of Entry
        What was made of them.
    held : sequence of Held
        How far these are apart, worst first.
    call : str
        What makes them again.
    tolerance : float or None
        Largest difference that counts as agreement.
    path : Path
        Where the report is.
    """
    facts = {
        "camcore": camcore.__version__,
        "call": call,
        "report": str(path.resolve()),
        "tolerance": None if tolerance is None or np.isinf(tolerance) else tolerance,
        "agree": tolerance is None or held[0].largest <= tolerance,
        "unreadable": [{"photo": name, "why": why} for name, why in album.unreadable],
        "entries": [
            {
                "model": entry.model,
                "framework": entry.framework,
                "method": entry.explanation.method,
                "recipe": entry.recipe,
                "layers": list(entry.explanation.layers),
                "seconds": entry.seconds,
                "passes": entry.passes,
            }
            for entry in entries
        ],
        "pairs": [
            {
                "names": list(one.names),
                "alike": list(one.alike),
                "photos": [_numbers(one, index, name) for index, name in enumerate(album.names)],
            }
            for one in held
        ],
    }
    return json.dumps(facts, indent=2, allow_nan=False)


def _numbers(held: Held, index: int, name: str) -> Mapping[str, Any]:
    pair = held.pair
    numbers = {
        key: None if values is None or np.isnan(values[index]) else float(values[index])
        for key, values in {
            "largest": pair.largest,
            "pearson": pair.pearson,
            "spearman": pair.spearman,
            "ssim": pair.ssim,
            "overlap": pair.overlap,
        }.items()
    }
    same = None if held.same is None else bool(held.same[index])
    return {"photo": name, **numbers, "same_top_class": same}
