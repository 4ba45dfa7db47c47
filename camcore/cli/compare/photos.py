"""The photographs of a comparison: files and folders, as far as they can be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from camcore.batch import find_photos
from camcore.errors import InputError
from camcore.photos.crop import CentreCrop
from camcore.photos.photo import Photo


@dataclass(frozen=True)
class PhotoSet:
    """Photographs that can be read.

    Parameters
    ----------
    paths : sequence of Path
        Their files.
    names : sequence of str
        Unique names, for people.
    thumbnails : sequence of (h, w, 3) uint8 array
        The photographs, small enough to keep all of them in memory.
    unreadable : sequence of (str, str)
        Names of the files that were left out, and why.
    found : sequence of Path
        All files that were looked at, those that were left out too.
    """

    paths: Sequence[Path]
    names: Sequence[str]
    thumbnails: Sequence[npt.NDArray[np.uint8]]
    unreadable: Sequence[tuple[str, str]]
    found: Sequence[Path] = ()

    @classmethod
    def read(cls, given: Sequence[Path], side: int, exclude: Path) -> PhotoSet:
        """Read photographs from files, and from folders and all folders within them.

        Parameters
        ----------
        given : sequence of Path
            Files and folders.
        side : int
            Longer side of the thumbnails, in pixels.
        exclude : Path
            A folder that is not searched: the one for results.

        Raises
        ------
        InputError
            None of them can be read.
        """
        found = find_photos(given, recursive=True, exclude=exclude)
        paths, names, thumbnails = [], [], []
        like = "it is named like a result of camcore, or lies among these; give it by its name"
        unreadable = [(str(found.within(path)), like) for path in found.passed_over]
        for path in found.paths:
            name = str(found.within(path))
            try:
                photo = Photo.read(path, max_dim=side).picture
                CentreCrop(photo.shape, 1)
            except InputError as error:
                unreadable.append((name, str(error)))
                continue
            paths.append(path)
            names.append(name)
            thumbnails.append(photo)
        if not paths:
            why = unreadable[0][1]
            raise InputError(
                f"None of the {len(unreadable)} files can be explained; the first: {why}"
            )
        everything = [*found.paths, *found.passed_over]
        return cls(paths, names, thumbnails, unreadable, everything)

    def __len__(self) -> int:
        return len(self.paths)
