"""The command ``camcore compare``: how far maps of models, recipes or methods are apart."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

from camcore import report as reports
from camcore._shared.atomic import check_apart
from camcore._shared.optional import needs
from camcore.cli import console
from camcore.cli.compare.as_json import as_json
from camcore.cli.compare.photos import PhotoSet
from camcore.cli.compare.run import CompareResult, CompareSettings, ModelSpec, explain_model
from camcore.cli.model import ModelRequest
from camcore.cli.options import (
    MODEL_PANEL,
    SPEC,
    WHAT_PANEL,
    ActivationOption,
    AugmentOption,
    ClassesOption,
    DeviceOption,
    NumClassesOption,
    PretrainedOption,
    ValueRangeOption,
)
from camcore.methods.table import find
from camcore.recipes import find_recipe
from camcore.report import ComparedPair, Entry
from camcore.report.context import correlation
from camcore.report.entries import STRETCHED, unscaled

TOLERANCE = 1e-4
"""Largest difference of maps from 0 to 1 that two models may have, unless another is given."""

SIDE = 448
"""Longer side of a report's pictures, in pixels."""

PICTURES = 300
"""Largest number of overlays in one report; of more, it shows the worst photographs."""

LINES = 10
"""Number of photographs listed in the terminal."""

_NAME = 80
"""Characters of a file's name that say what its arrays are of; systems allow 255 bytes."""

HELP = (
    "Compare models, recipes or methods on the same photos.\n\n"
    "Two models, such as one network in PyTorch and in Keras, are compared method by method; "
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
            help=f"{SPEC} Repeat it to compare models.",
            rich_help_panel=MODEL_PANEL,
        ),
    ],
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="One for each --model, in order; - for none.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="What training wrote, one for each --model, in order; - for none.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None,
    pretrained: PretrainedOption = False,
    num_classes: NumClassesOption = None,
    classes: ClassesOption = None,
    device: DeviceOption = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Where to look: one for each --model in order, - for its default, or one for all.",
            rich_help_panel=WHAT_PANEL,
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Grad-CAM unless given. Repeat it to compare methods.",
            rich_help_panel=WHAT_PANEL,
        ),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="paper unless given. Repeat it to compare recipes.",
            rich_help_panel=WHAT_PANEL,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS",
            help="Index or name; each model's predicted class unless given.",
            rich_help_panel=WHAT_PANEL,
        ),
    ] = None,
    activation: ActivationOption = None,
    augment: AugmentOption = None,
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
    value_range: ValueRangeOption = None,
) -> None:
    """Compare models, recipes or methods on the same photos."""
    # What costs nothing to check comes before a model is loaded.
    shared = ModelRequest("", None, None, pretrained, num_classes, device, classes)
    specs = _specs(model, weights, checkpoint, layer, shared)
    for spec in specs:
        spec.request.check()
    with console.misuse():
        methods = [find(one).name for one in method or ["gradcam"]]
        recipes = [find_recipe(one).name for one in recipe or ["paper"]]
    settings = CompareSettings(
        methods=list(dict.fromkeys(methods)),
        recipes=list(dict.fromkeys(recipes)),
        target=target,
        seed=seed,
        batch=batch,
        max_dim=max_dim,
        value_range=value_range,
        activation=activation,
        augment=augment,
    )
    if len(specs) * len(settings.methods) * len(settings.recipes) < 2:
        raise typer.BadParameter(
            "one model, one method and one recipe leave nothing to compare; repeat one of "
            "--model, --method and --recipe"
        )
    with needs("report", "writing a report"):
        import jinja2  # noqa: F401
    photo_set = PhotoSet.read(photos, SIDE, output)
    page = report or output / "report.html"
    arrays = _arrays(output, specs, settings)
    models = [path for spec in specs for path in spec.request.files]
    check_apart([*photo_set.found, *models], [*arrays, page])
    console.folder(output)
    console.folder(page.parent)
    entries = _explain(specs, settings, photo_set)
    pairs = reports.compare_entries(entries)
    if tolerance is None and pairs[0].axis == "model":
        tolerance = TOLERANCE
    options = {
        "model": model,
        "weights": weights,
        "checkpoint": checkpoint,
        "pretrained": pretrained or None,
        "num-classes": num_classes,
        "classes": classes,
        "device": device,
        "layer": layer,
        "method": settings.methods,
        "recipe": settings.recipes,
        "target": target,
        "activation": activation,
        "augment": augment,
        "tolerance": None if tolerance is None else f"{tolerance:g}",
        "batch": batch,
        "seed": seed,
        "max-dim": max_dim,
        "value-range": value_range,
        "output": output,
        "report": report,
    }
    result = CompareResult(photo_set, entries, pairs, tolerance, _call(photos, options))
    path = _write(result, settings, arrays, page)
    if json:
        typer.echo(as_json(result, path))
    else:
        _print(result)
        console.wrote(path.parent, [path.name])
    for name, why in photo_set.unreadable:
        console.warn(f"left out {name}: {why}")
    if not result.agree:
        console.fail(
            f"the maps disagree: up to {pairs[0].largest:.2g} apart, more than {tolerance:g}"
        )
        raise typer.Exit(1)


def _specs(
    models: Sequence[str],
    weights: Sequence[str] | None,
    checkpoints: Sequence[str] | None,
    layers: Sequence[str] | None,
    shared: ModelRequest,
) -> list[ModelSpec]:
    """Pair models with their files and layers; equal names are told apart by a number."""

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

    files = spread(weights, "--weights", shared=False)
    trained = spread(checkpoints, "--checkpoint", shared=False)
    at = spread(layers, "--layer", shared=True)
    labels = list(models)
    if len(set(labels)) < len(labels):
        labels = [f"{m} at {layer}" if layer else m for m, layer in zip(models, at, strict=True)]
    if len(set(labels)) < len(labels):
        labels = [f"{label} #{number}" for number, label in enumerate(labels, 1)]
    return [
        ModelSpec(*values, shared.pretrained, shared.num_classes, shared.device, shared.classes)
        for values in zip(models, labels, files, at, trained, strict=True)
    ]


def _explain(
    specs: Sequence[ModelSpec], settings: CompareSettings, photos: PhotoSet
) -> list[Entry]:
    """Explain by each model, one loaded after the other; entries are in the order of `specs`."""
    per_model = 1 + len(settings.batches(len(photos)))
    found: dict[str, list[Entry]] = {}
    with console.Steps(len(specs) * per_model) as steps:
        # torchvision, which PyTorch's models bring along, cannot be imported after TensorFlow.
        for spec in sorted(specs, key=lambda spec: spec.is_keras):
            found[spec.label] = explain_model(spec, settings, photos, steps)
    return [entry for spec in specs for entry in found[spec.label]]


def _call(photos: Sequence[Path], options: Mapping[str, Any]) -> str:
    """Write the command that does the same, with the values of all `options`."""
    words = ["camcore", "compare", *map(str, photos)]
    for name, value in options.items():
        for one in value if isinstance(value, list) else [value]:
            if one is True:
                words.append(f"--{name}")
            elif one is not None:
                words += [f"--{name}", *map(str, one if isinstance(one, tuple) else [one])]
    return shlex.join(words)


def _arrays(folder: Path, specs: Sequence[ModelSpec], settings: CompareSettings) -> list[Path]:
    """Name the files of arrays, in the order of the entries."""
    made = [
        "_".join((spec.label, recipe, method))
        for spec in specs
        for recipe in settings.recipes
        for method in settings.methods
    ]
    plain = [re.sub(r"[^\w.#-]+", "-", name)[-_NAME:] for name in made]
    return [folder / f"{number:02d}_{name}.npz" for number, name in enumerate(plain, 1)]


def _write(
    result: CompareResult, settings: CompareSettings, arrays: Sequence[Path], report: Path
) -> Path:
    """Write the arrays and the report; return the report's path."""
    for path, entry in zip(arrays, result.entries, strict=True):
        entry.explanation.save(path)
    photos = result.photos
    notes = [f"Left out {name}: {why}" for name, why in photos.unreadable]
    shown = _worst(result.pairs)[: max(1, PICTURES // len(result.entries))]
    if len(shown) < len(photos):
        notes.append(f"Of {len(photos)} photographs, the {len(shown)} that agree least are shown.")
    shown = sorted(shown)
    return reports.write(
        report,
        [photos.thumbnails[i] for i in shown],
        [entry[shown] for entry in result.entries],
        names=[photos.names[i] for i in shown],
        title=_title(result.pairs),
        call=result.call,
        seed=settings.seed if settings.is_random else None,
        tolerance=result.tolerance,
        notes=notes,
        side=SIDE,
    )


def _title(pairs: Sequence[ComparedPair]) -> str:
    names = list(dict.fromkeys(name for one in reversed(pairs) for name in one.names))
    return f"Maps of {', '.join(names[:-1])} and {names[-1]}, compared"


def _worst(pairs: Sequence[ComparedPair]) -> list[int]:
    """Sort the indices of the photographs, those that agree least first."""
    gaps = np.max([one.pair.largest for one in pairs], axis=0)
    return [int(i) for i in np.argsort(-gaps, kind="stable")]


def _print(result: CompareResult) -> None:
    """Print a table of the pairs, one of the photographs, and the times."""
    if unscaled(result.entries):
        console.warn(STRETCHED)
    count = len(result.photos)
    table = _table("", f"Maps from 0 to 1: how far apart they are at worst, of {count} photos")
    for one in result.pairs:
        numbers, same = one.pair.numbers(), one.same
        table.add_row(
            escape("\n".join((*one.alike, *one.names))),
            console.verdict(one.largest, result.tolerance),
            *(correlation(numbers[name]) for name in ("pearson", "spearman")),
            console.percent(numbers["overlap"]),
            "-" if same is None else f"{int(same.sum())} of {len(same)}",
            end_section=True,
        )
    console.out.print(table)
    _print_photos(result)
    for entry in result.entries:
        if entry.seconds is not None:
            text = ", ".join((entry.method, entry.recipe, entry.model, entry.framework))
            console.out.print(
                f"{1e3 * entry.seconds:.0f} ms a photo, {entry.passes:.2f} forward passes: {text}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )


def _print_photos(result: CompareResult) -> None:
    """Print the photographs on which the worst pair agrees least."""
    first = result.pairs[0]
    pair, same = first.pair, first.same
    names = f"{', '.join(first.alike) or 'Worst'}: {' and '.join(first.names)}"
    table = _table("photo", escape(names))
    for index in _worst([first])[:LINES]:
        table.add_row(
            escape(result.photos.names[index]),
            console.verdict(float(pair.largest[index]), result.tolerance),
            *(correlation(float(each[index])) for each in (pair.pearson, pair.spearman)),
            console.percent(float(pair.overlap[index])),
            "-" if same is None else console.mark(same[index]),
        )
    console.out.print(table)
    rest = len(result.photos) - LINES
    if rest > 0:
        console.out.print(f"{rest} more agree as well or better; they are in the report.")


def _table(first: str, title: str) -> Table:
    """Start a table of numbers, which are not wrapped, unlike the names before them."""
    columns = ("apart", "Pearson", "Spearman", "top 10%", "same class")
    started = console.table(first, *columns, title=title, numbers=columns)
    for column in started.columns:
        column.no_wrap = column.header != first
    return started
