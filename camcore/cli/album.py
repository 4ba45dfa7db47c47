"""The photographs that people point at: files and folders, whatever lies in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from camcore.batch.find import find_photos
from camcore.errors import InputError
from camcore.photos.crop import CentreCrop
from camcore.photos.io import read_photo


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


def collect(given: Sequence[Path], side: int, apart_from: Path) -> Album:
    """Read photographs, and folders of them with all that is below.

    Parameters
    ----------
    given : sequence of Path
        Files and folders.
    side : int
        Longer side of the small photographs, in pixels.
    apart_from : Path
        Where results go: what lies there is left out.

    Raises
    ------
    InputError
        Not one of them can be read.
    """
    found = find_photos(given, recursive=True, apart_from=apart_from)
    paths, names, small, unreadable = [], [], [], []
    for path in found.paths:
        name = str(found.within(path))
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
