"""What an evaluation found: values of metrics by method and sample, with intervals and curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from camcore._shared.atomic import whole
from camcore._shared.optional import needs
from camcore.adapter import Array
from camcore.errors import InputError
from camcore.explanation import Explanation
from camcore.means_table import MeansTable
from camcore.metrics.box_accuracy import BoxAccuracy
from camcore.metrics.faithfulness import Curve
from camcore.metrics.feeds import Feed
from camcore.metrics.intervals import Interval, band, interval_of

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

__all__ = ["CURVES", "CurveKind", "Evaluation", "Interval", "Kept"]

Floats = npt.NDArray[np.float64]

_MANY_TIED: Final = 0.1
"""Share of positions above which ties are worth a note."""


class CurveKind(NamedTuple):
    """What a curve of an evaluation is called.

    Parameters
    ----------
    title : str
        In a figure.
    across : str
        What its fractions are.
    done : str
        What is done up to a fraction, as in "20 % deleted".
    number : str
        The number that sums it up.
    """

    title: str
    across: str
    done: str
    number: str


CURVES: Final[Mapping[str, CurveKind]] = MappingProxyType(
    {
        "deletion": CurveKind("deletion", "share deleted", "deleted", "area"),
        "insertion": CurveKind("insertion", "share inserted", "inserted", "area"),
        "road_most": CurveKind(
            "ROAD, most relevant first", "share removed", "removed", "mean over shares"
        ),
        "road_least": CurveKind(
            "ROAD, least relevant first", "share removed", "removed", "mean over shares"
        ),
    }
)
"""The curves that metrics are computed from, by name."""


@dataclass(frozen=True, eq=False)
class Kept:
    """What is kept of a sample, so that what the network was fed can be shown.

    Parameters
    ----------
    sample : int
        Which one of the evaluation.
    image : (C, *S) array
        The model's input.
    explanations : mapping of str to Explanation
        Of this sample alone, by method.
    feeds : mapping of str to callable
        What makes the altered images of each curve again.
    """

    sample: int
    image: Array
    explanations: Mapping[str, Explanation]
    feeds: Mapping[str, Feed] = field(default_factory=dict, repr=False)

    def fed(self, row: str, curve: str, fractions: Array) -> Iterator[Array]:
        """Make the images again that a method's curve was traced with.

        Parameters
        ----------
        row : str
            A method.
        curve : str
            Of `CURVES`.
        fractions : (P,) array
            All of the curve's.

        Yields
        ------
        (C, *S) array
            At each fraction in turn.
        """
        yield from self.feeds[curve](self.image, self.explanations[row].maps[0], fractions)


@dataclass(frozen=True, eq=False)
class Evaluation(MeansTable):
    """Values of metrics by method and sample.

    Parameters
    ----------
    values : mapping of str to mapping of str to (N,) float64 array
        By row, which is a method or a control, and by metric; NaN where a metric is undefined.
    controls : tuple of str
        The rows that are controls.
    forwards : mapping of str to int
        How many altered images were scored for each row.
    seconds : mapping of str to float
        What each row took, its maps not included.
    empty : mapping of str to int
        How many of each row's maps are constant, so that they rank nothing.
    settings : mapping of str to str
        What the numbers depend on: recipe, layer, steps, seed, and more.
    curves : mapping of str to mapping of str to Curve
        By row and by name, of `CURVES`, those that metrics were computed from.
    kept : tuple of Kept
        What is kept of the first samples, where that was asked for.
    box_accuracy : mapping of str to BoxAccuracy
        Of each row where ``box_iou`` was asked for: its `score` is the MaxBoxAcc of all samples,
        at the threshold that is best for them together, `best_thresholds`.
    """

    values: Mapping[str, Mapping[str, Floats]]
    controls: tuple[str, ...] = ()
    forwards: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    empty: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    curves: Mapping[str, Mapping[str, Curve]] = field(default_factory=dict, repr=False)
    kept: tuple[Kept, ...] = field(default=(), repr=False)
    box_accuracy: Mapping[str, BoxAccuracy] = field(default_factory=dict, repr=False)
    _intervals: dict[tuple[str, str, str, int], Interval] = field(
        default_factory=dict, init=False, repr=False
    )

    @property
    def rows(self) -> tuple[str, ...]:
        """Methods and controls, in the order of the table."""
        return tuple(self.values)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics."""
        return tuple(next(iter(self.values.values()), {}))

    def __len__(self) -> int:
        return max((len(v) for row in self.values.values() for v in row.values()), default=0)

    def interval(self, row: str, metric: str, *, seed: int = 0) -> Interval:
        """Average a metric over samples, with a 95 % bootstrap interval.

        Parameters
        ----------
        row, metric : str
            Of `rows` and `metrics`.
        seed : int
            Of the resampling.

        Returns
        -------
        Interval
            By percentiles of 2,000 resamples; undefined values are left out.

        Raises
        ------
        InputError
            There is no such row or metric.
        MissingExtraError
            SciPy is not installed, which scikit-image (extra ``metrics``) brings.
        """
        return self._interval(row, "", metric, seed)

    def difference(self, row: str, other: str, metric: str, *, seed: int = 0) -> Interval:
        """Average the paired differences of two rows, with a 95 % bootstrap interval.

        Parameters
        ----------
        row, other : str
            Of `rows`; the one minus the other.
        metric : str
            Of `metrics`.
        seed : int
            Of the resampling.

        Returns
        -------
        Interval
            It holds 0 where the samples do not tell the rows apart.

        Raises
        ------
        InputError, MissingExtraError
            As `interval` raises them.
        """
        return self._interval(row, other, metric, seed)

    @classmethod
    def concatenate(cls, parts: Sequence[Evaluation]) -> Evaluation:
        """Join evaluations of other samples by the same rows and metrics.

        Parameters
        ----------
        parts : sequence of Evaluation
            One or more.

        Returns
        -------
        Evaluation

        Raises
        ------
        InputError
            There is none, or they have other rows, metrics or settings.
        """
        if not parts:
            raise InputError("No evaluations to join; pass one or more.")
        first = parts[0]
        for part in parts[1:]:
            for name in ("rows", "metrics", "settings", "curve_names"):
                if getattr(part, name) != getattr(first, name):
                    raise InputError(
                        f"Evaluations of other {name} cannot be joined: {getattr(first, name)} "
                        f"and {getattr(part, name)}."
                    )
        starts = np.cumsum([0, *map(len, parts)])[:-1].tolist()
        values = {
            row: {m: np.concatenate([p.values[row][m] for p in parts]) for m in first.metrics}
            for row in first.rows
        }
        return cls(
            values,
            first.controls,
            {row: sum(part.forwards[row] for part in parts) for row in first.rows},
            {row: sum(part.seconds[row] for part in parts) for row in first.rows},
            {row: sum(part.empty[row] for part in parts) for row in first.rows},
            first.settings,
            curves={
                row: {
                    name: Curve.concatenate([part.curves[row][name] for part in parts])
                    for name in curves
                }
                for row, curves in first.curves.items()
            },
            kept=tuple(
                replace(one, sample=one.sample + before)
                for before, part in zip(starts, parts, strict=True)
                for one in part.kept
            ),
            box_accuracy={
                row: BoxAccuracy.concatenate([part.box_accuracy[row] for part in parts])
                for row in first.box_accuracy
            },
        )

    def figure(self) -> Figure:
        """Draw the mean curve of each row, a panel for each kind of curve.

        Returns
        -------
        matplotlib.figure.Figure
            Methods are coloured, each in its 95 % band, of means of resampled samples at each
            fraction; controls are grey. The legend has the area below each curve, or of ROAD,
            whose shares do not reach the ends, the mean of its scores.

        Raises
        ------
        InputError
            No metric was computed from a curve.
        MissingExtraError
            matplotlib, or SciPy for the bands, is not installed.
        """
        from camcore.viz.curves import Line, Panel, curves_figure

        self._check_curves("drawn")
        panels = []
        for name in self.curve_names:
            lines = []
            for row in self.rows:
                curve = self.curves[row][name]
                control = row in self.controls
                shown = f"({row})" if control else row
                label = f"{shown}  {interval_of(self.summed_up(row, name))}"
                mean, ends = curve.scores.mean(axis=0), band(curve.scores)
                lines.append(Line(label, curve.fractions, mean, *ends, control))
            kind = CURVES[name]
            score = self.settings.get("score", "score")
            panels.append(Panel(kind.title, kind.across, score, lines, kind.number))
        return curves_figure(panels)

    @property
    def curve_names(self) -> tuple[str, ...]:
        """Names of the curves that each row has, of `CURVES`."""
        return tuple(name for name in CURVES if name in next(iter(self.curves.values()), {}))

    @property
    def tied(self) -> dict[str, float]:
        """Share of positions that are as important as another one, by row that has curves.

        The mean over samples; of a row's curves the largest.
        """
        return {
            row: max(float(curve.tied.mean()) for curve in curves.values())
            for row, curves in self.curves.items()
            if curves
        }

    def summed_up(self, row: str, curve: str) -> Floats:
        """Sum each sample's curve up in one number.

        Parameters
        ----------
        row : str
            A method or a control.
        curve : str
            Of `curve_names`.

        Returns
        -------
        (N,) float64 array
            The metric of the curve's name, where that was computed; else the mean of its scores.
        """
        if curve in self.metrics:
            return self.values[row][curve]
        mean: Floats = self.curves[row][curve].scores.mean(axis=1)
        return mean

    def save_curves(self, path: str | Path) -> None:
        """Write all curves into one ``.npz`` file, which appears whole or not at all.

        Parameters
        ----------
        path : str or Path
            Replaced where it exists. Its arrays are called ``"ROW/CURVE/fractions"``, ``(P,)``,
            and ``"ROW/CURVE/scores"``, ``(N, P)``, as in ``"gradcam/deletion/scores"``.

        Raises
        ------
        InputError
            No metric was computed from a curve.
        FileError
            The file cannot be written.
        """
        self._check_curves("saved")
        arrays = {
            f"{row}/{name}/{what}": getattr(curve, what)
            for row, curves in self.curves.items()
            for name, curve in curves.items()
            for what in ("fractions", "scores")
        }
        with whole(Path(path)) as draft, draft.open("wb") as file:
            np.savez_compressed(file, **arrays)

    def _check_curves(self, done: str) -> None:
        """Refuse where there is no curve."""
        if not self.curve_names:
            raise InputError(
                f"There is no curve to be {done}: {', '.join(self.metrics)} were computed without "
                "one. Evaluate by a metric that has one: metrics=['deletion', 'insertion', 'road']."
            )

    def to_pandas(self, names: Sequence[str] | None = None) -> pandas.DataFrame:
        """List every value, as a table with columns sample, row, control, metric and value.

        Parameters
        ----------
        names : sequence of str, optional
            What the samples are called, such as files of photographs; their numbers unless given.

        Returns
        -------
        pandas.DataFrame

        Raises
        ------
        MissingExtraError
            pandas is not installed (extra ``metrics``).
        """
        with needs("metrics", "tables of values"):
            import pandas
        return pandas.DataFrame(
            [
                (
                    sample if names is None else names[sample],
                    row,
                    row in self.controls,
                    metric,
                    value,
                )
                for row, columns in self.values.items()
                for metric, values in columns.items()
                for sample, value in enumerate(values.tolist())
            ],
            columns=["sample", "row", "control", "metric", "value"],
        )

    def to_csv(self, path: str | Path, names: Sequence[str] | None = None) -> None:
        """Write every value to a CSV file, as `to_pandas` lists them.

        Parameters
        ----------
        path : str or Path
        names : sequence of str, optional
            What the samples are called; their numbers unless given.

        Raises
        ------
        FileError
            The file cannot be written.
        MissingExtraError
            As `to_pandas` raises it.
        """
        values = self.to_pandas(names)
        with whole(Path(path)) as draft:
            values.to_csv(draft, index=False)

    def box_scores(self) -> Mapping[str, tuple[float, float]]:
        """Give each row's MaxBoxAcc and its threshold, where ``box_iou`` was asked for."""
        return {
            row: (boxes.score, float(boxes.best_thresholds[0]))
            for row, boxes in self.box_accuracy.items()
        }

    def missing(self, labels: Mapping[str, str] | None = None) -> Iterator[str]:
        """Say which maps have many ties or are constant, and which values are left out.

        Parameters
        ----------
        labels : mapping of str to str, optional
            What rows are called in place of their names.

        Yields
        ------
        str
            A sentence each.
        """
        called = {row: row for row in self.rows} if labels is None else labels
        ties = {called[row]: share for row, share in self.tied.items() if share > _MANY_TIED}
        if ties:
            told = ", ".join(f"{row} {share:.0%}" for row, share in ties.items())
            yield f"Share of positions that tie, removed in the order they lie in: {told}."
        for row in self.rows:
            if (empty := self.empty.get(row, 0)) and row not in self.controls:
                yield f"{empty} of {len(self)} maps of {called[row]} are constant: no order."
            missing = {m: int(np.isnan(values).sum()) for m, values in self.values[row].items()}
            told = ", ".join(f"{metric} ({count})" for metric, count in missing.items() if count)
            if told:
                yield f"Left out as undefined, of {called[row]}: {told}."

    def _interval(self, row: str, other: str, metric: str, seed: int) -> Interval:
        """Resample a row, or what it is above another, once."""
        asked = (row, other, metric, seed)
        if asked not in self._intervals:
            values = self._of(row, metric) - (self._of(other, metric) if other else 0)
            self._intervals[asked] = interval_of(values, seed=seed)
        return self._intervals[asked]

    def _of(self, row: str, metric: str) -> Floats:
        for name, known in ((row, self.rows), (metric, self.metrics)):
            if name not in known:
                raise InputError(f"There is no {name!r} here, but {', '.join(known)}.")
        return self.values[row][metric]
