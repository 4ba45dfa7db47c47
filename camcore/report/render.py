"""Render a report, and write it whole or not at all."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from camcore._shared.atomic import whole
from camcore._shared.optional import needs
from camcore.errors import InputError
from camcore.evaluated import CURVES, Evaluation
from camcore.report import context, samples
from camcore.report.entries import (
    STRETCHED,
    Entry,
    Reportable,
    as_entries,
    compare_entries,
    sort_entries,
    unscaled,
    values,
)
from camcore.report.metrics import (
    HEIGHT,
    WIDTH,
    MetricsTab,
    evaluated_explanations,
    metrics_tab,
    view_of,
)

_FOLDER = Path(__file__).parent


def html(
    photos: Any,
    explanations: Reportable | None = None,
    *,
    names: Sequence[str] | None = None,
    title: str = "Where the model looks",
    call: str | None = None,
    seed: int | None = None,
    tolerance: float | None = None,
    notes: Sequence[str] = (),
    side: int | None = None,
    evaluation: Evaluation | None = None,
    **drawing: Any,
) -> str:
    """Make a report of `explanations`: one HTML page that fetches nothing.

    Parameters
    ----------
    photos : (B, H, W, 3) array, or sequence of B (H, W, 3) arrays
        RGB, or grey without the last axis, uint8 or floating in [0, 1], in the order in which
        they were explained. Any iterable will do, such as one that reads them: of each, only a
        small copy is kept. Of maps with one or three spatial axes, signals or volumes, as
        `camcore.viz.signal_figure` and `volume_figure` take them. Left out where photographs were
        given to `camcore.explain`, whose results keep them: ``html(results)``.
    explanations : Explanation, sequence, or mapping by name
        Of these photographs: what `camcore.explain` returns, or several of them by the
        name of their model. `camcore.report.Entry` says more about each.
    names : sequence of str, optional
        Names of the photographs.
    title : str
        The page's heading.
    call : str, optional
        The call that makes the explanations again; calls of `camcore.explain` unless
        given.
    seed : int, optional
        The seed of the random numbers.
    tolerance : float, optional
        Largest difference of maps that counts as agreement.
    notes : sequence of str
        Sentences below the heading.
    side : int
        Longer side of the pictures, in pixels; unless given up to 896, and fewer the more
        pictures there are, so that the page of a hundred photographs has some 20 MB at most.
    evaluation : Evaluation, optional
        What `camcore.evaluate` found: it gets a tab of its own, with what the network was fed for
        the samples that it keeps, of at most twelve. Of as many samples as are explained, in
        their order; or given alone, in place of everything else, ``html(evaluation)``: then
        the page is of the samples that it keeps.
    **drawing
        How signals are drawn, `channels`, `channel_axis`, `rate`, `times` or `frequencies`, or
        volumes, `at` and `spacing`: as `signal_figure` and `volume_figure` take them. Left out,
        the planes of a volume go through the point where all its maps together are strongest.

    Returns
    -------
    str

    Raises
    ------
    InputError
        Photographs and explanations do not belong together.
    MissingExtraError
        The extra ``report`` is not installed.
    """
    if explanations is None:
        explanations, photos = photos, None
    shown: Sequence[int] | None = None
    if isinstance(explanations, Evaluation):
        evaluation = explanations
        explanations = evaluated_explanations(evaluation)
        shown = [one.sample for one in evaluation.kept]
    entries = sort_entries(as_entries(explanations))
    if photos is None:
        photos, kept = _kept(entries[0])
        names = kept if names is None else names
    count = len(entries[0].explanation)
    if side is None:
        side = context.largest_side(count, len(entries))
    if side < 16:
        raise InputError(f"side={side} is too small. Give at least 16 pixels.")
    axes = entries[0].explanation.maps.ndim
    noun, drawing = samples.NOUNS[axes], {**samples.options_of(axes, drawing)}
    listed: Sequence[Any]
    if axes == 3:
        listed = context.as_photos(photos, count, side)
    else:
        listed = samples.as_arrays(photos, count, axes)
    called = [f"{noun} {i + 1}" for i in range(len(listed))] if names is None else list(names)
    if len(called) != len(listed):
        raise InputError(f"{len(called)} names for {len(listed)} {noun}s. Give one for each.")
    pairs = compare_entries(entries)
    rows = context.rows(listed, called, entries, pairs, tolerance, side, drawing)
    tab = None
    if evaluation is not None:
        tab = _tab(evaluation, shown, called, rows, entries, listed)
    environment = _environment()
    style, script = (_asset(name) for name in ("style.css", "script.js"))
    pictures = "\n".join(f'.photo-{row.index} {{ --photo: url("{row.uri}"); }}' for row in rows)
    page: str = environment.get_template("page.html").render(
        title=title,
        noun=noun,
        rows=rows,
        entries=entries,
        summary=context.summary(pairs, tolerance),
        classes=context.explained_classes(entries, rows),
        bars=context.colour_bars(entries),
        filters=context.filters(entries),
        costs=[context.cost(entry) for entry in entries],
        versions=context.versions(),
        call=call or context.calls(entries),
        seed=context.seed(entries, seed),
        abreast=len(values(entries, pairs[0].axis)) if pairs else 1,
        tolerance=tolerance,
        notes=[*notes, *([STRETCHED] if unscaled(entries) else [])],
        made=datetime.now(timezone.utc),
        style=style,
        script=script,
        pictures=pictures,
        tab=tab,
        kinds=CURVES,
        chart_width=WIDTH,
        chart_height=HEIGHT,
        policy=_policy([style, pictures], [script]),
    )
    return page


def _tab(
    evaluation: Evaluation,
    shown: Sequence[int] | None,
    names: Sequence[str],
    rows: Sequence[context.Row],
    entries: Sequence[Entry],
    photos: Sequence[Any],
) -> MetricsTab:
    """Collect what the tab of metrics shows of the report's samples."""
    if shown is None:
        shown = range(len(rows))
        if len(evaluation) != len(rows):
            raise InputError(
                f"An evaluation of {len(evaluation)} samples and explanations of {len(rows)} "
                "cannot share a report. Evaluate what is explained, in the same order."
            )
    first = entries[0]
    views = []
    for index, photo in enumerate(photos):
        crop = None if first.crops is None else first.crops[index]
        if crop is not None:
            crop = replace(crop, photo_shape=photo.shape)
        size = first.explanation.maps.shape[1:]
        views.append(view_of(photo, crop, size) if len(size) == 2 else None)
    explained = [row.explained for row in rows]
    return metrics_tab(evaluation, shown, names, explained, views)


def _kept(entry: Entry) -> tuple[list[Any], list[str]]:
    """Take the photographs that an explanation keeps, and their names."""
    photographs = entry.explanation.photographs
    if not photographs:
        raise InputError(
            "Arrays were explained, not photographs. Give the photographs, volumes or signals "
            "before the explanations, in the order in which they were explained."
        )
    called = [
        f"photograph {i}" if one.path is None else one.path.name
        for i, one in enumerate(photographs, 1)
    ]
    return [one.photo for one in photographs], called


_OTHER_FORMATS = {".pdf", ".png", ".jpg", ".jpeg", ".svg", ".doc", ".docx", ".md", ".json", ".npz"}
"""Endings of files that are no web pages."""


def write(
    path: str | os.PathLike[str],
    photos: Any,
    explanations: Reportable | None = None,
    **options: Any,
) -> Path:
    """Write a report of `explanations` to `path`; it appears whole or not at all.

    Parameters
    ----------
    path : path
        The file; an existing one is replaced.
    photos, explanations, **options
        As `html` takes them.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        Photographs and explanations do not belong together, or the file's name ends as one of
        another format.
    MissingExtraError
        The extra ``report`` is not installed.

    Examples
    --------
    >>> results = camcore.explain(model, inputs, method=["gradcam", "layercam"])  # doctest: +SKIP
    >>> camcore.report.write("report.html", photos, results)                      # doctest: +SKIP
    >>> results = camcore.explain(model, ["cat.jpg", "dog.jpg"])                  # doctest: +SKIP
    >>> camcore.report.write("report.html", results)                              # doctest: +SKIP
    """
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(
            f"The name of the file comes first, then what is reported; got a "
            f"{type(path).__name__} first. Write camcore.report.write('report.html', explanations)."
        )
    target = Path(path)
    if target.suffix.lower() in _OTHER_FORMATS:
        raise InputError(
            f"{target} has the ending of another format, and a report is a web page. Give a name "
            "that ends in .html; browsers print it to a PDF."
        )
    page = html(photos, explanations, **options)
    with whole(target) as draft:
        draft.write_text(page, "utf-8")
    return target


def _environment() -> Any:
    with needs("report", "writing a report"):
        import jinja2
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["correlation"] = context.correlation
    environment.filters["percent"] = context.percent
    return environment


def _asset(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8").strip()


def _policy(styles: Sequence[str], scripts: Sequence[str]) -> str:
    """Write a content policy that allows the page its own styles and script, and no loading."""

    def allowed(texts: Sequence[str]) -> str:
        digests = [hashlib.sha256(text.encode("utf-8")).digest() for text in texts]
        return " ".join(f"'sha256-{base64.b64encode(one).decode('ascii')}'" for one in digests)

    return (
        f"default-src 'none'; img-src data:; style-src {allowed(styles)}; "
        f"script-src {allowed(scripts)}; base-uri 'none'; form-action 'none'"
    )
