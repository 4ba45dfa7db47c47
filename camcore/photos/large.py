"""Pictures too large to be shown to a model at once, read a part at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError
from camcore.photos.io import ValueRange
from camcore.photos.photo import Photo, is_photo


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
            An array-like has a ``shape`` ``(H, W, 1, 3 or 4)``, the ``dtype`` uint8, and can be
            sliced, as arrays of NumPy, memory maps, zarr and HDF5 can. A slide is an
            ``OpenSlide``, whose largest level is read. Only parts are read of either.

        Returns
        -------
        LargePicture or None

        Raises
        ------
        InputError
            The file cannot be read.
        MissingExtraError
            Pillow is not installed.
        """
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
