"""Evaluate methods by metrics: a table of values for each sample, with intervals and controls."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from camcore._shared.atomic import whole
from camcore._shared.optional import needs
from camcore.adapter import Array
from camcore.errors import InputError
from camcore.evidence import Rerun
from camcore.explainer import Explainer
from camcore.explanation import Explanation
from camcore.metrics.arrays import is_constant
from camcore.metrics.box_accuracy import BoxAccuracy
from camcore.metrics.case import Case, Counted
from camcore.metrics.controls import CONTROLS, Control
from camcore.metrics.objects import Boxes, masks_of, objects_in
from camcore.metrics.recipes import MetricRecipe, find_metric_recipe
from camcore.metrics.robustness import ExplainImages
from camcore.metrics.scoring import Scorer
from camcore.metrics.table import TABLE, Metric, find_metric
from camcore.targets import Class, Probability, Target

if TYPE_CHECKING:
    import pandas

__all__ = ["Evaluation", "Interval", "evaluate"]

Floats = npt.NDArray[np.float64]

METRICS = ("deletion", "insertion", "average_drop", "increase", "adcc")
"""The metrics that are computed unless others are asked for."""

_RESAMPLES = 2000

_OF_THE_MODEL = (
    "output",
    "input",
    "input_layout",
    "activation",
    "mode",
    "preprocess",
    "classes",
)
"""Options that say how the model is run and read, whatever the method."""


class Interval(NamedTuple):
    """A mean, and where 95 % of the means of resampled samples lie.

    Parameters
    ----------
    mean, low, high : float
        NaN where there is no value, or, of the ends, a single one.
    """

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        ends = "" if np.isnan(self.low) else f" [{self.low:.3g}, {self.high:.3g}]"
        return f"{self.mean:.3g}{ends}"


@dataclass(frozen=True, eq=False)
class Evaluation:
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
    box_accuracy: Mapping[str, BoxAccuracy] = field(default_factory=dict, repr=False)

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
        return _interval(self._of(row, metric), seed)

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
        return _interval(self._of(row, metric) - self._of(other, metric), seed)

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
        """
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
            for name in ("rows", "metrics", "settings"):
                if getattr(part, name) != getattr(first, name):
                    raise InputError(
                        f"Evaluations of other {name} cannot be joined: {getattr(first, name)} "
                        f"and {getattr(part, name)}."
                    )
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
            box_accuracy={
                row: BoxAccuracy.concatenate([part.box_accuracy[row] for part in parts])
                for row in first.box_accuracy
            },
        )

    def to_pandas(self) -> pandas.DataFrame:
        """List every value, as a table with columns sample, row, control, metric and value.

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
                (sample, row, row in self.controls, metric, value)
                for row, columns in self.values.items()
                for metric, values in columns.items()
                for sample, value in enumerate(values.tolist())
            ],
            columns=["sample", "row", "control", "metric", "value"],
        )

    def to_csv(self, path: str | Path) -> None:
        """Write every value to a CSV file, as `to_pandas` lists them.

        Parameters
        ----------
        path : str or Path

        Raises
        ------
        FileError
            The file cannot be written.
        MissingExtraError
            As `to_pandas` raises it.
        """
        values = self.to_pandas()
        with whole(Path(path)) as draft:
            values.to_csv(draft, index=False)

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
        return {metric: self.best(metric) for metric in self.metrics}

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
        if self.box_accuracy:
            told = ", ".join(
                f"{f'({row})' if row in self.controls else row} {boxes.score:.3g}"
                + (f" (at {boxes.best_thresholds[0]:.2g})" if boxes.score > 0 else "")
                for row, boxes in self.box_accuracy.items()
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
                over = [] if row in self.controls else self._beaten_by(row, metric)
                if over:
                    yield f"{metric}: {row} is beaten by {', '.join(over)}."
        for row in self.rows:
            if self.empty.get(row, 0) and row not in self.controls:
                yield f"{self.empty[row]} of {len(self)} maps of {row} are constant: no order."
            missing = {m: int(np.isnan(values).sum()) for m, values in self.values[row].items()}
            told = ", ".join(f"{metric} ({count})" for metric, count in missing.items() if count)
            if told:
                yield f"Left out as undefined, of {row}: {told}."

    def _beaten_by(self, row: str, metric: str) -> list[str]:
        """List the controls that are better by a metric that looks at the model or the object."""
        if not {"scores", "masks", "boxes"} & set(TABLE[metric].needs):
            return []  # a map that never changes is coherent, robust and as simple as can be
        sign = 1 if TABLE[metric].better == "higher" else -1
        return [
            control
            for control in self.controls
            if min(sign * end for end in self.difference(control, row, metric)[1:]) > 0
        ]

    def _of(self, row: str, metric: str) -> Floats:
        for name, known in ((row, self.rows), (metric, self.metrics)):
            if name not in known:
                raise InputError(f"There is no {name!r} here, but {', '.join(known)}.")
        return self.values[row][metric]


def evaluate(
    model: object,
    inputs: Any,
    target: Any = None,
    *,
    methods: str | Sequence[Any] = ("gradcam", "gradcampp", "layercam"),
    metrics: str | Sequence[str | Metric] = METRICS,
    layer: Any = None,
    recipe: Any = "paper",
    masks: Any = None,
    boxes: Boxes | None = None,
    controls: bool | Sequence[str] = True,
    metric_recipe: str | MetricRecipe = "paper",
    score: Target | None = None,
    steps: int = 50,
    batch_size: int = 32,
    seed: int = 0,
    **options: Any,
) -> Evaluation:
    """Evaluate methods by metrics on a batch.

    Parameters
    ----------
    model, inputs, target
        As `camcore.explain` takes them; the predicted class of each sample unless said.
    methods : str, or sequence of str
        The methods.
    metrics : str, or sequence of str
        Of `camcore.metrics.TABLE`.
    layer, recipe
        As `camcore.explain` takes them.
    masks : (B, *S) bool array, or sequence of these, optional
        Where the object is, over the model's input, or over the photograph where these are
        explained; metrics of localisation need them, or boxes.
    boxes : sequence of (n, 4) array, or (B, 4) array, optional
        The edges ``left, top, right, bottom`` of each sample's objects, or its one object's, in
        pixels of the photograph where photographs are explained, and of the model's input
        otherwise. Metrics of boxes need them; without masks, metrics of localisation take what
        lies in them.
    controls : bool or sequence of str
        Maps that know nothing of the model, as rows of their own: those of
        `camcore.metrics.CONTROLS`, some of them by name, or none.
    metric_recipe : str or MetricRecipe
        Whose definitions of the metrics: of `camcore.metrics.METRIC_RECIPES`. Other than the
        papers', numbers are in the library's own units, and `steps` are the library's.
    score : Target, optional
        What is scored; unless said the probability of the explained class, or its logit where
        the recipe has that.
    steps : int
        Of deletion and insertion.
    batch_size : int
        How many altered images are scored at once.
    seed : int
        Of whatever is drawn.
    **options
        Of `camcore.Explainer`, and of the methods.

    Returns
    -------
    Evaluation

    Raises
    ------
    InputError
        There is no such metric or control, or the maps do not lie over the input; and what
        `camcore.explain` raises.
    """
    names = [methods] if isinstance(methods, str) else list(methods)
    rows = [find_metric(one) for one in ([metrics] if isinstance(metrics, str) else metrics)]
    convention = find_metric_recipe(metric_recipe)
    for row in rows:
        convention.check(row)
    chosen = _chosen(controls)
    about = {"layer": layer, "recipe": recipe, **options}
    explainer = Explainer(model, method=names, **about)
    explained: dict[str, Explanation] = explainer(inputs, target)
    first = next(iter(explained.values()))
    wanted = target if first.classes is None else first.classes.tolist()
    kind = Probability if convention.score == "probability" else Class
    scored = score or (wanted if first.classes is None else kind(wanted))
    # A method of the input names no layer, and takes no gradient.
    shared = {key: value for key, value in options.items() if key in _OF_THE_MODEL}
    evidence = Explainer(model, method="rise", **shared).evidence(inputs, scored)
    images, score_images = evidence.images, evidence.score_images
    scores = Scorer(score_images, batch_size)(enumerate(images))
    seen = [(one.crop, str(one.path or f"sample {i}")) for i, one in enumerate(first.photographs)]
    objects = None if boxes is None else objects_in(boxes, images.shape[2:], len(images), seen)
    where = None if masks is None else _masks(masks, images, first)
    if where is None and objects is not None:
        where = masks_of(objects, images.shape[2:])
    right = None if target is None else _first_class(first)
    known: dict[str, Array] = {}

    def case(maps: Array, again: ExplainImages) -> Case:
        return Case(
            images,
            maps,
            Counted(score_images),
            again,
            scores,
            where,
            objects,
            right,
            steps,
            batch_size,
            seed,
            known,
        )

    cases: dict[str, Case] = {}
    for name, explanation in explained.items():
        if explanation.maps.shape[1:] != images.shape[2:]:
            raise InputError(
                f"The maps of {name!r} are {explanation.maps.shape[1:]} and the input is "
                f"{images.shape[2:]}; metrics need maps over the input. Choose recipe='paper'."
            )
        one = Explainer(model, method=name, **about)
        cases[name] = case(explanation.maps, partial(_explained, one, evidence, wanted))
    base = next(iter(cases.values()))
    # There is a method of the name "random", too.
    titles = [f"{c.name} control" if c.name in cases else c.name for c in chosen]
    for title, control in zip(titles, chosen, strict=True):
        cases[title] = _control_case(control, base, case)
    values, seconds = {}, {}
    for name, each in cases.items():
        start = time.perf_counter()
        values[name] = {row.name: convention(row, each) for row in rows}
        seconds[name] = time.perf_counter() - start
    return Evaluation(
        values,
        tuple(titles),
        {name: each.score_images.forwards for name, each in cases.items()},
        seconds,
        {name: int(is_constant(each.maps).sum()) for name, each in cases.items()},
        {
            "recipe": first.recipe,
            "layers": ", ".join(dict.fromkeys(n for e in explained.values() for n in e.raw)),
            "metrics": convention.source,
            "steps": str(steps),
            "seed": str(seed),
            "deterministic": str(bool(np.allclose(scores, evidence.scores, rtol=1e-3, atol=1e-6))),
        },
        box_accuracy={
            name: each.box_accuracy
            for name, each in cases.items()
            if objects is not None and any(row.name == "box_iou" for row in rows)
        },
    )


def _explained(
    explainer: Explainer[Explanation], evidence: Rerun, wanted: Any, sample: int, images: Array
) -> Array:
    """Explain N alterations of one sample's input, for that sample's class."""
    given = evidence.inputs_of(images, sample)
    target = [wanted[sample]] * len(images) if isinstance(wanted, list) else wanted
    return explainer(given, target).maps


def _control_case(control: Control, base: Case, case: Any) -> Case:
    if control.made_of == "images":
        maps = control.function(base.images).astype(np.float32)
        made: Case = case(maps, lambda _, images: control.function(images))
        return made
    maps = control.function(base.maps).astype(np.float32)
    turned: Case = case(
        maps, lambda sample, images: control.function(base.explain_images(sample, images))
    )
    return turned


def _chosen(controls: bool | Sequence[str]) -> list[Control]:
    if isinstance(controls, bool):
        return list(CONTROLS.values()) if controls else []
    for name in controls:
        if name not in CONTROLS:
            raise InputError(f"There is no control {name!r}, but {', '.join(CONTROLS)}.")
    return [CONTROLS[name] for name in controls]


def _masks(masks: Any, images: Array, explained: Explanation) -> Array:
    """Bring masks of photographs, or of the model's input, to the input's size."""
    given = [np.asarray(mask).astype(bool) for mask in masks]
    for sample, photograph in enumerate(explained.photographs[: len(given)]):
        if photograph.crop is not None and given[sample].shape == photograph.photo.shape[:2]:
            given[sample] = photograph.crop.mask_to_model(given[sample])
    shapes = {mask.shape for mask in given}
    if len(given) != len(images) or shapes != {images.shape[2:]}:
        raise InputError(
            f"{len(given)} masks of {' and '.join(map(str, sorted(shapes)))} do not lie over "
            f"{len(images)} inputs of {images.shape[2:]}; pass one for each, True on the object."
        )
    return np.stack(given)


def _first_class(explained: Explanation) -> Array | None:
    """Tell of each sample whether the explained class has the highest output."""
    outputs, classes = explained.outputs, explained.classes
    if classes is None or outputs.ndim != 2 or outputs.shape[1] < 2:
        return None
    highest: Array = outputs.argmax(axis=1) == classes
    return highest


def _interval(values: Floats, seed: int) -> Interval:
    known = values[~np.isnan(values)]
    if len(known) < 2:
        mean = float(known[0]) if len(known) else np.nan
        return Interval(mean, np.nan, np.nan)
    mean = float(known.mean())
    if np.ptp(known) == 0:
        return Interval(mean, mean, mean)
    with needs("metrics", "intervals"):
        from scipy.stats import bootstrap
    found = bootstrap(
        (known,),
        np.mean,
        n_resamples=_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean, float(found.low), float(found.high))
