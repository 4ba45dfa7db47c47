"""What a study is: a claim, a protocol, criteria set beforehand, and what was found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from camcore.errors import InputError

Verdict: TypeAlias = Literal["reproduced", "reproduced in part", "not reproduced"]

FRAMEWORKS = {"torch": "PyTorch", "tensorflow": "Keras"}
"""The frameworks in which studies are run, by import name, and as people call them."""


def _unnoticed(text: str) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(frozen=True)
class Setting:
    """What a person chooses when a study is run.

    Parameters
    ----------
    framework : {"torch", "tensorflow"}
        Import name of the framework that runs the networks.
    small : bool
        Whether a few samples are enough: a minute's run that shows that the study works, whose
        numbers say nothing.
    photos : Path or None
        A folder of photographs of the person's own, such as ImageNet's validation set, in place of
        those that packages bring.
    masks : Path or None
        A folder of masks of their objects, named as the photographs: white on the object.
    data : Path or None
        Where the study's data set is, if its package put it elsewhere.
    seed : int
        Of whatever is drawn.
    step : callable
        ``step(text)`` is a context that shows a person what is being done.
    """

    framework: str
    small: bool = False
    photos: Path | None = None
    masks: Path | None = None
    data: Path | None = None
    seed: int = 0
    step: Callable[[str], AbstractContextManager[None]] = field(default=_unnoticed, repr=False)


@dataclass(frozen=True)
class Table:
    """A table of a study's page.

    Parameters
    ----------
    title : str
    heads : sequence of str
        Of the columns.
    rows : sequence of sequence of str
        As long as `heads`.
    """

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.heads):
                raise InputError(
                    f"A row of {self.title!r} has {len(row)} cells and the head {len(self.heads)}: "
                    f"{list(row)}."
                )


@dataclass(frozen=True)
class Finding:
    """Whether a criterion held.

    Parameters
    ----------
    criterion : str
        One of the study's.
    held : bool
    figures : str
        The numbers that decided it, with their intervals.
    """

    criterion: str
    held: bool
    figures: str


@dataclass(frozen=True)
class Outcome:
    """What a study found in one framework.

    Parameters
    ----------
    findings : sequence of Finding
        One for each criterion of the study, in its order.
    tables : sequence of Table
    notes : sequence of str
        Sentences: which control beats a method, what was left out, and why.
    values : mapping of str to float
        The numbers in full, by a name such as ``"gradcam average_drop"``.
    """

    findings: Sequence[Finding]
    tables: Sequence[Table]
    notes: Sequence[str] = ()
    values: Mapping[str, float] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """Whether all criteria held, some, or none."""
        held = [finding.held for finding in self.findings]
        if all(held):
            return "reproduced"
        return "reproduced in part" if any(held) else "not reproduced"


@dataclass(frozen=True)
class Study:
    """A claim and how it is tested.

    Parameters
    ----------
    name : str
        What is asked for.
    title : str
        Of the page.
    claim : str
        A sentence or two: what the paper says, with its numbers.
    source : str
        Authors, title, venue, year, and where in it.
    protocol : str
        Paragraphs in Markdown: networks, data, methods, layers, measures, and how the paper's own
        protocol differs.
    criteria : sequence of str
        What has to hold for the claim to count as reproduced; set before the study was run.
    data : sequence of str
        What has to be installed: ``"apt install dataset-fashion-mnist"``.
    minutes : int
        What it takes in one framework, on two cores.
    run : callable
        From a `Setting` to an `Outcome`.
    apart : float or None
        How far the frameworks' `Outcome.values` may be apart where they run the same weights;
        None where each trains a network of its own.
    """

    name: str
    title: str
    claim: str
    source: str
    protocol: str
    criteria: Sequence[str]
    data: Sequence[str]
    minutes: int
    run: Callable[[Setting], Outcome] = field(repr=False)
    apart: float | None = None
