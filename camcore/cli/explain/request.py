"""What ``camcore explain`` is asked for, whether of one photograph, of many, or of a video."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import camcore
from camcore import zoo
from camcore.cli import console, labels
from camcore.cli.console import Steps
from camcore.methods.table import find
from camcore.photos.io import ValueRange
from camcore.recipes import find_recipe
from camcore.zoo import LoadedModel


@dataclass(frozen=True)
class ExplainRequest:
    """The model to explain, and how to explain it.

    Parameters
    ----------
    model, weights : str
        As `camcore.zoo.load_model` takes them.
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
    """

    model: str
    weights: str | None
    layer: Sequence[str]
    target: str | None
    method: str
    recipe: str
    max_dim: int
    value_range: ValueRange | None = None
    activation: str | None = None

    def check(self) -> None:
        """Raise an error for an unknown method or recipe, before a model is loaded."""
        find(self.method), find_recipe(self.recipe)

    def load_model(self, steps: Steps) -> LoadedModel:
        """Load the model as one of the `steps`."""
        with steps.step(f"loading {self.model}", noisy=True):
            loaded = zoo.load_model(self.model, self.weights)
        console.warn_of_assumed(loaded)
        return loaded

    def options(self, loaded: LoadedModel) -> dict[str, Any]:
        """Collect the options of `camcore.Explainer`."""
        return {
            "layer": list(self.layer) or loaded.default_layer,
            "method": self.method,
            "recipe": self.recipe,
            "activation": self.activation or loaded.activation,
        }

    def class_index(self, loaded: LoadedModel) -> int | None:
        """Find the index of the class to explain; None for the predicted one."""
        return None if self.target is None else labels.class_index(loaded, self.target)

    @property
    def files(self) -> list[Path]:
        """Files that the model is loaded from, as far as they are named."""
        return zoo.named_files(self.model, self.weights)

    def run(self, settings: Mapping[str, Any]) -> str:
        """Identify what makes the results: `settings`, the loaded model's files, and camcore."""
        model = zoo.fingerprint(self.model, self.weights)
        text = json.dumps([settings, model, camcore.__version__])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def settings(self) -> Mapping[str, Any]:
        """Collect what the results depend on, to be compared with an earlier run's."""
        return {
            "model": _absolute(self.model),
            "weights": None if self.weights is None else _absolute(self.weights),
            "layer": list(self.layer),
            "target": self.target,
            "method": find(self.method).name,
            "recipe": find_recipe(self.recipe).name,
            "max-dim": self.max_dim,
            "value-range": None if self.value_range is None else list(self.value_range),
            "activation": self.activation,
        }


def _absolute(name: str) -> str:
    """Make the name of a file absolute; leave other names alone."""
    path = Path(name)
    return str(path.resolve()) if path.is_file() else name
