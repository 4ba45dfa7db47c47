"""Lay out means of metrics by row with their intervals, and say what they tell."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from html import escape

import numpy as np

from camcore._shared.optional import needs
from camcore.errors import InputError
from camcore.metrics.intervals import Interval
from camcore.metrics.table import TABLE


class MeansTable(ABC):
    """A table of means by row, which is a method or a control, and by metric."""

    controls: tuple[str, ...]
    forwards: Mapping[str, int]
    seconds: Mapping[str, float]
    settings: Mapping[str, str]

    @property
    @abstractmethod
    def rows(self) -> tuple[str, ...]:
        """Methods and controls, in the order of the table."""

    @property
    @abstractmethod
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics."""

    @abstractmethod
    def __len__(self) -> int:
        """Count the samples."""

    @abstractmethod
    def interval(self, row: str, metric: str) -> Interval:
        """Average a metric over samples, with a 95 % bootstrap interval."""

    @abstractmethod
    def difference(self, row: str, other: str, metric: str) -> Interval:
        """Average the paired differences of two rows, with a 95 % bootstrap interval."""

    @abstractmethod
    def box_scores(self) -> Mapping[str, tuple[float, float]]:
        """Give each row's MaxBoxAcc and its threshold, where ``box_iou`` was asked for."""

    @abstractmethod
    def missing(self) -> Iterator[str]:
        """Say which maps have many ties or are constant, and which values are left out."""

    def best(self, metric: str) -> str | None:
        """Name the row that is better than each other one, controls among them.

        Parameters
        ----------
        metric : str
            Of `metrics`.

        Returns
        -------
        str or None
            None where the interval of a paired difference to another row holds 0.

        Raises
        ------
        InputError
            There is no such metric.
        """
        if metric not in self.metrics:
            raise InputError(f"There is no {metric!r} here, but {', '.join(self.metrics)}.")
        return self._best[metric]

    def _best_of(self, metric: str) -> str | None:
        """Find the row that is better than each other one."""
        sign = 1 if TABLE[metric].better == "higher" else -1
        means = {row: sign * self.interval(row, metric).mean for row in self.rows}
        known = {row: mean for row, mean in means.items() if not np.isnan(mean)}
        if len(known) < 2:
            return None
        first = max(known, key=known.__getitem__)
        for other in known:
            if other != first:
                _, *ends = self.difference(first, other, metric)
                if not min(sign * end for end in ends) > 0:
                    return None
        return first

    def to_latex(self) -> str:
        """Write the table of means and intervals for LaTeX, with booktabs' rules.

        Returns
        -------
        str

        Raises
        ------
        MissingExtraError
            pandas or Jinja2 is not installed (extra ``metrics``).
        """
        with needs("metrics", "tables for LaTeX"):
            import jinja2  # noqa: F401
            import pandas
        heads, *rows = self._cells()
        table = pandas.DataFrame([row[1:] for row in rows], [row[0] for row in rows], heads[1:])
        style = table.style.format(escape="latex").format_index(escape="latex", axis=1)
        text: str = style.to_latex(hrules=True)
        return text.replace("↑", r"$\uparrow$").replace("↓", r"$\downarrow$")

    def to_markdown(self) -> str:
        """Write the table of means and intervals in Markdown.

        Returns
        -------
        str
        """
        heads, *rows = self._cells()
        lines = [heads, ["---"] * len(heads), *rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def __str__(self) -> str:
        cells = self._cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in cells
        ]
        return "\n".join([*lines, *self.notes()])

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"

    @cached_property
    def _best(self) -> dict[str, str | None]:
        """The best row by metric; intervals are resampled, which takes a while."""
        return {metric: self._best_of(metric) for metric in self.metrics}

    def _cells(self) -> list[list[str]]:
        """Write the table's cells, a head first; the best of each metric has a star."""
        arrows = {"higher": "↑", "lower": "↓"}
        heads = [f"{TABLE[m].label} {arrows[TABLE[m].better]}" for m in self.metrics]
        rows = [["", *heads, "passes", "seconds"]]
        for row in self.rows:
            values = [
                f"{self.interval(row, m)}{' *' if self._best[m] == row else ''}"
                for m in self.metrics
            ]
            named = f"({row})" if row in self.controls else row
            passes, took = self.forwards.get(row, 0), self.seconds.get(row, 0.0)
            rows.append([named, *values, str(passes), f"{took:.1f}"])
        return rows

    def notes(self) -> Iterator[str]:
        """Say what the numbers are, what a control does better, and what is missing.

        Yields
        ------
        str
            A sentence each.
        """
        many = "s" if len(self) != 1 else ""
        yield f"{len(self)} sample{many}; means [95 % bootstrap interval]; (controls)."
        if scores := self.box_scores():
            told = ", ".join(
                f"{f'({row})' if row in self.controls else row} {score:.3g}"
                + (f" (at {threshold:.2g})" if score > 0 else "")
                for row, (score, threshold) in scores.items()
            )
            yield (
                "MaxBoxAcc, the share of samples whose box has an IoU of 0.5 or more (at the best "
                f"threshold for all samples): {told}."
            )
        if self.settings.get("deterministic") == "False":
            yield (
                "The model scores the same images otherwise each time, as with dropout: repeat "
                "this to see how far numbers are apart."
            )
        if any(self._best.values()):
            yield "* better than every other row: no interval of a paired difference holds 0."
        for metric in self.metrics:
            for row in self.rows:
                over = self.beaten_by(row, metric)
                if over:
                    yield f"{metric}: {row} is beaten by {', '.join(over)}."
        yield from self.missing()

    def beaten_by(self, row: str, metric: str) -> list[str]:
        """List the controls that are better than a method by a metric.

        Parameters
        ----------
        row, metric : str
            Of `rows` and `metrics`.

        Returns
        -------
        list of str
            Those of which the interval of the paired difference does not hold 0. None for a
            control itself, or by a metric that looks at the map alone: one that never changes is
            coherent, robust and as simple as can be.

        Raises
        ------
        InputError
            There is no such row or metric.
        """
        self.interval(row, metric)
        if row in self.controls or not {"scores", "masks", "boxes"} & set(TABLE[metric].needs):
            return []
        sign = 1 if TABLE[metric].better == "higher" else -1
        return [
            control
            for control in self.controls
            if min(sign * end for end in self.difference(control, row, metric)[1:]) > 0
        ]
