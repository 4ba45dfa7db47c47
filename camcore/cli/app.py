"""The commands and their exit codes: 0 done, 1 failed or maps that disagree, 2 misused."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

import camcore
from camcore.cli import console, listing
from camcore.cli.compare import command as compare
from camcore.cli.dataset import DatasetCommand
from camcore.cli.demo import demo
from camcore.cli.evaluate import evaluate_photos
from camcore.cli.explain.command import explain
from camcore.cli.page import page
from camcore.cli.reproduce import reproduce
from camcore.errors import CamcoreError


class _Group(TyperGroup):
    """A group of commands that print a camcore error as one line, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CamcoreError as error:
            console.fail(str(error))
            raise typer.Exit(1) from error


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        console.out.print(f"camcore {camcore.__version__}")
        raise typer.Exit


@app.callback()
def start(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """Show where a neural network looks: class activation maps, the same in every framework."""


app.command("demo")(demo)
app.command("explain", cls=DatasetCommand)(explain)
app.command("compare", help=compare.HELP)(compare.compare)
app.command("evaluate", cls=DatasetCommand)(evaluate_photos)
app.command("reproduce")(reproduce)
app.command("app")(page)
app.command("layers")(listing.layers)
app.command("methods")(listing.methods)
app.command("recipes")(listing.recipes)
app.command("info")(listing.info)
