"""Keep the settings of a run beside its results, so that only the same call goes on with them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from camcore._shared.atomic import whole
from camcore._shared.reading import reading
from camcore._shared.version import VERSION
from camcore.errors import InputError

RUN_FILE = "camcore-run.json"
"""The file beside the results that holds the settings of their run."""


def changed_settings(folder: Path, settings: Mapping[str, Any]) -> Sequence[str] | None:
    """List how `settings` differ from those of the run into `folder`; None where there was none.

    Raises
    ------
    InputError
        The file with the settings cannot be read.
    """
    file = folder / RUN_FILE
    if not file.is_file():
        return None
    with reading(
        file,
        "the settings of a run. Start over without --resume, or choose another --output",
        refusal="does not hold the settings of the results beside it",
    ):
        before = json.loads(file.read_text("utf-8"))["call"]
        names = dict.fromkeys([*before, *settings])
        return [
            f"{name} was {_in_words(before.get(name))} and is {_in_words(settings.get(name))}"
            for name in names
            if before.get(name) != settings.get(name)
        ]


def is_same_call(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Tell whether `folder` holds results of a run, and refuse those of other `settings`."""
    changed = changed_settings(folder, settings)
    if changed:
        raise InputError(
            f"{folder} holds the results of another call: {'; '.join(changed)}. Repeat that call "
            "to go on with it, leave --resume out to start over, or choose another --output."
        )
    return changed is not None


def write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write the `settings` of a run into its `folder`."""
    with whole(folder / RUN_FILE) as draft:
        text = json.dumps({"camcore": VERSION, "call": settings}, indent=2)
        draft.write_text(text + "\n", "utf-8")


def _in_words(value: Any) -> str:
    if value in (None, []):
        return "not given"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
