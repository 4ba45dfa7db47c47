"""The command ``camcore evaluate``: how good methods' maps are, beside controls."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.markup import escape

import camcore
from camcore._shared.atomic import alone_in, check_apart, clear_drafts, whole
from camcore._shared.settings_file import RUN_FILE, is_same_call, write_settings
from camcore.batch import evaluate_dataset
from camcore.cli import console, labels
from camcore.cli.boxes_file import boxes_by_name, boxes_of_photos
from camcore.cli.call import typed
from camcore.cli.compare.photos import PhotoSet
from camcore.cli.dataset import (
    DatasetOptions,
    GpusOption,
    IdColumnOption,
    ImageColumnOption,
    RayOption,
    WorkersOption,
    end,
)
from camcore.cli.dataset import run as run_dataset
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
    folder_option,
)
from camcore.cli.rows import FOLDER, Rows
from camcore.errors import InputError
from camcore.evaluated import Kept
from camcore.evaluation import METRICS, Evaluation, evaluate
from camcore.means_table import MeansTable
from camcore.methods.table import find
from camcore.metrics.controls import CONTROLS
from camcore.metrics.recipes import METRIC_RECIPES, find_metric_recipe
from camcore.metrics.table import TABLE, find_metric
from camcore.photos.masks import mask_of, read_mask
from camcore.recipes import find_recipe
from camcore.report import write as write_report
from camcore.report.metrics import PHOTOGRAPHS

METHODS = ("gradcam", "gradcampp", "layercam")

_FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "onnxruntime")


def evaluate_photos(
    context: typer.Context,
    photos: Annotated[
        list[str],
        typer.Argument(
            metavar="PHOTO_OR_FOLDER...",
            help="Images, or folders; text files of paths, Parquet, tar files, or URIs.",
        ),
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
        folder_option("Masks of the objects, named as their photographs: white on the object."),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="Boxes of the objects, JSON: the name of each photograph, and for each object "
            "\\[left, top, right, bottom] in its pixels; or COCO's annotations.",
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
        int, typer.Option(min=1, metavar="N", help="Altered images that are scored at once.")
    ] = 32,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="Of whatever is drawn.")] = 0,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the tables go.")
    ] = Path("camcore-evaluate"),
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Leave alone the photographs in --output that an interrupted call has done.",
        ),
    ] = False,
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            metavar="",
            help="Also write report.html: maps and curves, and what the network was fed, of the "
            f"first {PHOTOGRAPHS} photographs at most.",
        ),
    ] = False,
    ray: RayOption = None,
    workers: WorkersOption = None,
    gpus: GpusOption = None,
    image_column: ImageColumnOption = None,
    id_column: IdColumnOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", metavar="", help="Print the table as JSON, and nothing else.")
    ] = False,
) -> None:
    """Measure how good methods' maps are, beside maps that know nothing of the model.

    You get a table here, and per_sample.csv, table.md and table.json to work on with; of metrics
    that are computed from curves, curves.npz too. A row is marked as the best where a 95 % interval
    of its paired differences to each other row excludes 0.

    Each photograph is evaluated by itself, and its numbers are kept in rows/: after Ctrl-C, which
    ends with 130, the same command with --resume goes on, and gives the same numbers to the last
    bit.
    """
    dataset = DatasetOptions(ray, workers, gpus, image_column, id_column)
    dataset.check()
    request = ModelRequest(model, weights, checkpoint, pretrained, num_classes, device, classes)
    request.check()
    if report:
        check_report()
    if report and resume:
        raise typer.BadParameter(
            "--report shows photographs, and --resume leaves alone those that are done; leave one "
            "of the two out."
        )
    with console.misuse():
        methods = list(dict.fromkeys(find(one).name for one in method or METHODS))
        metrics = list(dict.fromkeys(find_metric(one).name for one in metric or METRICS))
        recipe = find_recipe(recipe).name
        convention = find_metric_recipe(metric_recipe)
        for name in metrics:
            convention.check(TABLE[name])
    if dataset.asked_for(photos):
        for name, wanted in {"--report": report, "--boxes": boxes}.items():
            if wanted:
                raise typer.BadParameter(f"A data set is evaluated into rows; leave {name} out.")
        evaluate_rows(
            request,
            photos,
            output,
            dataset,
            target=target,
            methods=methods,
            metrics=metrics,
            metric_recipe=convention.name,
            masks=masks,
            batch=batch,
            resume=resume,
            quiet=as_json,
            recipe=recipe,
            controls=controls,
            steps=steps,
            seed=seed,
            **({"layer": layer} if layer else {}),
            **({"activation": activation} if activation else {}),
        )
        return
    for one in photos:
        if not Path(one).exists():
            raise typer.BadParameter(f"Path {one!r} does not exist.")
    found = PhotoSet.read([Path(one) for one in photos], 64, output)
    subjects = _subjects(found, masks, boxes)
    written = [output / name for name in ("per_sample.csv", "table.md", "table.json")]
    kept = Rows(output / FOLDER, {})
    curves, page = output / "curves.npz", output / "report.html"
    made = [*written, curves, page, output / RUN_FILE, *map(kept.file, found.names)]
    read = [one.mask for one in subjects if one.mask is not None]
    check_apart([*found.found, *request.files, *read, *([boxes] if boxes else [])], made)
    console.folder(output)
    with console.Steps(1) as progress:
        loaded = request.load_in(progress)
    index = None if target is None else labels.class_index(loaded, target)
    versions = _versions()
    settings = {
        "command": "evaluate",
        **request.settings(),
        "files and code of the model": request.fingerprint,
        "layer": layer or [],
        "target": target,
        "methods": methods,
        "metrics": metrics,
        "recipe": recipe,
        "metric-recipe": convention.name,
        "activation": activation,
        "masks": None if masks is None else str(masks.resolve()),
        "boxes": None if boxes is None else str(boxes.resolve()),
        "controls": controls,
        "steps": steps,
        "seed": seed,
        "versions": [f"{name} {one}" for name, one in versions.items()],
    }
    kept = Rows(kept.folder, settings)

    def evaluated(one: Subject) -> Evaluation:
        return evaluate(
            loaded,
            [one.path],
            index,
            methods=methods,
            metrics=metrics,
            layer=layer or None,
            recipe=recipe,
            metric_recipe=convention,
            masks=None if one.mask is None else [read_mask(one.mask)],
            boxes=None if one.boxes is None else [one.boxes],
            controls=controls,
            steps=steps,
            batch_size=batch,
            seed=seed,
            keep=int(report and one.name in found.names[:PHOTOGRAPHS]),
            activation=activation,
        )

    with alone_in(output):
        clear_drafts(output)
        if not (resume and is_same_call(output, settings)):
            kept.remove(found.names)
        write_settings(output, settings)
        before, shown = _evaluate_each(kept, subjects, evaluated, as_json)
        evaluation = replace(
            Evaluation.concatenate([kept.read(name) for name in found.names]), kept=shown
        )
        about = _summary(evaluation, found.names, model, request.fingerprint, versions)
        evaluation.to_csv(written[0], found.names)
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
        print_table(evaluation)
        if before:
            console.say(f"{before} of {len(subjects)} photographs were done before.")
        console.wrote(output, [path.name for path in written])
    for name, why in found.unreadable:
        console.warn(f"left out {name}: {why}")


def evaluate_rows(
    request: ModelRequest,
    sources: Sequence[str],
    folder: Path,
    dataset: DatasetOptions,
    *,
    quiet: bool,
    **options: Any,
) -> None:
    """Evaluate methods on the photographs of `sources` into rows below `folder`, and a table.

    Raises
    ------
    typer.Exit
        1 where photographs failed, 130 after Ctrl-C.
    """
    console.folder(folder)
    made = partial(
        evaluate_dataset,
        sources,
        request,
        folder,
        ray=dataset.cluster,
        image_column=dataset.image_column,
        id_column=dataset.id_column,
        **options,
    )
    found, results = run_dataset(made, folder, "Evaluated", quiet=quiet)
    if found.samples > found.failed:
        table = results.table()
        about = {"model": request.spec, **table.settings}
        described = {"settings": about, "samples": len(table), "rows": described_rows(table)}
        for name, text in (
            ("table.md", table.to_markdown()),
            ("table.json", json.dumps(described, indent=1)),
        ):
            with whole(folder / name) as draft:
                draft.write_text(f"{text}\n", encoding="utf-8")
        if quiet:
            typer.echo(json.dumps(described))
        else:
            print_table(table)
            console.wrote(folder, ["parts/*.parquet", "table.md", "table.json"])
    end(found, results)


@dataclass(frozen=True)
class Subject:
    """A photograph, and where its objects are.

    Parameters
    ----------
    path : Path
        Its file.
    name : str
        A unique name.
    mask : Path or None
        The file of its mask.
    boxes : list or None
        Edges of the boxes of its objects.
    """

    path: Path
    name: str
    mask: Path | None = None
    boxes: list[list[float]] | None = None

    def sources(self) -> list[Any]:
        """Describe what is read, so that it can be told whether that changed."""
        files = [path.stat() for path in (self.path, self.mask) if path is not None]
        return [*([about.st_size, about.st_mtime_ns] for about in files), self.boxes]


def _evaluate_each(
    kept: Rows, subjects: Sequence[Subject], evaluated: Callable[[Subject], Evaluation], quiet: bool
) -> tuple[int, tuple[Kept, ...]]:
    """Evaluate the photographs that are not done; return how many were, and what is to be shown.

    Raises
    ------
    typer.Exit
        130 after Ctrl-C.
    """
    todo = [(one, one.sources()) for one in subjects]
    todo = [(one, sources) for one, sources in todo if not kept.is_done(one.name, sources)]
    before = done = len(subjects) - len(todo)
    shown: list[Kept] = []
    try:
        with console.count(len(todo), "photo", hidden=quiet) as bar:
            for one, sources in todo:
                found = evaluated(one)
                kept.write(one.name, sources, found)
                shown += [replace(each, sample=subjects.index(one)) for each in found.kept]
                done += 1
                bar.advance()
    except KeyboardInterrupt:
        console.fail(
            f"interrupted; {done} of {len(subjects)} photographs are done and stay in "
            f"{kept.folder}. The same command with --resume does the others."
        )
        raise typer.Exit(130) from None
    return before, tuple(shown)


def _subjects(found: PhotoSet, masks: Path | None, boxes: Path | None) -> list[Subject]:
    """Find the mask and the boxes of each photograph."""
    marked = [None if masks is None else _mask(masks, path) for path in found.paths]
    objects: Sequence[list[list[float]] | None] = [None] * len(found)
    if boxes is not None:
        objects = boxes_of_photos(found.names, boxes_by_name(boxes), boxes)
    every = zip(found.paths, found.names, marked, objects, strict=True)
    return [Subject(*one) for one in every]


def _versions() -> dict[str, str]:
    """List the versions of what computes the numbers, once the model is loaded."""
    frameworks = [name for name in _FRAMEWORKS if name in sys.modules]
    known = {name: str(sys.modules[name].__version__) for name in ("numpy", *frameworks)}
    return {"camcore": camcore.__version__, **known}


def _mask(folder: Path, photo: Path) -> Path:
    path = mask_of(photo, folder)
    if path is None:
        raise InputError(
            f"There is no mask of {photo.name} in {folder}; expected {photo.stem}.png, white on "
            "the object and black elsewhere."
        )
    return path


def _summary(
    evaluation: Evaluation,
    names: Sequence[str],
    model: str,
    files: Sequence[str],
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """Collect what the table says, as JSON has it; what is undefined is null."""
    best = {metric: evaluation.best(metric) for metric in evaluation.metrics}
    about = {"model": model, **evaluation.settings, "files": files, "versions": versions}
    common = {
        row: {"MaxBoxAcc": score, "threshold": _number(threshold)}
        for row, (score, threshold) in evaluation.box_scores().items()
    }
    return {
        "settings": about,
        "photographs": list(names),
        "best": best,
        "rows": described_rows(evaluation),
        **({"box_accuracy": common} if common else {}),
    }


def described_rows(table: MeansTable) -> dict[str, Any]:
    """Describe the rows of a table, as JSON has it; what is undefined is null."""
    return {
        row: {
            "control": row in table.controls,
            "forwards": table.forwards[row],
            "seconds": table.seconds[row],
            "metrics": {
                metric: dict(
                    zip(
                        ("mean", "low", "high"),
                        map(_number, table.interval(row, metric)),
                        strict=True,
                    )
                )
                for metric in table.metrics
            },
        }
        for row in table.rows
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def print_table(evaluation: MeansTable) -> None:
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
