"""List the layers of a model, methods, recipes, and installed packages."""

from __future__ import annotations

import json
import math
import platform
import re
from collections.abc import Callable, Sequence
from importlib.metadata import requires
from textwrap import fill
from typing import Annotated, Any, TypeVar

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

import camcore
from camcore import registry
from camcore._shared.optional import installed_version
from camcore.cli import console
from camcore.cli.model import ModelRequest
from camcore.cli.options import (
    MODEL,
    CheckpointOption,
    DeviceOption,
    NumClassesOption,
    PretrainedOption,
    WeightsOption,
)
from camcore.layers.candidates import Candidate, candidates
from camcore.methods import Method
from camcore.methods import find as find_method
from camcore.methods.cards import CARDS, QUESTIONS, cost, formula, needed
from camcore.recipes import PAPER, find_recipe
from camcore.recipes import TABLE as RECIPES

_T = TypeVar("_T")


def methods(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Describe these.", show_default=False),
    ] = None,
) -> None:
    """List the methods; with names, a card of each: formula, use, cost, paper and BibTeX."""
    if names:
        _describe(names, find_method, _print_card)
        return
    listed = {name for group in QUESTIONS.values() for name in group}
    others = tuple(row.name for row in camcore.methods.TABLE if row.name not in listed)
    for question, group in {**QUESTIONS, "Methods of your own": others}.items():
        if group:
            console.out.print(f"[bold]{question}[/]")
            console.out.print(_answering(group))
    console.out.print("camcore methods NAME says what one does, and how to cite it.")


def _answering(names: Sequence[str]) -> Table:
    """Make a table of methods, whose columns begin where those of other such tables do."""
    table = console.table("method", "needs", "forward passes, source")
    table.columns[1].no_wrap = True
    for column, width in zip(table.columns, _WIDTHS, strict=False):
        column.min_width = width
    for row in map(find_method, names):
        table.add_row(
            f"{escape(row.label)}\n[dim]{row.name}[/]",
            "\n".join(row.needs),
            f"{row.passes}\n{_worded(row.paper, _SOURCE)}\n",
        )
    return table


_WIDTHS = 23, 20
"""Characters of a method's name and of a need, but for a few that are longer."""

_SOURCE = 25
"""Characters of a source, of a terminal of 80."""


def _worded(text: str, room: int) -> str:
    """Break the long words of a text, such as addresses, behind their dots and slashes."""
    return " ".join(console.broken(word, room) for word in text.split())


_LEVELS = {
    "layer": "maps at a layer",
    "scales": "maps of layers of every size, joined",
    "attention": "maps at attention",
    "input": "maps at the input",
    "output": "maps of the output at image tokens",
}


_SYMBOLS = "A: the layer's output, g: the gradient there, c: channels, s: places"


def _describe(names: Sequence[str], find: Callable[[str], _T], show: Callable[[_T], None]) -> None:
    """Show each of these at length, all names looked up beforehand."""
    with console.misuse():
        found = [find(name) for name in names]
    for number, one in enumerate(found):
        if number:
            console.out.print()
        show(one)


def _print_card(method: Method) -> None:
    """Print all that is known of a method."""
    card = CARDS.get(method.name)
    options = method.takes()
    said = {
        "formula": formula(method),
        "": _SYMBOLS if re.search(r"\b[Ag]_c|\bA\b", formula(method)) else "",
        "use": "" if card is None else card.use,
        "cost": cost(method),
        "needs": ", ".join(needed(method)),
        "gives": _LEVELS[method.level],
        "options": ", ".join(options),
        "paper": method.paper,
    }
    console.out.print(f"[bold]{escape(method.label)}[/]  {method.name}")
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name, text in said.items():
        if text:
            table.add_row(f"  {name}", escape(text), style=None if name else "dim")
    console.out.print(table)
    if card is not None and card.reference is not None:
        console.out.print()
        for line in card.reference.bibtex.splitlines():
            console.say(fill(line, console.out.width - 1, subsequent_indent=" " * 4, **_WHOLE))


_WHOLE: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}


def recipes(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Describe these.", show_default=False),
    ] = None,
) -> None:
    """List the recipes; with names, what each does next to the papers' formulas."""
    if names:
        _describe(names, find_recipe, lambda recipe: console.say(recipe.describe()))
        return
    table = console.table("recipe", "of, and its methods")
    for recipe in RECIPES.values():
        alike = [find_method(name).label for name in recipe.alike]
        own = [method.label for method in recipe.methods.values()]
        methods = {
            "as in the papers": ["all"] if recipe is PAPER else alike,
            "by formulas of its own": own,
        }
        lines = [f"{said}: {', '.join(labels)}" for said, labels in methods.items() if labels]
        table.add_row(
            f"[bold]{escape(recipe.name)}[/]", "\n".join([escape(recipe.source), *lines]) + "\n"
        )
    console.out.print(table)
    console.out.print("camcore recipes NAME says what one does.")


def layers(
    name: Annotated[str | None, typer.Argument(metavar="MODEL", help="As for --model.")] = None,
    model: Annotated[str | None, MODEL] = None,
    weights: WeightsOption = None,
    checkpoint: CheckpointOption = None,
    pretrained: PretrainedOption = False,
    num_classes: NumClassesOption = None,
    device: DeviceOption = None,
    everything: Annotated[
        bool,
        typer.Option("--all", metavar="", help="Every layer, in the order in which they run."),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", metavar="", help="As JSON, every layer with what is wrong with it."),
    ] = False,
) -> None:
    """List the layers of a model that matter, finest first; with --all, every one that runs."""
    spec = name or model
    if spec is None or (name and model):
        raise typer.BadParameter("Name one model, such as timm:resnet50.")
    request = ModelRequest(spec, weights, checkpoint, pretrained, num_classes, device)
    request.check()
    loaded = request.load()
    # Noise, since a blank photograph has gradients of its own.
    photo = np.random.default_rng(0).integers(0, 256, (loaded.size, loaded.size, 3), np.uint8)
    found = candidates(loaded.model, loaded.preprocess(photo))
    chosen = loaded.default_layer or next((c.layer.name for c in found if c.chosen), None)
    if as_json:
        typer.echo(json.dumps([_as_data(one, chosen) for one in found], indent=2))
        return
    good = sum(not one.fault for one in found)
    if everything:
        console.out.print(_listed(found, chosen))
        console.out.print(f"• {good} of {len(found)} layers are worth looking at", soft_wrap=True)
    else:
        console.out.print(_few(found, chosen))
        console.out.print(
            f"{good} of {len(found)} layers are worth looking at; --all lists every one.",
            soft_wrap=True,
        )
    console.out.print(
        f"→ is explained when no layer is asked for: {escape(chosen)}"
        if chosen
        else "None is chosen when no layer is asked for; methods at the input need none.",
        soft_wrap=True,
    )


def _few(found: Sequence[Candidate], chosen: str | None) -> Table:
    """Tabulate the layers that matter, finest first."""
    few = [one for one in found if one.why or one.layer.name == chosen]
    few.sort(key=lambda one: -math.prod(one.size or ()))
    table = console.table("", "layer", "grid", "why")
    for one in few:
        is_chosen = one.layer.name == chosen
        why = "explained when none is named" if is_chosen else one.why
        table.add_row(
            "→" if is_chosen else "",
            console.broken(one.layer.name, _ROOM),
            "" if one.size is None else _by(one.size),
            "among the best too" if one.chosen and not is_chosen else why,
            style="bold green" if is_chosen else None,
        )
    return table


_ROOM = 44
"""Characters of a name, of a terminal of 80."""


def _listed(found: Sequence[Candidate], chosen: str | None) -> Table:
    """Tabulate every layer, with its kind where that fits."""
    table = _table(found, chosen, kinds=True)
    return table if console.fits(table) else _table(found, chosen, kinds=False)


def _table(found: Sequence[Candidate], chosen: str | None, *, kinds: bool) -> Table:
    """Tabulate layers; columns without news are left out."""
    several = any(one.calls > 1 for one in found)
    tokens = any(not one.fault and _is_of_tokens(one) for one in found)
    optional = {"kind": kinds, "output": True, "map": tokens, "calls": several}
    shown = [name for name, is_shown in optional.items() if is_shown]
    table = console.table("", "layer", *shown, "why not", numbers=["calls"])
    # What stands beside names at most: an output, a map, a number, and what is wrong.
    room = max(console.out.width - _BESIDE_NAMES, _ROOM // 2)
    for one in found:
        is_chosen = one.layer.name == chosen
        said = {
            "kind": escape(one.layer.kind),
            "output": _by(one.shape[1:]),
            "map": "" if one.fault or one.size is None else _by(one.size),
            "calls": "" if one.calls == 1 else str(one.calls),
        }
        table.add_row(
            "→" if is_chosen else " " if one.fault else "•",
            console.broken(one.layer.name, room),
            *(said[name] for name in shown),
            one.fault,
            style="bold green" if is_chosen else "dim" if one.fault else None,
        )
    return table


_BESIDE_NAMES = 48
"""Width of the columns beside the names, in characters."""


def _is_of_tokens(one: Candidate) -> bool:
    return one.size is not None and len(one.size) + 2 != len(one.shape)


def _by(lengths: Sequence[int]) -> str:
    return "×".join(map(str, lengths))


def _as_data(one: Candidate, chosen: str | None) -> dict[str, Any]:
    return {
        "name": one.layer.name,
        "kind": one.layer.kind,
        "shape": one.shape,
        "calls": one.calls,
        "size": one.size,
        "good": not one.fault,
        "fault": one.fault,
        "chosen": one.layer.name == chosen,
        "why": one.why,
    }


def info() -> None:
    """Show versions: which frameworks have an adapter, and which extras are complete."""
    console.out.print(
        f"camcore {camcore.__version__}, Python {platform.python_version()}, "
        f"NumPy {np.__version__}, {platform.system()} {platform.machine()}",
    )
    frameworks = console.table("adapter for", "framework")
    for framework, installed in registry.frameworks().items():
        frameworks.add_row(framework, _present("installed" if installed else None))
    console.out.print(frameworks)
    packages = console.table("package", "version", "in the extras")
    for package, extras in _optional().items():
        hidden = _OF_DEVELOPERS if "test" not in extras else {*_OF_DEVELOPERS, "models"}
        if told := [extra for extra in extras if extra not in hidden]:
            packages.add_row(package, _present(installed_version(package)), ", ".join(told))
    console.out.print(packages)


_OF_DEVELOPERS = frozenset(["test", "conformance", "mutation", "all"])
"""Extras that add nothing to what a model is explained with; models adds to test."""


def _optional() -> dict[str, list[str]]:
    """Map packages to the extras that list them in the metadata of the distribution."""
    pattern = re.compile(r"([\w.-]+).*extra == ['\"](\w+)['\"]")
    packages: dict[str, list[str]] = {}
    for match in filter(None, map(pattern.match, requires("camcore") or ())):
        package, extra = match.groups()
        if package != "camcore":
            packages.setdefault(package, []).append(extra)
    return packages


def _present(value: str | None) -> str:
    return "[dim]missing[/]" if value is None else f"[green]{value}[/]"
