"""What there is: layers of a model, methods, recipes, and what is installed."""

from __future__ import annotations

import platform
import re
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Annotated

import numpy as np
import typer
from rich.markup import escape

import camcore
from camcore import layers as layer_names
from camcore import registry
from camcore.cli import console
from camcore.methods import find as find_method
from camcore.recipes import PAPER, find_recipe
from camcore.recipes import TABLE as RECIPES

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="SPEC",
        help="timm:NAME, torchvision:NAME, keras:NAME, a .keras file, or package.module:function.",
    ),
]
WeightsOption = Annotated[
    str | None, typer.Option("--weights", metavar="FILE", help="Weights to load into the model.")
]


def methods() -> None:
    """List the methods: what each needs and costs, and where it comes from."""
    table = console.table("method", "needs", "forward passes", "source")
    for row in camcore.methods.TABLE:
        table.add_row(
            f"[bold]{escape(row.label)}[/]\n{row.name}",
            "\n".join(row.needs),
            row.passes,
            escape(row.paper) + "\n",
        )
    console.out.print(table)


def recipes(
    names: Annotated[list[str] | None, typer.Argument(help="Describe these.")] = None,
) -> None:
    """List the recipes; with names, what each does next to the papers' formulas."""
    if names:
        for number, recipe in enumerate(map(find_recipe, names)):
            if number:
                console.out.print()
            console.out.print(recipe.describe(), markup=False, highlight=False, soft_wrap=True)
        return
    table = console.table("recipe", "of", "methods as in the papers", "with formulas of its own")
    for recipe in RECIPES.values():
        own = [method.label for method in recipe.methods.values()]
        alike = [find_method(name).label for name in recipe.alike]
        table.add_row(
            f"[bold]{escape(recipe.name)}[/]",
            escape(recipe.source) + "\n",
            ", ".join(alike) if recipe is not PAPER else "all",
            ", ".join(own),
        )
    console.out.print(table)
    console.out.print("camcore recipes NAME says what one does.", highlight=False)


def layers(model: ModelOption, weights: WeightsOption = None) -> None:
    """List a model's layers in the order in which they run."""
    loaded = registry.load_model(model, weights)
    adapter = registry.adapter(loaded.model)
    inputs = loaded.preprocess(np.zeros((loaded.size, loaded.size, 3), np.uint8))
    records = adapter.survey(inputs)
    default = loaded.default_layer or layer_names.choose(records, (loaded.size, loaded.size))
    table = console.table("", "layer", "kind", "output", "calls", numbers=["calls"])
    for record in records:
        chosen = record.layer.name == default
        table.add_row(
            "→" if chosen else "",
            escape(record.layer.name),
            escape(record.layer.kind),
            " × ".join(map(str, record.shape[1:])),
            str(record.calls),
            style="bold green" if chosen else None,
        )
    console.out.print(table)
    console.out.print(f"→ is explained when no layer is asked for: {default}", highlight=False)


def info() -> None:
    """Show versions: which frameworks have an adapter, and which extras are complete."""
    console.out.print(
        f"camcore {camcore.__version__}, Python {platform.python_version()}, "
        f"NumPy {np.__version__}, {platform.system()} {platform.machine()}",
        highlight=False,
    )
    frameworks = console.table("adapter for", "framework")
    for framework, installed in registry.frameworks().items():
        frameworks.add_row(framework, _present("installed" if installed else None))
    console.out.print(frameworks)
    packages = console.table("package", "version", "in the extras")
    for package, extras in _optional().items():
        packages.add_row(package, _present(_version(package)), ", ".join(extras))
    console.out.print(packages)


def _optional() -> dict[str, list[str]]:
    """Packages with the extras they are in, as the distribution itself says."""
    pattern = re.compile(r"([\w.-]+).*extra == ['\"](\w+)['\"]")
    packages: dict[str, list[str]] = {}
    for match in filter(None, map(pattern.match, requires("camcore") or ())):
        package, extra = match.groups()
        if package != "camcore":
            packages.setdefault(package, []).append(extra)
    return packages


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _present(value: str | None) -> str:
    return "[dim]missing[/]" if value is None else f"[green]{value}[/]"
