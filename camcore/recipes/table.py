"""Every recipe by name."""

from __future__ import annotations

import difflib
from typing import TypeAlias

from camcore.errors import RecipeError
from camcore.recipes.base import PAPER, Recipe
from camcore.recipes.papers import AUTHORS, NOTEBOOK
from camcore.recipes.tensorflow_libraries import KERAS_IO, TF_EXPLAIN, TF_KERAS_VIS, XPLIQUE
from camcore.recipes.torch_libraries import (
    CAPTUM,
    MONAI,
    PYTORCH_GRAD_CAM,
    TORCHCAM,
    TORCHCAM_DOCUMENTED,
)

TABLE: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        PAPER,
        PYTORCH_GRAD_CAM,
        TORCHCAM,
        TORCHCAM_DOCUMENTED,
        CAPTUM,
        MONAI,
        KERAS_IO,
        TF_EXPLAIN,
        TF_KERAS_VIS,
        XPLIQUE,
        NOTEBOOK,
        AUTHORS,
    )
}

RecipeLike: TypeAlias = "str | Recipe"


def find_recipe(name: RecipeLike) -> Recipe:
    """Find a recipe by name.

    Parameters
    ----------
    name : str or Recipe
        In any case, words joined by hyphens or underscores.

    Returns
    -------
    Recipe

    Raises
    ------
    RecipeError
        There is no such recipe.
    """
    if isinstance(name, Recipe):
        return name
    wanted = str(name).casefold().replace("_", "-")
    if wanted in TABLE:
        return TABLE[wanted]
    near = difflib.get_close_matches(wanted, TABLE, n=3)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"There are {', '.join(TABLE)}."
    raise RecipeError(f"There is no recipe {name!r}. {hint}")
