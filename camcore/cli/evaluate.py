"""The command ``camcore evaluate``: how good methods' maps are, beside controls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from rich.markup import escape

from camcore._shared.atomic import check_apart, whole
from camcore.cli import console, labels
from camcore.cli.call import typed
from camcore.cli.compare.photos import PhotoSet
from camcore.cli.explain.report import check_report
from camcore.cli.model import ModelRequest
from camcore.cli.options import (
    WHAT_PANEL,
    ActivationOption,
    CheckpointOption,
    ClassesOption,
    DeviceOption,
    LayersOption,
    ModelOption,
    NumClassesOption,
    PretrainedOption,
    RecipeOption,
    TargetOption,
    WeightsOption,
)
from camcore.errors import InputError
from camcore.evaluation import METRICS, Evaluation, evaluate
from camcore.methods.table import find
from camcore.metrics.controls import CONTROLS
from camcore.metrics.recipes import METRIC_RECIPES, find_metric_recipe
from camcore.metrics.table import TABLE, find_metric
from camcore.photos.io import read_photo
from camcore.recipes import find_recipe
from camcore.report import write as write_report
from camcore.report.metrics import PHOTOGRAPHS

METHODS = ("gradcam", "gradcampp", "layercam")

_MASKS = (".png", ".bmp", ".tif", ".tiff", ".gif")


def evaluate_photos(
    context: typer.Context,
    photos: Annotated[
        list[Path],
        typer.Argument(metavar="PHOTO_OR_FOLDER...", exists=True, help="Images, or folders."),
    ],
    model: ModelOption,
    weights: WeightsOption = None,
    checkpoint: CheckpointOption = None,
    pretrained: PretrainedOption = False,
    num_classes: NumClassesOption = None,
    classes: ClassesOption = None,
    device: DeviceOption = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help=f"{', '.join(METHODS)} unless given; repeat it for several.",
            rich_help_panel=WHAT_PANEL,
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help=f"{', '.join(METRICS)} unless given; repeat it for several. There are "
            f"{', '.join(name for name in TABLE if name not in METRICS)} too.",
            rich_help_panel=WHAT_PANEL,
        ),
    ] = None,
    layer: LayersOption = None,
    target: TargetOption = None,
    recipe: RecipeOption = "paper",
    metric_recipe: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help=f"Whose definitions of the metrics: {', '.join(METRIC_RECIPES)}.",
            rich_help_panel=WHAT_PANEL,
        ),
    ] = "paper",
    activation: ActivationOption = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            metavar="FOLDER",
            help="Masks of the objects, named as their photographs: white on the object.",
        ),
    ] = None,
    controls: Annotated[
        bool,
        typer.Option(
            "--controls/--no-controls",
            help=f"Also score maps that know nothing of the model: {', '.join(CONTROLS)}.",
        ),
    ] = True,
    steps: Annotated[
        int, typer.Option(min=1, metavar="N", help="Steps of deletion and insertion.")
    ] = 50,
    batch: Annotated[
        int, typer.Option(min=1, metavar="N", help="Photographs that are explained at once.")
    ] = 8,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="Of whatever is drawn.")] = 0,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the tables go.")
    ] = Path("camcore-evaluate"),
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            metavar="",
            help="Also write report.html: maps and curves, and what the network was fed, of the "
            f"first {PHOTOGRAPHS} photographs at most.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", metavar="", help="Print the table as JSON, and nothing else.")
    ] = False,
) -> None:
    """Measure how good methods' maps are, beside maps that know nothing of the model.

    You get a table here, and per_sample.csv, table.md and table.json to work on with; of metrics
    that are computed from curves, curves.npz too. A row is marked as the best where a 95 % interval
    of its paired differences to each other row excludes 0.
    """
    request = ModelRequest(model, weights, checkpoint, pretrained, num_classes, device, classes)
    request.check()
    if report:
        check_report()
    with console.misuse():
        methods = list(dict.fromkeys(find(one).name for one in method or METHODS))
        metrics = list(dict.fromkeys(find_metric(one).name for one in metric or METRICS))
        recipe = find_recipe(recipe).name
        convention = find_metric_recipe(metric_recipe)
        for name in metrics:
            convention.check(TABLE[name])
    found = PhotoSet.read(photos, 64, output)
    objects = None if masks is None else [_mask(masks, path) for path in found.paths]
    written = [output / name for name in ("per_sample.csv", "table.md", "table.json")]
    curves, page = output / "curves.npz", output / "report.html"
    check_apart([*found.found, *request.files], [*written, curves, page])
    console.folder(output)
    parts = []
    groups = [range(i, min(i + batch, len(found))) for i in range(0, len(found), batch)]
    with console.Steps(1 + len(groups)) as progress:
        loaded = request.load_in(progress)
        index = None if target is None else labels.class_index(loaded, target)
        for group in groups:
            many = f"{group[0] + 1} to {group[-1] + 1} of {len(found)}"
            with progress.step(f"photographs {many}: {len(metrics)} metrics"):
                parts.append(
                    evaluate(
                        loaded,
                        [found.paths[i] for i in group],
                        index,
                        methods=methods,
                        metrics=metrics,
                        layer=layer or None,
                        recipe=recipe,
                        metric_recipe=convention,
                        masks=None if objects is None else [objects[i] for i in group],
                        controls=controls,
                        steps=steps,
                        seed=seed,
                        keep=max(0, PHOTOGRAPHS - group[0]) if report else 0,
                        activation=activation,
                    )
                )
    evaluation = Evaluation.concatenate(parts)
    about = _summary(evaluation, found.names, model)
    evaluation.to_csv(written[0])
    for path, text in zip(
        written[1:], (evaluation.to_markdown(), json.dumps(about, indent=1)), strict=True
    ):
        with whole(path) as draft:
            draft.write_text(f"{text}\n", encoding="utf-8")
    curves.unlink(missing_ok=True)  # of an earlier call, by other metrics
    if evaluation.curve_names:
        evaluation.save_curves(curves)
        written.append(curves)
    if report:
        names = [found.names[one.sample] for one in evaluation.kept]
        about_page: dict[str, Any] = {
            "names": names,
            "title": f"How good the maps of {model} are",
            "call": typed(context),
            "seed": seed,
        }
        notes = [f"Left out {name}: {why}" for name, why in found.unreadable]
        if len(names) < len(found):
            notes.append(f"Of {len(found)} photographs, the maps of {len(names)} are shown.")
        write_report(page, evaluation, notes=notes, **about_page)
        written.append(page)
    if as_json:
        typer.echo(json.dumps(about))
    else:
        _print(evaluation)
        console.wrote(output, [path.name for path in written])
    for name, why in found.unreadable:
        console.warn(f"left out {name}: {why}")


def _mask(folder: Path, photo: Path) -> npt.NDArray[np.bool_]:
    """Read the mask that is named as a photograph."""
    for suffix in _MASKS:
        path = folder / f"{photo.stem}{suffix}"
        if path.exists():
            marked: npt.NDArray[np.bool_] = read_photo(path).max(axis=-1) > 127
            return marked
    raise InputError(
        f"There is no mask of {photo.name} in {folder}; expected {photo.stem}.png, white on the "
        "object and black elsewhere."
    )


def _summary(evaluation: Evaluation, names: Sequence[str], model: str) -> dict[str, Any]:
    """Collect what the table says, as JSON has it; what is undefined is null."""

    def number(value: float) -> float | None:
        return None if np.isnan(value) else value

    rows = {
        row: {
            "control": row in evaluation.controls,
            "forwards": evaluation.forwards[row],
            "seconds": evaluation.seconds[row],
            "metrics": {
                metric: dict(
                    zip(
                        ("mean", "low", "high"),
                        map(number, evaluation.interval(row, metric)),
                        strict=True,
                    )
                )
                for metric in evaluation.metrics
            },
        }
        for row in evaluation.rows
    }
    best = {metric: evaluation.best(metric) for metric in evaluation.metrics}
    versions = {name: version(name) for name in ("camcore", "numpy")}
    about = {"model": model, **evaluation.settings, "versions": versions}
    return {"settings": about, "photographs": list(names), "best": best, "rows": rows}


def _print(evaluation: Evaluation) -> None:
    """Print a table of each metric, the best row first, and what is to be said of it."""
    for metric in evaluation.metrics:
        row = TABLE[metric]
        sign = -1 if row.better == "higher" else 1
        table = console.table(
            "", row.label, "95 % interval", title=f"{row.label}: {row.better} is better"
        )
        best = evaluation.best(metric)
        means = {name: sign * evaluation.interval(name, metric).mean for name in evaluation.rows}
        for name in sorted(means, key=lambda name: (np.isnan(means[name]), means[name])):
            mean, low, high = evaluation.interval(name, metric)
            text = escape(f"({name})" if name in evaluation.controls else name)
            table.add_row(
                f"[bold]{text}[/]" if name == best else text,
                "-" if np.isnan(mean) else f"{mean:.4g}",
                "-" if np.isnan(low) else f"{low:.4g} to {high:.4g}",
            )
        console.out.print(table)
    for line in evaluation.notes():
        console.say(line)
