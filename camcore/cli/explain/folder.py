"""Explain many photographs: an overlay of each, and a summary of what failed."""

from __future__ import annotations

import errno
import time
import warnings
from contextlib import closing
from pathlib import Path
from threading import Lock

import typer

from camcore._shared.atomic import alone_in, clear_drafts, not_written
from camcore._shared.settings_file import is_same_call, write_settings
from camcore.batch import ExplainedPhoto, FoundPhotos, explain_photos
from camcore.cli import console
from camcore.cli.explain.output import (
    REPORT,
    OutputOptions,
    OutputPaths,
    draw_figure,
)
from camcore.cli.explain.report import ReportDraft, check_report
from camcore.cli.explain.request import ExplainRequest
from camcore.cli.explain.summary import (
    PhotoSummary,
    RunSummary,
    print_counts,
    print_line,
    print_result,
    summarised,
)
from camcore.errors import CamcoreError, FileError
from camcore.photos.io import encode, write_image
from camcore.photos.stamp import stamped
from camcore.targets import TargetLike
from camcore.zoo import LoadedModel

_DRAWING = Lock()
"""matplotlib draws one figure at a time."""

_NAMED = 5
"""Largest number of pictures passed over that are named."""

_NO_ROOM = (errno.ENOSPC, errno.EROFS, errno.EDQUOT)


def explain_folder(
    request: ExplainRequest,
    found: FoundPhotos,
    folder: Path,
    options: OutputOptions,
    *,
    batch: int,
    resume: bool,
    as_json: bool,
    call: str,
) -> None:
    """Explain the photographs that were found into `folder`, and print a summary.

    The `call` is the command that does it again, for a report.

    Raises
    ------
    typer.Exit
        1 where photographs failed, 130 after Ctrl-C.
    """
    request.check()
    if options.report:
        check_report()
    outputs = OutputPaths.below(folder, found, options, request.files)
    settings = {
        **request.settings(),
        "photographs below": str(found.root),
        "format": options.kind,
        "overlay-size": options.side,
    }
    going_on = resume and is_same_call(folder, settings)
    summary = RunSummary(len(found.paths))
    report = ReportDraft.of(folder / REPORT, found.paths, call) if options.report else None
    try:
        with console.Steps(1) as steps:
            loaded = request.load_model(steps)
        target = request.aim(loaded)
        with alone_in(console.folder(folder)):
            clear_drafts(folder)
            write_settings(folder, settings)
            run = request.run(settings)
            done = {one for one in outputs.stems if going_on and outputs.is_done(one, run)}
            summary.skipped = len(done)
            summary.started = time.perf_counter()
            _run(loaded, request, target, outputs, run, batch, done, summary, as_json, report)
            if report is not None and report.write(request, loaded, found, summary.failed):
                summary.report = report.path
    except KeyboardInterrupt:
        finished = summary.skipped + summary.explained
        console.fail(
            f"interrupted; {finished} of {summary.total} photographs are done and stay in "
            f"{folder}. The same command with --resume does the others."
        )
        raise typer.Exit(130) from None
    _print_end(loaded, found, folder, options, summary, as_json)
    if summary.failed:
        raise typer.Exit(1)


def _run(
    loaded: LoadedModel,
    request: ExplainRequest,
    target: TargetLike,
    outputs: OutputPaths,
    run: str,
    batch: int,
    done: set[Path],
    summary: RunSummary,
    as_json: bool,
    report: ReportDraft | None,
) -> None:
    """Explain the photographs that are not `done`, and count them in `summary`."""
    # Pillow's warnings about odd files would garble the bar; what it cannot read fails anyway.
    warnings.filterwarnings("ignore", module="PIL")
    for path in outputs.stems:
        if path in done and as_json:
            print_line(path, output=str(outputs.file(path, "overlay")), skipped=True)

    def finish(path: Path, one: ExplainedPhoto) -> PhotoSummary:
        if report is not None:
            report.add(path, one)
        try:
            return _write(loaded, outputs, run, path, one, request.top)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            # Every photograph after this one would fail in the same way.
            told = (
                error if isinstance(error, FileError) else not_written(outputs.stems[path], error)
            )
            raise CamcoreError(f"{told} Then repeat the command with --resume.") from error

    todo = [path for path in outputs.stems if path not in done]
    results = explain_photos(
        loaded,
        todo,
        target=target,
        finish=finish,
        batch=batch,
        max_dim=request.max_dim,
        value_range=request.value_range,
        **request.options(loaded),
    )
    with closing(results), console.count(len(todo), "photo", hidden=as_json) as bar:
        for path, one in results:
            summary.add(path, one)
            if as_json:
                print_result(path, one)
            bar.advance()


def _write(
    loaded: LoadedModel, outputs: OutputPaths, run: str, path: Path, one: ExplainedPhoto, top: int
) -> PhotoSummary:
    """Write the outputs of the photograph at `path`, the overlay last."""
    options = outputs.options
    overlay = outputs.file(path, "overlay")
    overlay.parent.mkdir(parents=True, exist_ok=True)
    if options.arrays:
        one.explanation.save(outputs.file(path, "arrays"))
    if options.figures:
        with _DRAWING:
            drawing = draw_figure(loaded, one, top)
        write_image(outputs.file(path, "figure"), stamped(drawing, {"run": run}))
    picture = encode(one.within(options.side).overlay(), options.kind)
    write_image(overlay, stamped(picture, outputs.stamp(path, run)))
    return summarised(loaded, one, overlay)


def _print_end(
    loaded: LoadedModel,
    found: FoundPhotos,
    folder: Path,
    options: OutputOptions,
    summary: RunSummary,
    as_json: bool,
) -> None:
    """Print notes, the summary, and the photographs that failed."""
    if not loaded.pretrained:
        console.warn(console.RANDOM)
    if summary.stretched:
        console.warn("the recipe leaves maps beyond 0..1; drawn stretched to 0..1")
    if summary.empty:
        console.warn(f"maps that are all zeros, nothing speaking for the class: {summary.empty}")
    if found.ignored:
        console.warn(f"files passed over, which are no photographs by their names: {found.ignored}")
    if found.passed_over:
        names = ", ".join(str(found.within(path)) for path in found.passed_over[:_NAMED])
        console.warn(
            f"pictures passed over, since they look like results but are of no run: "
            f"{len(found.passed_over)} ({names}). Give those that are photographs by their names."
        )
    if as_json:
        print_counts(summary, folder, found.passed_over)
    else:
        _print_summary(folder, options, summary)
    if summary.failed:
        console.fail(f"{len(summary.failed)} of {summary.total} photographs failed:")
        for path, one in summary.failed.items():
            reason = str(one)
            console.detail(reason if str(path) in reason else f"{path}: {reason}")


def _print_summary(folder: Path, options: OutputOptions, summary: RunSummary) -> None:
    rate = summary.explained / summary.seconds
    skipped = f", {summary.skipped} were done before" if summary.skipped else ""
    lines = [
        f"Explained {summary.explained} of {summary.total} photographs in "
        f"{summary.seconds:.1f} s ({rate:.1f} a second){skipped}"
    ]
    if summary.classes:
        often = ", ".join(f"{name} ({n})" for name, n in summary.classes.most_common(5))
        lines.append(f"Most often: {often}")
    console.say("\n".join(lines))
    page = [] if summary.report is None else [summary.report.name]
    console.wrote(folder, [*(f"NAME{ending}" for ending in options.endings.values()), *page])
