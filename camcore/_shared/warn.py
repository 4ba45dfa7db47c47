"""Warnings that point to the user's own line."""

from __future__ import annotations

import sys
import warnings


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn where the user called camcore, however deep inside it that is noticed."""
    level = 1
    while sys._getframe(level).f_globals.get("__name__", "").startswith("camcore"):
        level += 1
    warnings.warn(message, category, stacklevel=level + 1)
