"""Explain the photographs of a comparison with each of its models, and time them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from camcore import registry, zoo
from camcore.adapter import Adapter
from camcore.batch import PreparedPhoto
from camcore.cli import labels
from camcore.cli.compare.photos import PhotoSet
from camcore.cli.console import Steps
from camcore.cli.model import ModelRequest
from camcore.cli.options import AUGMENTS
from camcore.explainer import Explainer
from camcore.explanation import Explanation
from camcore.nest import batch_of
from camcore.photos.crop import Crop
from camcore.photos.io import ValueRange
from camcore.photos.photo import Photo
from camcore.recipes import find_recipe
from camcore.registry import Backend
from camcore.report import ComparedPair, Entry
from camcore.zoo import LoadedModel

Result = TypeVar("Result")


@dataclass(frozen=True)
class ModelSpec:
    """A model to load, and the layer to explain.

    Parameters
    ----------
    spec : str
        As `camcore.zoo.load_model` takes it.
    label : str
        Its unique name in the comparison.
    weights : str or None
        A file of weights.
    layer : str or None
        The layer to explain; the model's default unless given.
    checkpoint, pretrained, num_classes, device, classes
        What else it is loaded with; see `camcore.cli.model.ModelRequest`.
    """

    spec: str
    label: str
    weights: str | None = None
    layer: str | None = None
    checkpoint: str | None = None
    pretrained: bool = False
    num_classes: int | None = None
    device: str | None = None
    classes: Path | None = None

    @property
    def request(self) -> ModelRequest:
        """The model, and what it is loaded with."""
        return ModelRequest(
            *(self.spec, self.weights, self.checkpoint, self.pretrained),
            *(self.num_classes, self.device, self.classes),
        )

    @property
    def is_keras(self) -> bool:
        """Whether loading the model imports TensorFlow."""
        return zoo.framework_of(self.spec) == "tensorflow"


@dataclass(frozen=True)
class CompareSettings:
    """How every model is explained.

    Parameters
    ----------
    methods, recipes : sequence of str
        Every method is run under every recipe.
    target : str or None
        Index or name of a class; the predicted one unless given.
    seed : int
        For methods that draw random numbers.
    batch : int
        Number of photographs in one run of a model.
    max_dim : int
        Photographs with longer sides are scaled down to this.
    value_range : (float, float) or None
        The files' values that are black and white; None leaves it to the files.
    activation : str or None
        What makes probabilities of the models' scores; None where they tell.
    augment : str or None
        Views that maps are averaged over, by a key of `camcore.cli.options.AUGMENTS`.
    """

    methods: Sequence[str]
    recipes: Sequence[str]
    target: str | None
    seed: int
    batch: int
    max_dim: int
    value_range: ValueRange | None = None
    activation: str | None = None
    augment: str | None = None

    @property
    def is_random(self) -> bool:
        """Whether any method draws random numbers."""
        return any(_takes_seed(m, r) for m in self.methods for r in self.recipes)

    def read(self, path: Path) -> Photo:
        """Read the photograph at `path`."""
        return Photo.read(path, max_dim=self.max_dim, value_range=self.value_range)

    def batches(self, count: int) -> list[range]:
        """Split the indices of `count` photographs into batches."""
        return [
            range(start, min(start + self.batch, count)) for start in range(0, count, self.batch)
        ]


@dataclass(frozen=True)
class CompareResult:
    """Explanations of the same photographs, compared.

    Parameters
    ----------
    photos : PhotoSet
        The photographs.
    entries : sequence of Entry
        Their explanations, by model, recipe and method.
    pairs : sequence of ComparedPair
        How far these are apart, worst first.
    tolerance : float or None
        Largest difference that counts as agreement; None where any does.
    call : str
        The command that makes them again.
    """

    photos: PhotoSet
    entries: Sequence[Entry]
    pairs: Sequence[ComparedPair]
    tolerance: float | None
    call: str

    @property
    def agree(self) -> bool:
        """Whether no difference exceeds the tolerance."""
        return self.tolerance is None or self.pairs[0].largest <= self.tolerance


@dataclass(frozen=True)
class LoadedSpec:
    """A model of a comparison, loaded.

    Parameters
    ----------
    spec : ModelSpec
        What was loaded.
    loaded : LoadedModel
        The model.
    backend : Backend or None
        Its framework; None for a bare adapter.
    """

    spec: ModelSpec
    loaded: LoadedModel
    backend: Backend | None

    @classmethod
    def load(cls, spec: ModelSpec, steps: Steps) -> LoadedSpec:
        """Load `spec` as one of the `steps`."""
        loaded = spec.request.load_in(steps)
        imported = [name for name in registry.frameworks() if name in sys.modules]
        backends = (registry.backend(name) for name in imported)
        return cls(spec, loaded, next((b for b in backends if b.owns(loaded.model)), None))

    @property
    def adapter(self) -> Adapter:
        """The adapter that runs the model."""
        return registry.adapter(self.loaded.model)

    def explainer(self, **options: Any) -> Explainer[Any]:
        """Make an explainer of the model at its layer; `options` say what it returns."""
        own = {"layer": self.spec.layer} if self.spec.layer else {}
        return Explainer(self.loaded.model, **{**self.loaded.defaults, **own, **options})

    def entry(
        self,
        explanations: Sequence[Explanation],
        crops: Sequence[Crop],
        seconds: float | None = None,
        passes: float | None = None,
    ) -> Entry:
        """Join the explanations of successive batches into an entry of a report."""
        return Entry(
            Explanation.concatenate(explanations),
            self.spec.label,
            "NumPy" if self.backend is None else self.backend.name,
            crops,
            self.loaded.classes,
            seconds,
            passes,
        )

    def timed(self, work: Callable[[], Result]) -> tuple[float, Result]:
        """Run `work` and return the seconds it took and its result."""
        self._synchronize()
        start = time.perf_counter()
        result = work()
        self._synchronize()
        return time.perf_counter() - start, result

    def _synchronize(self) -> None:
        if self.backend is not None:
            self.backend.synchronize()


def explain_model(
    spec: ModelSpec, settings: CompareSettings, photos: PhotoSet, steps: Steps
) -> list[Entry]:
    """Load a model, explain every photograph by every method and recipe, and time it.

    Parameters
    ----------
    spec : ModelSpec
        The model.
    settings : CompareSettings
        How it is explained.
    photos : PhotoSet
        The photographs.
    steps : Steps
        Shows one step for loading and one for each batch.

    Returns
    -------
    list of Entry
        By recipe, then by method.
    """
    model = LoadedSpec.load(spec, steps)
    index = None if settings.target is None else labels.class_index(model.loaded, settings.target)
    target = index if model.loaded.aim is None else model.loaded.aim(index)
    explainers: dict[tuple[str, str], Callable[..., Explanation]] = {
        (recipe, method): model.explainer(
            method=method,
            recipe=recipe,
            **({"activation": settings.activation} if settings.activation else {}),
            **({"augment": AUGMENTS[settings.augment]} if settings.augment else {}),
            **({"seed": settings.seed} if _takes_seed(method, recipe) else {}),
        )
        for recipe in settings.recipes
        for method in settings.methods
    }
    parts: dict[tuple[str, str], list[Explanation]] = {key: [] for key in explainers}
    times: dict[tuple[str, str], list[tuple[int, float, float]]] = {key: [] for key in explainers}
    crops: list[Crop] = []
    adapter = model.adapter
    for batch in settings.batches(len(photos)):
        text = f"{spec.label}: photos {batch[0] + 1} to {batch[-1] + 1} of {len(photos)}"
        with steps.step(text):
            prepared = [
                PreparedPhoto.for_model(model.loaded, settings.read(photos.paths[i])) for i in batch
            ]
            crops += [one.crop for one in prepared if one.crop]
            inputs, count = batch_of([one.inputs for one in prepared]), len(batch)
            for key, explainer in explainers.items():
                forward, _ = model.timed(partial(adapter.run, inputs))
                seconds, result = model.timed(partial(explainer, inputs, target))
                parts[key].append(result)
                times[key].append((count, seconds / count, forward / count))
    return [model.entry(parts[key], crops, *_cost(times[key])) for key in explainers]


def _takes_seed(method: str, recipe: str) -> bool:
    return "seed" in find_recipe(recipe).method(method).takes()


def _cost(times: Sequence[tuple[int, float, float]]) -> tuple[float, float]:
    """Return the least seconds for a photograph, and how many of the least forward passes.

    The first batch compiles, and so does one of another size. They count where there are
    no others.
    """
    warm = [one for one in times[1:] if one[0] == times[0][0]] or times
    explained, forward = (min(one[i] for one in warm) for i in (1, 2))
    return explained, explained / forward
