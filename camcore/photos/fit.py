"""Other ways than the centre crop in which a photograph becomes the square that a model takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError
from camcore.photos.crop import CentreCrop, Crop
from camcore.photos.measured import measured_crop
from camcore.registry import LoadedModel

View: TypeAlias = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
"""Makes what a model sees of a photograph ``(H, W, 3)``, its pixels from 0 to 255."""

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


def fitted(loaded: LoadedModel, photo_shape: tuple[int, ...]) -> Crop:
    """Find what a model sees of a photograph.

    Parameters
    ----------
    loaded : LoadedModel
        The model.
    photo_shape : (int, int)
        The photograph's height and width; further entries are ignored.

    Returns
    -------
    Crop
        One that is measured has no way of its own to make what the model sees: `loaded.view` is.

    Raises
    ------
    InputError
        What is to be measured does more than scale, crop and fill up.
    """
    if loaded.fit == "measured":
        assert loaded.view is not None
        return _measured(loaded.view, (photo_shape[0], photo_shape[1]))
    return _WAYS[loaded.fit](photo_shape, loaded.size, loaded.resize, loaded.interpolation)


def shown(loaded: LoadedModel, photo: npt.NDArray[Any], crop: Crop) -> npt.NDArray[Any]:
    """Make what a model sees of a photograph, its pixels from 0 to 255."""
    if loaded.view is not None:
        return loaded.view(photo)
    assert isinstance(crop, CentreCrop)
    return crop.to_model(photo)


@lru_cache(maxsize=64)
def _measured(view: View, photo_shape: tuple[int, int]) -> Crop:
    found = measured_view(view, photo_shape)
    if found is None:
        raise InputError(
            f"What the model is shown of a photograph of {photo_shape[0]} by {photo_shape[1]} "
            "pixels is more than scaled, cropped and filled up, so that a map cannot be laid back "
            "over it. Make the model's input yourself, and give it to camcore.explain."
        )
    return found


def measured_view(view: View, photo_shape: tuple[int, ...]) -> Crop | None:
    """Find what a function that makes pictures ``(h, w, 3)`` of photographs shows of them.

    Parameters
    ----------
    view, photo_shape
        As `measured_crop` takes them, but for the axis of colours.

    Returns
    -------
    Crop or None
        As `measured_crop` returns it.
    """
    return measured_crop(lambda picture: view(picture).mean(-1, dtype=np.float64), photo_shape)
