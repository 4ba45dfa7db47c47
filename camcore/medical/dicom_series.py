"""Read the slices of one DICOM series as a volume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError, MissingFileError
from camcore.medical.dicom import decoded, frames_of, is_dicom, measured, read_dataset
from camcore.medical.nifti import Found
from camcore.medical.space import LPS_TO_RAS, check_affine

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_UNEVEN: Final = 0.05
"""Share of the distance between slices by which one may differ: files round their places."""

_SAME = 1e-3
"""Millimetres, and shares of a pixel's direction, that are no difference."""


@dataclass(frozen=True, eq=False)
class Slice:
    """Where one slice lies, in DICOM's coordinates, and how its values are rescaled."""

    file: Path
    frame: int | None
    size: tuple[int, int]
    position: npt.NDArray[np.float64]
    directions: npt.NDArray[np.float64]
    thickness: float
    scaling: tuple[float, float] = (1.0, 0.0)

    def __str__(self) -> str:
        return f"{self.file}" if self.frame is None else f"frame {self.frame} of {self.file}"


def read_series(path: Path, series: str | None) -> Found:
    """Read the slices of one series, or the frames of one file, as a volume.

    Its axes are a slice's columns, its rows, and the slices, from the first in the direction of
    columns × rows.

    Parameters
    ----------
    path : Path
        A file, or a folder; other files in it, and DICOM files without an image, are passed over.
    series : str or None
        ``SeriesInstanceUID`` of the series to take from a folder of several.

    Returns
    -------
    Found
        Values after rescaling, such as Hounsfield units.

    Raises
    ------
    InputError
        There is no series, or several, or slices do not make one volume: they are not parallel,
        differ in size, lie at one place, or some are missing.
    MissingExtraError
        pydicom is not installed.
    """
    headers = _of_series(list(_headers(path)), path, series)
    slices = [one for file, header in headers for one in _slices(file, header)]
    _check_alike(slices)
    slices, step = _in_order(slices)
    affine = np.eye(4)
    affine[:3] = np.stack([*slices[0].directions, step, slices[0].position], axis=1)
    array = np.stack([plane.T for plane in _planes(slices)], axis=-1)
    return Found(array.astype(np.float32, copy=False), check_affine(LPS_TO_RAS @ affine))


def _headers(path: Path) -> Iterator[tuple[Path, Dataset]]:
    """Read the files that hold an image, but for their pixels."""
    if not path.exists():
        raise MissingFileError(f"{path} does not exist; give a DICOM file, or a series' folder.")
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file() and (is_dicom(file) or not path.is_dir()):
            header = read_dataset(file, pixels=False)
            if "Rows" in header:
                yield file, header


def _of_series(
    found: Sequence[tuple[Path, Dataset]], path: Path, series: str | None
) -> list[tuple[Path, Dataset]]:
    by_series: dict[str, list[tuple[Path, Dataset]]] = {}
    for one in found:
        by_series.setdefault(str(one[1].get("SeriesInstanceUID", "")), []).append(one)
    if not by_series:
        raise InputError(f"{path} holds no DICOM image. Give a series' folder, or a file of one.")
    if series in by_series or (len(by_series) == 1 and series is None):
        return by_series[series or next(iter(by_series))]
    listing = "; ".join(
        f"series={uid!r} ({len(one)} files, {one[0][1].get('SeriesDescription') or 'unnamed'})"
        for uid, one in by_series.items()
    )
    what = "A volume is of one series" if series is None else f"There is no series {series!r}"
    raise InputError(f"{what}, and {path} holds {len(by_series)}. Choose one of them: {listing}.")


def _slices(file: Path, header: Dataset) -> Iterator[Slice]:
    """List the slices of a file: its image, or its frames where it says where each lies."""
    if header.get("SamplesPerPixel", 1) != 1:
        raise InputError(f"{file} holds colours, not one value a voxel.")
    if "MOSAIC" in header.get("ImageType", ()):
        raise InputError(
            f"{file} is a mosaic, whose slices lie side by side in one picture. Convert it to "
            "NIfTI, as dcm2niix does."
        )
    frames = header.get("PerFrameFunctionalGroupsSequence")
    if frames is None and frames_of(header) > 1:
        raise InputError(
            f"{file} holds {frames_of(header)} frames, and does not say where each lies, as a film "
            "does not. Convert it to NIfTI, as dcm2niix does, where it is a volume."
        )
    if frames is None:
        yield _slice(file, None, header, [header])
        return
    shared = header.get("SharedFunctionalGroupsSequence") or [None]
    for index, own in enumerate(frames):
        said = [part for group in (own, shared[0]) if group is not None for part in _parts(group)]
        yield _slice(file, index, header, said)


def _parts(group: Dataset) -> Iterator[Dataset]:
    """List what a group of functions says: its sequences' first items."""
    for element in group:
        if element.VR == "SQ" and len(element.value):
            yield element.value[0]


def _slice(file: Path, frame: int | None, header: Dataset, said: Sequence[Dataset]) -> Slice:
    def find(name: str) -> Any:
        return next((part.get(name) for part in said if part.get(name) is not None), None)

    names = "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"
    position, cosines, spacing = map(find, names)
    if position is None or cosines is None or spacing is None:
        raise InputError(
            f"{file} lacks one of {', '.join(names)}, so that it is not known where its voxels "
            "lie. As a photograph it is read by camcore.read_photo."
        )
    rows_apart, columns_apart = map(float, spacing)
    directions = np.asarray(cosines, np.float64).reshape(2, 3) * [[columns_apart], [rows_apart]]
    slope, intercept = find("RescaleSlope"), find("RescaleIntercept")
    scaling = 1.0 if slope is None else float(slope), float(intercept or 0)
    size = int(header.Rows), int(header.Columns)
    thickness = float(find("SliceThickness") or 1)
    return Slice(
        file, frame, size, np.asarray(position, np.float64), directions, thickness, scaling
    )


def _check_alike(slices: Sequence[Slice]) -> None:
    """Refuse slices that differ in what those of a volume share."""
    first = slices[0]
    for other in slices[1:]:
        if other.size != first.size:
            raise InputError(
                f"Slices differ in size: {first} has {first.size} pixels, and {other} "
                f"{other.size}. Give a folder of one volume."
            )
        if not np.allclose(other.directions, first.directions, rtol=0, atol=_SAME):
            raise InputError(
                f"{first} and {other} are not parallel, or their pixels differ in size, as those "
                "of scouts; they do not make one volume. Give a folder of one volume."
            )


def _in_order(slices: Sequence[Slice]) -> tuple[list[Slice], npt.NDArray[np.float64]]:
    """Order slices along their normal; returns them, and the way from one to the next."""
    normal = np.cross(*slices[0].directions)
    normal /= np.linalg.norm(normal)
    ordered = sorted(slices, key=lambda one: float(one.position @ normal))
    if len(ordered) == 1:
        return ordered, normal * ordered[0].thickness
    places = np.stack([one.position for one in ordered])
    steps = np.diff(places @ normal)
    usual = float(np.sort(steps)[(len(steps) - 1) // 2])
    tolerance = _UNEVEN * usual
    pairs = list(zip(ordered[:-1], ordered[1:], steps, strict=True))
    for before, after, step in pairs:
        if step < _SAME:
            raise InputError(
                f"{before} and {after} lie at one place, as slices of several times, echoes or "
                "reconstructions do. Give a folder of the slices of one."
            )
    for before, after, step in pairs:
        if abs(step - usual) > tolerance:
            raise InputError(
                f"Slices lie {usual:.4g} mm apart, but {before} and {after} {step:.4g} mm: some "
                "are missing, or the distance changes. Give all slices of one volume, or resample "
                "it to even ones."
            )
    way = (places[-1] - places[0]) / (len(places) - 1)
    even = places[0] + np.arange(len(places))[:, None] * way
    if np.abs(places - even).max() > tolerance:
        raise InputError(
            f"The slices beside {ordered[0]} are shifted against one another, so that they do not "
            "make one volume. Give a folder of one volume."
        )
    return ordered, way


def _planes(slices: Sequence[Slice]) -> Iterator[npt.NDArray[Any]]:
    """Decode slices ``(rows, columns)``, each file once, and rescale them."""
    frames: dict[Path, npt.NDArray[Any]] = {}
    for one in slices:
        if one.frame is None:
            yield measured(read_dataset(one.file))
            continue
        if one.file not in frames:
            values = decoded(read_dataset(one.file))
            frames[one.file] = values if values.ndim == 3 else values[None]
        slope, intercept = one.scaling
        yield frames[one.file][one.frame] * slope + intercept
