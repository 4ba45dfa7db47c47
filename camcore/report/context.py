"""What stands in a report, as a template reads it."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import numpy.typing as npt

import camcore
from camcore.errors import InputError
from camcore.methods.table import TABLE
from camcore.report.entries import AXES, Entry, Held, values
from camcore.report.pictures import data_uri, laid_over, shrunk

_MATTER = ("torch", "torchvision", "timm", "tensorflow", "keras", "tf_keras", "onnxruntime", "jax")
"""Packages that a map's digits may depend on, where they are imported."""


@dataclass(frozen=True)
class Cell:
    """One entry's map of one photograph."""

    entry: Entry
    index: int
    picture: str
    explained: str
    score: str
    probability: str
    empty: bool
    alt: str


@dataclass(frozen=True)
class Gap:
    """How far two entries are apart on one photograph, or at worst."""

    names: tuple[str, str]
    alike: tuple[str, ...]
    largest: float
    pearson: float
    spearman: float
    ssim: float | None
    overlap: float
    same: str
    agrees: bool
    worst: int = 0


@dataclass(frozen=True)
class Row:
    """One photograph, with every entry's map of it."""

    index: int
    name: str
    uri: str
    width: int
    height: int
    cells: Sequence[Cell]
    gaps: Sequence[Gap]

    @property
    def apart(self) -> float:
        """The largest difference between any two maps held together."""
        return max((gap.largest for gap in self.gaps), default=0.0)


def rows(
    photos: Sequence[npt.ArrayLike],
    names: Sequence[str],
    entries: Sequence[Entry],
    held: Sequence[Held],
    tolerance: float | None,
    side: int,
) -> list[Row]:
    """Make each photograph's pictures and numbers.

    Parameters
    ----------
    photos : sequence of B (H, W, 3) arrays
        uint8, or floating in [0, 1].
    names : sequence of B str
        What they are called.
    entries : sequence of Entry
        Their explanations.
    held : sequence of Held
        Which of them are held against one another.
    tolerance : float or None
        Largest difference that counts as agreement.
    side : int
        Longer side of the pictures, in pixels.
    """
    made = []
    for index, (photo, name) in enumerate(zip(photos, names, strict=True)):
        small = shrunk(photo, side)
        made.append(
            Row(
                index=index,
                name=name,
                uri=data_uri(small),
                width=small.shape[1],
                height=small.shape[0],
                cells=[_cell(entry, index, name, small) for entry in entries],
                gaps=[_gap(one, index, tolerance) for one in held],
            )
        )
    return made


def _cell(entry: Entry, index: int, name: str, photo: npt.NDArray[np.uint8]) -> Cell:
    result = entry.explanation
    crop = None
    if entry.crops is not None:
        found = entry.crops[index]
        crop = type(found)(photo.shape, found.size, found.resize, found.interpolation)
    explained, probability = "the score asked for", ""
    if result.classes is not None:
        number = int(result.classes[index])
        explained = entry.class_name(number)
        if result.probabilities is not None:
            probability = f"{result.probabilities[index, number]:.1%}"
    told = ", ".join(filter(None, (entry.method, entry.model, entry.recipe)))
    return Cell(
        entry=entry,
        index=index,
        picture=data_uri(laid_over(photo, result.maps[index], result.overlay_style, crop)),
        explained=explained,
        score=f"{result.scores[index]:.4g}",
        probability=probability,
        empty=bool(result.empty[index]),
        alt=f"{name} with its map of {explained} laid over: {told}",
    )


def _gap(held: Held, index: int, tolerance: float | None) -> Gap:
    pair = held.pair
    return Gap(
        names=held.names,
        alike=held.alike,
        largest=float(pair.largest[index]),
        pearson=float(pair.pearson[index]),
        spearman=float(pair.spearman[index]),
        ssim=None if pair.ssim is None else float(pair.ssim[index]),
        overlap=float(pair.overlap[index]),
        same="" if held.same is None else "yes" if held.same[index] else "no",
        agrees=tolerance is None or bool(pair.largest[index] <= tolerance),
    )


def summary(held: Sequence[Held], tolerance: float | None) -> list[Gap]:
    """Each pair at its worst over the photographs.

    Parameters
    ----------
    held : sequence of Held
        Pairs.
    tolerance : float or None
        Largest difference that counts as agreement.
    """
    return [
        Gap(
            names=one.names,
            alike=one.alike,
            largest=one.largest,
            pearson=least(one.pair.pearson),
            spearman=least(one.pair.spearman),
            ssim=None if one.pair.ssim is None else least(one.pair.ssim),
            overlap=least(one.pair.overlap),
            same="" if one.same is None else f"{int(one.same.sum())} of {len(one.same)}",
            agrees=tolerance is None or one.largest <= tolerance,
            worst=one.pair.worst,
        )
        for one in held
    ]


def least(numbers: npt.NDArray[np.floating]) -> float:
    """Find the smallest that is a number; NaN where none is."""
    kept = numbers[~np.isnan(numbers)]
    return float(kept.min()) if len(kept) else float("nan")


def correlation(value: float | None) -> str:
    """Write four digits; eight where four would make 1.0000 of what is not."""
    if value is None or np.isnan(value):
        return "-"
    return f"{value:.8f}" if 0.99995 <= value < 1 - 5e-9 else f"{value:.4f}"


def filters(entries: Sequence[Entry]) -> list[tuple[str, list[str]]]:
    """List the axes on which entries differ, with what they have on each."""
    found = [(axis, values(entries, axis)) for axis in AXES]
    return [(axis, several) for axis, several in found if len(several) > 1]


def cost(entry: Entry) -> dict[str, str]:
    """Write down what an entry is made of and what it took."""
    row = next((row for row in TABLE if row.name == entry.explanation.method), None)
    return {
        "layers": ", ".join(entry.explanation.layers),
        "seconds": "" if entry.seconds is None else f"{1e3 * entry.seconds:.0f} ms",
        "passes": "" if entry.passes is None else f"{entry.passes:.2f}×",
        "expected": "" if row is None else row.passes,
    }


def calls(entries: Sequence[Entry]) -> str:
    """Write the calls of the library that made the explanations."""
    lines = []
    for entry in entries:
        one = entry.explanation
        target = [] if one.classes is None else [f"target={one.classes.tolist()}"]
        words = [
            "model",
            "images",
            *target,
            f"layer={list(one.layers)}",
            f"method={one.method!r}",
            f"recipe={one.recipe!r}",
        ]
        note = f"  # model: {entry.model}" if entry.model else ""
        lines.append(f"camcore.explain({', '.join(words)}){note}")
    return "\n".join(lines)


def seed(entries: Sequence[Entry], given: int | None) -> str:
    """Write down the seed, or that there is none to write down."""
    if given is not None:
        return str(given)
    names = {entry.explanation.method for entry in entries}
    drawn = any("seed" in row.takes() for row in TABLE if row.name in names)
    return "the method's own, unless its call says another" if drawn else "nothing is drawn"


def versions() -> list[tuple[str, str]]:
    """List what ran: camcore, Python, NumPy and the frameworks that are imported."""
    found = [
        ("camcore", camcore.__version__),
        ("Python", platform.python_version()),
        ("NumPy", np.__version__),
    ]
    for package in _MATTER:
        if package in sys.modules:
            try:
                found.append((package, version(package)))
            except PackageNotFoundError:
                continue
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    return [*found, ("machine", machine)]


def as_photos(photos: object, count: int) -> list[npt.NDArray[np.generic]]:
    """Bring photographs to a list.

    Raises
    ------
    InputError
        There are not as many as explained.
    """
    single = isinstance(photos, np.ndarray) and photos.ndim == 3
    listed = [photos] if single else list(photos)  # type: ignore[call-overload]
    if len(listed) != count:
        raise InputError(
            f"{len(listed)} photographs and explanations of {count}; give the ones explained."
        )
    return [np.asarray(photo) for photo in listed]
