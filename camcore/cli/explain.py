"""The command ``camcore explain``: what spoke for the class, in one photograph or in many."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

import camcore
from camcore.batch.find import find_photos, is_video
from camcore.batch.photos import Explained
from camcore.cli import console, sight
from camcore.cli.call import Call
from camcore.cli.listing import ModelOption, WeightsOption
from camcore.cli.many import draw, explain_many
from camcore.cli.run import Kept
from camcore.cli.sight import Sight
from camcore.cli.video import explain_video
from camcore.errors import InputError
from camcore.explanation import Explanation
from camcore.methods.table import find
from camcore.photos.io import read_photo, write_image
from camcore.zoo import LoadedModel

_WHAT = "What is explained"
_MANY = "Many photographs"
_VIDEO = "A video"


def explain(
    photos: Annotated[
        list[str],
        typer.Argument(
            metavar="PHOTO",
            help="An image, several, a folder, a pattern such as 'cats/*.jpg', or a video.",
            show_default=False,
        ),
    ],
    model: ModelOption,
    weights: WeightsOption = None,
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
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            metavar="",
            help="Print a line of JSON for each photograph, and one to sum up.",
        ),
    ] = False,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS",
            help="A class by index or name; the predicted one unless given.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Where to look; repeat it to join several. `camcore layers` lists them.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(metavar="NAME", help="`camcore methods` lists them.", rich_help_panel=_WHAT),
    ] = "gradcam",
    recipe: Annotated[
        str,
        typer.Option(metavar="NAME", help="`camcore recipes` lists them.", rich_help_panel=_WHAT),
    ] = "paper",
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
            help="Go on where the same command was stopped; what is done is left alone.",
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
        Literal["npz"] | None,
        typer.Option(
            metavar="npz",
            help="Also keep the maps and scores of each, for camcore.load.",
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
            help="Explain each N-th frame; those between keep its map.",
            rich_help_panel=_VIDEO,
            show_default=False,
        ),
    ] = 1,
) -> None:
    """Show what speaks for a class in a photograph, a folder of them, or a video.

    One photograph gives an overlay, a figure with the highest classes, and the
    maps as arrays. Many give an overlay each, NAME.overlay.jpg, in a folder that
    mirrors theirs; those that cannot be read are named at the end, and all others
    are done. A video gives a video of the same size and speed, without sound.

    Exit codes: 0 when all is done, 1 when something failed, 2 when the command
    makes no sense, 130 after Ctrl-C, from where --resume goes on.
    """
    call = Call(model, weights, layer or (), target, method, recipe, max_dim)
    for_many = {
        "--resume": resume,
        "--recursive": recursive,
        "--save": save,
        "--figures": figures,
        "--format": kind,
    }
    given = [name for name, value in for_many.items() if value]
    if any(map(is_video, photos)):
        if given or len(photos) > 1:
            raise typer.BadParameter(
                f"A video is explained by itself; leave {given[0]} out."
                if given
                else "A video is explained by itself; give it a command of its own."
            )
        explain_video(call, Path(photos[0]), output, steady, every, batch, as_json)
    elif steady or every > 1:
        raise typer.BadParameter("--steady and --every are for a video.")
    elif len(photos) == 1 and not given and not as_json and _is_one(photos[0]):
        _explain_one(call, Path(photos[0]), output)
    else:
        folder = output or Path(_named_after(photos))
        try:
            found = find_photos(photos, recursive=recursive, apart_from=folder)
        except InputError as error:
            raise typer.BadParameter(str(error)) from error
        kept = Kept(kind or "jpg", save is not None, figures)
        explain_many(call, found, folder, kept, batch=batch, resume=resume, as_json=as_json)


def _is_one(photo: str) -> bool:
    """Whether it is a file's name, whether or not there is such a file."""
    return os.path.isfile(photo) or not (os.path.isdir(photo) or glob.has_magic(photo))


def _named_after(photos: Sequence[str]) -> str:
    """The folder that results go to when none is given."""
    if len(photos) == 1 and not glob.has_magic(photos[0]):
        path = Path(os.path.abspath(photos[0]))
        return f"camcore-{path.name if path.is_dir() else path.stem}"
    return "camcore-photos"


def _explain_one(call: Call, path: Path, output: Path | None) -> None:
    # What costs nothing to check comes before a model is loaded.
    photo = read_photo(path, max_dim=call.max_dim)
    call.check()
    with console.Steps(2) as steps:
        loaded = call.load(steps)
        with steps.step("explaining"):
            view = Sight(loaded, photo)
            target = call.class_index(loaded)
            result = camcore.explain(loaded.model, view.inputs, target, **call.options(loaded))
    _report(loaded, result)
    _write(console.folder(output or Path(f"camcore-{path.stem}")), view, result)


def _report(loaded: LoadedModel, result: Explanation) -> None:
    if not loaded.pretrained:
        console.warn("random weights: the picture shows that all parts work, not what they learned")
    if result.empty[0]:
        console.warn("nothing speaks for this class at this layer: the map is all zeros")
    table = console.table("class", "probability", numbers=["probability"])
    for name, probability in sight.top(loaded, result):
        table.add_row(escape(name), console.percent(probability))
    if table.rows:
        console.out.print(table)
    console.say(
        f"{find(result.method).label}, recipe {result.recipe}, of {_explained(loaded, result)} "
        f"at {', '.join(result.layers)}"
    )


def _explained(loaded: LoadedModel, result: Explanation) -> str:
    score = f"score {result.scores[0]:.4g}"
    if result.classes is None:
        return score
    index = int(result.classes[0])
    name = sight.label(loaded, index)
    return f"{name} (class {index}, {score})" if loaded.classes else f"{name} ({score})"


def _write(folder: Path, view: Sight, result: Explanation) -> None:
    write_image(folder / "overlay.png", view.overlay(result))
    write_image(folder / "figure.png", draw(view.loaded, Explained(view.photo, view.crop, result)))
    result.save(folder / "explanation.npz")
    console.wrote(folder, ["overlay.png", "figure.png", "explanation.npz"])
