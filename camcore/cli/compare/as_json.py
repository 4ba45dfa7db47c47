"""Serialise a comparison for other programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import camcore
from camcore.cli.compare.run import CompareResult
from camcore.report import ComparedPair


def as_json(result: CompareResult, report: Path) -> str:
    """Serialise `result` and the path of its `report` to JSON; NaN becomes null."""
    tolerance = result.tolerance
    values = {
        "camcore": camcore.__version__,
        "call": result.call,
        "report": str(report.resolve()),
        "tolerance": None if tolerance is None or np.isinf(tolerance) else tolerance,
        "agree": result.agree,
        "unreadable": [{"photo": name, "why": why} for name, why in result.photos.unreadable],
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
            for entry in result.entries
        ],
        "pairs": [
            {
                "names": list(one.names),
                "alike": list(one.alike),
                "photos": [
                    _numbers(one, index, name) for index, name in enumerate(result.photos.names)
                ],
            }
            for one in result.pairs
        ],
    }
    return json.dumps(values, indent=2, allow_nan=False)


def _numbers(compared: ComparedPair, index: int, name: str) -> Mapping[str, Any]:
    """Collect how far a pair is apart on the photograph `index`."""
    pair, same = compared.pair, compared.same
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
    return {
        "photo": name,
        **numbers,
        "same_top_class": None if same is None else bool(same[index]),
    }
