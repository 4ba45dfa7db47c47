"""What the libraries' recipes are written with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from camcore.methods.table import Method, find
from camcore.recipes.recipe import Rendering
from camcore.recipes.steps import Normalise
from camcore.trace import Array

AS_IS = Rendering()
"""The signed map is the shown one."""

SCALED = Normalise("min_max", 1e-7)


def variant(name: str, function: Callable[..., Array] | None = None, **changes: Any) -> Method:
    """The paper's row of a method with some fields changed; other keywords are its options."""
    row = find(name)
    fields = {key: changes.pop(key) for key in ("needs", "aim", "fusion") if key in changes}
    return replace(
        row, function=function or row.function, options={**row.options, **changes}, **fields
    )


def named(*methods: Method) -> dict[str, Method]:
    """Methods by their canonical names."""
    return {method.name: method for method in methods}
