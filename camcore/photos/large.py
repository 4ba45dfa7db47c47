"""Pictures too large to be shown to a model at once, read a part at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from camcore._shared.optional import needs
from camcore._shared.reading import reading
from camcore.errors import InputError
from camcore.photos.io import ValueRange
from camcore.photos.photo import Photo, is_photo

_SLIDES: Final = (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".svslide", ".bif")
"""Endings of files that OpenSlide reads and Pillow does not, or not whole."""


@dataclass(frozen=True, eq=False)
class LargePicture:
    """A picture of which parts are read.

    Parameters
    ----------
    size : (int, int)
        Height and width in pixels.
    read : callable
        Takes slices of rows and columns within the picture, and returns pixels ``(h, w, 3)`` as
        `Photo` has them.
    photo : (H, W, 3) uint8 array or None
        All of it, for looking at, where it is an array of these.
    value_range, path
        As `Photo` has them.
    """

    size: tuple[int, int]
    read: Callable[[slice, slice], npt.NDArray[Any]]
    photo: npt.NDArray[np.uint8] | None = None
    value_range: ValueRange | None = None
    path: Path | None = None

    @classmethod
    def of(cls, source: Any) -> LargePicture | None:
        """Take a picture from whatever holds one; None where it is none.

        Parameters
        ----------
        source : path, PIL image, Photo, array-like, or slide
            A file that Pillow reads is read whole, and a slide, by its ending ``.svs``,
            ``.ndpi``, ``.mrxs``, ..., as an ``OpenSlide``. An array-like has a ``shape``
            ``(H, W, 1, 3 or 4)``, the ``dtype`` uint8, and can be sliced, as arrays of NumPy,
            memory maps, zarr and HDF5 can. Of it and of an ``OpenSlide``, of which the largest
            level is taken, only parts are read.

        Returns
        -------
        LargePicture or None

        Raises
        ------
        InputError
            The file cannot be read.
        MissingExtraError
            Pillow, or what reads slides, is not installed.
        """
        if isinstance(source, str | os.PathLike) and Path(source).suffix.lower() in _SLIDES:
            return replace(_of_slide(_opened(Path(source))), path=Path(source))
        if hasattr(source, "read_region") and hasattr(source, "dimensions"):
            return _of_slide(source)
        if _is_array_like(source):
            return _of_array(source)
        if is_photo(source):
            photo = Photo.of(source)
            height, width = photo.pixels.shape[:2]
            about = photo.picture, photo.value_range, photo.path
            return cls((height, width), lambda rows, columns: photo.pixels[rows, columns], *about)
        return None

    def tile(self, top: int, left: int, size: tuple[int, int]) -> npt.NDArray[Any]:
        """Read a tile, whose edge pixels are repeated where it reaches beyond the picture.

        Parameters
        ----------
        top, left : int
            Where it begins, within the picture.
        size : (int, int)
            Height and width of the tile.

        Returns
        -------
        (h, w, 3) uint8 or float32 array
        """
        height, width = size
        part = self.read(slice(top, top + height), slice(left, left + width))
        below, beside = height - part.shape[0], width - part.shape[1]
        return np.pad(part, ((0, below), (0, beside), (0, 0)), mode="edge")


def _is_array_like(source: Any) -> bool:
    shape: tuple[int, ...] = getattr(source, "shape", ())
    return getattr(source, "dtype", None) == np.uint8 and len(shape) == 3 and shape[-1] in (1, 3, 4)


def _of_array(source: Any) -> LargePicture:
    def read(rows: slice, columns: slice) -> npt.NDArray[Any]:
        part = np.asarray(source[rows, columns])
        return part if part.shape[2] == 3 else Photo.of(part).pixels

    height, width = source.shape[:2]
    whole = source if isinstance(source, np.ndarray) and source.shape[2] == 3 else None
    return LargePicture((int(height), int(width)), read, whole)


def _opened(path: Path) -> Any:
    with needs("slides", "reading slides"):
        import openslide
    with reading(path, "a slide of pathology that OpenSlide reads"):
        return openslide.OpenSlide(str(path))


def _of_slide(slide: Any) -> LargePicture:
    width, height = slide.dimensions

    def read(rows: slice, columns: slice) -> npt.NDArray[Any]:
        bottom, right = min(rows.stop, height), min(columns.stop, width)
        size = (right - columns.start, bottom - rows.start)
        # What the scanner left out is transparent, and becomes white.
        return Photo.of(slide.read_region((columns.start, rows.start), 0, size)).pixels

    if min(width, height) < 1:
        raise InputError(f"The slide is {height} by {width} pixels; give one that holds some.")
    return LargePicture((int(height), int(width)), read)
