"""Volumes whose voxels lie askew, and slices of DICOM as scanners write them."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def oblique():
    """Voxels of 0.8 × 1.5 × 3 mm, turned about two axes, the first running to the left."""
    a, b = np.deg2rad([12, -20])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = about_x @ about_z @ np.diag([-0.8, 1.5, 3])
    affine[:3, 3] = 31.5, -44.25, -12
    return affine


@pytest.fixture
def hot():
    """A volume with one hot voxel, at (2, 5, 3)."""
    array = np.zeros((7, 9, 5), np.float32)
    array[2, 5, 3] = 1
    return array


@pytest.fixture
def write_slices(require, tmp_path):
    """Write slices as CT files with these places, in mixed order, into a folder."""
    pydicom = require("pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    def write(planes, places, *, cosines=(1, 0, 0, 0, 1, 0), spacing=(2, 1.5), name="ct", **says):
        folder = tmp_path / name
        folder.mkdir()
        series = generate_uid()
        for i, (plane, place) in enumerate(zip(planes, places, strict=True)):
            meta = FileMetaDataset()
            meta.TransferSyntaxUID = ExplicitVRLittleEndian
            meta.MediaStorageSOPClassUID = CTImageStorage
            meta.MediaStorageSOPInstanceUID = generate_uid()
            one = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
            one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
            one.SeriesInstanceUID, one.SeriesDescription = series, name
            one.Rows, one.Columns = plane.shape
            one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
            one.BitsAllocated = one.BitsStored = 16
            one.HighBit, one.PixelRepresentation = 15, 0
            one.PixelSpacing, one.ImageOrientationPatient = list(spacing), list(cosines)
            one.ImagePositionPatient = [float(f"{x:.6f}") for x in place]
            one.RescaleSlope, one.RescaleIntercept = 2, -1000
            for key, value in says.items():
                setattr(one, key, value)
            one.PixelData = plane.astype("<u2").tobytes()
            pydicom.dcmwrite(folder / f"{(7 * i) % 11}.dcm", one, enforce_file_format=True)
        return folder

    return write
