"""One framework's part of the comparison: its explanations, and what they cost."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import numpy as np
import numpy.typing as npt

from camcore import registry, zoo
from camcore.cli.console import Steps
from camcore.cli.sight import Sight
from camcore.explainer import Explainer
from camcore.explanation import Explanation
from camcore.methods.table import TABLE, Method
from camcore.registry import Backend
from camcore.zoo import LoadedModel

Photos: TypeAlias = Mapping[str, npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Side:
    """A network in one framework, and what it says about each photograph.

    Parameters
    ----------
    framework : str
        Import name of the framework.
    name : str
        The framework's name for people.
    views : sequence of Sight
        The photographs before the model.
    results : sequence of mapping of str to Explanation
        For each photograph, each gradient method's explanation.
    cost : float
        What Grad-CAM costs, in forward passes.
    forward : float
        What a forward pass takes, in seconds.
    """

    framework: str
    name: str
    views: Sequence[Sight]
    results: Sequence[Mapping[str, Explanation]]
    cost: float
    forward: float

    @property
    def loaded(self) -> LoadedModel:
        """The network."""
        return self.views[0].loaded


def gradient_methods() -> list[Method]:
    """List the methods that are made of one pass and its gradients."""
    return [
        method
        for method in TABLE
        if set(method.needs) == {"activations", "gradients"} and method.passes == "1"
    ]


def run(
    framework: str,
    spec: str,
    photos: Photos,
    rounds: int,
    steps: Steps,
) -> Side:
    """Load a network, explain photographs, and time it.

    Parameters
    ----------
    framework : str
        Import name of the framework.
    spec : str
        The network, as `camcore.zoo.load_model` takes it.
    photos : mapping of str to (H, W, 3) uint8 array
        What is explained.
    rounds : int
        How often the cost is measured.
    steps : Steps
        Told what is being done, photos + 2 times.
    """
    with steps.step(f"loading {spec}", noisy=True):
        backend = registry.backend(framework)
        loaded = zoo.load_model(spec)
    views = [Sight(loaded, photo) for photo in photos.values()]
    explainer = Explainer(
        loaded.model,
        layer=loaded.default_layer,
        method=[method.name for method in gradient_methods()],
    )
    results = []
    for name, view in zip(photos, views, strict=True):
        with steps.step(f"{backend.name}: explaining {name}"):
            results.append(cast("dict[str, Explanation]", explainer(view.inputs)))
    with steps.step(f"{backend.name}: measuring the cost"):
        cost, forward = _cost(backend, views[0], rounds)
    return Side(framework, backend.name, views, results, cost, forward)


def _cost(backend: Backend, view: Sight, rounds: int) -> tuple[float, float]:
    """Median ratio of Grad-CAM to a forward pass, timed in turn, and the pass's seconds."""
    model, inputs = view.loaded.model, view.inputs
    adapter = registry.adapter(model)
    explainer = Explainer(model, layer=view.loaded.default_layer)

    def seconds(work: Callable[[], object]) -> float:
        backend.synchronize()
        start = time.perf_counter()
        work()
        backend.synchronize()
        return time.perf_counter() - start

    pairs = [
        (seconds(lambda: adapter.run(inputs)), seconds(lambda: explainer(inputs)))
        for _ in range(rounds + 2)
    ][2:]  # The first rounds compile and warm up.
    forward = statistics.median(plain for plain, _ in pairs)
    return statistics.median(explained / plain for plain, explained in pairs), forward
