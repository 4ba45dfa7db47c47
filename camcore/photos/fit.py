"""Other ways than the centre crop in which a photograph becomes the square that a model takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from camcore.photos.crop import CentreCrop
from camcore.registry import LoadedModel

_BARS: Final = 114
"""Level of the grey bars beside a photograph, as YOLO models are trained with them."""


class Stretch(CentreCrop):
    """A square of which both sides are scaled to `resize`, before its middle is taken.

    The aspect ratio is not kept: the model sees a wide photograph squeezed.
    """

    def scaled_to(self, short: int) -> tuple[int, int]:
        """Scale both sides alike."""
        return short, short


class Letterbox(CentreCrop):
    """A square with the whole photograph in its middle, and grey bars beside it.

    The long side is scaled to `size`. Numbers are those of ultralytics' ``LetterBox``.
    """

    def scaled_to(self, short: int) -> tuple[int, int]:
        """Scale the long side to the square's."""
        height, width = self.photo_shape[:2]
        ratio = self.size / max(height, width)
        return max(round(height * ratio), 1), max(round(width * ratio), 1)

    def corner_in(self, scaled: tuple[int, int]) -> tuple[int, int]:
        """Put the photograph in the middle; of an odd bar the smaller half comes before it."""
        top, left = (-((self.size - side) // 2) for side in scaled)
        return top, left

    def to_model(self, photo: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Scale a photograph, and put bars beside it; see `CentreCrop.to_model`."""
        scaled = super().to_model(photo)
        bars = tuple((max(0, -before), max(0, -after)) for before, after in self.margins)
        return np.pad(scaled, (*bars, (0, 0)), constant_values=_BARS)


_WAYS: Final[Mapping[str, type[CentreCrop]]] = {
    "crop": CentreCrop,
    "stretch": Stretch,
    "letterbox": Letterbox,
}


def fitted(loaded: LoadedModel, photo_shape: tuple[int, ...]) -> CentreCrop:
    """Find the square that a model sees of a photograph.

    Parameters
    ----------
    loaded : LoadedModel
        The model.
    photo_shape : (int, int)
        The photograph's height and width; further entries are ignored.

    Returns
    -------
    CentreCrop
        Or one of its other ways.
    """
    return _WAYS[loaded.fit](photo_shape, loaded.size, loaded.resize, loaded.interpolation)
