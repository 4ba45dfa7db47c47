"""Conventions as data: how a signed map becomes the map that a library shows.

A recipe states which score is explained, which variant of a method is used, and
which steps turn each layer's signed map into the shown one, in which order.
Nothing branches on a recipe's name.
"""

from camcore.recipes.base import PAPER, Blend, OverlayStyle, Recipe, Rendering
from camcore.recipes.steps import Levels, Normalise, Relu, Resize, Step, Stretch, Tanh
from camcore.recipes.table import TABLE, RecipeLike, find_recipe

__all__ = [
    "PAPER",
    "TABLE",
    "Blend",
    "Levels",
    "Normalise",
    "OverlayStyle",
    "Recipe",
    "RecipeLike",
    "Relu",
    "Rendering",
    "Resize",
    "Step",
    "Stretch",
    "Tanh",
    "find_recipe",
]
