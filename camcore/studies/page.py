"""Write what a study found as a page in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from itertools import combinations
from math import inf, isnan

from camcore.errors import InputError
from camcore.studies.study import FRAMEWORKS, Outcome, Setting, Study, Table

__all__ = ["largest_difference", "page", "versions"]


def largest_difference(outcomes: Mapping[str, Outcome]) -> float:
    """Find how far the numbers of any two frameworks are apart.

    Parameters
    ----------
    outcomes : mapping of str to Outcome
        By framework.

    Returns
    -------
    float
        0 for a single framework; infinite where a number is undefined in one of two.

    Raises
    ------
    InputError
        They have numbers of other names.
    """
    pairs = list(combinations(outcomes.values(), 2))
    if other := {name for one, two in pairs for name in set(one.values) ^ set(two.values)}:
        raise InputError(
            f"The frameworks {list(outcomes)} have numbers of other names: {sorted(other)}."
        )
    return max(
        (_apart(one.values[name], two.values[name]) for one, two in pairs for name in one.values),
        default=0.0,
    )


def _apart(one: float, other: float) -> float:
    if isnan(one) or isnan(other):
        return 0.0 if isnan(one) and isnan(other) else inf
    return abs(one - other)


def page(study: Study, outcomes: Mapping[str, Outcome], setting: Setting, command: str) -> str:
    """Write a study's page.

    Parameters
    ----------
    study : Study
    outcomes : mapping of str to Outcome
        By framework.
    setting : Setting
        What was chosen.
    command : str
        What a person types for this page.

    Returns
    -------
    str
        Markdown.
    """
    return "\n".join(_lines(study, outcomes, setting, command)) + "\n"


def versions(outcomes: Mapping[str, Outcome]) -> dict[str, str]:
    """Find the versions of camcore and of the frameworks, Keras among them.

    Parameters
    ----------
    outcomes : mapping of str to Outcome
        By framework.

    Returns
    -------
    dict of str to str
        By package.
    """
    packages = ["camcore", *outcomes, *(["keras"] if "tensorflow" in outcomes else [])]
    return {name: version(name) for name in packages}


def _lines(
    study: Study, outcomes: Mapping[str, Outcome], setting: Setting, command: str
) -> Iterator[str]:
    yield f"# {study.title}"
    yield from ("", f"**Claim.** {study.claim} ({study.source}.)")
    yield from ("", f"**Verdict.** {_verdicts(outcomes)}.")
    if setting.small:
        yield from ("", "*A small run, which shows that the study works; its numbers say nothing.*")
    packages = ", ".join(f"{name} {number}" for name, number in versions(outcomes).items())
    yield from ("", f"`{command}` wrote this page, with {packages}.")
    yield from ("", "## Protocol", "", study.protocol.strip())
    if study.data:
        yield from ("", "Data: " + ", ".join(f"`{one}`" for one in study.data) + ".")
    yield from ("", "## Criteria, set beforehand", "")
    yield from (f"{number}. {text}" for number, text in enumerate(study.criteria, 1))
    first = next(iter(outcomes))
    for framework, outcome in outcomes.items():
        yield from ("", f"## {FRAMEWORKS[framework]}: {outcome.verdict}", "")
        for number, finding in enumerate(outcome.findings, 1):
            yield f"{number}. {'Held' if finding.held else 'Did not hold'}: {finding.figures}"
        if framework != first and study.apart is not None:
            yield from ("", f"Of the same weights: the tables are those of {FRAMEWORKS[first]}.")
            continue
        for table in outcome.tables:
            yield from ("", *_table(table))
        if outcome.notes:
            yield ""
            yield from (f"- {note}" for note in outcome.notes)
    if study.apart is not None and len(outcomes) > 1:
        names = " and ".join(FRAMEWORKS[name] for name in outcomes)
        yield from ("", "## Both frameworks", "")
        yield (
            f"The largest difference between the numbers of {names}, which run the same weights: "
            f"{largest_difference(outcomes):.1e}, and up to {study.apart:g} is expected."
        )


def _verdicts(outcomes: Mapping[str, Outcome]) -> str:
    """Say the verdict once where the frameworks agree."""
    names = [FRAMEWORKS[name] for name in outcomes]
    verdicts = [outcome.verdict for outcome in outcomes.values()]
    if len(set(verdicts)) == 1:
        return f"{verdicts[0].capitalize()}, in {' and in '.join(names)}"
    said = "; ".join(f"{v} in {name}" for v, name in zip(verdicts, names, strict=True))
    return said[0].upper() + said[1:]


def _table(table: Table) -> Iterator[str]:
    yield from (f"**{table.title}**", "")
    for row in (table.heads, ["---"] * len(table.heads), *table.rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
