"""Which methods explain which architectures: docs/architectures.md, written from runs.

``python tests/support/methods_table.py`` writes it, with names of architectures only their
lines and those it lacks; tests/models/test_methods_table.py holds it to the runs.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from architectures import ALL, Architecture, Refused

from camcore import Explainer, Explanation
from camcore.errors import CamcoreError
from camcore.inputs import Inputs
from camcore.methods import find
from camcore.registry import adapter

PAGE = Path(__file__).parents[2] / "docs" / "architectures.md"
COMMAND = "python tests/support/methods_table.py"

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "CAM": ("cam",),
    "Grad-CAM": (
        "gradcam",
        "gradcampp",
        "xgradcam",
        "hirescam",
        "elementwisegradcam",
        "layercam",
        "segxrescam",
        "refinecam",
    ),
    "counterfactual": ("counterfactual",),
    "FinerCAM": ("finercam",),
    "Eigen-CAM": (
        *("eigencam", "eigengradcam", "segeigencam", "kpcacam", "fem", "activations", "random"),
    ),
    "LeGrad": ("legrad",),
    "relevancy": ("relevancy", "rollout"),
    "saliency": ("saliency", "gradienttimesinput"),
    "ShapleyCAM": ("shapleycam",),
    "Smooth Grad-CAM++": ("smoothgradcampp",),
    "Score-CAM": ("scorecam", "fasterscorecam", "sscam", "iscam", "gscorecam", "groupcam"),
    "Opti-CAM": ("opticam",),
    "Poly-CAM": ("polycam",),
    "Ablation-CAM": ("ablationcam",),
    "layer IG": ("layerig", "dix"),
    "occlusion": ("occlusion", "rise", "sobol", "hsic"),
    "SmoothGrad": (
        *("smoothgrad", "smoothgradsq", "vargrad", "integratedgradients", "idgi"),
        *("gradientshap", "guidedig", "blurig"),
    ),
    "XRAI": ("xrai",),
    "guided": ("guidedbackprop", "deconvnet", "guidedgradcam"),
    "FullGrad": ("fullgrad",),
}
"""Methods that ask the same of a model stand in one column."""

NOT_RUN: Mapping[str, str] = {"reciprocam": "ablationcam"}
"""What asks the same as another, and takes a pass of a detector for each of its thousand places."""

BY_CHANNEL = frozenset({*COLUMNS["Score-CAM"], *COLUMNS["Poly-CAM"], *COLUMNS["Ablation-CAM"]})
"""Methods that score channels one by one."""

SETTINGS: Mapping[str, Any] = {
    "samples": 2,
    "steps": 2,
    "masks": 2,
    "designs": 2,
    "cells": 2,
    "channels": 2,
    "groups": 2,
    "progress": False,
}

WINDOW = 24
"""Side and stride of what is covered, half of an input of two hundred."""

REFUSALS: tuple[Refused, ...] = (
    Refused(
        "MethodError",
        "CAM needs a layer that only global average pooling and one linear layer follow",
    ),
    Refused("MethodError", "CAM weights channels by a target's cotangent"),
    Refused("MethodError", "FinerCAM contrasts a class with its nearest ones"),
    Refused("TargetError", "nearest classes needs more than"),
    Refused("MethodError", "Negate a native callable yourself"),
    Refused(
        "MethodError", "None of the model's layers computes softmax attention that can be seen"
    ),
    Refused("MethodError", "it is computed within windows (as Swin does)"),
    Refused("MethodError", "Choose layers of one chain"),
    Refused("MethodError", "Attention rollout follows the same tokens through all layers"),
    Refused("MethodError", "ShapleyCAM needs a target that is linear in the outputs"),
    Refused("MethodError", "FullGrad lays what every layer adds over the input"),
    Refused("MethodError", "XRAI segments images of two spatial axes by itself"),
    Refused("LayerError", "times in a pass; say which call is meant"),
    Refused("MethodError", "Outputs for altered activations are scored in NumPy"),
    Refused("LayerError", "so there is no one place to go on from"),
    Refused("InputError", "inputs of the model have spatial extent"),
    Refused("GradientError", "the model has no second derivative behind it"),
    Refused("LayerError", "A model is resumed from a layer that runs once"),
    Refused("MethodError", "OnnxAdapter offers no second_order"),
    Refused("MethodError", "JaxAdapter offers no biases"),
    Refused("MethodError", "has the weights of several in one array, for a loop to run them"),
    Refused("LayerError", "do not have the same axes, so they cannot be joined"),
)
"""What any architecture may be refused, numbered as on the page; a row may say more."""

Outcome: TypeAlias = "CamcoreError | None"


def outcomes(
    row: Architecture, working: Collection[str] = (), columns: Collection[str] = COLUMNS
) -> dict[str, Outcome]:
    """For each method of some columns, the error that refuses it; None where it works.

    Those that are thought to be `working` are run together, from one pass, which is quick; where
    one of them is refused after all, each is asked by itself like the others.
    """
    model, inputs = row.make(), row.inputs(1)
    asked = {name for column in columns for name in COLUMNS[column]}
    found: dict[str, Outcome] = {}
    narrow = BY_CHANNEL if row.narrow is not None else frozenset[str]()
    together = asked.intersection(working)
    for group in (together - narrow, together & narrow):
        if group and _refusal(row, model, inputs, sorted(group)) is None:
            found |= dict.fromkeys(group)
    for column in (COLUMNS[name] for name in columns):
        names = [name for name in column if name not in found]
        if not names:
            continue
        error = _refusal(row, model, inputs, names)
        # What one method is refused, others of its column may not be.
        alone = error is not None and len(names) > 1
        found |= {name: _refusal(row, model, inputs, [name]) if alone else error for name in names}
    return found


def _refusal(row: Architecture, model: Any, inputs: Any, names: Sequence[str]) -> Outcome:
    known = {option for name in names for option in find(name).takes()}
    settings = {option: value for option, value in SETTINGS.items() if option in known}
    size = Inputs.of(inputs, adapter(model)).size
    if "occlusion" in names:
        side = WINDOW if max(size) < 200 else max(size) // 2
        settings |= {"window": side, "stride": side}
    if row.narrow is not None and BY_CHANNEL.intersection(names):
        settings["layer"] = row.narrow
    try:
        explainer = Explainer(model, method=list(names), **row.options, **settings)
        results = explainer(inputs, row.target)
    except CamcoreError as error:
        return error
    for name, result in results.items():
        assert isinstance(result, Explanation)
        assert result.maps.shape == (len(result.scores), *size), (row.name, name)
        assert np.isfinite(result.maps).all(), (row.name, name)
        assert all(np.isfinite(raw).all() for raw in result.raw.values()), (row.name, name)
    return None


def unexpected(row: Architecture, found: Mapping[str, Outcome]) -> list[str]:
    """What neither the row nor `REFUSALS` says, one line each."""
    wrong = []
    for name, error in found.items():
        declared = row.refused.get(name)
        if declared is not None and error is None:
            wrong.append(f"{name} works, and the row says it is refused")
        elif error is not None and not any(
            is_said_by(error, one) for one in ([declared] if declared else REFUSALS)
        ):
            wrong.append(f"{name}: {type(error).__name__}: {error}")
    return wrong


def is_said_by(error: CamcoreError, refused: Refused) -> bool:
    """Whether this is the error meant."""
    return type(error).__name__ == refused.error and refused.words in str(error)


def line(row: Architecture, found: Mapping[str, Outcome]) -> str:
    """The row's line of the page."""
    return f"| {row.name} | {' | '.join(cells(found, COLUMNS).values())} |"


def cells(found: Mapping[str, Outcome], columns: Iterable[str]) -> dict[str, str]:
    """What stands in some columns of a row, by column."""
    return {
        column: " / ".join(dict.fromkeys(_mark(found[name]) for name in COLUMNS[column]))
        for column in columns
    }


def written(row: Architecture, lines: Iterable[str]) -> dict[str, str]:
    """What the page has in each column of a row; nothing where it does not have the row."""
    found = next((one.split(" | ")[1:] for one in lines if one.startswith(f"| {row.name} | ")), [])
    marks = [mark.removesuffix(" |") for mark in found]
    return dict(zip(COLUMNS, marks, strict=False))


def _mark(error: Outcome) -> str:
    if error is None:
        return "✓"
    numbers = (n for n, refused in enumerate(REFUSALS, 1) if is_said_by(error, refused))
    return str(next(numbers, "*"))


def notes(rows: Iterable[Architecture]) -> list[str]:
    """What ``*`` stands for, by row."""
    return [
        f'- {row.name}, {find(name).label}: `{refused.error}`: "{refused.words}"'
        for row in rows
        for name, refused in row.refused.items()
        if not any(refused.error == one.error and refused.words in one.words for one in REFUSALS)
    ]


def page(lines: Mapping[str, str]) -> str:
    """The whole page from the lines by name of the row."""
    head = f"| architecture | {' | '.join(COLUMNS)} |"
    rule = "| --- |" + " :-: |" * len(COLUMNS)
    parts = [INTRODUCTION, "## What columns stand for\n", _legend(), "## Refusals\n", _refusals()]
    for kind, rows in _by_kind():
        parts += [
            f"## {kind}\n",
            "\n".join([head, rule, *(lines[row.name] for row in rows)]) + "\n",
        ]
        said = notes(rows)
        if said:
            parts.append("Here `*` is:\n\n" + "\n".join(said) + "\n")
    return "\n".join(parts)


def _by_kind() -> list[tuple[str, list[Architecture]]]:
    kinds = dict.fromkeys(row.kind for row in ALL)
    return [(kind, [row for row in ALL if row.kind == kind]) for kind in kinds]


def _legend() -> str:
    labels = {
        column: ", ".join(find(name).label for name in names)
        for column, names in COLUMNS.items()
        if len(names) > 1
    }
    return "\n".join(f"- **{column}**: {listed}." for column, listed in labels.items()) + "\n"


def _refusals() -> str:
    return (
        "\n".join(f'{n}. `{one.error}`: "{one.words}"' for n, one in enumerate(REFUSALS, 1)) + "\n"
    )


INTRODUCTION = f"""# Architectures

Which methods explain which models, as run: ✓ is a finite map of the input's size, a number or `*`
a refusal and its words. The models are small or untrained; how to explain each kind is in
[models.md](models.md). Grad-CAM of every one of them is held against plain framework code, and a
batch against its samples, by `tests/models`. Score-CAM and Ablation-CAM, which score channels one
by one, explain an earlier layer with few channels where the chosen one has a thousand:
{", ".join(f"`{row.narrow}` of {row.name}" for row in ALL if row.narrow)}.
Recipro-CAM, which takes a pass for each place, asks the same as Ablation-CAM and is not run.

Written by `{COMMAND}`.
"""


def main(names: Sequence[str]) -> None:
    """Write the page anew; with names, for those architectures and what it has no line of."""
    import torchvision  # noqa: F401  # before TensorFlow, or the process ends

    before = PAGE.read_text("utf-8").splitlines() if PAGE.exists() else []
    lines = {old.split(" | ")[0].removeprefix("| "): old for old in before if old.startswith("| ")}
    for row in ALL:
        if names and row.name not in names and row.name in lines:
            continue
        try:
            found = outcomes(row)
        except ImportError as error:
            if row.name not in lines:
                raise
            print(f"{row.name}: {error}; its line is kept", file=sys.stderr)
            continue
        for wrong in unexpected(row, found):
            print(f"{row.name}: {wrong}", file=sys.stderr)
        lines[row.name] = line(row, found)
    PAGE.write_text(page(lines), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
