"""What a model is loaded from, as a command names it."""

from __future__ import annotations

from camcore import zoo
from camcore.cli import console
from camcore.cli.console import Steps
from camcore.zoo import LoadedModel, ModelName


class ModelRequest(ModelName):
    """A model, and what it is loaded with; what is wrong with it ends the command."""

    def check(self) -> None:
        """End the command where it names no model, or classes that cannot be read."""
        with console.misuse():
            zoo.check_spec(self.spec)
        if self.classes is not None:
            zoo.read_classes(self.classes)

    def load_in(self, steps: Steps) -> LoadedModel:
        """Load the model as one of the `steps`, and note what is not known of it."""
        with steps.step(f"loading {self.spec}", noisy=True):
            loaded = self.load()
        console.warn_of_assumed(loaded)
        return loaded
