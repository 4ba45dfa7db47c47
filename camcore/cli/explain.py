"""One photograph, one model: what spoke for the class."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

import camcore
from camcore import registry
from camcore.cli import console, sight
from camcore.cli.listing import ModelOption, WeightsOption
from camcore.cli.sight import Sight
from camcore.explanation import Explanation
from camcore.images import read_photo, write_png
from camcore.methods.table import find
from camcore.recipes import find_recipe
from camcore.trace import LoadedModel
from camcore.viz import figure, png_bytes


def explain(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="An image file.")],
    model: ModelOption,
    weights: WeightsOption = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Where to look; repeat it to join several. See: camcore layers."
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="CLASS", help="Index or name; the predicted class unless given."),
    ] = None,
    method: Annotated[str, typer.Option(metavar="NAME", help="See: camcore methods.")] = "gradcam",
    recipe: Annotated[str, typer.Option(metavar="NAME", help="See: camcore recipes.")] = "paper",
    output: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where pictures go; camcore-PHOTO unless given."),
    ] = None,
    max_dim: Annotated[
        int, typer.Option(min=1, metavar="PIXELS", help="Scale longer sides down to this.")
    ] = 2048,
) -> None:
    """Explain a model's decision on a photograph, as pictures."""
    # What costs nothing to check comes before a model is loaded.
    picture = read_photo(photo, max_dim=max_dim)
    find(method), find_recipe(recipe)
    with console.Steps(2) as steps:
        with steps.step(f"loading {model}", noisy=True):
            loaded = registry.load_model(model, weights)
        with steps.step("explaining"):
            view = Sight(loaded, picture)
            result = camcore.explain(
                loaded.model,
                view.inputs,
                target=None if target is None else sight.class_index(loaded, target),
                layer=layer or loaded.default_layer,
                method=method,
                recipe=recipe,
            )
    _report(loaded, result)
    _write(console.folder(output or Path(f"camcore-{photo.stem}")), view, result)


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
    console.out.print(
        f"{find(result.method).label}, recipe {result.recipe}, of {_explained(loaded, result)} "
        f"at {', '.join(result.layers)}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _explained(loaded: LoadedModel, result: Explanation) -> str:
    score = f"score {result.scores[0]:.4g}"
    if result.classes is None:
        return score
    index = int(result.classes[0])
    name = sight.label(loaded, index)
    return f"{name} (class {index}, {score})" if loaded.classes else f"{name} ({score})"


def _write(folder: Path, view: Sight, result: Explanation) -> None:
    write_png(folder / "overlay.png", view.overlay(result))
    bars = sight.top(view.loaded, result)
    drawing = figure(
        view.photo,
        view.map(result),
        titles=None
        if result.classes is None
        else [sight.label(view.loaded, int(result.classes[0]))],
        bars=[bars] if bars else None,
        seen=[view.crop.seen()],
        style=result.overlay_style,
    )
    write_png(folder / "figure.png", png_bytes(drawing))
    result.save(folder / "explanation.npz")
    console.wrote(folder, ["overlay.png", "figure.png", "explanation.npz"])
