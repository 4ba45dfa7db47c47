"""What a model is loaded from, as a command names it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camcore import zoo
from camcore.cli import console
from camcore.cli.console import Steps
from camcore.zoo import LoadedModel


@dataclass(frozen=True)
class ModelRequest:
    """A model, and what it is loaded with.

    Parameters
    ----------
    spec, weights, checkpoint, pretrained, num_classes, device
        As `camcore.zoo.load_model` takes them.
    classes : Path or None
        A file of names.
    """

    spec: str
    weights: str | None = None
    checkpoint: str | None = None
    pretrained: bool = False
    num_classes: int | None = None
    device: str | None = None
    classes: Path | None = None

    def check(self) -> None:
        """End the command where it names no model, or classes that cannot be read."""
        with console.misuse():
            zoo.check_spec(self.spec)
        if self.classes is not None:
            zoo.read_classes(self.classes)

    def load(self) -> LoadedModel:
        """Load the model."""
        return zoo.load_model(
            self.spec,
            self.weights,
            checkpoint=self.checkpoint,
            pretrained=self.pretrained,
            num_classes=self.num_classes,
            device=self.device,
            classes=self.classes,
        )

    def load_in(self, steps: Steps) -> LoadedModel:
        """Load the model as one of the `steps`, and note what is not known of it."""
        with steps.step(f"loading {self.spec}", noisy=True):
            loaded = self.load()
        console.warn_of_assumed(loaded)
        return loaded

    @property
    def files(self) -> list[Path]:
        """Files that the model is loaded from, as far as they are named."""
        return zoo.named_files(self.spec, *self._named)

    @property
    def fingerprint(self) -> list[str]:
        """Describe the files and code that made the model, once it is loaded."""
        return zoo.fingerprint(self.spec, *self._named)

    @property
    def _named(self) -> tuple[str | None, ...]:
        return self.weights, self.checkpoint, None if self.classes is None else str(self.classes)

    def settings(self) -> Mapping[str, Any]:
        """Collect what results depend on, to be compared with an earlier run's."""
        weights, checkpoint, classes = map(_absolute, self._named)
        return {
            "model": _absolute(self.spec),
            "weights": weights,
            "checkpoint": checkpoint,
            "pretrained": self.pretrained or None,
            "num-classes": self.num_classes,
            "classes": classes,
        }


def _absolute(name: str | None) -> str | None:
    """Make the name of a file absolute, also of one behind a scheme; leave other names alone."""
    if name is None:
        return None
    scheme, colon, rest = name.partition(":")
    if colon and Path(rest).exists() and not Path(name).exists():
        return f"{scheme}:{Path(rest).resolve()}"
    path = Path(name)
    return str(path.resolve()) if path.is_file() else name
