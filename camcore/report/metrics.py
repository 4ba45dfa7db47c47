"""The values that the report's tab of metrics reads: a table, curves, and what the network was fed.

Of a few photographs it has, for each method and curve, the pictures that were scored, in a strip
from nothing altered to everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from camcore._shared.optional import needs
from camcore.adapter import Array
from camcore.errors import InputError
from camcore.evaluated import CURVES, CurveKind, Evaluation, Kept
from camcore.explanation import Explanation
from camcore.methods.table import registered
from camcore.metrics.controls import CONTROLS
from camcore.metrics.faithfulness import Curve
from camcore.metrics.intervals import band, interval_of
from camcore.metrics.table import TABLE
from camcore.photos.crop import Crop
from camcore.photos.read_back import ReadBack
from camcore.report.samples import jpeg_uri

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

PHOTOGRAPHS = 12
"""Of how many photographs it is shown at most what the network was fed."""

_PIXELS = 40e6
"""How many pixels all these pictures have together at most."""

_STEPS = 11
"""How many pictures a strip has at most."""

_SIDE, _SMALL = 224, 96
"""The longer side of a picture, in pixels, at most and, where pixels are enlarged, at least."""

WIDTH, HEIGHT = 300, 170
"""Of a chart, in its own units."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 8, 8, 32
"""The room around a chart's curves."""


@dataclass(frozen=True)
class Value:
    """A cell of the table."""

    text: str
    best: bool


@dataclass(frozen=True)
class TableRow:
    """A method or a control of the table."""

    label: str
    control: bool
    values: Sequence[Value]
    passes: int
    seconds: float


@dataclass(frozen=True)
class Drawn:
    """A curve of a chart."""

    label: str
    row: str
    look: str
    points: str
    band: str
    number: str


@dataclass(frozen=True)
class Tick:
    """A mark on an axis, at a place along it."""

    at: float
    text: str


@dataclass(frozen=True)
class Chart:
    """The curves of one kind, of one photograph or in the mean."""

    name: str
    kind: CurveKind
    lines: Sequence[Drawn]
    across: Sequence[Tick]
    up: Sequence[Tick]
    about: str


@dataclass(frozen=True)
class Strip:
    """The pictures that the network was fed for one photograph, method and curve."""

    row: str
    label: str
    curve: str
    uri: str
    width: int
    height: int
    fractions: Sequence[float]
    scores: Sequence[float]
    alt: str


@dataclass(frozen=True)
class Fed:
    """One photograph of the tab."""

    index: int
    name: str
    explained: str
    strips: Sequence[Strip]
    charts: Sequence[Chart]


@dataclass(frozen=True)
class MetricsTab:
    """All that the tab shows."""

    samples: int
    heads: Sequence[str]
    rows: Sequence[TableRow]
    beaten: Sequence[str]
    notes: Sequence[str]
    score: str
    charts: Sequence[Chart]
    methods: Sequence[tuple[str, str]]
    photos: Sequence[Fed]
    colours_known: bool

    @property
    def curves(self) -> list[tuple[str, CurveKind]]:
        """The kinds of curves that strips were made of, by name."""
        names = {strip.curve for one in self.photos for strip in one.strips}
        return [(name, kind) for name, kind in CURVES.items() if name in names]


def metrics_tab(
    evaluation: Evaluation,
    samples: Sequence[int],
    names: Sequence[str],
    explained: Sequence[str],
    views: Sequence[Picture | None],
) -> MetricsTab:
    """Collect what the tab shows.

    Parameters
    ----------
    evaluation : Evaluation
        Of photographs, volumes or signals.
    samples : sequence of int
        Which samples of the evaluation the report shows.
    names, explained : sequence of str
        Their names, and what is explained of them.
    views : sequence of (h, w, 3) uint8 arrays or None
        What the model saw of them, where that is known.

    Returns
    -------
    MetricsTab
    """
    labels = {row: _label(row, row in evaluation.controls) for row in evaluation.rows}
    shown = {one.sample: one for one in evaluation.kept}
    kept = [
        (place, shown[sample])
        for place, sample in enumerate(samples)
        if sample in shown and shown[sample].image.ndim == 3 and evaluation.curve_names
    ]
    kept = kept[: _most_photographs([one for _, one in kept], evaluation)]
    read = None
    if kept:
        read = ReadBack.of([one.image for _, one in kept], [views[place] for place, _ in kept])
    photos = [
        Fed(
            place,
            names[place],
            explained[place],
            [*_strips(evaluation, one, labels, names[place], read)] if read else [],
            _charts(evaluation, labels, one.sample),
        )
        for place, one in kept
    ]
    return MetricsTab(
        samples=len(evaluation),
        heads=[_head(metric) for metric in evaluation.metrics],
        rows=[_table_row(evaluation, row, labels[row]) for row in evaluation.rows],
        beaten=[*_beaten(evaluation, labels)],
        notes=[*evaluation.missing(labels)],
        score=evaluation.settings.get("score", "score"),
        charts=_charts(evaluation, labels, None),
        methods=[(row, labels[row]) for row in evaluation.rows if row not in evaluation.controls],
        photos=photos,
        colours_known=read is None or read.known,
    )


def evaluated_explanations(evaluation: Evaluation) -> dict[str, Explanation]:
    """Join the explanations that an evaluation keeps, by method.

    Raises
    ------
    InputError
        It keeps none.
    """
    if not evaluation.kept:
        raise InputError(
            "The evaluation keeps no maps to be shown. Say of how many samples it is to keep them: "
            "camcore.evaluate(..., keep=8). Or give the explanations too: "
            "camcore.report.write(path, explanations, evaluation=evaluation)."
        )
    rows = evaluation.kept[0].explanations
    return {
        row: Explanation.concatenate([one.explanations[row] for one in evaluation.kept])
        for row in rows
    }


def view_of(picture: Picture, crop: Crop | None, size: tuple[int, ...]) -> Picture | None:
    """Show what the model saw of a photograph, at the size ``(h, w)`` of its input.

    None where that is not known.
    """
    height, width = picture.shape[:2]
    if crop is None:
        if abs(height * size[1] - width * size[0]) > max(height, width, *size):
            return None
        crop = Crop.whole(picture.shape, (size[0], size[1]))
    return crop.view(picture, (size[0], size[1]))


def _label(row: str, control: bool) -> str:
    """Name a method as papers write it, or a control by what it marks."""
    if control:
        return CONTROLS[row.removesuffix(" control")].label
    method = registered(row)
    return row if method is None else method.label


def _head(metric: str) -> str:
    row = TABLE[metric]
    return f"{row.label} {'↑' if row.better == 'higher' else '↓'}"


def _table_row(evaluation: Evaluation, row: str, label: str) -> TableRow:
    return TableRow(
        label,
        row in evaluation.controls,
        [
            Value(str(evaluation.interval(row, metric)), evaluation.best(metric) == row)
            for metric in evaluation.metrics
        ],
        evaluation.forwards.get(row, 0),
        evaluation.seconds.get(row, 0.0),
    )


def _beaten(evaluation: Evaluation, labels: Mapping[str, str]) -> Iterator[str]:
    """Say in words which controls do better than a method."""
    for metric in evaluation.metrics:
        for row in evaluation.rows:
            over = [labels[control] for control in evaluation.beaten_by(row, metric)]
            if over:
                told = " and ".join([", ".join(over[:-1]), over[-1]] if over[1:] else over)
                yield (
                    f"By {TABLE[metric].label.removesuffix(' %')}, {labels[row]} is no better than "
                    f"a map that knows nothing of the model: {told} "
                    f"{'do' if over[1:] else 'does'} better."
                )


def _most_photographs(kept: Sequence[Kept], evaluation: Evaluation) -> int:
    """Say of how many photographs the strips fit into a page."""
    if not kept:
        return 0
    height, width, _ = _frame(kept[0].image)
    strips = len(kept[0].explanations) * len(evaluation.curve_names)
    return int(min(PHOTOGRAPHS, max(1, _PIXELS // (strips * _STEPS * height * width))))


def _strips(
    evaluation: Evaluation, one: Kept, labels: Mapping[str, str], name: str, read: ReadBack
) -> Iterator[Strip]:
    """Make the pictures of each method and curve."""
    for row in one.explanations:
        for curve_name in evaluation.curve_names:
            curve, kind = evaluation.curves[row][curve_name], CURVES[curve_name]
            places = _places(curve)
            fed = one.fed(row, curve_name, curve.fractions)
            pictures = [_framed(read(image)) for place, image in enumerate(fed) if place in places]
            strip = np.concatenate(pictures, axis=1)
            fractions = [float(curve.fractions[place]) for place in places]
            yield Strip(
                row=row,
                label=labels[row],
                curve=curve_name,
                uri=jpeg_uri(strip),
                width=strip.shape[1],
                height=strip.shape[0],
                fractions=fractions,
                scores=[float(curve.scores[one.sample, place]) for place in places],
                alt=f"{name} as it was fed to the network, by {labels[row]}, {kind.title}: "
                f"{', '.join(f'{fraction:.0%}' for fraction in fractions)} {kind.done}",
            )


def _places(curve: Curve) -> list[int]:
    """Choose the points of a curve that are shown, its ends among them."""
    count = len(curve.fractions)
    chosen = np.rint(np.linspace(0, count - 1, min(count, _STEPS))).astype(int)
    return [int(place) for place in np.unique(chosen)]


def _frame(image: Array) -> tuple[int, int, int]:
    """Choose the size of a picture, and how many times pixels are enlarged, 1 for none."""
    height, width = image.shape[-2:]
    by = max(1, -(-_SMALL // max(height, width)))
    scale = min(1.0, _SIDE / (by * max(height, width)))
    rows, columns = (max(1, round(by * side * scale)) for side in (height, width))
    return rows, columns, by


def _framed(picture: Picture) -> Picture:
    """Bring a picture to the size that is shown."""
    with needs("report", "scaling pictures"):
        from PIL import Image
    rows, columns, by = _frame(np.moveaxis(picture, -1, 0))
    how = Image.Resampling.NEAREST if by > 1 else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(picture).resize((columns, rows), how))


def _charts(evaluation: Evaluation, labels: Mapping[str, str], sample: int | None) -> list[Chart]:
    """Draw the curves of one sample, or their means over samples with their bands."""
    charts = []
    for name in evaluation.curve_names:
        curves = {row: evaluation.curves[row][name] for row in evaluation.rows}
        low, high = _range(evaluation, curves, sample)
        lines, count = [], {True: 0, False: 0}
        for row, curve in curves.items():
            control = row in evaluation.controls
            look = f"{'muted d' if control else 'strong c'}{count[control]}"
            count[control] += 1
            summed = evaluation.summed_up(row, name)
            if sample is None:
                scores, around = curve.scores.mean(axis=0), band(curve.scores)
                number = str(interval_of(summed))
            else:
                scores, around = curve.scores[sample], None
                number = f"{summed[sample]:.3g}"
            edge = ""
            if around is not None and not control and not np.isnan(around[0]).any():
                there = _points(curve.fractions, around[1], low, high)
                back = _points(curve.fractions[::-1], around[0][::-1], low, high)
                edge = f"{there} {back}"
            points = _points(curve.fractions, scores, low, high)
            lines.append(Drawn(labels[row], row, look, points, edge, number))
        kind = CURVES[name]
        told = "; ".join(f"{line.label} {line.number}" for line in lines)
        of = "the mean of all" if sample is None else "this one"
        charts.append(
            Chart(
                name,
                kind,
                # Methods lie over controls, the first one on top.
                lines[::-1],
                [Tick(_across(share), f"{share:.0%}") for share in (0, 0.5, 1)],
                [Tick(_up(at, low, high), f"{at:.2g}") for at in np.linspace(low, high, 3)],
                f"{kind.title} of {of}, {kind.number}: {told}",
            )
        )
    return charts


def _range(
    evaluation: Evaluation, curves: Mapping[str, Curve], sample: int | None
) -> tuple[float, float]:
    """Choose the scores between which a chart reaches: 0 and 1 of probabilities."""
    if evaluation.settings.get("score") == "probability":
        return 0.0, 1.0
    scores = [curve.scores if sample is None else curve.scores[sample] for curve in curves.values()]
    low, high = min(map(np.min, scores)), max(map(np.max, scores))
    return float(low), float(high if high > low else low + 1)


def _across(share: float) -> float:
    return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 1)


def _up(score: float, low: float, high: float) -> float:
    return round(HEIGHT - _BOTTOM - (score - low) / (high - low) * (HEIGHT - _TOP - _BOTTOM), 2)


def _points(fractions: Array, scores: Array, low: float, high: float) -> str:
    pairs = zip(fractions.tolist(), scores.tolist(), strict=True)
    return " ".join(f"{_across(share)},{_up(score, low, high)}" for share, score in pairs)
