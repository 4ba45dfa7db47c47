"""Every recipe by name."""

from __future__ import annotations

from typing import TypeAlias

from camcore._shared.suggest import hint
from camcore.errors import RecipeError
from camcore.recipes.base import PAPER, Recipe
from camcore.recipes.captum import CAPTUM
from camcore.recipes.keras_io import KERAS_IO
from camcore.recipes.monai import MONAI
from camcore.recipes.papers import AUTHORS, NOTEBOOK
from camcore.recipes.pytorch_grad_cam import PYTORCH_GRAD_CAM
from camcore.recipes.tf_explain import TF_EXPLAIN
from camcore.recipes.tf_keras_vis import TF_KERAS_VIS
from camcore.recipes.torchcam import TORCHCAM, TORCHCAM_DOCUMENTED
from camcore.recipes.xplique import XPLIQUE

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
    raise RecipeError(f"There is no recipe {name!r}. {hint(wanted, TABLE)}")
