"""The command ``camcore reproduce``: run a study, and write its page."""

from __future__ import annotations

import json
import shlex
from contextlib import AbstractContextManager
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.markup import escape

from camcore import registry
from camcore._shared.atomic import whole
from camcore.cli import console
from camcore.cli.options import folder_option
from camcore.errors import InputError, MissingExtraError
from camcore.studies.page import largest_difference, page, versions
from camcore.studies.study import FRAMEWORKS, Outcome, Setting, Study
from camcore.studies.table import STUDIES, find_study, run_study


class Framework(str, Enum):
    """A framework by import name."""

    torch = "torch"
    tensorflow = "tensorflow"


def reproduce(
    study: Annotated[
        str | None, typer.Argument(metavar="STUDY", help="Which; all are listed unless given.")
    ] = None,
    framework: Annotated[
        Framework | None,
        typer.Option(metavar="NAME", help="torch or tensorflow alone; both unless given."),
    ] = None,
    small: Annotated[
        bool,
        typer.Option("--small", help="A minute's run that shows that it works, not what is true."),
    ] = False,
    photos: Annotated[
        Path | None,
        folder_option(
            "Photographs of your own, such as ImageNet's, in place of those of packages."
        ),
    ] = None,
    masks: Annotated[
        Path | None,
        folder_option("Masks of their objects, named as the photographs: white on the object."),
    ] = None,
    data: Annotated[
        Path | None,
        folder_option("Where the data set is, if its package put it elsewhere."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="Of whatever is drawn.")] = 0,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the page goes.")
    ] = Path("camcore-reproduce"),
    as_json: Annotated[
        bool, typer.Option("--json", metavar="", help="Print the numbers as JSON, nothing else.")
    ] = False,
) -> None:
    """Test the claim of a paper again, in PyTorch and in Keras, and write a page of what was found.

    The page states the claim, the protocol, criteria that were set beforehand, tables with
    intervals, and whether the claim was reproduced; NAME.json has the numbers in full.
    """
    if study is None:
        _list()
        return
    with console.misuse():
        found = find_study(study)
    wanted = _wanted(framework)
    folder = console.folder(output)
    outcomes: dict[str, Outcome] = {}
    choice = Setting("", small, photos, masks, data, seed)
    with console.Steps(None) as steps:
        for name in wanted:

            def shown(text: str, label: str = FRAMEWORKS[name]) -> AbstractContextManager[None]:
                return steps.step(f"{found.name} in {label}: {text}")

            outcomes[name] = run_study(found, replace(choice, framework=name, step=shown))
    files = [f"{found.name}.md", f"{found.name}.json"]
    command = _command(found, framework, choice)
    text = page(found, outcomes, choice, command)
    numbers = json.dumps(_numbers(found, outcomes, command), indent=1)
    for file, content in zip(files, (text, f"{numbers}\n"), strict=True):
        with whole(folder / file) as draft:
            draft.write_text(content, encoding="utf-8")
    if as_json:
        typer.echo(numbers)
    else:
        _print(outcomes)
        console.wrote(folder, files)
    _check_equal(found, outcomes)


def _list() -> None:
    table = console.table("study", "claim", "minutes", "data", numbers=["minutes"])
    for one in STUDIES.values():
        table.add_row(one.name, escape(one.claim), str(one.minutes), escape(", ".join(one.data)))
    console.out.print(table)


def _wanted(framework: Framework | None) -> list[str]:
    """Choose the frameworks to run in: the one asked for, or all installed."""
    installed = registry.frameworks()
    names = [name for name in FRAMEWORKS if installed.get(name)]
    if framework is not None:
        registry.backend(framework.value)  # says what to install
        return [framework.value]
    if not names:
        raise MissingExtraError(
            "Neither PyTorch nor TensorFlow is installed, in which studies run. Install them with: "
            'pip install "camcore[demo]"'
        )
    return names


def _command(study: Study, framework: Framework | None, choice: Setting) -> str:
    """Write what a person types for the same page, folders of their own by their last name."""
    words = ["camcore", "reproduce", study.name]
    if framework is not None:
        words += ["--framework", framework.value]
    if choice.small:
        words.append("--small")
    for name in ("photos", "masks", "data"):
        if (folder := getattr(choice, name)) is not None:
            words += [f"--{name}", folder.name]
    if choice.seed:
        words += ["--seed", str(choice.seed)]
    return shlex.join(words)


def _numbers(study: Study, outcomes: dict[str, Outcome], command: str) -> dict[str, object]:
    """Collect what was found, as JSON has it; what is undefined is null."""
    return {
        "study": study.name,
        "command": command,
        "versions": versions(outcomes),
        "frameworks": {
            name: {
                "verdict": outcome.verdict,
                "findings": [vars(finding) for finding in outcome.findings],
                "values": {
                    key: None if np.isnan(value) else value for key, value in outcome.values.items()
                },
                "notes": list(outcome.notes),
            }
            for name, outcome in outcomes.items()
        },
    }


def _print(outcomes: dict[str, Outcome]) -> None:
    """Print tables, what held, and the verdict of each framework."""
    for name, outcome in outcomes.items():
        for one in outcome.tables:
            numbers = list(one.heads[1:])
            title = f"{FRAMEWORKS[name]}: {one.title}"
            table = console.table(*one.heads, title=escape(title), numbers=numbers)
            for row in one.rows:
                table.add_row(*map(escape, row))
            console.out.print(table)
        for note in outcome.notes:
            console.say(note)
        for finding in outcome.findings:
            mark = console.mark(finding.held)
            criterion = finding.criterion.rstrip(".")
            console.out.print(f"{mark} {escape(criterion)}: {escape(finding.figures)}")
        console.say(f"{FRAMEWORKS[name]}: {outcome.verdict}.")


def _check_equal(study: Study, outcomes: dict[str, Outcome]) -> None:
    """Fail where frameworks that run the same weights are too far apart."""
    if study.apart is None or len(outcomes) < 2:
        return
    found = largest_difference(outcomes)
    if not found <= study.apart:
        raise InputError(
            f"The frameworks' numbers are up to {found:.1e} apart, and up to {study.apart:g} was "
            "expected of the same weights."
        )
