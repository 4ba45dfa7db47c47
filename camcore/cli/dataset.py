"""Explain or evaluate a data set from the command line, into rows, here or on Ray."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer
from typer.core import TyperCommand

from camcore.batch import Cluster, DatasetRun, Done, Results, read_results
from camcore.batch.dataset.sources import ARCHIVES, LISTS, TABLES, is_remote
from camcore.cli import console

PANEL: Final = "A data set"

_SHOWN: Final = 10
"""How many of the samples that failed are named; the rows name all."""

_ADDRESS: Final = re.compile(r"auto|local|ray://\S+|[\w.-]+:\d+")

LOCAL: Final = "local"
"""The address that starts Ray on this machine."""

RayOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="[ADDRESS]",
        help="Let Ray's workers do it: on this machine, or on the cluster at ADDRESS.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]
WorkersOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        metavar="N",
        help="Ray's workers, each with a model; one a GPU, or one for two cores, unless given.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]
GpusOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--gpus",
        min=0,
        metavar="X",
        help="GPUs of each worker; a fraction lets several share one.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]
ImageColumnOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--image-column",
        metavar="NAME",
        help="Column of Parquet files with the photographs, or their paths.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]
IdColumnOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--id-column",
        metavar="NAME",
        help="Column of Parquet files with what the photographs are called.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]


class DatasetCommand(TyperCommand):
    """A command whose ``--ray`` may stand alone, or before an address."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a bare ``--ray`` the address of this machine."""
        given = []
        for arg, following in zip(args, [*args[1:], ""], strict=True):
            given.append(arg)
            if arg == "--ray" and not _ADDRESS.fullmatch(following):
                given.append(LOCAL)
        return super().parse_args(ctx, given)


@dataclass(frozen=True)
class DatasetOptions:
    """How a data set is read, and who does it.

    Parameters
    ----------
    ray : str or None
        An address, `LOCAL`, or None for this process alone.
    workers, gpus
        As `camcore.batch.Cluster` takes them.
    image_column, id_column
        As `camcore.batch.explain_dataset` takes them.
    """

    ray: str | None = None
    workers: int | None = None
    gpus: float | None = None
    image_column: str | None = None
    id_column: str | None = None

    def asked_for(self, sources: Sequence[str]) -> bool:
        """Tell whether rows are to be made: by Ray, or of files that hold or list many."""
        many = (*LISTS, *TABLES, *ARCHIVES)
        held = [one for one in sources if is_remote(one) or one.lower().endswith(many)]
        return self.ray is not None or bool(held)

    def check(self) -> None:
        """End the command where options are given that Ray alone takes."""
        given = {"--workers": self.workers, "--gpus": self.gpus}
        for name, value in given.items():
            if value is not None and self.ray is None:
                raise typer.BadParameter(f"{name} is for Ray's workers; give --ray, too.")

    @property
    def cluster(self) -> bool | Cluster:
        """What `camcore.batch.explain_dataset` takes as `ray`."""
        if self.ray is None:
            return False
        return Cluster(None if self.ray == LOCAL else self.ray, self.workers, self.gpus)


def run(
    made: Callable[..., DatasetRun], folder: Path, done: str, *, quiet: bool
) -> tuple[DatasetRun, Results]:
    """Run over a data set with a bar, and say how it went.

    Parameters
    ----------
    made : callable
        Takes `progress`, as `camcore.batch.explain_dataset` does.
    folder : Path
        Where results go.
    done : str
        What was done: ``"Explained"``.
    quiet : bool
        Print nothing to the standard output.

    Raises
    ------
    typer.Exit
        130 after Ctrl-C.
    """
    failed = 0
    try:
        with console.count(None, "photo", hidden=quiet) as bar:

            def progress(part: Done, total: int | None) -> None:
                nonlocal failed
                failed += part.failed
                bar.expect(total)
                if failed:
                    bar.describe(f"{failed} failed")
                bar.advance(part.rows)

            found = made(progress=progress)
    except KeyboardInterrupt:
        console.fail(
            f"interrupted; what is done stays in {folder}. The same command with --resume does "
            "the others."
        )
        raise typer.Exit(130) from None
    results = read_results(folder)
    for note in found.notes:
        console.warn(note)
    if not results.about["pretrained"]:
        console.warn(console.RANDOM)
    if (assumed := results.about["assumed"]) is not None:
        console.warn(console.ASSUMED.format(assumed))
    if not quiet:
        here = found.samples - found.before
        rate = here / max(found.seconds, 1e-9)
        before = f", {found.before} were done before" if found.before else ""
        console.say(
            f"{done} {found.samples - found.failed} of {found.samples} photographs in "
            f"{found.seconds:.1f} s ({rate:.1f} a second){before}"
        )
    return found, results


def end(found: DatasetRun, results: Results) -> None:
    """Name samples that failed, and end the command with 1 where there are any.

    Raises
    ------
    typer.Exit
        1 where samples failed.
    """
    if not found.failed:
        return
    console.fail(f"{found.failed} of {found.samples} photographs failed:")
    for id, why in islice(results.errors(), _SHOWN):
        console.detail(why if id in why else f"{id}: {why}")
    if found.failed > _SHOWN:
        console.detail(f"and {found.failed - _SHOWN} more, in the column error of the rows.")
    raise typer.Exit(1)
