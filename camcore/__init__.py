"""Class activation maps that give the same numbers in every framework."""

from camcore import augment, errors, methods, recipes, targets
from camcore.compare import Comparison, compare
from camcore.explain import Explainer, explain
from camcore.explanation import Explanation, load
from camcore.factorisation import Factorisation, factorise
from camcore.layout import Layout
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
    "recipes",
    "targets",
]
