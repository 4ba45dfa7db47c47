"""What is asked of a model, whether for one photograph, for many, or for a video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from camcore import zoo
from camcore.cli import sight
from camcore.cli.console import Steps
from camcore.methods.table import find
from camcore.recipes import find_recipe
from camcore.zoo import LoadedModel


@dataclass(frozen=True)
class Call:
    """The model, and what is to be explained how.

    Parameters
    ----------
    model, weights : str
        As `camcore.zoo.load_model` takes them.
    layer : sequence of str
        Empty where it is left to the model.
    target : str or None
        A class by index or name.
    method, recipe : str
        By name.
    max_dim : int
        Longer sides are scaled down to this.
    """

    model: str
    weights: str | None
    layer: Sequence[str]
    target: str | None
    method: str
    recipe: str
    max_dim: int

    def check(self) -> None:
        """Find what is named wrongly, before a model is loaded."""
        find(self.method), find_recipe(self.recipe)

    def load(self, steps: Steps) -> LoadedModel:
        """Load the model, a step of the work."""
        with steps.step(f"loading {self.model}", noisy=True):
            return zoo.load_model(self.model, self.weights)

    def options(self, loaded: LoadedModel) -> dict[str, Any]:
        """What `camcore.Explainer` takes."""
        return {
            "layer": list(self.layer) or loaded.default_layer,
            "method": self.method,
            "recipe": self.recipe,
        }

    def class_index(self, loaded: LoadedModel) -> int | None:
        """The class that is explained; None where it is the predicted one."""
        return None if self.target is None else sight.class_index(loaded, self.target)

    def said(self) -> Mapping[str, Any]:
        """What decides over the results, in words to be compared with another call's."""
        return {
            "model": _with_date(self.model),
            "weights": None if self.weights is None else _with_date(self.weights),
            "layer": list(self.layer),
            "target": self.target,
            "method": find(self.method).name,
            "recipe": find_recipe(self.recipe).name,
            "max-dim": self.max_dim,
        }


def _with_date(name: str) -> str:
    """A file's name with when it was last changed; other names as they are."""
    path = Path(name)
    if not path.is_file():
        return name
    changed = datetime.fromtimestamp(path.stat().st_mtime).isoformat(" ", "seconds")
    return f"{path.resolve()} of {changed}"
