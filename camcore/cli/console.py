"""Print results, progress, notes and errors, the same way in every command."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from camcore._shared.progress import Bar
from camcore.errors import CamcoreError, InputError
from camcore.registry import LoadedModel

out = Console(highlight=False)
"""Results."""

err = Console(stderr=True, highlight=False)
"""Progress, warnings and errors."""


RANDOM = "random weights: the picture shows that all parts work, not what they learned"

ASSUMED = (
    "nothing says how this model takes photographs; it is shown {}. If it was trained otherwise, "
    "give a function that returns a camcore.zoo.LoadedModel: --model package.module:function"
)


def fail(message: str) -> None:
    """Print `message` as an error, on one line that the terminal wraps."""
    line = " ".join(message.split())
    err.print(f"[bold red]Error:[/] [red]{escape(line)}[/]", soft_wrap=True)


@contextmanager
def misuse() -> Iterator[None]:
    """End the command with 2 where what was typed names nothing, before anything is done."""
    try:
        yield
    except CamcoreError as error:
        fail(str(error))
        raise typer.Exit(2) from error


def warn(message: str) -> None:
    """Print `message` as a note on stderr."""
    err.print(f"[bold yellow]Note:[/] {escape(message)}", soft_wrap=True)


def warn_of_assumed(loaded: LoadedModel) -> None:
    """Print a note where nothing says how the model is to be shown photographs."""
    if loaded.assumed is not None:
        warn(ASSUMED.format(loaded.assumed))


def table(*columns: str, title: str | None = None, numbers: Sequence[str] = ()) -> Table:
    """Start a table; `numbers` are right-aligned columns, and the first column is not wrapped."""
    started = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for number, column in enumerate(columns):
        started.add_column(
            column,
            justify="right" if column in numbers else "left",
            overflow="fold",
            no_wrap=number == 0,
        )
    return started


def broken(name: str, room: int) -> str:
    """Break a long name into lines behind its dots and slashes, so that no part of it is cut."""
    lines = [""]
    for part in re.findall(r"[^./]*[./]?", name):
        if lines[-1] and len(lines[-1]) + len(part) > room:
            lines.append("")
        lines[-1] += part
    return escape("\n".join(lines))


def fits(table: Table) -> bool:
    """Tell whether a table fits without breaking a line."""
    wide = out.options.update(max_width=10_000)
    return Measurement.get(out, wide, table).maximum <= out.width


def percent(probability: float) -> str:
    """Format a probability as a percentage."""
    return f"{probability:.1%}"


def mark(good: bool) -> str:
    """Choose a tick or a cross."""
    return "[green]✓[/]" if good else "[red]✗[/]"


def verdict(apart: float, tolerance: float | None) -> str:
    """Format how far maps are apart, and mark whether that is within the tolerance."""
    if tolerance is None:
        return f"{apart:.1e}"
    return f"{apart:.1e} {mark(True)}" if apart <= tolerance else f"[red]{apart:.1e} ✗[/]"


class Steps(Bar):
    """Show the steps of a command on stderr: with a bar in a terminal, line by line elsewhere.

    Parameters
    ----------
    total : int or None
        Number of steps, where it is known.
    """

    def __init__(self, total: int | None) -> None:
        counted = "{n_fmt}/{total_fmt} |{bar:30}| {desc}"
        super().__init__(total, layout="{desc}" if total is None else counted)

    @contextmanager
    def step(self, text: str, *, noisy: bool = False) -> Iterator[None]:
        """Show `text` while the step lasts.

        Frameworks print to stderr while they load; a `noisy` step hides the bar from them.
        """
        self.describe(text)
        if noisy or not self:
            self.clear()
            err.print(f"{text} …", markup=False, soft_wrap=True)
        yield
        self.advance()


def count(total: int | None, unit: str, *, hidden: bool = False) -> Bar:
    """Make a bar of how many items are done, how many a second, and the time left.

    Parameters
    ----------
    total : int or None
        Number of items, where it is known.
    unit : str
        The name of an item.
    hidden : bool
        Show no bar where results are printed to the same terminal.
    """
    return Bar(total, unit, show=False if hidden and out.is_terminal else None)


def folder(path: Path) -> Path:
    """Create the folder `path` for results, and check that it can be written to.

    Raises
    ------
    InputError
        It cannot be created or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InputError(
            f"Cannot write into {path} ({error.strerror}). Choose another --output."
        ) from error
    return path


def wrote(path: Path, names: Sequence[str]) -> None:
    """Print which files `names` were written into the folder `path`."""
    say(f"Wrote {', '.join(names)} into {path.resolve()}")


def say(text: str) -> None:
    """Print `text` as a result, without markup."""
    out.print(_printable(text), markup=False, soft_wrap=True)


def detail(text: str) -> None:
    """Print `text` as a line below an error."""
    err.print(f"  {_printable(text)}", markup=False, soft_wrap=True)


def _printable(text: str) -> str:
    """Replace undecodable bytes, as some file names have, by question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")
