"""Read DICOM files: what they say, and their pixels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from camcore._shared.optional import needs
from camcore._shared.reading import said
from camcore.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def is_dicom(path: Path) -> bool:
    """Tell whether a file begins as DICOM files do."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_dataset(file: Path, *, pixels: bool = True) -> Dataset:
    """Read what a DICOM file says, with its pixels or without.

    Raises
    ------
    InputError
        It is no DICOM file, or damaged.
    MissingExtraError
        pydicom is not installed.
    """
    with needs("medical", "reading DICOM files"):
        import pydicom
    try:
        return pydicom.dcmread(file, stop_before_pixels=not pixels)
    except Exception as error:  # pydicom raises anything on files that contradict themselves
        raise InputError(f"{file} is no DICOM file, or damaged: {said(error)}") from error


def frames_of(dataset: Dataset) -> int:
    """Count the frames that a file says it has."""
    return int(dataset.get("NumberOfFrames") or 1)


def decoded(dataset: Dataset) -> npt.NDArray[Any]:
    """Decode pixels as they are stored, colours as RGB.

    Returns
    -------
    (H, W), (F, H, W), or with colours (..., 3) array

    Raises
    ------
    InputError
        pydicom lacks a decoder, or they are damaged.
    """
    with needs("medical", "reading DICOM files"):
        from pydicom.pixels.processing import apply_color_lut
        from pydicom.pixels.utils import pixel_array
    try:
        found = pixel_array(dataset)
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            found = apply_color_lut(found, dataset)
    except Exception as error:  # pydicom raises anything on files that contradict themselves
        raise InputError(
            f"{dataset.filename} holds pixels that cannot be decoded: {said(error)} Where a "
            'decoder is missing, pip install "pylibjpeg[all]" has most.'
        ) from error
    return np.asarray(found)


def measured(dataset: Dataset) -> npt.NDArray[Any]:
    """Decode the pixels of one grey image, and rescale them to what they measure."""
    from pydicom.pixels.processing import apply_modality_lut

    return np.asarray(apply_modality_lut(decoded(dataset), dataset))
