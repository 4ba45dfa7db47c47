"""Timing by ratio: candidates and their baseline in turn, and the median of the ratios."""

from __future__ import annotations

import operator
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import camcore

Run = Callable[[], object]
BASELINE = "baseline"
GRADIENT_METHODS = [
    "gradcam",
    "gradcampp",
    "xgradcam",
    "hirescam",
    "elementwisegradcam",
    "layercam",
]


@dataclass(frozen=True)
class Case:
    """One row: what is timed, next to what, and the ratio aimed at."""

    name: str
    goal: float
    make: Callable[[], tuple[Run, dict[str, Run]]]
    unit: str = "x"
    rounds: int | None = None
    quick: bool = False


@dataclass(frozen=True)
class Timed:
    """Median seconds of a baseline and the candidates, their ratios to it, and first calls."""

    seconds: float
    ratios: Mapping[str, float]
    took: Mapping[str, float]
    first: Mapping[str, float]


def explained(
    model: Any, images: Any, forward: Run, target: Any = None, **options: Any
) -> tuple[Run, dict[str, Run]]:
    """Explain a batch, its layer chosen beforehand, next to the forward pass.

    `options` are those of `camcore.Explainer`.
    """
    explainer = camcore.Explainer(model, **options)
    explainer.layers(images)
    return forward, {"camcore": lambda: explainer(images, target)}


def against(
    baseline: Callable[[], object], candidates: Mapping[str, Callable[[], object]], rounds: int
) -> Timed:
    """Time each candidate next to the baseline.

    Every round runs the baseline and each candidate once, so that whatever slows the
    machine for a while slows all, and in a new order, so that none always follows the
    one that leaves the caches cold. First calls (compiling, caching) are timed apart.
    """
    first = {name: seconds(run) for name, run in candidates.items()}
    if rounds == 1:  # so long that a first call is like any other
        plain = seconds(baseline)
        ratios = {name: took / plain for name, took in first.items()}
        return Timed(plain, ratios, first, first)
    for run in (baseline, *candidates.values()):
        run()
    runs = list({BASELINE: baseline, **candidates}.items())
    took: dict[str, list[float]] = {name: [] for name, _ in runs}
    shuffled = random.Random(0)
    for _ in range(rounds):
        shuffled.shuffle(runs)
        for name, run in runs:
            took[name].append(seconds(run))
    plain = took.pop(BASELINE)
    ratios = {
        name: statistics.median(map(operator.truediv, each, plain)) for name, each in took.items()
    }
    medians = {name: statistics.median(each) for name, each in took.items()}
    return Timed(statistics.median(plain), ratios, medians, first)


def seconds(run: Callable[[], object]) -> float:
    """Measure the wall-clock seconds of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def machine() -> str:
    """Say what was measured on: versions, cores, date."""
    names = ["camcore", "numpy", "torch", "torchvision", "timm", "tensorflow", "keras"]
    names += ["grad-cam", "captum", "torchcam", "quantus", "monai", "tf-explain", "tf-keras-vis"]
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{time.strftime('%Y-%m-%d')}, {cores} cores, {platform.machine()}, "
        f"Python {platform.python_version()}, " + ", ".join(found)
    )
