"""Write the evaluation of one sample as JSON, and read it back to the last bit."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import numpy as np

from camcore.evaluated import Evaluation
from camcore.metrics.box_accuracy import BoxAccuracy
from camcore.metrics.faithfulness import Curve


def to_json(one: Evaluation) -> dict[str, Any]:
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


def from_json(found: Mapping[str, Any]) -> Evaluation:
    """Make the evaluation that `to_json` described, to the last bit."""
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
