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

from camcore.batch.pipeline import Failed, Stages, pipelined
from camcore.errors import InputError
from camcore.explainer import Explainer
from camcore.explanation import Explanation
from camcore.nest import batch_of, flatten
from camcore.photos.crop import CentreCrop
from camcore.photos.fit import fitted
from camcore.photos.io import ValueRange
from camcore.photos.photo import Photo
from camcore.recipes import OverlayStyle
from camcore.resize import resize
from camcore.targets import TargetLike
from camcore.zoo import LoadedModel

__all__ = ["ExplainedPhoto", "Failed", "PreparedPhoto", "explain_photos", "explain_prepared"]

Done = TypeVar("Done")


@dataclass(frozen=True, eq=False)
class PreparedPhoto:
    """A photograph and the model's input made of it.

    Parameters
    ----------
    photo : (H, W, 3) uint8 array
        RGB, for looking at.
    crop : CentreCrop
        The square of the photograph that the model sees.
    inputs : array, tensor, or nest of these
        A batch of one, as the model takes it.
    value_range : (float, float) or None
        The file's values that are black and white to the model; None for a file of 8 bits.
    """

    photo: npt.NDArray[np.uint8]
    crop: CentreCrop
    inputs: Any
    value_range: ValueRange | None = None

    @classmethod
    def for_model(cls, loaded: LoadedModel, photo: npt.NDArray[np.uint8] | Photo) -> PreparedPhoto:
        """Scale, crop and preprocess `photo`, as an array ``(H, W, 3)``, as the model takes it."""
        photo = photo if isinstance(photo, Photo) else Photo(photo)
        crop = fitted(loaded, photo.pixels.shape)
        view = (loaded.view or crop.to_model)(photo.pixels)
        if view.dtype != np.uint8 and not _takes_floats(loaded, view):
            view = np.rint(view).astype(np.uint8)
        return cls(photo.picture, crop, loaded.preprocess(view), photo.value_range)

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
    crop : CentreCrop or None
        The square of the photograph that the map covers; None for all of it.
    explanation : Explanation
        Of a batch of one.
    value_range : (float, float) or None
        The file's values that were black and white to the model; None for a file of 8 bits.
    """

    photo: npt.NDArray[np.uint8]
    crop: CentreCrop | None
    explanation: Explanation
    value_range: ValueRange | None = None

    @property
    def is_stretched(self) -> bool:
        """Whether the map leaves [0, 1], as some recipes have it, and is stretched to it."""
        shown = self.explanation.maps[0]
        return float(shown.min()) < 0 or float(shown.max()) > 1

    @property
    def heat(self) -> npt.NDArray[np.float32]:
        """The map of the square, ``(h, w)`` in [0, 1]."""
        shown = np.asarray(self.explanation.maps[0], np.float32)
        if self.is_stretched:
            low, high = shown.min(), shown.max()
            shown = (shown - low) / ((high - low) or np.float32(1))
        return shown

    def map(self) -> npt.NDArray[np.float32]:
        """Lay the map over the whole photograph, ``(H, W)`` in [0, 1]; 0 outside the square."""
        if self.crop is not None:
            return self.crop.to_photo(self.heat)
        whole: npt.NDArray[np.float32] = resize(self.heat[None], self.photo.shape[:2])[0]
        return whole

    def overlay(
        self, style: OverlayStyle | None = None, *, exact: bool = False
    ) -> npt.NDArray[np.uint8]:
        """Lay the colours of the map over the photograph, which stays bare outside the square.

        Parameters
        ----------
        style : OverlayStyle, optional
            In place of the recipe's own.
        exact : bool
            Mix in floating point, as `camcore.viz.overlay` does. Otherwise OpenCV mixes
            bytes, in a fraction of the time and at most one of 255 levels away.

        Returns
        -------
        (H, W, 3) uint8 array
            RGB.

        Raises
        ------
        MissingExtraError
            The extra ``viz`` is not installed.
        """
        from camcore.viz.overlay import overlay, overlay_crop

        style = style or self.explanation.overlay_style
        if self.crop is None:
            whole: npt.NDArray[np.uint8] = overlay(self.photo, self.heat, style=style)[0]
            return whole
        if not exact:
            return overlay_crop(self.photo, self.heat, self.crop, style)
        mixed = overlay(self.photo, self.map(), style=style)[0]
        return np.where(self.crop.seen()[..., None], mixed, self.photo)


def _takes_floats(loaded: LoadedModel, view: npt.NDArray[np.float32]) -> bool:
    """Tell whether the model's preprocessing makes the same of whole numbers of either dtype."""
    whole = np.rint(view).astype(np.uint8)
    expected = dict(flatten(loaded.preprocess(whole)))
    try:
        found = dict(flatten(loaded.preprocess(whole.astype(np.float32))))
    except Exception:  # whatever a function of the user's raises, it takes no floats
        return False
    return found.keys() == expected.keys() and all(
        np.allclose(found[path], expected[path], rtol=1e-5, atol=1e-6) for path in expected
    )


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
