"""The arguments of ``camcore explain``, and what they ask for."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from camcore.batch import find_photos, is_video
from camcore.cli.call import typed
from camcore.cli.dataset import (
    DatasetOptions,
    GpusOption,
    IdColumnOption,
    ImageColumnOption,
    RayOption,
    WorkersOption,
)
from camcore.cli.explain.dataset import explain_rows
from camcore.cli.explain.folder import explain_folder
from camcore.cli.explain.output import OVERLAY_SIZE, OutputOptions
from camcore.cli.explain.photo import explain_photo
from camcore.cli.explain.request import TOP, ExplainRequest
from camcore.cli.explain.video import explain_video
from camcore.cli.model import ModelRequest
from camcore.cli.options import (
    WHAT_PANEL,
    ActivationOption,
    AugmentOption,
    CheckpointOption,
    ClassesOption,
    DeviceOption,
    LayersOption,
    ModelOption,
    NumClassesOption,
    PretrainedOption,
    RecipeOption,
    TargetOption,
    ValueRangeOption,
    WeightsOption,
)
from camcore.errors import InputError

_SHOWN = "What is shown"
_MANY = "Many photographs"
_VIDEO = "A video"


def explain(
    context: typer.Context,
    photos: Annotated[
        list[str],
        typer.Argument(
            metavar="PHOTO",
            help="An image, several, a folder, a pattern such as 'cats/*.jpg', or a video; a text "
            "file of paths, Parquet, a tar file, or a URI such as s3://…",
            show_default=False,
        ),
    ],
    model: ModelOption,
    weights: WeightsOption = None,
    checkpoint: CheckpointOption = None,
    pretrained: PretrainedOption = False,
    num_classes: NumClassesOption = None,
    classes: ClassesOption = None,
    device: DeviceOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Where results go; camcore-PHOTO unless given.",
        ),
    ] = None,
    max_dim: Annotated[
        int,
        typer.Option(
            min=1, metavar="PIXELS", help="Scale photographs with longer sides down to this."
        ),
    ] = 2048,
    tile: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="PIXELS",
            help="Explain one large photograph in tiles of this side, at its full size.",
            show_default=False,
        ),
    ] = 0,
    overlap: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="PIXELS",
            help="How much tiles share with their neighbours.",
            show_default=False,
        ),
    ] = 0,
    value_range: ValueRangeOption = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            metavar="",
            help="Print a line of JSON for each photograph, and one to sum up.",
        ),
    ] = False,
    top: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="How many of the highest classes are listed.",
            rich_help_panel=_SHOWN,
        ),
    ] = TOP,
    colormap: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Colours of the overlays, as matplotlib names them.",
            rich_help_panel=_SHOWN,
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="X",
            help="Weight of the colours in the overlays.",
            rich_help_panel=_SHOWN,
        ),
    ] = None,
    target: TargetOption = None,
    layer: LayersOption = None,
    method: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="`camcore methods` lists them.",
            rich_help_panel=WHAT_PANEL,
        ),
    ] = "gradcam",
    recipe: RecipeOption = "paper",
    activation: ActivationOption = None,
    augment: AugmentOption = None,
    recursive: Annotated[
        bool,
        typer.Option(
            "--recursive",
            "-r",
            metavar="",
            help="Look into the folders within a folder, too.",
            rich_help_panel=_MANY,
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            metavar="",
            help="Go on where the same command was stopped; what is done is left alone, unless the "
            "photograph, the model or the result has changed.",
            rich_help_panel=_MANY,
        ),
    ] = False,
    batch: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="How many the model sees at a time.", rich_help_panel=_MANY
        ),
    ] = 8,
    kind: Annotated[
        Literal["jpg", "png"] | None,
        typer.Option(
            "--format",
            metavar="jpg|png",
            help="Of the overlays: jpg, quick and small, unless given; or png, exact.",
            rich_help_panel=_MANY,
            show_default=False,
        ),
    ] = None,
    save: Annotated[
        Literal["npz", "rows"] | None,
        typer.Option(
            metavar="npz|rows",
            help="npz: also keep the maps and scores of each, for camcore.load. rows: keep them in "
            "Parquet files instead of overlays, for camcore.batch.read_results.",
            rich_help_panel=_MANY,
        ),
    ] = None,
    figures: Annotated[
        bool,
        typer.Option(
            "--figures",
            metavar="",
            help="Also draw a figure of each, which takes a while.",
            rich_help_panel=_MANY,
        ),
    ] = False,
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            metavar="",
            help="Also write one page, report.html, to open in a browser.",
            rich_help_panel=_MANY,
        ),
    ] = False,
    overlay_size: Annotated[
        int | None,
        typer.Option(
            "--overlay-size",
            min=16,
            metavar="PIXELS",
            help=f"Longer side of the overlays, {OVERLAY_SIZE} unless given; beside rows, they are "
            "written where it is given.",
            rich_help_panel=_MANY,
            show_default=False,
        ),
    ] = None,
    ray: RayOption = None,
    workers: WorkersOption = None,
    gpus: GpusOption = None,
    image_column: ImageColumnOption = None,
    id_column: IdColumnOption = None,
    steady: Annotated[
        float,
        typer.Option(
            min=0,
            max=0.999,
            metavar="X",
            help="Let this share of the last frame's map stay, 0.8 say, and compare the "
            "strength of frames in colour.",
            rich_help_panel=_VIDEO,
            show_default=False,
        ),
    ] = 0.0,
    every: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Explain every N-th frame; frames between reuse the last map.",
            rich_help_panel=_VIDEO,
            show_default=False,
        ),
    ] = 1,
) -> None:
    """Show what speaks for a class in a photograph, a folder of them, or a video.

    One photograph gives an overlay, a figure with the highest classes, and the
    maps as arrays. Many give an overlay each, NAME.overlay.jpg, in a folder that
    mirrors theirs; those that cannot be read are named at the end, and all others
    are done. A video gives a video of the same size, speed and sound.

    A data set, that is what --save rows or --ray is given for, a text file of paths, Parquet, tar
    files or a URI, gives Parquet files with a row for each photograph, of those that fail, too.

    Exit codes: 0 when all is done, 1 when something failed, 2 when the command
    makes no sense, 130 after Ctrl-C, from where --resume goes on.
    """
    dataset = DatasetOptions(ray, workers, gpus, image_column, id_column)
    dataset.check()
    request = ExplainRequest(
        ModelRequest(model, weights, checkpoint, pretrained, num_classes, device, classes),
        *(layer or (), target, method, recipe, max_dim, value_range, activation),
        *(augment, colormap, alpha, top, tile, overlap),
    )
    if overlap and not tile:
        raise typer.BadParameter("--overlap is for tiles; give --tile, too.")
    if dataset.asked_for(photos) or save == "rows":
        of_overlays = {
            "--figures": figures,
            "--report": report,
            "--save npz": save == "npz",
            "--format": kind,
            "--tile": tile,
            "--json": as_json,
        }
        for name, wanted in of_overlays.items():
            if wanted:
                raise typer.BadParameter(f"A data set gives rows; leave {name} out.")
        folder = output or Path(_named_after(photos))
        explain_rows(request, photos, folder, dataset, recursive, batch, resume, overlay_size)
        return
    for_many = {
        "--resume": resume,
        "--recursive": recursive,
        "--save": save,
        "--figures": figures,
        "--format": kind,
        "--report": report,
        "--overlay-size": overlay_size,
    }
    given = [name for name, value in for_many.items() if value]
    alone = len(photos) == 1 and not given and _is_one(photos[0]) and not is_video(photos[0])
    if tile and not alone:
        raise typer.BadParameter("--tile is for one photograph; give it a command of its own.")
    if any(map(is_video, photos)):
        unfit = [*given, *([] if value_range is None else ["--value-range"])]
        if unfit or len(photos) > 1:
            raise typer.BadParameter(
                f"A video is explained by itself; leave {unfit[0]} out."
                if unfit
                else "A video is explained by itself; give it a command of its own."
            )
        explain_video(request, Path(photos[0]), output, steady, every, batch, as_json)
    elif steady or every > 1:
        raise typer.BadParameter("--steady and --every are for a video.")
    elif alone:
        explain_photo(request, Path(photos[0]), output, as_json)
    elif report and resume:
        raise typer.BadParameter(
            "--report shows every photograph, and --resume leaves alone those that are done; "
            "leave one of the two out."
        )
    else:
        folder = output or Path(_named_after(photos))
        try:
            found = find_photos(photos, recursive=recursive, exclude=folder)
        except InputError as error:
            raise typer.BadParameter(str(error)) from error
        options = OutputOptions(
            kind or "jpg", save is not None, figures, report, overlay_size or OVERLAY_SIZE
        )
        again = typed(context)
        explain_folder(
            *(request, found, folder, options),
            batch=batch,
            resume=resume,
            as_json=as_json,
            call=again,
        )


def _is_one(photo: str) -> bool:
    """Tell whether `photo` is the name of one file, whether or not there is such a file."""
    return os.path.isfile(photo) or not (os.path.isdir(photo) or glob.has_magic(photo))


def _named_after(photos: Sequence[str]) -> str:
    """Name the folder for results after the photographs."""
    if len(photos) == 1 and not glob.has_magic(photos[0]):
        path = Path(os.path.abspath(photos[0]))
        return f"camcore-{path.name if path.is_dir() else path.stem}"
    return "camcore-photos"
