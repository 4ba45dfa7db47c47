"""How each operator pulls a cotangent back: one function an operator, by formula.

In formulas g is the cotangent of the output y, and dx that of the input x.
"""

from . import arrangement, elementwise, normalisation, products, reductions, windows
from .table import RULES, STOPS

__all__ = [
    "RULES",
    "STOPS",
    "arrangement",
    "elementwise",
    "normalisation",
    "products",
    "reductions",
    "windows",
]
