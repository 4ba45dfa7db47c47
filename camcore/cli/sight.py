"""What a model sees of a photograph, and what a person sees of its answer."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from camcore.cli import console
from camcore.errors import TargetError
from camcore.explanation import Explanation
from camcore.photos.crop import CentreCrop
from camcore.viz import overlay
from camcore.zoo import LoadedModel


@dataclass(frozen=True)
class Sight:
    """A photograph before a model.

    Parameters
    ----------
    loaded : LoadedModel
        The model, with what it needs to be shown a photograph.
    photo : (H, W, 3) uint8 array
        RGB.
    """

    loaded: LoadedModel
    photo: npt.NDArray[np.uint8]

    @cached_property
    def crop(self) -> CentreCrop:
        """Where the model's square lies in the photograph."""
        model = self.loaded
        return CentreCrop(self.photo.shape, model.size, model.resize, model.interpolation)

    @cached_property
    def inputs(self) -> Any:
        """What the model takes, a batch of one."""
        return self.loaded.preprocess(self.crop.to_model(self.photo))

    def map(self, result: Explanation) -> npt.NDArray[np.float32]:
        """Lay a map over the whole photograph, ``(H, W)`` in [0, 1]."""
        shown = result.maps[0]
        low, high = float(shown.min()), float(shown.max())
        if low < 0 or high > 1:
            console.warn(
                f"the recipe {result.recipe} leaves maps from {low:.3g} to {high:.3g}; "
                "drawn stretched to 0..1"
            )
            shown = (shown - low) / (high - low or 1.0)
        return self.crop.to_photo(shown)

    def overlay(self, result: Explanation) -> npt.NDArray[np.uint8]:
        """Lay the map over the photograph, which stays bare where the model did not look."""
        mixed = overlay(self.photo, self.map(result), style=result.overlay_style)[0]
        return np.where(self.crop.seen()[..., None], mixed, self.photo)


def label(loaded: LoadedModel, index: int) -> str:
    """Name a class, or number it where names are unknown."""
    names = loaded.classes
    return str(names[index]) if names is not None and index < len(names) else f"class {index}"


def top(loaded: LoadedModel, result: Explanation, count: int = 5) -> list[tuple[str, float]]:
    """List the highest classes with their probabilities; nothing where there are none."""
    if result.probabilities is None:
        return []
    return [(label(loaded, index), p) for index, p in result.top(count)[0]]


def class_index(loaded: LoadedModel, wanted: str) -> int:
    """Find a class by index or by name.

    Raises
    ------
    TargetError
        No class, or several, go by that name.
    """
    if wanted.lstrip("-").isdigit():
        return int(wanted)
    if loaded.classes is None:
        raise TargetError(f"The model's classes have no names; give an index, not {wanted!r}.")
    names = [name.casefold() for name in loaded.classes]
    places = [index for index, name in enumerate(names) if name == wanted.casefold()]
    if len(places) == 1:
        return places[0]
    if places:
        raise TargetError(f"{wanted!r} names the classes {places}; give one of these indices.")
    near = difflib.get_close_matches(wanted.casefold(), names, n=4)
    near += [name for name in names if wanted.casefold() in name and name not in near][:4]
    hint = f"Did you mean {', '.join(near)}?" if near else "Give an index."
    raise TargetError(f"The model has no class {wanted!r}. {hint}")
