"""Read a volume from whatever holds one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy.typing as npt

from camcore._shared.reading import reading
from camcore.errors import InputError
from camcore.medical.dicom import is_dicom
from camcore.medical.dicom_series import read_series
from camcore.medical.nifti import of_image, read_nifti
from camcore.medical.space import check_affine
from camcore.medical.volume import Volume


def read_volume(
    source: str | os.PathLike[str] | Any,
    *,
    index: int | None = None,
    series: str | None = None,
    affine: npt.ArrayLike | None = None,
) -> Volume:
    """Read a volume with the affine that says where its voxels lie.

    Parameters
    ----------
    source : path, nibabel image, or Volume
        A NIfTI file, or another that nibabel reads (``.mgz``, ``.img``); a DICOM file, or the
        folder of a DICOM series.
    index : int, optional
        Which volume of a file of several, as of times or echoes, counted from 0.
    series : str, optional
        ``SeriesInstanceUID`` of the series to take, where a folder holds several.
    affine : (4, 4) array, optional
        From voxels to millimetres in RAS+, in place of the file's.

    Returns
    -------
    Volume
        Values are float32, scaled as the file says: of CT, in Hounsfield units. Axes are the
        file's own; a DICOM series has columns, rows, and slices.

    Raises
    ------
    InputError
        There is no such file, it is damaged, or holds several volumes and none is chosen; it is
        not known where its voxels lie; or the slices of a series do not make one volume: some
        are missing, are not parallel, differ in size, or lie at one place.
    MissingExtraError
        nibabel or pydicom is not installed.
    """
    if isinstance(source, Volume):
        return source if affine is None else Volume(source.array, check_affine(affine), source.path)
    if not isinstance(source, (str, os.PathLike)):
        if not hasattr(source, "dataobj"):
            raise InputError(
                f"A {type(source).__name__} is no volume. Give a path, a nibabel image, or "
                "camcore.medical.Volume(array, affine)."
            )
        return _of(source, index, affine)
    path = Path(source)
    if path.is_dir() or is_dicom(path):
        found = read_series(path, series)
        where = found.affine if affine is None else check_affine(affine)
        return Volume(found.array, where, path)
    with reading(path, "a volume as nibabel reads it, or a DICOM file or a series' folder"):
        array, where, forms = read_nifti(path, index, affine)
    return Volume(array, where, path, forms)


def _of(image: Any, index: int | None, affine: npt.ArrayLike | None) -> Volume:
    """Take the volume that a nibabel image holds."""
    name = image.get_filename()
    array, where, forms = of_image(image, name or "The image", index, affine)
    return Volume(array, where, None if name is None else Path(name), forms)
