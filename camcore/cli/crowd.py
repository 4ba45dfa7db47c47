"""What one model says about many photographs, method by method and recipe by recipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np

from camcore import registry, zoo
from camcore.cli import sight
from camcore.cli.album import Album
from camcore.cli.console import Steps
from camcore.cli.sight import Sight
from camcore.explainer import Explainer
from camcore.explanation import Explanation
from camcore.nest import batch_of
from camcore.photos.crop import CentreCrop
from camcore.photos.io import read_photo
from camcore.recipes import find_recipe
from camcore.registry import Backend
from camcore.report import Entry
from camcore.zoo import LoadedModel


@dataclass(frozen=True)
class Asked:
    """A model, and where to look in it.

    Parameters
    ----------
    spec : str
        As `camcore.zoo.load_model` takes it.
    label : str
        What it is called among the others.
    weights : str or None
        A file of weights.
    layer : str or None
        The layer to explain; the model's default unless given.
    """

    spec: str
    label: str
    weights: str | None
    layer: str | None


@dataclass(frozen=True)
class Questions:
    """What every model is asked.

    Parameters
    ----------
    methods, recipes : sequence of str
        Each with each.
    target : str or None
        Index or name of a class; the predicted one unless given.
    seed : int
        For methods that draw at random.
    batch : int
        How many photographs go through a model at once.
    max_dim : int
        Photographs whose longer side is beyond this are scaled down to it.
    """

    methods: Sequence[str]
    recipes: Sequence[str]
    target: str | None
    seed: int
    batch: int
    max_dim: int

    @property
    def drawn(self) -> bool:
        """Whether anything is drawn at random."""
        return any(_takes_seed(m, r) for m in self.methods for r in self.recipes)


def batches(album: Album, size: int) -> list[range]:
    """Cut the album's places into batches."""
    return [
        range(start, min(start + size, len(album.paths)))
        for start in range(0, len(album.paths), size)
    ]


def explain(asked: Asked, questions: Questions, album: Album, steps: Steps) -> list[Entry]:
    """Load a model, explain every photograph, and time it.

    Parameters
    ----------
    asked : Asked
        The model.
    questions : Questions
        What is asked of it.
    album : Album
        The photographs.
    steps : Steps
        Told what is being done, batches + 1 times.

    Returns
    -------
    list of Entry
        By recipe, then by method.
    """
    with steps.step(f"loading {asked.spec}", noisy=True):
        loaded = zoo.load_model(asked.spec, asked.weights)
    backend = _backend(loaded.model)
    target = None if questions.target is None else sight.class_index(loaded, questions.target)
    explainers = {
        (recipe, method): Explainer(
            loaded.model,
            layer=asked.layer or loaded.default_layer,
            method=method,
            recipe=recipe,
            **_seeded(method, recipe, questions.seed),
        )
        for recipe in questions.recipes
        for method in questions.methods
    }
    parts: dict[tuple[str, str], list[Explanation]] = {key: [] for key in explainers}
    spent: dict[tuple[str, str], list[tuple[int, float, float]]] = {key: [] for key in explainers}
    adapter = registry.adapter(loaded.model)
    for places in batches(album, questions.batch):
        what = f"{asked.label}: photos {places[0] + 1} to {places[-1] + 1} of {len(album.paths)}"
        with steps.step(what):
            inputs, count = _inputs(loaded, album, places, questions.max_dim), len(places)
            for key, explainer in explainers.items():
                forward, _ = _timed(backend, partial(adapter.run, inputs))
                seconds, result = _timed(backend, partial(explainer, inputs, target))
                parts[key].append(cast(Explanation, result))
                spent[key].append((count, seconds / count, forward / count))
    crops = [
        CentreCrop(photo.shape, loaded.size, loaded.resize, loaded.interpolation)
        for photo in album.small
    ]
    return [
        Entry(
            joined(parts[key]),
            asked.label,
            "NumPy" if backend is None else backend.name,
            crops,
            loaded.classes,
            *_cost(spent[key]),
        )
        for key in explainers
    ]


def joined(parts: Sequence[Explanation]) -> Explanation:
    """One explanation of several batches."""

    def together(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])

    first = parts[0]
    return replace(
        first,
        **{name: together(name) for name in ("maps", "scores", "empty", "outputs")},
        raw={name: np.concatenate([part.raw[name] for part in parts]) for name in first.raw},
        classes=None if first.classes is None else together("classes"),
    )


def taken(entry: Entry, places: Sequence[int]) -> Entry:
    """The entry of some of its photographs."""
    one, at = entry.explanation, np.asarray(places)
    some = replace(
        one,
        **{name: getattr(one, name)[at] for name in ("maps", "scores", "empty", "outputs")},
        raw={name: maps[at] for name, maps in one.raw.items()},
        classes=None if one.classes is None else one.classes[at],
    )
    return replace(entry, explanation=some, crops=entry.crops and [entry.crops[i] for i in places])


def _inputs(loaded: LoadedModel, album: Album, places: Sequence[int], max_dim: int) -> Any:
    views = [Sight(loaded, read_photo(album.paths[i], max_dim=max_dim)).inputs for i in places]
    return batch_of(views)


def _takes_seed(method: str, recipe: str) -> bool:
    return "seed" in find_recipe(recipe).method(method).takes()


def _seeded(method: str, recipe: str, seed: int) -> dict[str, Any]:
    return {"seed": seed} if _takes_seed(method, recipe) else {}


def _backend(model: object) -> Backend | None:
    """The framework that a model is of; None for a bare adapter."""
    loaded = [name for name in registry.frameworks() if name in sys.modules]
    owners = (registry.backend(name) for name in loaded)
    return next((owner for owner in owners if owner.owns(model)), None)


def _timed(backend: Backend | None, work: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    done = work()
    if backend is not None:
        backend.synchronize()
    return time.perf_counter() - start, done


def _cost(spent: Sequence[tuple[int, float, float]]) -> tuple[float, float]:
    """Seconds for a photograph and how many passes that is, each at its quickest.

    The first batch compiles, and so does one of another size; they count where there are
    no others.
    """
    warm = [times for times in spent[1:] if times[0] == spent[0][0]] or spent
    explained, forward = (min(times[i] for times in warm) for i in (1, 2))
    return explained, explained / forward
