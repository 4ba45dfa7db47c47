"""The photographs that people point at: files and folders, whatever lies in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError
from camcore.images import CentreCrop, read_photo

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")
)
"""What is taken for a photograph in a folder; a file given by name is read whatever it is."""


@dataclass(frozen=True)
class Album:
    """Photographs that can be read.

    Parameters
    ----------
    paths : sequence of Path
        Their files.
    names : sequence of str
        What they are called, each once.
    small : sequence of (h, w, 3) uint8 array
        The photographs, small enough to keep them all.
    unreadable : sequence of (str, str)
        Files that were left out, and why.
    """

    paths: Sequence[Path]
    names: Sequence[str]
    small: Sequence[npt.NDArray[np.uint8]]
    unreadable: Sequence[tuple[str, str]]


def collect(given: Sequence[Path], side: int) -> Album:
    """Read photographs, and folders of them with all that is below.

    Parameters
    ----------
    given : sequence of Path
        Files and folders.
    side : int
        Longer side of the small photographs, in pixels.

    Raises
    ------
    InputError
        Not one of them can be read.
    """
    found: dict[Path, str] = {}
    for start in given:
        for path in _below(start):
            found.setdefault(path, str(path.relative_to(start)) if start.is_dir() else path.name)
    if not found:
        raise InputError(
            f"There are no photographs in {', '.join(map(str, given))}; expected files that end "
            f"in {', '.join(sorted(SUFFIXES))}."
        )
    short = list(found.values())
    paths, names, small, unreadable = [], [], [], []
    for path, name in found.items():
        name = name if short.count(name) == 1 else str(path)
        try:
            photo = read_photo(path, max_dim=side)
            CentreCrop(photo.shape, 1)
        except InputError as error:
            unreadable.append((name, str(error)))
            continue
        paths.append(path)
        names.append(name)
        small.append(photo)
    if not paths:
        why = unreadable[0][1]
        raise InputError(f"None of the {len(unreadable)} files can be explained; the first: {why}")
    return Album(paths, names, small, unreadable)


def _below(start: Path) -> list[Path]:
    if not start.is_dir():
        return [start]
    return sorted(
        path
        for path in start.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(start).parts)
    )
