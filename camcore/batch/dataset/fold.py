"""Add evaluations up sample by sample, so that a table of any number takes the same memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError
from camcore.means_table import MeansTable
from camcore.metrics.intervals import Interval

Floats: TypeAlias = npt.NDArray[np.float64]

_RESAMPLES: Final = 2000

_ENDS: Final = (2.5, 97.5)


@dataclass(eq=False)
class _Sum:
    """Values added up: as they are, and weighted as each resample has them.

    A resample draws each sample as often as a Poisson variable of mean 1 says, which is what
    drawing N of N with replacement comes to where N is large (Hanley & MacGibbon 2006); the same
    sample has the same weights in every row, so that differences are paired.
    """

    count: int = 0
    total: float = 0.0
    counts: Floats = field(default_factory=lambda: np.zeros(_RESAMPLES))
    totals: Floats = field(default_factory=lambda: np.zeros(_RESAMPLES))

    def add(self, value: float, weights: Floats) -> None:
        """Add one sample's value."""
        self.count += 1
        self.total += value
        self.counts += weights
        self.totals += weights * value

    @property
    def mean(self) -> float:
        """Of the samples; NaN of none."""
        return self.total / self.count if self.count else np.nan

    @property
    def means(self) -> Floats:
        """Of the resamples, ``(2000,)``; of one that drew nothing the mean of all."""
        drawn = self.counts > 0
        means: Floats = np.full(_RESAMPLES, self.mean)
        np.divide(self.totals, self.counts, out=means, where=drawn)
        return means


@dataclass(frozen=True, eq=False)
class EvaluationTable(MeansTable):
    """Means of metrics by method, over a data set.

    Parameters
    ----------
    samples : int
        How many were added up.
    controls : tuple of str
        The rows that are controls.
    forwards, seconds, empty
        By row, summed over samples: how many altered images were scored, how long that took, and
        how many maps were constant.
    settings : mapping of str to str
        What the numbers depend on.
    """

    samples: int
    controls: tuple[str, ...]
    forwards: Mapping[str, int]
    seconds: Mapping[str, float]
    empty: Mapping[str, int]
    settings: Mapping[str, str]
    _sums: Mapping[str, Mapping[str, _Sum]] = field(repr=False)
    _differences: Mapping[tuple[str, str, str], _Sum] = field(repr=False)
    _boxes: Mapping[str, _Hits] = field(repr=False)

    @property
    def rows(self) -> tuple[str, ...]:
        """Methods and controls, in the order of the table."""
        return tuple(self._sums)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics."""
        return tuple(next(iter(self._sums.values()), {}))

    def __len__(self) -> int:
        return self.samples

    def interval(self, row: str, metric: str) -> Interval:
        """Average a metric over samples, with a 95 % bootstrap interval.

        Parameters
        ----------
        row, metric : str
            Of `rows` and `metrics`.

        Returns
        -------
        Interval
            By percentiles of 2,000 resamples; undefined values are left out.

        Raises
        ------
        InputError
            There is no such row or metric.
        """
        self._check(row, metric)
        return _interval(self._sums[row][metric])

    def difference(self, row: str, other: str, metric: str) -> Interval:
        """Average the paired differences of two rows, with a 95 % bootstrap interval.

        Parameters
        ----------
        row, other : str
            Of `rows`; the one minus the other.
        metric : str
            Of `metrics`.

        Returns
        -------
        Interval
            Of the samples of which both are defined.

        Raises
        ------
        InputError
            There is no such row or metric.
        """
        self._check(row, metric)
        self._check(other, metric)
        if row == other:
            return Interval(0.0, 0.0, 0.0)
        if (row, other, metric) in self._differences:
            return _interval(self._differences[row, other, metric])
        mean, low, high = _interval(self._differences[other, row, metric])
        return Interval(-mean, -high, -low)

    def box_scores(self) -> Mapping[str, tuple[float, float]]:
        """Give each row's MaxBoxAcc and its threshold, where ``box_iou`` was asked for."""
        return {row: hits.best for row, hits in self._boxes.items()}

    def missing(self) -> Iterator[str]:
        """Say which maps are constant, and which values are left out.

        Yields
        ------
        str
            A sentence each.
        """
        for row in self.rows:
            if (empty := self.empty[row]) and row not in self.controls:
                yield f"{empty} of {len(self)} maps of {row} are constant: no order."
            absent = {metric: len(self) - one.count for metric, one in self._sums[row].items()}
            told = ", ".join(f"{metric} ({count})" for metric, count in absent.items() if count)
            if told:
                yield f"Left out as undefined, of {row}: {told}."

    def _check(self, row: str, metric: str) -> None:
        for name, known in ((row, self.rows), (metric, self.metrics)):
            if name not in known:
                raise InputError(f"There is no {name!r} here, but {', '.join(known)}.")


@dataclass(eq=False)
class _Hits:
    """How many samples a row's boxes fit at each threshold."""

    thresholds: Floats
    iou: Floats
    right: Floats
    samples: int = 0

    def add(self, values: Floats) -> None:
        """Add one sample's best overlaps at each threshold; NaN where it has no object."""
        if not np.isnan(values).any():
            self.right += values >= self.iou[:, None]
            self.samples += 1

    @property
    def best(self) -> tuple[float, float]:
        """MaxBoxAcc, and its threshold."""
        if not self.samples:
            return np.nan, np.nan
        shares = self.right / self.samples
        return float(shares.max(axis=1).mean()), float(self.thresholds[shares[0].argmax()])


def fold(evaluations: Iterable[tuple[str, Mapping[str, Any]]], seed: int = 0) -> EvaluationTable:
    """Add up the evaluations of samples.

    Parameters
    ----------
    evaluations : iterable of (str, mapping)
        A sample's id, and its evaluation as `camcore.evaluated_json.to_json` describes it.
    seed : int
        Of the resampling. A sample's weights depend on its id alone, and so not on the order.

    Returns
    -------
    EvaluationTable

    Raises
    ------
    InputError
        There is none, or they are of other rows, metrics or settings.
    """
    sums: dict[str, dict[str, _Sum]] = {}
    differences: dict[tuple[str, str, str], _Sum] = {}
    boxes: dict[str, _Hits] = {}
    totals: dict[str, dict[str, float]] = {"forwards": {}, "seconds": {}, "empty": {}}
    controls: tuple[str, ...] = ()
    settings: Mapping[str, str] | None = None
    samples = 0
    for id, found in evaluations:
        rows = found["rows"]
        if settings is None:
            settings = found["settings"]
            controls = tuple(row for row, one in rows.items() if one["control"])
            sums = {row: {m: _Sum() for m in one["metrics"]} for row, one in rows.items()}
        held = {row: tuple(one["metrics"]) for row, one in rows.items()}
        if held != {row: tuple(one) for row, one in sums.items()} or _alike(
            found["settings"]
        ) != _alike(settings):
            raise InputError(
                f"The evaluation of {id} has other rows, metrics or settings than those before it: "
                f"{held} and {found['settings']}."
            )
        samples += 1
        weights = _weights(id, seed)
        for row, one in rows.items():
            for metric, value in one["metrics"].items():
                if value is not None:
                    sums[row][metric].add(value, weights)
            for name, total in totals.items():
                total[row] = total.get(row, 0) + one[name]
        names = list(rows)
        for place, row in enumerate(names):
            for other in names[place + 1 :]:
                for metric, value in rows[row]["metrics"].items():
                    against = rows[other]["metrics"][metric]
                    if value is not None and against is not None:
                        one_sum = differences.setdefault((row, other, metric), _Sum())
                        one_sum.add(value - against, weights)
        for row, one in found["box_accuracy"].items():
            values = [value for value, many in one["values"] for _ in range(many)]
            if row not in boxes:
                shape = (len(one["iou"]), len(one["thresholds"]))
                boxes[row] = _Hits(
                    np.array(one["thresholds"]), np.array(one["iou"]), np.zeros(shape)
                )
            boxes[row].add(np.array(values, float))
    if settings is None:
        raise InputError("There is no evaluation to add up: every sample failed, or there is none.")
    for place, row in enumerate(names := list(sums)):
        for other in names[place + 1 :]:
            for metric in sums[row]:
                differences.setdefault((row, other, metric), _Sum())
    return EvaluationTable(
        samples,
        controls,
        {row: int(total) for row, total in totals["forwards"].items()},
        totals["seconds"],
        {row: int(total) for row, total in totals["empty"].items()},
        settings,
        sums,
        differences,
        boxes,
    )


def _alike(settings: Mapping[str, str]) -> dict[str, str]:
    """Leave out what is measured on each sample."""
    return {name: value for name, value in settings.items() if name != "deterministic"}


def _weights(id: str, seed: int) -> Floats:
    """Draw how often each resample has a sample."""
    digest = hashlib.sha256(f"{seed}/{id}".encode()).digest()
    random = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    return random.poisson(1.0, _RESAMPLES).astype(np.float64)


def _interval(one: _Sum) -> Interval:
    if one.count < 2:
        return Interval(one.mean, np.nan, np.nan)
    low, high = np.percentile(one.means, _ENDS)
    return Interval(one.mean, float(low), float(high))
