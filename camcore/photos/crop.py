"""Scale and crop photographs to the square a model takes, and lay its maps back over the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from camcore._shared.optional import needs
from camcore.errors import InputError
from camcore.resize import LINEAR, resize

_LONGEST: Final = 100
"""Largest ratio of a photograph's sides: beyond it, the scaled long side would explode."""

_INTERPOLATIONS: Final = ("bilinear", "bicubic", "nearest", "lanczos")


@dataclass(frozen=True)
class CentreCrop:
    """The square that a model sees of a photograph, with the aspect ratio kept both ways.

    The photograph's short side is scaled to `resize`, then the middle `size` by
    `size` pixels are taken. Numbers are those of torchvision's ``Resize`` and
    ``CenterCrop``.

    Parameters
    ----------
    photo_shape : (int, int)
        The photograph's height and width; further entries are ignored.
    size : int
        Side of the square, in pixels.
    resize : int, optional
        The scaled photograph's short side; `size` unless given.
    interpolation : {"bilinear", "bicubic", "nearest", "lanczos"}
        How the photograph is scaled.

    Raises
    ------
    InputError
        The square does not fit within the scaled photograph.
    """

    photo_shape: tuple[int, ...]
    size: int
    resize: int | None = None
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if len(self.photo_shape) < 2 or min(self.photo_shape[:2]) < 1:
            raise InputError(
                f"A photograph of shape {self.photo_shape} cannot be cropped; pass (H, W, 3)."
            )
        if max(self.photo_shape[:2]) > _LONGEST * min(self.photo_shape[:2]):
            raise InputError(
                f"A photograph of {self.photo_shape[0]} by {self.photo_shape[1]} pixels is a strip "
                "of which a square shows next to nothing; cut it into pieces."
            )
        if not 1 <= self.size <= self.short_side:
            raise InputError(
                f"A square of {self.size} does not fit a photograph whose short side is scaled to "
                f"{self.short_side}; lower size or raise resize."
            )
        if self.interpolation not in _INTERPOLATIONS:
            raise InputError(
                f"There is no interpolation {self.interpolation!r}; "
                f"choose from {', '.join(_INTERPOLATIONS)}."
            )

    @property
    def short_side(self) -> int:
        """The scaled photograph's short side."""
        return self.size if self.resize is None else self.resize

    @property
    def scaled(self) -> tuple[int, int]:
        """Height and width of the scaled photograph."""
        height, width = self.photo_shape[:2]
        if height <= width:
            return self.short_side, int(self.short_side * width / height)
        return int(self.short_side * height / width), self.short_side

    @property
    def corner(self) -> tuple[int, int]:
        """Top and left of the square within the scaled photograph."""
        top, left = (round((side - self.size) / 2) for side in self.scaled)
        return top, left

    @property
    def margins(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Pixels of the scaled photograph above and below the square, and left and right of it."""
        (rows, columns), (top, left) = self.scaled, self.corner
        return (top, rows - top - self.size), (left, columns - left - self.size)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Top, left, bottom and right of the square in the photograph's own pixels."""
        (rows, columns), (top, left) = self.scaled, self.corner
        down, across = self.photo_shape[0] / rows, self.photo_shape[1] / columns
        return top * down, left * across, (top + self.size) * down, (left + self.size) * across

    @property
    def seen_window(self) -> tuple[slice, slice]:
        """Rows and columns of the photograph whose pixels' centres lie within the square."""
        top, left, bottom, right = self.box
        rows, columns = self.photo_shape[:2]
        return _centres_within(top, bottom, rows), _centres_within(left, right, columns)

    def to_model(self, photo: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Scale and crop a photograph to the model's square.

        Parameters
        ----------
        photo : (H, W, 3) uint8 array, or float32 array from 0 to 255
            RGB; floating where it has more levels than 256.

        Returns
        -------
        (size, size, 3) array
            RGB, of the same dtype and range.

        Raises
        ------
        InputError
            The photograph is not of the shape this geometry was made for.
        """
        with needs("viz", "scaling photographs"):
            from PIL import Image
        expected = (*self.photo_shape[:2], 3)
        if photo.shape != expected or photo.dtype not in (np.uint8, np.float32):
            raise InputError(
                f"A photograph of shape {photo.shape} and dtype {photo.dtype} does not fit this "
                f"crop; pass {expected} and uint8, or float32 from 0 to 255."
            )
        (rows, columns), (top, left) = self.scaled, self.corner
        filter_ = Image.Resampling[self.interpolation.upper()]
        # Pillow scales floating pixels one colour at a time, and beyond black and white.
        colours = [photo] if photo.dtype == np.uint8 else list(np.moveaxis(photo, -1, 0))
        scaled = [np.array(Image.fromarray(c).resize((columns, rows), filter_)) for c in colours]
        whole = scaled[0] if photo.dtype == np.uint8 else np.clip(np.stack(scaled, -1), 0, 255)
        return whole[max(top, 0) : top + self.size, max(left, 0) : left + self.size]

    def to_photo(self, maps: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Lay maps of the square back over the whole photograph.

        Parameters
        ----------
        maps : (..., h, w) array
            Maps of the square, at any resolution.

        Returns
        -------
        (..., H, W) float32 array
            Zero where the model did not look.

        Raises
        ------
        InputError
            The maps have another shape.
        """
        maps = np.asarray(maps, dtype=np.float32)
        if maps.ndim < 2 or 0 in maps.shape:
            raise InputError(f"Maps of shape {maps.shape} cannot be laid back; pass (..., h, w).")
        lead = maps.shape[:-2]
        square = resize(maps.reshape(-1, *maps.shape[-2:]), (self.size, self.size), LINEAR)
        whole = resize(self.spread(square), self.photo_shape[:2], LINEAR) * self.seen()
        return whole.astype(np.float32).reshape(*lead, *self.photo_shape[:2])

    def spread(self, squares: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Carry maps of the square to the scaled photograph.

        Parameters
        ----------
        squares : (..., size, size) array
            Maps of the square.

        Returns
        -------
        (..., rows, columns) array
            Edge values are carried outwards, so that the square's rim is not mixed with
            emptiness; what lies beside the photograph is cut off.
        """
        outside = [(max(0, before), max(0, after)) for before, after in self.margins]
        kept = [slice(max(0, -before), min(0, after) or None) for before, after in self.margins]
        lead = [(0, 0)] * (squares.ndim - 2)
        return np.pad(squares, [*lead, *outside], mode="edge")[(..., *kept)]

    def seen(self) -> npt.NDArray[np.bool_]:
        """Mark where the model looked.

        Returns
        -------
        (H, W) bool array
            True for pixels whose centre lies within the square.
        """
        mask = np.zeros(self.photo_shape[:2], bool)
        mask[self.seen_window] = True
        return mask


def _centres_within(first: float, last: float, length: int) -> slice:
    """Slice an axis to the pixels whose centres lie from `first` to `last`."""
    centres = np.arange(length) + 0.5
    inside = np.flatnonzero((centres >= first) & (centres <= last))
    return slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)
