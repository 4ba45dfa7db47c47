"""Many photographs before one model, and which of a folder's files are photographs.

from camcore.folders import Failed, explain_photos, find_photos
from camcore.registry import load_model

found = find_photos(["holiday"])
for path, one in explain_photos(load_model("timm:resnet50", "weights.pth"), found.paths):
    if isinstance(one, Failed):
        print(one)
    else:
        print(path, one.explanation.classes, one.overlay().shape)
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar, cast, overload

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError
from camcore.explainer import Explainer
from camcore.explanation import Explanation
from camcore.images import CentreCrop, read_photo
from camcore.nest import batch_of
from camcore.pipeline import Failed, Stages, pipelined
from camcore.recipes import OverlayStyle
from camcore.targets import TargetLike
from camcore.trace import LoadedModel

__all__ = [
    "Explained",
    "Failed",
    "Found",
    "Shown",
    "explain_photos",
    "find_photos",
    "is_photo",
    "is_video",
]

Done = TypeVar("Done")

PHOTOS = frozenset(
    f".{kind}"
    for kind in (
        *("apng", "avif", "bmp", "gif", "heic", "heif", "ico", "j2k", "jfif", "jp2", "jpe"),
        *("jpeg", "jpg", "pbm", "pgm", "png", "pnm", "ppm", "tga", "tif", "tiff", "webp"),
    )
)
"""Endings of what is taken for a photograph in a folder."""

VIDEOS = frozenset([".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"])
"""Endings of what is taken for a video."""

_OURS = (".overlay.jpg", ".overlay.png", ".figure.png")


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
        from camcore.viz.painting import paint

        return paint(self.photo, self.heat, self.crop, style or self.explanation.overlay_style)


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
        `camcore.registry.load_model`.
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


@dataclass(frozen=True)
class Found:
    """Photographs among what a person named.

    Parameters
    ----------
    root : Path
        The folder that all lie in; their results go to the same places below another.
    paths : sequence of Path
        As they were named, each once, in order of their names within a folder.
    passed : int
        Files of the folders that are no photographs by their names.
    """

    root: Path
    paths: Sequence[Path]
    passed: int = 0

    def within(self, path: Path) -> Path:
        """The way to one of the photographs from the root."""
        return _absolute(path).relative_to(self.root)


def find_photos(
    named: Sequence[str | os.PathLike[str]],
    *,
    recursive: bool = False,
    apart_from: str | os.PathLike[str] | None = None,
) -> Found:
    """Find the photographs in files, folders and patterns.

    Parameters
    ----------
    named : sequence of path
        Files, taken whatever they are called; folders, of which files are taken whose
        name ends as photographs do; patterns with ``*``, ``?``, ``[...]`` and ``**``.
        Hidden files and overlays of an earlier run are left out of folders.
    recursive : bool
        Also look into the folders within folders.
    apart_from : path, optional
        A folder whose contents are left out: where results go.

    Returns
    -------
    Found

    Raises
    ------
    InputError
        A folder or pattern holds no photograph.
    """
    ours = None if apart_from is None else _absolute(apart_from)
    paths: dict[Path, Path] = {}
    roots: list[Path] = []
    passed = 0
    for given in named:
        one = os.fspath(given)
        if os.path.isdir(one):
            inside = list(_files(Path(one), recursive, None if ours == _absolute(one) else ours))
            photos = [path for path in inside if is_photo(path)]
            passed += len(inside) - len(photos)
            roots.append(_absolute(one))
            if not photos:
                hint = "" if recursive else "; --recursive looks into the folders within it"
                raise InputError(f"{one} is a folder without photographs{hint}.")
        elif not os.path.lexists(one) and glob.has_magic(one):
            matches = sorted(glob.glob(one, recursive=True))
            photos = [Path(path) for path in matches if not os.path.isdir(path)]
            roots += [_absolute(path.parent) for path in photos]
            if not photos:
                raise InputError(f"{one} matches no file.")
        else:
            photos = [Path(one)]
            roots.append(_absolute(one).parent)
        for path in photos:
            paths.setdefault(_absolute(path), path)
    return Found(_common(roots), list(paths.values()), passed)


def is_photo(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name ends as photographs' do."""
    return Path(path).suffix.lower() in PHOTOS


def is_video(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name ends as videos' do."""
    return Path(path).suffix.lower() in VIDEOS


def _files(folder: Path, recursive: bool, apart_from: Path | None) -> Iterator[Path]:
    """Files of a folder by name; where it is not gone into, also folders named like photographs."""
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder} cannot be looked into ({error.strerror}).") from error
    for path in inside:
        if path.name.startswith(".") or path.name.endswith(_OURS):
            continue
        if not path.is_dir() or (not recursive and is_photo(path)):
            yield path
        elif recursive and not path.is_symlink() and _absolute(path) != apart_from:
            yield from _files(path, recursive, apart_from)


def _absolute(path: str | os.PathLike[str]) -> Path:
    return Path(os.path.abspath(path))


def _common(folders: Sequence[Path]) -> Path:
    try:
        return Path(os.path.commonpath(folders))
    except ValueError as error:
        raise InputError(
            "The photographs have no folder in common, being on different drives; "
            "explain those of each drive by themselves."
        ) from error
