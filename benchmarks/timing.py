"""Timing by ratio: candidates and their baseline in turn, and the median of the ratios."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

Run = Callable[[], object]
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
    """Seconds of a baseline, and the median ratio to it of each candidate."""

    seconds: float
    ratios: Mapping[str, float]
    first: Mapping[str, float]


def against(
    baseline: Callable[[], object], candidates: Mapping[str, Callable[[], object]], rounds: int
) -> Timed:
    """Time each candidate next to the baseline.

    Every round runs the baseline and then each candidate, so that whatever slows the
    machine for a while slows both. First calls (compiling, caching) are timed apart.
    """
    first = {name: seconds(run) for name, run in candidates.items()}
    for run in (baseline, *candidates.values()):
        run()
    plain: list[float] = []
    ratios: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        before = seconds(baseline)
        plain.append(before)
        for name, run in candidates.items():
            ratios[name].append(seconds(run) / before)
    return Timed(
        statistics.median(plain), {n: statistics.median(r) for n, r in ratios.items()}, first
    )


def seconds(run: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def machine() -> str:
    """What was measured on: versions, cores, date."""
    names = ["camcore", "numpy", "torch", "torchvision", "timm", "tensorflow", "keras"]
    names += ["grad-cam", "captum", "torchcam", "monai", "tf-explain", "tf-keras-vis"]
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
