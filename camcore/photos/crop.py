"""Where what a model sees lies in a photograph, so that maps can be laid back over the whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from camcore._shared.optional import needs
from camcore.errors import InputError
from camcore.resize import resize, resized_rows

_LONGEST: Final = 100
"""Largest ratio of a photograph's sides: beyond it, the scaled long side would explode."""

_BEYOND: Final = 114
"""The grey that is shown beyond a photograph's edge."""

_ROWS: Final = 64
"""How many rows of a photograph are computed at once."""

_INTERPOLATIONS: Final = ("bilinear", "bicubic", "nearest", "lanczos")


@dataclass(frozen=True)
class Crop:
    """Where what a model sees lies in a photograph.

    The photograph is scaled to `scaled`, and `grid` pixels of that are shown to the model, from
    `corner` on. What lies beyond the photograph is filled up, as a letterbox is.

    Parameters
    ----------
    photo_shape : (int, int)
        The photograph's height and width; further entries are ignored.
    grid : (int, int)
        Height and width of what the model sees, in pixels.
    scaled : (int, int)
        Height and width of the scaled photograph.
    corner : (int, int)
        Top and left of the grid within the scaled photograph; negative where it is filled up.

    Raises
    ------
    InputError
        Nothing of the photograph lies in the grid.
    """

    photo_shape: tuple[int, ...]
    grid: tuple[int, int]
    scaled: tuple[int, int]
    corner: tuple[int, int]

    def __post_init__(self) -> None:
        ends = zip(self.corner, self.grid, self.scaled, strict=True)
        if min(self.photo_shape[:2]) < 1 or not all(
            corner < length and corner + side > 0 for corner, side, length in ends
        ):
            raise InputError(
                f"Nothing of a photograph of shape {self.photo_shape}, scaled to {self.scaled}, "
                f"lies in the {self.grid} pixels from {self.corner} on."
            )

    @classmethod
    def whole(cls, photo_shape: tuple[int, ...], grid: tuple[int, int]) -> Crop:
        """Say that the model sees the whole photograph, stretched to its grid."""
        return cls(photo_shape, grid, grid, (0, 0))

    @property
    def margins(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Pixels of the scaled photograph above and below the grid, and left and right of it.

        They are negative where the grid reaches beyond the photograph.
        """
        (rows, columns), (top, left), (height, width) = self.scaled, self.corner, self.grid
        return (top, rows - top - height), (left, columns - left - width)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Top, left, bottom and right of the grid in the photograph's own pixels."""
        (rows, columns), (top, left), (height, width) = self.scaled, self.corner, self.grid
        down, across = self.photo_shape[0] / rows, self.photo_shape[1] / columns
        return top * down, left * across, (top + height) * down, (left + width) * across

    @property
    def seen_window(self) -> tuple[slice, slice]:
        """Rows and columns of the photograph whose pixels' centres lie within the grid."""
        top, left, bottom, right = self.box
        rows, columns = self.photo_shape[:2]
        return _centres_within(top, bottom, rows), _centres_within(left, right, columns)

    def to_photo(self, maps: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Lay maps of what the model saw back over the whole photograph.

        Parameters
        ----------
        maps : (..., h, w) array
            Maps of the grid, at any resolution.

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
        whole = np.zeros((*maps.shape[:-2], *self.photo_shape[:2]), np.float32)
        top_to_bottom, across = self.seen_window
        for place in np.ndindex(*maps.shape[:-2]):
            rows = self._carried_over(maps[place])
            for start in range(top_to_bottom.start, top_to_bottom.stop, _ROWS):
                some = slice(start, min(start + _ROWS, top_to_bottom.stop))
                whole[place][some, across] = rows(some)[:, across]
        return whole

    def rows_on_photo(
        self, heat: npt.NDArray[np.floating]
    ) -> Callable[[slice], npt.NDArray[np.float32]]:
        """Lay a map of what the model saw over the photograph, and compute rows as asked for.

        Parameters
        ----------
        heat : (h, w) array
            A map of the grid, at any resolution.

        Returns
        -------
        callable
            Takes a slice of the photograph's rows, and returns those of `to_photo`, ``(n, W)``.
        """
        found, (top_to_bottom, across) = self._carried_over(heat), self.seen_window
        rows, columns = (np.zeros(side, bool) for side in self.photo_shape[:2])
        rows[top_to_bottom], columns[across] = True, True
        return lambda some: found(some) * (rows[some, None] & columns)

    def _carried_over(
        self, heat: npt.NDArray[np.floating]
    ) -> Callable[[slice], npt.NDArray[np.float32]]:
        """Bring a map to the photograph's size, edge values carried on where it was not seen."""
        heat, (height, width) = np.asarray(heat, np.float32), self.photo_shape[:2]
        if self.scaled == (height, width) and max(map(max, self.margins)) <= 0:
            # All that is seen is enlarged at once, and none of it held.
            shown, (top, left) = resized_rows(heat, self.grid), self.corner
            across = slice(-left, width - left)
            return lambda rows: shown(slice(rows.start - top, rows.stop - top))[:, across]
        canvas = self.carried_on(resize(heat[None], self.grid))[0]
        return resized_rows(canvas, (height, width))

    def mask_to_model(self, mask: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Bring a mask of the photograph to what the model sees of it.

        Parameters
        ----------
        mask : (H, W) array
            True, or not 0, on the object.

        Returns
        -------
        (h, w) bool array
            Each pixel of the grid is that of the photograph in which its centre lies; False
            where it lies beyond the photograph.

        Raises
        ------
        InputError
            The mask is not of the photograph's size.
        """
        marked: npt.NDArray[np.bool_] = np.asarray(mask) != 0
        if marked.shape != tuple(self.photo_shape[:2]):
            raise InputError(
                f"A mask of shape {marked.shape} does not lie over a photograph of "
                f"{tuple(self.photo_shape[:2])}; give one of its height and width."
            )
        for axis, (corner, side) in enumerate(zip(self.corner, self.grid, strict=True)):
            length, scaled = self.photo_shape[axis], self.scaled[axis]
            centres = (np.arange(side) + corner + 0.5) * length / scaled
            inside = (centres >= 0) & (centres < length)
            marked = np.take(marked, np.clip(centres.astype(int), 0, length - 1), axis=axis)
            marked &= inside[:, None] if axis == 0 else inside
        return marked

    def boxes_to_model(self, boxes: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Bring boxes in the photograph to what the model sees of it.

        Parameters
        ----------
        boxes : (n, 4) array
            Edges ``left, top, right, bottom`` in pixels of the photograph, counted from the upper
            left corner of the first one.

        Returns
        -------
        (n, 4) float64 array
            Edges in pixels of the grid, which may lie beyond it.
        """
        (rows, columns), (top, left) = self.scaled, self.corner
        scale = np.array([columns / self.photo_shape[1], rows / self.photo_shape[0]] * 2)
        edges: npt.NDArray[np.float64] = np.asarray(boxes, np.float64) * scale
        edges -= np.array([left, top] * 2)
        return edges

    def carried_on(self, maps: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Bring maps of the grid to the scaled photograph, edge values carried outwards.

        The rim of what the model saw is so not mixed with emptiness.

        Parameters
        ----------
        maps : (..., h, w) array
            Of the grid's size.

        Returns
        -------
        (..., rows, columns) array
            Of the scaled photograph's size.
        """
        (above, below), (before, after) = self.margins
        rows, columns = self.grid
        inside = maps[..., max(0, -above) : rows + min(0, below), :]
        inside = inside[..., max(0, -before) : columns + min(0, after)]
        outside = [(max(0, above), max(0, below)), (max(0, before), max(0, after))]
        return np.pad(inside, [(0, 0)] * (maps.ndim - 2) + outside, mode="edge")

    def seen(self) -> npt.NDArray[np.bool_]:
        """Mark where the model looked.

        Returns
        -------
        (H, W) bool array
            True for pixels whose centre lies within the grid.
        """
        mask = np.zeros(self.photo_shape[:2], bool)
        mask[self.seen_window] = True
        return mask

    def view(self, picture: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """Show what the model sees of a photograph, for people.

        Parameters
        ----------
        picture : (H, W, 3) uint8 array
            The photograph.
        size : (int, int)
            Height and width of the result.

        Returns
        -------
        (*size, 3) uint8 array
            Grey where the grid reaches beyond the photograph.
        """
        with needs("viz", "scaling photographs"):
            from PIL import Image
        top, left, bottom, right = self.box
        rows, columns = self.photo_shape[:2]
        inside = max(0, top), max(0, left), min(rows, bottom), min(columns, right)
        down, across = size[0] / (bottom - top), size[1] / (right - left)
        first = round((inside[0] - top) * down), round((inside[1] - left) * across)
        last = round((inside[2] - top) * down), round((inside[3] - left) * across)
        shown = np.full((*size, 3), _BEYOND, np.uint8)
        part = Image.fromarray(picture).resize(
            (last[1] - first[1], last[0] - first[0]),
            Image.Resampling.BICUBIC,
            box=(inside[1], inside[0], inside[3], inside[2]),
        )
        shown[first[0] : last[0], first[1] : last[1]] = np.asarray(part)
        return shown


@dataclass(frozen=True)
class CentreCrop(Crop):
    """The square in the middle of a photograph that a model sees.

    The photograph's short side is scaled to `resize`, then the middle `size` by
    `size` pixels are taken. Numbers are those of torchvision's ``Resize`` and
    ``CenterCrop``. The aspect ratio is kept both ways.

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

    grid: tuple[int, int] = field(init=False)
    scaled: tuple[int, int] = field(init=False)
    corner: tuple[int, int] = field(init=False)
    size: int
    resize: int | None = None
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if len(self.photo_shape) < 2 or min(self.photo_shape[:2]) < 1:
            raise InputError(
                f"A photograph of shape {self.photo_shape} cannot be cropped; pass (H, W, 3)."
            )
        height, width = self.photo_shape[:2]
        if max(height, width) > _LONGEST * min(height, width):
            raise InputError(
                f"A photograph of {height} by {width} pixels is a strip "
                "of which a square shows next to nothing; cut it into pieces."
            )
        short = self.size if self.resize is None else self.resize
        if not 1 <= self.size <= short:
            raise InputError(
                f"A square of {self.size} does not fit a photograph whose short side is scaled to "
                f"{short}; lower size or raise resize."
            )
        if self.interpolation not in _INTERPOLATIONS:
            raise InputError(
                f"There is no interpolation {self.interpolation!r}; "
                f"choose from {', '.join(_INTERPOLATIONS)}."
            )
        scaled = self.scaled_to(short)
        object.__setattr__(self, "grid", (self.size, self.size))
        object.__setattr__(self, "scaled", scaled)
        object.__setattr__(self, "corner", self.corner_in(scaled))

    def scaled_to(self, short: int) -> tuple[int, int]:
        """Find the height and width of the photograph whose short side becomes `short`."""
        height, width = self.photo_shape[:2]
        if height <= width:
            return short, int(short * width / height)
        return int(short * height / width), short

    def corner_in(self, scaled: tuple[int, int]) -> tuple[int, int]:
        """Find the top and left of the square within the scaled photograph."""
        top, left = (round((side - self.size) / 2) for side in scaled)
        return top, left

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


def _centres_within(first: float, last: float, length: int) -> slice:
    """Slice an axis to the pixels whose centres lie from `first` to `last`."""
    centres = np.arange(length) + 0.5
    inside = np.flatnonzero((centres >= first) & (centres <= last))
    return slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)
