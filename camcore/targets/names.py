"""Find classes by the names that people type."""

from __future__ import annotations

import re
from collections.abc import Sequence

from camcore._shared.suggest import near
from camcore.errors import TargetError

_LISTED = 6
"""How many names are suggested."""


def class_index(names: Sequence[str] | None, wanted: str) -> int:
    """Find the class that has a name.

    Parameters
    ----------
    names : sequence of str or None
        Names of the classes by index; one may list several, with commas between. None where
        they are not known.
    wanted : str
        A name, whatever its case, or an index.

    Returns
    -------
    int
        Its index.

    Raises
    ------
    TargetError
        No class, or several, have that name.
    """
    if wanted.strip().lstrip("-").isdigit():
        return int(wanted)
    if names is None:
        raise TargetError(
            f"The model's classes have no names; give an index, not {wanted!r}, or say the names: "
            "classes=[...], or classes=camcore.imagenet_classes()."
        )
    folded = [name.casefold() for name in names]
    sought = " ".join(wanted.casefold().split())
    places = [i for i, name in enumerate(folded) if name == sought]
    places = places or [i for i, name in enumerate(folded) if sought in _synonyms(name)]
    if len(places) == 1:
        return places[0]
    if places:
        raise TargetError(f"{wanted!r} names the classes {places}; give one of these indices.")
    similar = _similar(sought, folded)
    hint = f"Did you mean {', '.join(similar)}?" if similar else "Give an index."
    raise TargetError(f"The model has no class {wanted!r}. {hint}")


def _synonyms(name: str) -> list[str]:
    return [part.strip() for part in name.split(",")]


def _similar(sought: str, names: Sequence[str]) -> list[str]:
    """List names that hold it as a word, then as a part of one; else those that are near."""
    word = re.compile(rf"\b{re.escape(sought)}\b")
    found = [name for name in names if word.search(name)]
    found += [name for name in names if sought in name and name not in found]
    return list(dict.fromkeys(found))[:_LISTED] or near(sought, names)
