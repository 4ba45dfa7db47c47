"""Several models, recipes or methods on the same photographs: how far their maps are apart."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

from camcore import report as reports
from camcore._shared.optional import needs
from camcore.cli import console, crowd
from camcore.cli.album import Album, collect
from camcore.cli.crowd import Asked, Questions
from camcore.cli.facts import as_json
from camcore.methods.table import find
from camcore.recipes import find_recipe
from camcore.report import Entry, Held
from camcore.report.context import correlation, least
from camcore.report.entries import STRETCHED, unscaled

TOLERANCE = 1e-4
"""Largest difference of maps from 0 to 1 that two models may have, unless another is given."""

SIDE = 448
"""Longer side of a report's pictures, in pixels."""

PICTURES = 300
"""Overlays that one report holds at most; beyond them it shows the worst photographs."""

LINES = 10
"""Photographs that the terminal lists."""

HELP = (
    "Hold models, recipes or methods against each other on the same photos.\n\n"
    "Two models, such as one network in PyTorch and in Keras, are held together method by method; "
    "with one model, its recipes are; with one recipe, its methods. You get the numbers here, "
    "worst first, and a report to open in a browser: every overlay with a slider, what it cost, "
    "and the call that makes it again.\n\n"
    "Ends with 0 if the maps agree or need not, 1 if they disagree or something failed, and 2 if "
    "the command makes no sense. Files that cannot be read are named at the end; the others are "
    "compared."
)


def compare(
    photos: Annotated[
        list[Path],
        typer.Argument(metavar="PHOTO_OR_FOLDER...", exists=True, help="Images, or folders."),
    ],
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            "-m",
            metavar="SPEC",
            help="timm:NAME, torchvision:NAME, keras:NAME, a .keras file, or "
            "package.module:function. Repeat it to compare models.",
        ),
    ],
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="One for each --model, in order; - for none."),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Where to look: one for each --model in order, - for its default, or one for all.",
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Grad-CAM unless given. Repeat it to compare methods."),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="paper unless given. Repeat it to compare recipes."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS", help="Index or name; each model's predicted class unless given."
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="NUMBER",
            help="Maps farther apart than this, on a scale from 0 to 1, disagree. Between models "
            f"{TOLERANCE:g} unless given (inf: any distance will do); recipes and methods are "
            "meant to differ, so they are only held to it if you ask.",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where the report and the arrays go.")
    ] = Path("camcore-compare"),
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where the report goes; into --output unless given."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON, and nothing else.")
    ] = False,
    batch: Annotated[
        int, typer.Option(min=1, metavar="COUNT", help="Photos that run at once.")
    ] = 8,
    seed: Annotated[
        int, typer.Option(metavar="NUMBER", help="For methods that draw at random.")
    ] = 0,
    max_dim: Annotated[
        int, typer.Option(min=16, metavar="PIXELS", help="Scale longer sides down to this.")
    ] = 2048,
) -> None:
    """Hold models, recipes or methods against each other on the same photos."""
    # What costs nothing to check comes before a model is loaded.
    asked = _asked(model, weights, layer)
    questions = Questions(
        methods=list(dict.fromkeys(find(one).name for one in method or ["gradcam"])),
        recipes=list(dict.fromkeys(find_recipe(one).name for one in recipe or ["paper"])),
        target=target,
        seed=seed,
        batch=batch,
        max_dim=max_dim,
    )
    if len(asked) * len(questions.methods) * len(questions.recipes) < 2:
        raise typer.BadParameter(
            "one model, one method and one recipe leave nothing to compare; repeat one of "
            "--model, --method and --recipe"
        )
    with needs("report", "writing a report"):
        import jinja2  # noqa: F401
    album = collect(photos, SIDE, output)
    folder = console.folder(output)
    if report is not None:
        console.folder(report.parent)
    entries = _explained(asked, questions, album)
    held = reports.hold(entries)
    if tolerance is None and held[0].axis == "model":
        tolerance = TOLERANCE
    call = _call(photos, asked, questions, weights, layer, output, report, tolerance)
    path = _write(folder, report, album, entries, held, call, tolerance, questions)
    agree = tolerance is None or held[0].largest <= tolerance
    if json:
        typer.echo(as_json(album, entries, held, call, tolerance, path))
    else:
        _print(album, entries, held, tolerance)
        console.wrote(path.parent, [path.name])
    for name, why in album.unreadable:
        console.warn(f"left out {name}: {why}")
    if not agree:
        console.fail(
            f"the maps disagree: up to {held[0].largest:.2g} apart, more than {tolerance:g}"
        )
        raise typer.Exit(1)


def _asked(
    models: Sequence[str], weights: Sequence[str] | None, layers: Sequence[str] | None
) -> list[Asked]:
    """Models with their weights and layers, told apart by number where they have one name."""

    def spread(given: Sequence[str] | None, option: str, *, shared: bool) -> list[str | None]:
        if not given:
            return [None] * len(models)
        if shared and len(given) == 1:
            given = [*given] * len(models)
        if len(given) != len(models):
            raise typer.BadParameter(
                f"{len(given)} {option} for {len(models)} --model; give one for each, in order"
            )
        return [None if one == "-" else one for one in given]

    rows = list(
        zip(
            models,
            spread(weights, "--weights", shared=False),
            spread(layers, "--layer", shared=True),
            strict=True,
        )
    )
    labels = list(models)
    if len(set(labels)) < len(labels):
        labels = [f"{spec} at {layer}" if layer else spec for spec, _, layer in rows]
    if len(set(labels)) < len(labels):
        labels = [f"{label} #{number}" for number, label in enumerate(labels, 1)]
    return [Asked(spec, label, w, at) for (spec, w, at), label in zip(rows, labels, strict=True)]


def _explained(asked: Sequence[Asked], questions: Questions, album: Album) -> list[Entry]:
    """Explanations in the order asked for; models are loaded one after the other."""
    per_model = 1 + len(crowd.batches(album, questions.batch))
    found: dict[str, list[Entry]] = {}
    with console.Steps(len(asked) * per_model) as steps:
        # torchvision, which PyTorch's models bring along, cannot be imported after TensorFlow.
        for one in sorted(asked, key=lambda one: _is_keras(one.spec)):
            found[one.label] = crowd.explain(one, questions, album, steps)
    return [entry for one in asked for entry in found[one.label]]


def _is_keras(spec: str) -> bool:
    scheme = spec.partition(":")[0]
    return scheme in ("keras", "keras-file", "demo-keras") or spec.endswith((".keras", ".h5"))


def _call(
    photos: Sequence[Path],
    asked: Sequence[Asked],
    questions: Questions,
    weights: Sequence[str] | None,
    layers: Sequence[str] | None,
    output: Path,
    report: Path | None,
    tolerance: float | None,
) -> str:
    """The command that does the same, with what was left out written down."""
    options: list[tuple[str, Any]] = [
        *(("--model", one.spec) for one in asked),
        *(("--weights", one) for one in weights or ()),
        *(("--layer", one) for one in layers or ()),
        *(("--method", one) for one in questions.methods),
        *(("--recipe", one) for one in questions.recipes),
        ("--target", questions.target),
        ("--tolerance", None if tolerance is None else f"{tolerance:g}"),
        ("--batch", questions.batch),
        ("--seed", questions.seed),
        ("--max-dim", questions.max_dim),
        ("--output", output),
        ("--report", report),
    ]
    words = ["camcore", "compare", *map(str, photos)]
    for option, value in options:
        if value is not None:
            words += [option, str(value)]
    return shlex.join(words)


def _write(
    folder: Path,
    report: Path | None,
    album: Album,
    entries: Sequence[Entry],
    held: Sequence[Held],
    call: str,
    tolerance: float | None,
    questions: Questions,
) -> Path:
    """Write arrays and the report; where the report is."""
    for number, entry in enumerate(entries, 1):
        name = "_".join((entry.model, entry.recipe, entry.explanation.method))
        plain = re.sub(r"[^\w.#-]+", "-", name)
        entry.explanation.save(folder / f"{number:02d}_{plain}.npz")
    notes = [f"Left out {name}: {why}" for name, why in album.unreadable]
    places = _worst(held)[: max(1, PICTURES // len(entries))]
    if len(places) < len(album.names):
        notes.append(
            f"Of {len(album.names)} photographs, the {len(places)} that agree least are shown."
        )
    places = sorted(places)
    return reports.write(
        report or folder / "report.html",
        [album.small[i] for i in places],
        [crowd.taken(entry, places) for entry in entries],
        names=[album.names[i] for i in places],
        title=_title(held),
        call=call,
        seed=questions.seed if questions.drawn else None,
        tolerance=tolerance,
        notes=notes,
        side=SIDE,
    )


def _title(held: Sequence[Held]) -> str:
    names = list(dict.fromkeys(name for one in reversed(held) for name in one.names))
    return f"Maps of {', '.join(names[:-1])} and {names[-1]}, compared"


def _worst(held: Sequence[Held]) -> list[int]:
    """Photographs, those that agree least first."""
    gaps = np.max([one.pair.largest for one in held], axis=0)
    return [int(i) for i in np.argsort(-gaps, kind="stable")]


def _print(
    album: Album, entries: Sequence[Entry], held: Sequence[Held], tolerance: float | None
) -> None:
    if unscaled(entries):
        console.warn(STRETCHED)
    title = f"Maps from 0 to 1: how far apart they are at worst, of {len(album.names)} photos"
    table = _table("", title)
    for one in held:
        pair, same = one.pair, one.same
        table.add_row(
            escape("\n".join((*one.alike, *one.names))),
            _verdict(one.largest, tolerance),
            *(correlation(least(each)) for each in (pair.pearson, pair.spearman)),
            console.percent(least(pair.overlap)),
            "-" if same is None else f"{int(same.sum())} of {len(same)}",
            end_section=True,
        )
    console.out.print(table)
    _print_photos(album, held[0], tolerance)
    for entry in entries:
        if entry.seconds is not None:
            told = ", ".join((entry.method, entry.recipe, entry.model, entry.framework))
            console.out.print(
                f"{1e3 * entry.seconds:.0f} ms a photo, {entry.passes:.2f} forward passes: {told}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )


def _print_photos(album: Album, held: Held, tolerance: float | None) -> None:
    """List the photographs on which the pair that agrees least does so."""
    pair, same = held.pair, held.same
    names = f"{', '.join(held.alike) or 'Worst'}: {' and '.join(held.names)}"
    table = _table("photo", escape(names))
    for index in _worst([held])[:LINES]:
        table.add_row(
            escape(album.names[index]),
            _verdict(float(pair.largest[index]), tolerance),
            *(correlation(float(each[index])) for each in (pair.pearson, pair.spearman)),
            console.percent(float(pair.overlap[index])),
            "-" if same is None else "[green]✓[/]" if same[index] else "[red]✗[/]",
        )
    console.out.print(table)
    rest = len(album.names) - LINES
    if rest > 0:
        console.out.print(f"{rest} more agree as well or better; they are in the report.")


def _table(first: str, title: str) -> Table:
    """A table of numbers, which are kept on one line; the names before them may be folded."""
    columns = ("apart", "Pearson", "Spearman", "top 10%", "same class")
    started = console.table(first, *columns, title=title, numbers=columns)
    for column in started.columns:
        column.no_wrap = column.header != first
    return started


def _verdict(apart: float, tolerance: float | None) -> str:
    if tolerance is None:
        return f"{apart:.1e}"
    return f"{apart:.1e} [green]✓[/]" if apart <= tolerance else f"[red]{apart:.1e} ✗[/]"
