"""What every command prints with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from camcore.errors import InputError

out = Console()
"""Results."""

err = Console(stderr=True)
"""Progress, warnings and errors."""


def fail(message: str) -> None:
    """Print an error as one line; a terminal wraps it where it likes."""
    line = " ".join(message.split())
    err.print(f"[bold red]Error:[/] [red]{escape(line)}[/]", soft_wrap=True, highlight=False)


def warn(message: str) -> None:
    """Print what the user would want to know."""
    err.print(f"[bold yellow]Note:[/] {escape(message)}", soft_wrap=True, highlight=False)


def table(*columns: str, title: str | None = None, numbers: Sequence[str] = ()) -> Table:
    """Start a table; columns among `numbers` are aligned right, the first is kept on one line."""
    started = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for number, column in enumerate(columns):
        started.add_column(
            column,
            justify="right" if column in numbers else "left",
            overflow="fold",
            no_wrap=number == 0,
        )
    return started


def percent(probability: float) -> str:
    """Write a probability for people."""
    return f"{probability:.1%}"


class Steps:
    """Progress on stderr: a bar in a terminal, a line for each step elsewhere.

    Parameters
    ----------
    total : int
        How many steps there are.
    """

    def __init__(self, total: int) -> None:
        self._bar = Progress(
            SpinnerColumn(),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> Steps:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    @contextmanager
    def step(self, what: str, *, noisy: bool = False) -> Iterator[None]:
        """Say what is being done until it is done.

        Frameworks greet on stderr while they load; a `noisy` step has no bar to garble.
        """
        self._bar.update(self._task, description=what)
        if noisy or self._bar.disable:
            self._bar.stop()
            err.print(f"{what} …", markup=False, highlight=False, soft_wrap=True)
        yield
        self._bar.advance(self._task)
        self._bar.start()


def folder(path: Path) -> Path:
    """Make the folder that results go to.

    Raises
    ------
    InputError
        It cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".camcore-probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"Cannot write into {path} ({error.strerror}); choose --output."
        ) from error
    return path


def wrote(path: Path, names: Sequence[str]) -> None:
    """Say where the results are."""
    out.print(
        f"Wrote {', '.join(names)} into {path.resolve()}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def say(text: str) -> None:
    """Print a result as it is."""
    out.print(_printable(text), markup=False, highlight=False, soft_wrap=True)


def detail(text: str) -> None:
    """Print a line that belongs to the error above it."""
    err.print(f"  {_printable(text)}", markup=False, highlight=False, soft_wrap=True)


def _printable(text: str) -> str:
    """Names of files may hold bytes that are no text; they become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


class _Rate(ProgressColumn):
    """Items a second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f}/s", style="cyan")


@contextmanager
def counting(total: int | None, *, hidden: bool = False) -> Iterator[Callable[[], None]]:
    """Show how many are done, how many a second, and the time left, on stderr in a terminal.

    Parameters
    ----------
    total : int or None
        How many there are, where that is known.
    hidden : bool
        Show nothing where results are printed to the same terminal.

    Yields
    ------
    callable
        To be called when one more is done.
    """
    bar = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=err,
        transient=True,
        disable=not err.is_terminal or (hidden and out.is_terminal),
        # Results on stdout are for a file or another program, not for the bar's terminal.
        redirect_stdout=False,
    )
    with bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)
