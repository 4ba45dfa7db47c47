"""A photograph with all its grey levels: as a model takes it, and as a person looks at it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from camcore._shared.optional import needs
from camcore.photos.io import ValueRange, image_pixels, read_pixels

_WINDOW: Final = (0.5, 99.5)
"""Percentiles of a deep photograph that a person sees as black and white."""


@dataclass(frozen=True, eq=False)
class Photo:
    """A photograph, whatever number of bits its file has.

    Parameters
    ----------
    pixels : (H, W, 3) uint8 or float32 array
        RGB from 0 to 255, for a model: whole numbers of a file of 8 bits, else float32.
    value_range : (float, float) or None
        The file's values that became 0 and 255; None where they are the pixels themselves.
    path : Path or None
        The file that it was read from.
    """

    pixels: npt.NDArray[Any]
    value_range: ValueRange | None = None
    path: Path | None = None

    @classmethod
    def read(
        cls,
        path: str | os.PathLike[str],
        *,
        max_dim: int | None = None,
        value_range: ValueRange | None = None,
    ) -> Photo:
        """Read a photograph from a file, with all its grey levels.

        Parameters
        ----------
        path, max_dim, value_range
            As `camcore.photos.read_photo` takes them.

        Returns
        -------
        Photo

        Raises
        ------
        InputError, MissingExtraError
            As `camcore.photos.read_photo` raises them.
        """
        pixels, found = read_pixels(path, max_dim=max_dim, value_range=value_range)
        return cls(pixels, found, Path(path))

    @classmethod
    def of(cls, source: Any) -> Photo:
        """Take a photograph from whatever holds one.

        Parameters
        ----------
        source : path, PIL image, (H, W) or (H, W, 1, 3 or 4) uint8 array, or Photo
            As `is_photo` knows them.

        Returns
        -------
        Photo

        Raises
        ------
        InputError
            The file, or the image, cannot be read.
        MissingExtraError
            Pillow is not installed.
        """
        if isinstance(source, Photo):
            return source
        if isinstance(source, (str, os.PathLike)):
            return cls.read(source)
        if isinstance(source, np.ndarray):
            with needs("viz", "reading photographs"):
                from PIL import Image
            source = Image.fromarray(source[..., 0] if source.shape[2:] == (1,) else source)
        return cls(*image_pixels(source))

    @cached_property
    def picture(self) -> npt.NDArray[np.uint8]:
        """The photograph for looking at, ``(H, W, 3)``.

        Of one with more than 8 bits, what is darker than all but a half percent is black,
        and what is brighter white; the model does not see this.
        """
        if self.pixels.dtype == np.uint8:
            return self.pixels
        low, high = np.percentile(self.pixels, _WINDOW)
        if low == high:
            low, high = 0, 255
        seen: npt.NDArray[np.uint8] = np.rint(
            255 * np.clip((self.pixels - low) / (high - low), 0, 1)
        ).astype(np.uint8)
        return seen


def is_photo(source: object) -> bool:
    """Tell whether something is a photograph, and not yet what a model takes.

    Parameters
    ----------
    source : object
        A path, a Pillow image, an array of whole numbers, grey ``(H, W)`` or with its colours
        last, ``(H, W, 1, 3 or 4)`` uint8, or a `Photo` is one. A floating array or a tensor is
        not.

    Returns
    -------
    bool
    """
    if isinstance(source, np.ndarray):
        shaped = source.ndim == 2 or (source.ndim == 3 and source.shape[-1] in (1, 3, 4))
        return source.dtype == np.uint8 and shaped and bool(source.size)
    pillow = sys.modules.get("PIL.Image")
    is_image = pillow is not None and isinstance(source, pillow.Image)
    return is_image or isinstance(source, (Photo, str, os.PathLike))


def are_photos(batch: object) -> bool:
    """Tell whether an array of uint8 may be photographs of one size, and is not one.

    Those are ``(B, H, W, 1, 3 or 4)``, or grey ``(B, H, W)``. It may as well be what a model
    takes that scales pixels itself.
    """
    return (
        isinstance(batch, np.ndarray)
        and batch.ndim in (3, 4)
        and not is_photo(batch)
        and all(map(is_photo, batch))
    )


def photos_of(inputs: object) -> list[Photo] | None:
    """Take the photographs from what is given to a model; None where it is no photographs.

    Parameters
    ----------
    inputs : object
        A photograph, as `is_photo` knows them, or a list or tuple of some.

    Returns
    -------
    list of Photo, or None

    Raises
    ------
    InputError
        A photograph cannot be read.
    """
    sources: Sequence[Any] = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    return [Photo.of(one) for one in sources] if sources and all(map(is_photo, sources)) else None
