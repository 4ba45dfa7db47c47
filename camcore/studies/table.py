"""The studies by name, and how one is run."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from camcore._shared.suggest import hint
from camcore.errors import InputError
from camcore.studies import arcc, fakecam, localisation, sanity, scorecam
from camcore.studies.study import Outcome, Setting, Study

STUDIES: Final[Mapping[str, Study]] = MappingProxyType(
    {module.STUDY.name: module.STUDY for module in (sanity, fakecam, scorecam, localisation, arcc)}
)
"""The studies by name."""


def find_study(name: str) -> Study:
    """Find a study by name.

    Parameters
    ----------
    name : str
        Written with hyphens or underscores.

    Returns
    -------
    Study

    Raises
    ------
    InputError
        There is none of that name.
    """
    found = STUDIES.get(name.replace("_", "-").lower())
    if found is None:
        raise InputError(f"There is no study {name!r}. {hint(name, STUDIES)}")
    return found


def run_study(study: Study, setting: Setting) -> Outcome:
    """Run a study in one framework.

    Parameters
    ----------
    study : Study
    setting : Setting

    Returns
    -------
    Outcome

    Raises
    ------
    InputError
        Its data are not there, or a criterion was not looked at.
    MissingExtraError
        A package that it needs is not installed.
    """
    outcome = study.run(setting)
    looked_at = [finding.criterion for finding in outcome.findings]
    if looked_at != list(study.criteria):
        raise InputError(
            f"The study {study.name!r} has criteria {list(study.criteria)} and answers {looked_at}."
        )
    return outcome
