"""What ``camcore explain`` is asked for, whether of one photograph, of many, or of a video."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import camcore
from camcore.cli import console, labels
from camcore.cli.console import Steps
from camcore.cli.model import ModelRequest
from camcore.cli.options import AUGMENTS
from camcore.methods.table import find
from camcore.photos.io import ValueRange
from camcore.recipes import Recipe, find_recipe
from camcore.targets import TargetLike
from camcore.viz.overlay import colour_table
from camcore.zoo import LoadedModel

TOP = 5
"""How many of the highest classes are listed unless asked for."""


@dataclass(frozen=True)
class ExplainRequest:
    """The model to explain, and how to explain it.

    Parameters
    ----------
    model : ModelRequest
        The model, and what it is loaded with.
    layer : sequence of str
        Empty for the model's default.
    target : str or None
        A class by index or name; None for the predicted one.
    method, recipe : str
        By name.
    max_dim : int
        Photographs with longer sides are scaled down to this.
    value_range : (float, float) or None
        The files' values that are black and white; None leaves it to the files.
    activation : str or None
        What makes probabilities of the model's scores; None where the model tells.
    augment : str or None
        Views that maps are averaged over, by a key of `camcore.cli.options.AUGMENTS`.
    colormap : str or None
        Of the overlays; the recipe's own unless given.
    alpha : float or None
        Weight of the colours in the overlays; the recipe's own unless given.
    top : int
        How many of the highest classes are listed.
    tile, overlap : int
        Sides of the tiles that one large photograph is cut into, and how many pixels of them
        neighbours share; a side of 0 explains it whole.
    """

    model: ModelRequest
    layer: Sequence[str]
    target: str | None
    method: str
    recipe: str
    max_dim: int
    value_range: ValueRange | None = None
    activation: str | None = None
    augment: str | None = None
    colormap: str | None = None
    alpha: float | None = None
    top: int = TOP
    tile: int = 0
    overlap: int = 0

    def check(self) -> None:
        """End the command where what is named is not there, before a model is loaded."""
        with console.misuse():
            find(self.method)
            colour_table(self.drawn_recipe.overlay.colormap)
        self.model.check()

    @property
    def drawn_recipe(self) -> Recipe:
        """The recipe, with the colours that are asked for."""
        recipe = find_recipe(self.recipe)
        style = recipe.overlay
        if self.colormap is not None:
            style = replace(style, colormap=self.colormap)
        if self.alpha is not None:
            style = replace(style, alpha=self.alpha)
        return recipe.derive(recipe.name, overlay=style)

    def load_model(self, steps: Steps) -> LoadedModel:
        """Load the model as one of the `steps`."""
        return self.model.load_in(steps)

    def options(self, loaded: LoadedModel) -> dict[str, Any]:
        """Collect the options of `camcore.Explainer`."""
        return {
            "layer": list(self.layer) or loaded.default_layer,
            "method": self.method,
            "recipe": self.drawn_recipe,
            "activation": self.activation or loaded.activation,
            "augment": () if self.augment is None else AUGMENTS[self.augment],
        }

    def aim(self, loaded: LoadedModel) -> TargetLike:
        """Find what is explained: a class, the predicted one as None, or what the model makes."""
        index = None if self.target is None else labels.class_index(loaded, self.target)
        return index if loaded.aim is None else loaded.aim(index)

    @property
    def files(self) -> list[Path]:
        """Files that the model is loaded from, as far as they are named."""
        return self.model.files

    def run(self, settings: Mapping[str, Any]) -> str:
        """Identify what makes the results: `settings`, the loaded model's files, and camcore."""
        text = json.dumps([settings, self.model.fingerprint, camcore.__version__])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def settings(self) -> Mapping[str, Any]:
        """Collect what the results depend on, to be compared with an earlier run's."""
        return {
            **self.model.settings(),
            "layer": list(self.layer),
            "target": self.target,
            "method": find(self.method).name,
            "recipe": find_recipe(self.recipe).name,
            "max-dim": self.max_dim,
            "value-range": None if self.value_range is None else list(self.value_range),
            "activation": self.activation,
            "augment": self.augment,
            "colormap": self.colormap,
            "alpha": self.alpha,
            "top": None if self.top == TOP else self.top,
        }
