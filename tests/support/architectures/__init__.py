"""Architectures that people explain, and what is expected of each.

One module a family, each with a list `ARCHITECTURES`; frameworks are imported where a
model is made. Weights are drawn at random, from a seed, unless a row says otherwise.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from architectures.row import Architecture, Refused

__all__ = ["ALL", "Architecture", "Refused"]

_NOT_FAMILIES = {"__init__", "row", "by_hand"}

ALL: tuple[Architecture, ...] = tuple(
    row
    for path in sorted(Path(__file__).parent.glob("*.py"))
    if path.stem not in _NOT_FAMILIES
    for row in import_module(f"architectures.{path.stem}").ARCHITECTURES
)
"""Every row of every family."""
