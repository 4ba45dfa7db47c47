"""Explain many photographs with one model.

from camcore.batch.find import find_photos
from camcore.batch.photos import Failed, explain_photos
from camcore.zoo import load_model

found = find_photos(["holiday"])
for path, one in explain_photos(load_model("timm:resnet50", "weights.pth"), found.paths):
    if isinstance(one, Failed):
        print(one)
    else:
        print(path, one.explanation.classes, one.overlay().shape)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar, cast, overload

import numpy as np
import numpy.typing as npt

from camcore.batch.pipeline import Failed, Stages, pipelined
from camcore.errors import InputError
from camcore.explainer import Explainer
from camcore.explanation import Explanation
from camcore.nest import batch_of
from camcore.photos.crop import CentreCrop
from camcore.photos.io import read_photo
from camcore.recipes import OverlayStyle
from camcore.targets import TargetLike
from camcore.zoo import LoadedModel

__all__ = ["Explained", "Failed", "Shown", "explain_photos"]

Done = TypeVar("Done")


@dataclass(frozen=True, eq=False)
class Shown:
    """A photograph, and what the model is given of it.

    Parameters
    ----------
    photo : (H, W, 3) uint8 array
        RGB.
    crop : CentreCrop
        Where the model's square lies in the photograph.
    inputs : array, tensor, or nest of these
        A batch of one, as the model takes it.
    """

    photo: npt.NDArray[np.uint8]
    crop: CentreCrop
    inputs: Any

    @classmethod
    def to(cls, loaded: LoadedModel, photo: npt.NDArray[np.uint8]) -> Shown:
        """Show a photograph ``(H, W, 3)`` to a model."""
        crop = CentreCrop(photo.shape, loaded.size, loaded.resize, loaded.interpolation)
        return cls(photo, crop, loaded.preprocess(crop.to_model(photo)))


@dataclass(frozen=True, eq=False)
class Explained:
    """A photograph and its explanation.

    Parameters
    ----------
    photo : (H, W, 3) uint8 array
        RGB.
    crop : CentreCrop
        Where the model's square lies in the photograph.
    explanation : Explanation
        Of a batch of one.
    """

    photo: npt.NDArray[np.uint8]
    crop: CentreCrop
    explanation: Explanation

    @property
    def heat(self) -> npt.NDArray[np.float32]:
        """The shown map of the square, ``(h, w)``; stretched where it leaves [0, 1]."""
        shown = np.asarray(self.explanation.maps[0], np.float32)
        low, high = float(shown.min()), float(shown.max())
        if low < 0 or high > 1:
            shown = (shown - np.float32(low)) / np.float32(high - low or 1.0)
        return shown

    def map(self) -> npt.NDArray[np.float32]:
        """Lay the map over the whole photograph, ``(H, W)`` in [0, 1]."""
        return self.crop.to_photo(self.heat)

    def overlay(self, style: OverlayStyle | None = None) -> npt.NDArray[np.uint8]:
        """Lay the map over the photograph, which stays bare where the model did not look.

        Parameters
        ----------
        style : OverlayStyle, optional
            In place of the recipe's own.

        Returns
        -------
        (H, W, 3) uint8 array
            RGB.

        Raises
        ------
        MissingExtraError
            The extra ``viz`` is not installed.
        """
        from camcore.viz.overlay import overlay_crop

        style = style or self.explanation.overlay_style
        return overlay_crop(self.photo, self.heat, self.crop, style)


@overload
def explain_photos(
    loaded: LoadedModel,
    paths: Iterable[str | os.PathLike[str]],
    *,
    target: TargetLike = ...,
    finish: None = ...,
    batch: int = ...,
    max_dim: int | None = ...,
    workers: int | None = ...,
    **options: Any,
) -> Generator[tuple[Path, Explained | Failed], None, None]: ...
@overload
def explain_photos(
    loaded: LoadedModel,
    paths: Iterable[str | os.PathLike[str]],
    *,
    target: TargetLike = ...,
    finish: Callable[[Path, Explained], Done],
    batch: int = ...,
    max_dim: int | None = ...,
    workers: int | None = ...,
    **options: Any,
) -> Generator[tuple[Path, Done | Failed], None, None]: ...
def explain_photos(
    loaded: LoadedModel,
    paths: Iterable[str | os.PathLike[str]],
    *,
    target: TargetLike = None,
    finish: Callable[[Path, Explained], Any] | None = None,
    batch: int = 8,
    max_dim: int | None = 2048,
    workers: int | None = None,
    **options: Any,
) -> Generator[tuple[Path, Any], None, None]:
    """Explain photographs, reading the next and finishing the last while the model runs.

    Parameters
    ----------
    loaded : LoadedModel
        The model, with what it needs to be shown a photograph; see
        `camcore.zoo.load_model`.
    paths : iterable of path
        Photographs in any format that Pillow reads.
    target : None, int, or Target
        What is explained in each; None is the class predicted for it.
    finish : callable, optional
        Done with each path and its `Explained`, in a thread: drawing, writing. What it
        returns is yielded in place of the `Explained`.
    batch : int
        How many photographs are run at a time.
    max_dim : int or None
        Photographs whose longer side exceeds it are scaled down to it.
    workers : int, optional
        Threads that read and finish; as many as there are cores, from 2 to 8.
    **options
        What `camcore.Explainer` takes: `layer`, `method` (one of them), `recipe`, ...

    Yields
    ------
    (path, Explained or what `finish` returned, or Failed)
        In the order of the paths. A photograph that cannot be read or explained is
        `Failed` and the others go on.

    Raises
    ------
    CamcoreError
        What would go wrong with every photograph: an unknown class, layer or method.
    """
    explainer = Explainer(loaded.model, **{"layer": loaded.default_layer, **options})

    def prepare(path: Path) -> tuple[Path, Shown]:
        return path, Shown.to(loaded, read_photo(path, max_dim=max_dim))

    def run(batch: Sequence[tuple[Path, Shown]]) -> list[tuple[Path, Explained] | Failed]:
        explained = explain_shown(explainer, [shown for _, shown in batch], target)
        return [
            one if isinstance(one, Failed) else (path, one)
            for (path, _), one in zip(batch, explained, strict=True)
        ]

    def done(one: tuple[Path, Explained]) -> Any:
        return one[1] if finish is None else finish(*one)

    stages = Stages(prepare, run, done)
    yield from pipelined(map(Path, paths), stages, batch=batch, workers=workers)


def explain_shown(
    explainer: Explainer, batch: Sequence[Shown], target: TargetLike = None
) -> list[Explained | Failed]:
    """Explain a batch; where that fails, one by one, so that only the culprit does.

    Parameters
    ----------
    explainer : Explainer
        Of one method.
    batch : sequence of Shown
        Photographs before the model.
    target : None, int, or Target
        What is explained in each.

    Returns
    -------
    list of Explained or Failed
    """
    try:
        result = cast(Explanation, explainer(batch_of([one.inputs for one in batch]), target))
    except InputError as error:
        if len(batch) == 1:
            return [Failed(error)]
        return [part for one in batch for part in explain_shown(explainer, [one], target)]
    return [
        Explained(one.photo, one.crop, _sample(result, index)) for index, one in enumerate(batch)
    ]


def _sample(result: Explanation, index: int) -> Explanation:
    """One sample of an explanation, batch axis kept."""
    one = slice(index, index + 1)
    parts: dict[str, Any] = {
        field.name: value[one]
        for field in fields(result)
        if isinstance(value := getattr(result, field.name), np.ndarray)
    }
    return replace(result, raw={name: maps[one] for name, maps in result.raw.items()}, **parts)
