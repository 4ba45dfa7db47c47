"""Explain many photographs with one model.

from camcore.batch import Failed, explain_photos, find_photos
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import numpy.typing as npt

from camcore._shared.optional import needs
from camcore.batch.pipeline import Failed, Stages, pipelined
from camcore.errors import InputError
from camcore.explainer import Explainer
from camcore.explanation import Explanation
from camcore.nest import batch_of
from camcore.photos.crop import Crop
from camcore.photos.io import ValueRange
from camcore.photos.photo import Photo
from camcore.photos.prepared import PhotoInput
from camcore.recipes import OverlayStyle
from camcore.targets import TargetLike
from camcore.viz.photograph import heat_of, leaves_unit_range, map_over, overlay_over
from camcore.zoo import LoadedModel

Done = TypeVar("Done")


class PreparedPhoto(PhotoInput):
    """A photograph and the model's input made of it, to be put together with its explanation."""

    def explained(self, explanation: Explanation) -> ExplainedPhoto:
        """Return the photograph with `explanation`, which is of these inputs."""
        return ExplainedPhoto(self.photo, self.crop, explanation, self.value_range)


@dataclass(frozen=True, eq=False)
class ExplainedPhoto:
    """A photograph and its explanation.

    Parameters
    ----------
    photo : (H, W, 3) uint8 array
        RGB.
    crop : Crop or None
        What of the photograph the map covers; None for all of it.
    explanation : Explanation
        Of a batch of one.
    value_range : (float, float) or None
        The file's values that were black and white to the model; None for a file of 8 bits.
    """

    photo: npt.NDArray[np.uint8]
    crop: Crop | None
    explanation: Explanation
    value_range: ValueRange | None = None

    @property
    def is_stretched(self) -> bool:
        """Whether the map leaves [0, 1], as some recipes have it, and is stretched to it."""
        return leaves_unit_range(self.explanation.maps[0])

    @property
    def heat(self) -> npt.NDArray[np.float32]:
        """The map of what the model saw, ``(h, w)`` in [0, 1]."""
        return heat_of(self.explanation.maps[0])

    def within(self, side: int) -> ExplainedPhoto:
        """Scale the photograph down, so that its longer side is `side` or less."""
        edges = self.photo.shape[:2]
        if max(edges) <= side:
            return self
        with needs("viz", "scaling photographs"):
            from PIL import Image
        height, width = (max(1, round(edge * side / max(edges))) for edge in edges)
        small = Image.fromarray(self.photo).resize((width, height), Image.Resampling.BOX)
        photo, seen = np.asarray(small), self.crop
        crop = None if seen is None else Crop(photo.shape, seen.grid, seen.scaled, seen.corner)
        return ExplainedPhoto(photo, crop, self.explanation, self.value_range)

    def map(self) -> npt.NDArray[np.float32]:
        """Lay the map over the whole photograph, ``(H, W)`` in [0, 1]; 0 outside the crop."""
        return map_over(self.photo, self.heat, self.crop)

    def overlay(
        self, style: OverlayStyle | None = None, *, exact: bool = False
    ) -> npt.NDArray[np.uint8]:
        """Lay the colours of the map over the photograph, which stays bare outside the crop.

        A thin frame around the crop tells apart what the model did not see, and where it
        found nothing.

        Parameters
        ----------
        style : OverlayStyle, optional
            In place of the recipe's own.
        exact : bool
            As `camcore.viz.photograph.overlay_over` takes it.

        Returns
        -------
        (H, W, 3) uint8 array
            RGB.

        Raises
        ------
        MissingExtraError
            The extra ``viz`` is not installed.
        """
        style = style or self.explanation.overlay_style
        return overlay_over(self.photo, self.heat, self.crop, style, exact=exact)


@overload
def explain_photos(
    loaded: LoadedModel,
    paths: Iterable[str | os.PathLike[str]],
    *,
    target: TargetLike = ...,
    finish: None = ...,
    batch: int = ...,
    max_dim: int | None = ...,
    value_range: ValueRange | None = ...,
    workers: int | None = ...,
    **options: Any,
) -> Generator[tuple[Path, ExplainedPhoto | Failed], None, None]: ...
@overload
def explain_photos(
    loaded: LoadedModel,
    paths: Iterable[str | os.PathLike[str]],
    *,
    target: TargetLike = ...,
    finish: Callable[[Path, ExplainedPhoto], Done],
    batch: int = ...,
    max_dim: int | None = ...,
    value_range: ValueRange | None = ...,
    workers: int | None = ...,
    **options: Any,
) -> Generator[tuple[Path, Done | Failed], None, None]: ...
def explain_photos(
    loaded: LoadedModel,
    paths: Iterable[str | os.PathLike[str]],
    *,
    target: TargetLike = None,
    finish: Callable[[Path, ExplainedPhoto], Any] | None = None,
    batch: int = 8,
    max_dim: int | None = 2048,
    value_range: ValueRange | None = None,
    workers: int | None = None,
    **options: Any,
) -> Generator[tuple[Path, Any], None, None]:
    """Explain the photographs at `paths`; others are read and finished while the model runs.

    Parameters
    ----------
    loaded : LoadedModel
        The model with its preprocessing, from `camcore.zoo.load_model`.
    paths : iterable of path
        Photographs in any format that Pillow reads.
    target : None, int, or Target
        The target in each; None for the class predicted for it.
    finish : callable, optional
        Called in a thread with each path and its `ExplainedPhoto`, to draw or to write.
        What it returns is yielded in place of the `ExplainedPhoto`.
    batch : int
        Number of photographs in one run of the model.
    max_dim : int or None
        Photographs whose longer side exceeds it are scaled down to it.
    value_range : (float, float), optional
        The files' values that are black and white; see `camcore.photos.read_photo`.
    workers : int, optional
        Threads that read and finish; as many as there are cores, from 2 to 8.
    **options
        What `camcore.Explainer` takes: `layer`, `method` (one of them), `recipe`, ...

    Yields
    ------
    (path, ExplainedPhoto or what `finish` returned, or Failed)
        In the order of the paths. A photograph that cannot be read or explained is
        `Failed`, and the others go on.

    Raises
    ------
    CamcoreError
        The same error would meet every photograph: an unknown class, layer or method.
    """
    explainer = Explainer(loaded.model, **{**loaded.defaults, **options})

    def prepare(path: Path) -> tuple[Path, PreparedPhoto]:
        photo = Photo.read(path, max_dim=max_dim, value_range=value_range)
        return path, PreparedPhoto.for_model(loaded, photo)

    def run(batch: Sequence[tuple[Path, PreparedPhoto]]) -> list[Any]:
        explained = explain_prepared(explainer, [photo for _, photo in batch], target)
        return [
            one if isinstance(one, Failed) else (path, one)
            for (path, _), one in zip(batch, explained, strict=True)
        ]

    def done(one: tuple[Path, ExplainedPhoto]) -> Any:
        return one[1] if finish is None else finish(*one)

    stages = Stages(prepare, run, done)
    yield from pipelined(map(Path, paths), stages, batch=batch, workers=workers)


def explain_prepared(
    explainer: Explainer, photos: Sequence[PreparedPhoto], target: TargetLike = None
) -> list[ExplainedPhoto | Failed]:
    """Explain `photos` as one batch, or one by one where the batch fails.

    Parameters
    ----------
    explainer : Explainer
        Of one method.
    photos : sequence of PreparedPhoto
        Photographs prepared for the explainer's model.
    target : None, int, or Target
        The target in each.

    Returns
    -------
    list of ExplainedPhoto or Failed
        In the order of `photos`.
    """
    try:
        result = explainer(batch_of([one.inputs for one in photos]), target)
    except InputError as error:
        if len(photos) == 1:
            return [Failed(error)]
        return [part for one in photos for part in explain_prepared(explainer, [one], target)]
    return [one.explained(result[index]) for index, one in enumerate(photos)]
