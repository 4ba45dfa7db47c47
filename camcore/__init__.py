"""Class activation maps that give the same numbers in every framework."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from camcore import augment, errors, methods, metrics, recipes, report, targets, viz
    from camcore.comparison import Comparison, compare
    from camcore.explainer import Explainer, explain
    from camcore.explanation import Explanation, load
    from camcore.factorisation import Factorisation, factorise
    from camcore.layers.layout import Layout
    from camcore.recipes import Recipe

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "Explainer",
    "Explanation",
    "Factorisation",
    "Layout",
    "Recipe",
    "augment",
    "compare",
    "errors",
    "explain",
    "factorise",
    "load",
    "methods",
    "metrics",
    "recipes",
    "report",
    "targets",
    "viz",
]

_DEFINED_IN = {
    "Comparison": "comparison",
    "Explainer": "explainer",
    "Explanation": "explanation",
    "Factorisation": "factorisation",
    "Layout": "layers.layout",
    "Recipe": "recipes",
    "compare": "comparison",
    "explain": "explainer",
    "factorise": "factorisation",
    "load": "explanation",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is first asked for, so that ``import camcore`` is quick."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_DEFINED_IN.get(name, name)}")
    found = getattr(module, name) if name in _DEFINED_IN else module
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
