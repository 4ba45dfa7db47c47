"""Names near one that is not known, for error messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

CUTOFF = 0.5
"""Similarity, by `difflib.SequenceMatcher.ratio`, from which a name counts as near."""


def near(name: str, known: Iterable[str], limit: int = 4) -> list[str]:
    """List the known names most like `name`, best first, at most `limit` of them."""
    return difflib.get_close_matches(name, list(known), n=limit, cutoff=CUTOFF)


def hint(name: str, known: Iterable[str], limit: int = 6) -> str:
    """Suggest what `name` may have meant: the near names, or else the first `limit` known."""
    known = list(known)
    if found := near(name, known):
        return f"Did you mean {', '.join(map(repr, found))}?"
    more = f" and {len(known) - limit} more" if len(known) > limit else ""
    return f"There are {', '.join(map(repr, known[:limit]))}{more}." if known else "There are none."
