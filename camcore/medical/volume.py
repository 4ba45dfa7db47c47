"""A volume: its voxels, and where they lie in the patient."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError
from camcore.medical.nifti import Forms, write_nifti
from camcore.medical.space import LETTERS, Affine, check_affine, orientation, spacing_of


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels with the affine that says where they lie.

    ``numpy.asarray(volume)`` is its array.

    Parameters
    ----------
    array : (I, J, K) array
        Values, in the order of the axes that the file has.
    affine : (4, 4) array
        From voxel indices ``(i, j, k, 1)``, of voxels' centres, to millimetres in RAS+: x grows
        to the patient's right, y to the front, z to the head.
    path : Path, optional
        The file or folder that it was read from.

    Raises
    ------
    InputError
        The array has not three axes, or the affine is none.
    """

    array: npt.NDArray[Any]
    affine: Affine
    path: Path | None = None
    forms: Forms | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if np.ndim(self.array) != 3 or 0 in np.shape(self.array):
            raise InputError(
                f"An array of shape {np.shape(self.array)} is no volume; give three axes, without "
                "a batch or channel axis."
            )
        object.__setattr__(self, "array", np.asarray(self.array))
        object.__setattr__(self, "affine", check_affine(self.affine))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False and dtype not in (None, self.array.dtype):
            raise ValueError(f"Voxels of {self.array.dtype} become {dtype} by a copy alone.")
        return np.array(self.array, dtype=dtype, copy=bool(copy) or dtype is not None)

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of voxels along each axis."""
        return self.array.shape

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Sides of a voxel along each axis, in millimetres."""
        return spacing_of(self.affine)

    @property
    def axes(self) -> str:
        """Side of the patient that each axis runs to, or nearest to: ``"RAS"``, ``"LPS"``."""
        runs = orientation(self.affine)
        return "".join(LETTERS[axis][int(sign > 0)] for axis, sign in runs)

    def millimetres(self, voxel: npt.ArrayLike) -> Affine:
        """Find where voxels lie.

        Parameters
        ----------
        voxel : (..., 3) array
            Indices of voxels, whole for their centres.

        Returns
        -------
        (..., 3) float64 array
            Millimetres in RAS+.
        """
        place: Affine = np.asarray(voxel) @ self.affine[:3, :3].T + self.affine[:3, 3]
        return place

    def voxel(self, millimetres: npt.ArrayLike) -> tuple[int, int, int]:
        """Find the voxel at a place, as ``at=`` of `camcore.viz.volume_figure` takes it.

        Parameters
        ----------
        millimetres : (3,) array
            In RAS+.

        Returns
        -------
        (int, int, int)

        Raises
        ------
        InputError
            The place lies outside the volume.
        """
        moved = np.asarray(millimetres, dtype=np.float64) - self.affine[:3, 3]
        i, j, k = (int(place) for place in np.rint(np.linalg.solve(self.affine[:3, :3], moved)))
        if not all(0 <= place < side for place, side in zip((i, j, k), self.shape, strict=True)):
            raise InputError(
                f"{np.asarray(millimetres).tolist()} mm lies at voxel {(i, j, k)}, outside a "
                f"volume of {self.shape}. Places are in RAS+: x grows to the right, y to the "
                "front, z to the head; of DICOM's own coordinates x and y have the other sign."
            )
        return i, j, k

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the volume as a NIfTI file, which appears whole or not at all.

        Parameters
        ----------
        path : path
            Ends in ``.nii`` or ``.nii.gz``; replaced where it exists.

        Raises
        ------
        InputError
            The name ends otherwise.
        FileError
            The file cannot be written.
        MissingExtraError
            nibabel is not installed.
        """
        write_nifti(Path(path), self.array, self.affine, self.forms)
