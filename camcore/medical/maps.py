"""Write the maps of an explanation as NIfTI, so that they lie right over their volumes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from camcore._shared.atomic import check_apart
from camcore._shared.optional import installed_version
from camcore.adapter import Array
from camcore.errors import InputError
from camcore.medical.nifti import Forms, check_name, write_nifti
from camcore.medical.reading import read_volume
from camcore.medical.space import affine_of, check_affine, check_affines, check_covers
from camcore.medical.volume import Volume

Like = Any
"""What a map lies over: a path, a nibabel image, a Volume, a MetaTensor, or an affine."""


class SavedMaps(Protocol):
    """What is written of an explanation."""

    @property
    def maps(self) -> Array:
        """The shown maps, ``(B, *S)``."""

    @property
    def affines(self) -> Array | None:
        """From the maps' voxels to millimetres, ``(B, 4, 4)``, where it is known."""

    @property
    def method(self) -> str:
        """Name of the method that made them."""

    def at(self, size: tuple[int, ...]) -> SavedMaps:
        """Make the maps again at another size."""


def save_maps(
    explanation: SavedMaps,
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    like: Like | None,
    stretch: bool,
) -> None:
    """Write maps as NIfTI; see `camcore.Explanation.save_nifti`."""
    names = [path] if isinstance(path, (str, os.PathLike)) else list(path)
    count = len(explanation.maps)
    if explanation.maps.ndim != 4:
        raise InputError(
            f"Maps of shape {explanation.maps.shape} are not of volumes, (B, I, J, K). Pictures "
            "are written by explanation.save_overlay(path)."
        )
    if len(names) != count:
        raise InputError(
            f"{len(names)} names were given for {count} maps. Give one for each: "
            "save_nifti(['one.nii.gz', 'two.nii.gz'])."
        )
    files = [Path(name) for name in names]
    for file in files:
        check_name(file)
    places = _places(explanation, like, count)
    if explanation.affines is not None:
        for affine, place in zip(explanation.affines, places, strict=True):
            if place.shape is not None:
                check_covers(affine, explanation.maps.shape[1:], place.affine, place.shape)
    check_apart([place.path for place in places if place.path is not None], files)
    about = f"{explanation.method}, camcore {installed_version('camcore')}"
    for i, (file, place) in enumerate(zip(files, places, strict=True)):
        heat = _at(explanation, place, stretch, i)
        write_nifti(file, heat, place.affine, place.forms, about)


class _Place:
    """The grid that a map is written on: its affine, and where it is known its size and file."""

    def __init__(self, source: Any) -> None:
        self.shape: tuple[int, ...] | None = None
        self.path: Path | None = None
        self.forms: Forms | None = None
        if isinstance(source, (str, os.PathLike, Volume)) or hasattr(source, "dataobj"):
            volume = read_volume(source)
            self.shape, self.affine = volume.shape, volume.affine
            self.path, self.forms = volume.path, volume.forms
        else:
            affine = affine_of(source)
            self.affine = check_affine(source if affine is None else affine)
            if affine is not None:  # of MONAI, with channels
                self.shape = tuple(source.shape[-3:])


def _places(explanation: SavedMaps, like: Like | None, count: int) -> list[_Place]:
    """Find the grid of each map."""
    if like is None:
        if explanation.affines is None:
            raise InputError(
                "It is not known where the voxels of the maps lie. Say it: save_nifti(path, "
                "like='scan.nii.gz'), with the file, the volume or the affine of what was "
                "explained. A MONAI MetaTensor that is explained says it itself."
            )
        return [_Place(affine) for affine in explanation.affines]
    if isinstance(like, (list, tuple)):
        several = list(like)
    elif isinstance(like, np.ndarray):
        several = list(check_affines(like, count))
    elif affine_of(like) is not None and getattr(like, "ndim", 0) == 5:
        several = [like[i] for i in range(len(like))]
    else:
        several = [like] * count
    if len(several) != count:
        raise InputError(f"like= has {len(several)} volumes for {count} maps. Give one for each.")
    return [_Place(one) for one in several]


def _at(explanation: SavedMaps, place: _Place, stretch: bool, index: int) -> Array:
    """Take a map at the size of the grid that it is written on."""
    size = explanation.maps.shape[1:]
    if place.shape is None or place.shape == size:
        return np.asarray(explanation.maps[index])
    if stretch:
        return np.asarray(explanation.at(place.shape).maps[index])
    raise InputError(
        f"The map is of {size} voxels, and what it is to lie over of {place.shape}. Give the "
        "volume as the model was shown it; undo MONAI's transforms, "
        "camcore.medical.undo_transforms(result, transforms, data); or, where the model was shown "
        "all of the volume at another size and no more was done, save_nifti(path, like=..., "
        "stretch=True)."
    )
