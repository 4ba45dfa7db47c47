"""Class activation maps that give the same numbers in every framework."""

from camcore import errors, methods, recipes, targets
from camcore.explain import Explainer, explain
from camcore.explanation import Explanation, load
from camcore.layout import Layout
from camcore.recipes import Recipe

__version__ = "0.1.0"

__all__ = [
    "Explainer",
    "Explanation",
    "Layout",
    "Recipe",
    "errors",
    "explain",
    "load",
    "methods",
    "recipes",
    "targets",
]
