"""A photograph beside what a model takes of it, and where in the photograph that lies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from camcore.nest import flatten
from camcore.photos.crop import Crop
from camcore.photos.fit import fitted, shown
from camcore.photos.io import ValueRange
from camcore.photos.photo import Photo
from camcore.registry import LoadedModel

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, eq=False)
class PhotoInput:
    """A photograph and the model's input made of it.

    Parameters
    ----------
    photo : (H, W, 3) uint8 array
        RGB, for looking at.
    crop : Crop or None
        What of the photograph the model sees; None where that is not known.
    inputs : array, tensor, or nest of these
        A batch of one, as the model takes it; None where it is not kept.
    value_range : (float, float) or None
        The file's values that are black and white to the model; None for a file of 8 bits.
    path : Path or None
        The file that the photograph was read from.
    """

    photo: npt.NDArray[np.uint8]
    crop: Crop | None
    inputs: Any = None
    value_range: ValueRange | None = None
    path: Path | None = None

    @classmethod
    def for_model(cls, loaded: LoadedModel, photo: npt.NDArray[np.uint8] | Photo) -> Self:
        """Scale, crop and preprocess `photo`, as an array ``(H, W, 3)``, as the model takes it."""
        photo = photo if isinstance(photo, Photo) else Photo(photo)
        crop = fitted(loaded, photo.pixels.shape)
        inputs = preprocessed(loaded, shown(loaded, photo.pixels, crop))
        return cls(photo.picture, crop, inputs, photo.value_range, photo.path)


def preprocessed(loaded: LoadedModel, view: npt.NDArray[Any]) -> Any:
    """Scale the pixels of what a model is to see, ``(h, w, 3)`` uint8 or float32 from 0 to 255.

    Returns
    -------
    array, tensor, or nest of these
        A batch of one.
    """
    if view.dtype != np.uint8 and not _takes_floats(loaded.preprocess, view):
        view = np.rint(view).astype(np.uint8)
    return loaded.preprocess(view)


def _takes_floats(preprocess: Callable[[Any], Any], view: npt.NDArray[np.float32]) -> bool:
    """Tell whether a preprocessing makes the same of whole numbers of either dtype."""
    whole = np.rint(view).astype(np.uint8)
    expected = dict(flatten(preprocess(whole)))
    try:
        found = dict(flatten(preprocess(whole.astype(np.float32))))
    except Exception:  # whatever a function of the user's raises, it takes no floats
        return False
    return found.keys() == expected.keys() and all(
        np.allclose(found[path], expected[path], rtol=1e-5, atol=1e-6) for path in expected
    )
