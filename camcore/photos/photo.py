"""A photograph with all its grey levels: as a model takes it, and as a person looks at it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from camcore.photos.io import ValueRange, read_pixels

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
    """

    pixels: npt.NDArray[Any]
    value_range: ValueRange | None = None

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
        return cls(*read_pixels(path, max_dim=max_dim, value_range=value_range))

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
