"""Explain one photograph: an overlay, a figure and the arrays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import typer
from rich.markup import escape

import camcore
from camcore._shared.atomic import check_apart
from camcore.batch import ExplainedPhoto, PreparedPhoto
from camcore.cli import console, labels
from camcore.cli.explain.output import draw_figure
from camcore.cli.explain.request import ExplainRequest
from camcore.cli.explain.summary import RunSummary, print_counts, print_result, summarised
from camcore.explanation import Explanation
from camcore.methods.table import find
from camcore.photos.io import ValueRange, write_image
from camcore.photos.photo import Photo
from camcore.zoo import LoadedModel

_OUTPUTS = ("overlay.png", "figure.png", "explanation.npz")


def explain_photo(request: ExplainRequest, path: Path, output: Path | None, as_json: bool) -> None:
    """Explain the photograph at `path`, print its classes, and write pictures and arrays."""
    # What costs nothing to check comes before a model is loaded.
    request.check()
    if not path.exists():
        raise typer.BadParameter(f"There is no {path}; name a photograph, a folder, or a video.")
    longest = None if request.tile else request.max_dim
    photo = Photo.read(path, max_dim=longest, value_range=request.value_range)
    folder = output or Path(f"camcore-{path.stem}")
    check_apart([path, *request.files], [folder / name for name in _OUTPUTS])
    with console.Steps(2) as steps:
        loaded = request.load_model(steps)
        with steps.step("explaining"):
            one = (_in_tiles if request.tile else _whole)(request, loaded, photo)
    _warn(loaded, one)
    _write(console.folder(folder), loaded, one, request.top)
    if as_json:
        summary = RunSummary(1)
        summary.add(path, summarised(loaded, one, folder / _OUTPUTS[0]))
        print_result(path, summarised(loaded, one, folder / _OUTPUTS[0]))
        print_counts(summary, folder)
        return
    if one.value_range is not None:
        console.say(_black_and_white(one.value_range))
    _print(loaded, one.explanation, request.top)
    console.wrote(folder, _OUTPUTS)


def _whole(request: ExplainRequest, loaded: LoadedModel, photo: Photo) -> ExplainedPhoto:
    prepared, target = PreparedPhoto.for_model(loaded, photo), request.aim(loaded)
    result = camcore.explain(loaded.model, prepared.inputs, target, **request.options(loaded))
    return prepared.explained(result)


def _in_tiles(request: ExplainRequest, loaded: LoadedModel, photo: Photo) -> ExplainedPhoto:
    result = camcore.explain_tiles(
        *(loaded, photo, request.aim(loaded)),
        tile=request.tile,
        overlap=request.overlap,
        **request.options(loaded),
    )
    (kept,) = result.photographs
    # As of a photograph explained whole, the arrays are kept without it.
    result = replace(result, photographs=(), preprocessing=None)
    return ExplainedPhoto(kept.photo, kept.crop, result, kept.value_range)


def _black_and_white(value_range: ValueRange) -> str:
    """Say which of a file's values are black and white to the model."""
    low, high = value_range
    return f"Values from {low:g} to {high:g} are black to white; others by --value-range LOW HIGH"


def _warn(loaded: LoadedModel, one: ExplainedPhoto) -> None:
    """Print what is to be known of the map."""
    result = one.explanation
    if not loaded.pretrained:
        console.warn(console.RANDOM)
    if result.empty[0]:
        what = "this score" if result.classes is None else "this class"
        console.warn(f"nothing speaks for {what} at this layer: the map is all zeros")
    if one.is_stretched:
        low, high = float(result.maps.min()), float(result.maps.max())
        console.warn(
            f"the recipe {result.recipe} leaves maps from {low:.3g} to {high:.3g}; "
            "drawn stretched to 0..1"
        )


def _print(loaded: LoadedModel, result: Explanation, top: int) -> None:
    """Print the `top` highest classes, and what was explained."""
    kind = "score" if result.probabilities is None else "probability"
    table = console.table("class", kind, numbers=[kind])
    for name, number in labels.top(loaded, result, top):
        table.add_row(escape(name), labels.value(result, number))
    if table.rows:
        console.out.print(table)
    console.say(
        f"{find(result.method).label}, recipe {result.recipe}, of {_explained(loaded, result)} "
        f"at {', '.join(result.layers)}"
    )


def _explained(loaded: LoadedModel, result: Explanation) -> str:
    """Name the explained class and its score."""
    score = f"score {result.scores[0]:.4g}"
    if result.classes is None:
        return score
    index, name = int(result.classes[0]), labels.explained(loaded, result)
    return f"{name} (class {index}, {score})" if loaded.classes else f"{name} ({score})"


def _write(folder: Path, loaded: LoadedModel, one: ExplainedPhoto, top: int) -> None:
    overlay, drawing, arrays = (folder / name for name in _OUTPUTS)
    write_image(overlay, one.overlay(exact=True))
    write_image(drawing, draw_figure(loaded, one, top))
    one.explanation.save(arrays)
