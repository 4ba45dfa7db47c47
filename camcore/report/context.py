"""The values that a report's template reads: pictures, numbers and calls."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore._shared.optional import installed_version, needs
from camcore.errors import InputError
from camcore.explanation import Explanation
from camcore.methods.table import registered
from camcore.recipes import OverlayStyle
from camcore.report.entries import AXES, ComparedPair, Entry, values
from camcore.report.samples import NOUNS, Photograph, Sample, png_uri, sample_of
from camcore.viz.arrays import Table
from camcore.viz.colormaps import Sequential

Picture: TypeAlias = npt.NDArray[np.uint8]

_PIXELS = 60e6
"""How many pixels all pictures of a page have together at most."""

_PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "tensorflow",
    "keras",
    "tf_keras",
    "onnxruntime",
    "jax",
)
"""Packages that the digits of a map may depend on."""


@dataclass(frozen=True)
class Cell:
    """One entry's map of one photograph."""

    entry: Entry
    index: int
    picture: str
    map: str
    file: str
    explained: str
    score: str
    share: float | None
    empty: bool
    alt: str

    @property
    def probability(self) -> str:
        """The probability of what is explained as a percentage; empty where it is not known."""
        return "" if self.share is None else percent(self.share)


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
    worst: int


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
    def explained(self) -> str:
        """What the maps explain, each once."""
        return ", ".join(dict.fromkeys(cell.explained for cell in self.cells))

    @property
    def probability(self) -> float | None:
        """The lowest probability of what is explained; None where none is known."""
        return min((c.share for c in self.cells if c.share is not None), default=None)

    @property
    def apart(self) -> float:
        """The largest difference between any two maps that are compared."""
        return max((gap.largest for gap in self.gaps), default=0.0)


def rows(
    photos: Sequence[npt.ArrayLike],
    names: Sequence[str],
    entries: Sequence[Entry],
    pairs: Sequence[ComparedPair],
    tolerance: float | None,
    side: int,
    drawing: Mapping[str, Any] | None = None,
) -> list[Row]:
    """Make the pictures and numbers of each sample.

    Parameters
    ----------
    photos : sequence of B (H, W, 3) arrays
        uint8, or floating in [0, 1]. Or, of maps of other axes, volumes (D, H, W), or signals.
    names : sequence of B str
        Their names.
    entries : sequence of Entry
        Their explanations.
    pairs : sequence of ComparedPair
        Which of them are compared.
    tolerance : float or None
        Largest difference that counts as agreement.
    side : int
        Longer side of the pictures, in pixels.
    drawing : mapping of str to object, optional
        How volumes and signals are drawn, as `camcore.report.samples.options_of` checks it.
    """
    made = []
    flat = entries[0].explanation.maps.ndim == 3
    for index, (given, name) in enumerate(zip(photos, names, strict=True)):
        sample: Sample
        if flat:
            sample = Photograph(shrink(given, side))
        else:
            sample = sample_of(np.asarray(given), entries, index, side, drawing or {})
        height, width = sample.bare.shape[:2]
        made.append(
            Row(
                index=index,
                name=name,
                uri=sample.encoded(sample.bare),
                width=width,
                height=height,
                cells=[_cell(entry, index, name, sample) for entry in entries],
                gaps=[_gap(one, index, tolerance) for one in pairs],
            )
        )
    return made


def _cell(entry: Entry, index: int, name: str, sample: Sample) -> Cell:
    result = entry.explanation[index]
    made_by = ", ".join(filter(None, (entry.method, entry.model, entry.recipe)))
    return Cell(
        entry=entry,
        index=index,
        picture=sample.encoded(sample.over(entry, index)),
        map=sample.encoded(sample.alone(entry, index)),
        file=_file_name(name, entry),
        explained=entry.explained(index),
        score=f"{result.scores[0]:.4g}",
        share=_share(result),
        empty=bool(result.empty[0]),
        alt=f"{name} with its map of {entry.explained(index)} laid over: {made_by}",
    )


def _share(result: Explanation) -> float | None:
    """Return the probability of what one explanation explains, where it is known."""
    if result.classes is None or result.probabilities is None:
        return None
    return float(result.probabilities[0, int(result.classes[0])])


def _file_name(name: str, entry: Entry) -> str:
    """Name the files of an entry's pictures of a photograph, without an ending."""
    parts = (Path(name).stem, entry.model, entry.method, entry.recipe)
    return re.sub(r"[^\w.+-]+", "-", " ".join(filter(None, parts))).strip("-")


@dataclass(frozen=True)
class Explained:
    """How often one class is explained in the photographs, and how probable it is."""

    model: str
    name: str
    count: int
    mean: float | None
    lowest: float | None


def explained_classes(entries: Sequence[Entry], made: Sequence[Row]) -> list[Explained]:
    """Count what each model's maps explain, most often first; none for one photograph.

    Methods and recipes of one model explain the same classes, so its first entry is counted.
    """
    found = []
    for model in values(entries, "model") if len(made) > 1 else ():
        first = next(entry for entry in entries if entry.model == model)
        cells = [cell for row in made for cell in row.cells if cell.entry is first]
        for name, count in Counter(cell.explained for cell in cells).most_common():
            shares = [c.share for c in cells if c.explained == name and c.share is not None]
            mean = sum(shares) / len(shares) if shares else None
            found.append(Explained(model, name, count, mean, min(shares, default=None)))
    return found


@dataclass(frozen=True)
class Bar:
    """The colours of some recipes' overlays and maps, as pictures one pixel high."""

    recipes: str
    over: str
    alone: str


def colour_bars(entries: Sequence[Entry]) -> list[Bar]:
    """Draw the colours of each style, from no evidence to the strongest."""
    styles: dict[OverlayStyle, list[str]] = {}
    for entry in entries:
        styles.setdefault(entry.style, []).append(entry.recipe)
    return [
        Bar(", ".join(dict.fromkeys(recipes)), *map(_strip, _tables(style)))
        for style, recipes in styles.items()
    ]


def _tables(style: OverlayStyle) -> tuple[Table, Table]:
    colours = Sequential(style)
    return colours.scale_over().table, colours.scale().table


def _strip(table: Table) -> str:
    """Encode colours ``(N, 3)`` in [0, 1] as a PNG of one row within a ``data:`` address."""
    return png_uri(np.rint(255 * table[None]).astype(np.uint8))


def summary(pairs: Sequence[ComparedPair], tolerance: float | None) -> list[Gap]:
    """Take the numbers of each pair from the photograph on which they are worst.

    Parameters
    ----------
    pairs : sequence of ComparedPair
        Worst first.
    tolerance : float or None
        Largest difference that counts as agreement.
    """
    return [_gap(one, None, tolerance) for one in pairs]


def _gap(compared: ComparedPair, index: int | None, tolerance: float | None) -> Gap:
    """Describe how far a pair is apart on one photograph, or at worst."""
    same, numbers = compared.same, compared.pair.numbers(index)
    if same is None:
        verdict = ""
    elif index is None:
        verdict = f"{int(same.sum())} of {len(same)}"
    else:
        verdict = "yes" if same[index] else "no"
    return Gap(
        names=compared.names,
        alike=compared.alike,
        **numbers,
        same=verdict,
        agrees=tolerance is None or numbers["largest"] <= tolerance,
        worst=compared.pair.worst,
    )


def correlation(value: float | None) -> str:
    """Format a correlation with four digits, or eight where four would round it up to 1."""
    if value is None or np.isnan(value):
        return "-"
    return f"{value:.8f}" if 0.99995 <= value < 1 - 5e-9 else f"{value:.4f}"


def percent(value: float | None) -> str:
    """Format a share as a percentage, and what is not known as a dash."""
    return "-" if value is None else f"{value:.1%}"


def filters(entries: Sequence[Entry]) -> list[tuple[str, list[str]]]:
    """List the axes on which entries differ, with their values on each."""
    found = [(axis, values(entries, axis)) for axis in AXES]
    return [(axis, several) for axis, several in found if len(several) > 1]


def cost(entry: Entry) -> dict[str, str]:
    """Format the layers of an entry, and its cost."""
    row = registered(entry.explanation.method)
    return {
        "layers": ", ".join(entry.explanation.layers),
        "seconds": "" if entry.seconds is None else f"{1e3 * entry.seconds:.0f} ms",
        "passes": "" if entry.passes is None else f"{entry.passes:.2f}×",
        "expected": "" if row is None else row.passes,
    }


def calls(entries: Sequence[Entry]) -> str:
    """Write the calls of `camcore.explain` that made the explanations."""
    lines = []
    for entry in entries:
        one = entry.explanation
        target = [] if one.classes is None else [f"target={one.classes.tolist()}"]
        words = [
            "model",
            "images" if one.maps.ndim == 3 else f"{NOUNS[one.maps.ndim]}s",
            *target,
            f"layer={list(one.layers)}",
            f"method={one.method!r}",
            f"recipe={one.recipe!r}",
            *(["activation='sigmoid'"] if one.activation == "sigmoid" else []),
        ]
        note = f"  # model: {entry.model}" if entry.model else ""
        lines.append(f"camcore.explain({', '.join(words)}){note}")
    return "\n".join(lines)


def seed(entries: Sequence[Entry], given: int | None) -> str:
    """Format the seed, or say that none is known or needed."""
    if given is not None:
        return str(given)
    methods = (registered(entry.explanation.method) for entry in entries)
    drawn = any("seed" in row.takes() for row in methods if row is not None)
    return "the method's own, unless its call says another" if drawn else "no randomness used"


def versions() -> list[tuple[str, str]]:
    """List the versions of camcore, Python, NumPy and the frameworks that are imported."""
    found = {
        "camcore": installed_version("camcore"),
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        **{name: installed_version(name) for name in _PACKAGES if name in sys.modules},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
    }
    return [(name, version) for name, version in found.items() if version is not None]


def as_photos(photos: object, count: int, side: int) -> list[Picture]:
    """Make `photos`, one or several, small, each before the next is asked for.

    Raises
    ------
    InputError
        Their number is not `count`, that of the explained ones.
    """
    single = isinstance(photos, np.ndarray) and (
        photos.ndim == 2 or (photos.ndim == 3 and photos.shape[2] in (1, 3))
    )
    each = [photos] if single else photos
    small = [shrink(photo, side) for photo in each]  # type: ignore[attr-defined]
    if len(small) != count:
        raise InputError(
            f"{len(small)} photographs and explanations of {count}. Give the explained ones."
        )
    return small


def largest_side(photos: int, entries: int) -> int:
    """Choose the longer side of pictures, so that a page stays within some 20 MB."""
    pictures = photos * (1 + 2 * entries)
    return int(min(896, max(160, (_PIXELS / pictures) ** 0.5)))


def shrink(photo: npt.ArrayLike, side: int) -> Picture:
    """Convert a photograph to uint8 RGB with a longer side of at most `side`.

    Parameters
    ----------
    photo : (H, W, 3), (H, W, 1) or (H, W) array
        uint8, or floating in [0, 1].
    side : int
        In pixels; smaller photographs keep their size.

    Returns
    -------
    (h, w, 3) uint8 array
    """
    from camcore.viz.arrays import as_bytes

    with needs("report", "scaling photographs"):
        from PIL import Image
    pixels = np.asarray(photo)
    if pixels.ndim not in (2, 3):
        raise InputError(
            f"A photograph has shape {pixels.shape}. Give one of shape (H, W, 3), or grey (H, W)."
        )
    image = Image.fromarray(as_bytes(pixels)[0])
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.array(image)
