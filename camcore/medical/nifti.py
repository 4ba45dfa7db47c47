"""Read and write NIfTI files, with what says where their voxels lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from camcore._shared.atomic import whole
from camcore._shared.optional import needs
from camcore.errors import InputError
from camcore.medical.space import Affine, check_affine

ENDINGS: Final = (".nii.gz", ".nii")

_ALIGNED: Final = 2
"""NIfTI's code of coordinates that are aligned to another scan, whichever that is."""

_GIVE_AFFINE: Final = "If you know it, read the volume with affine=, of millimetres in RAS+."


class Forms(NamedTuple):
    """A NIfTI file's two transforms with their codes, of which each viewer reads its own."""

    qform: Affine
    qform_code: int
    sform: Affine
    sform_code: int


class Found(NamedTuple):
    """What a file holds of a volume: voxels, their affine, and a NIfTI file's own transforms."""

    array: npt.NDArray[np.float32]
    affine: Affine
    forms: Forms | None = None


def is_nifti_name(path: Path) -> bool:
    """Tell whether a file is called as NIfTI files are."""
    return path.name.lower().endswith(ENDINGS)


def read_nifti(path: Path, index: int | None, affine: npt.ArrayLike | None) -> Found:
    """Read a file of any format that nibabel reads as a volume.

    Parameters
    ----------
    path : Path
    index : int or None
        Which volume of a file of several.
    affine : (4, 4) array or None
        In place of the file's.

    Returns
    -------
    Found

    Raises
    ------
    InputError
        It holds several volumes and none is chosen, colours, or no known orientation.
    MissingExtraError
        nibabel is not installed.
    """
    with needs("medical", "reading NIfTI files"):
        import nibabel
    return of_image(nibabel.load(path), str(path), index, affine)


def of_image(image: Any, name: str, index: int | None, affine: npt.ArrayLike | None) -> Found:
    """Take what a nibabel image holds, as `read_nifti` takes it from a file."""
    if image.get_data_dtype().fields is not None:
        raise InputError(f"{name} holds colours, not one value a voxel. Give a volume of values.")
    shape = tuple(map(int, image.shape))
    if len(shape) < 3:
        raise InputError(f"{name} has the shape {shape}, and a volume has three axes.")
    count = int(np.prod(shape[3:]))
    if count != 1 and index is None:
        raise InputError(
            f"{name} has the shape {shape}: {count} volumes, as of times or echoes, of which one "
            f"is explained at a time. Choose it, index=0 to {count - 1}."
        )
    if not 0 <= (index or 0) < count:
        raise InputError(f"index={index} is none of the {count} volumes of {name}.")
    place = np.unravel_index(index or 0, shape[3:]) if shape[3:] else ()
    array = np.asarray(image.dataobj[(..., *place)], dtype=np.float32)
    if affine is not None:
        return Found(array, check_affine(affine))
    forms = _forms(image)
    if forms is not None and not forms.qform_code and not forms.sform_code:
        raise InputError(
            f"{name} does not say where its voxels lie: its qform and sform codes are 0, so that "
            f"left and right are not known. {_GIVE_AFFINE}"
        )
    if image.affine is None:
        raise InputError(f"{name} has no affine. {_GIVE_AFFINE}")
    return Found(array, check_affine(image.affine, f"The affine of {name}"), forms)


def _forms(image: Any) -> Forms | None:
    """Take the transforms of a NIfTI image; other formats have none."""
    if not hasattr(image, "get_sform"):
        return None
    header = image.header
    codes = int(header["qform_code"]), int(header["sform_code"])
    return Forms(image.get_qform(), codes[0], image.get_sform(), codes[1])


def write_nifti(
    path: Path, array: npt.NDArray[Any], affine: Affine, forms: Forms | None, about: str = ""
) -> None:
    """Write a volume as float32, so that it appears whole or not at all.

    Parameters
    ----------
    path : Path
        Ends in ``.nii`` or ``.nii.gz``.
    array : (I, J, K) array
    affine : (4, 4) array
    forms : Forms or None
        Transforms of the file that the volume lies over, kept as they are.
    about : str
        What the volume is, in at most 79 letters.
    """
    with needs("medical", "writing NIfTI files"):
        import nibabel
    check_name(path)
    values = np.asarray(array, dtype=np.float32)
    image = nibabel.Nifti1Image(values, affine)
    if forms is None:
        image.set_sform(affine, _ALIGNED)
        image.set_qform(affine, _ALIGNED)
        if not np.allclose(image.get_qform(), affine, rtol=1e-5, atol=1e-4):
            image.set_qform(None, 0)  # which cannot say a shear, as of a tilted gantry
    else:
        image.set_sform(forms.sform, forms.sform_code)
        image.set_qform(forms.qform, forms.qform_code)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = about.encode()[:79]
    # What viewers take as the ends of their colours.
    image.header["cal_min"], image.header["cal_max"] = values.min(), values.max()
    suffix = next(end for end in ENDINGS if path.name.lower().endswith(end))
    with whole(path, suffix=suffix) as draft:
        nibabel.save(image, draft)


def check_name(path: Path) -> None:
    """Refuse a name that no viewer would take for a NIfTI file's."""
    if not is_nifti_name(path):
        raise InputError(f"{path} ends as no NIfTI file does. Give a name in .nii.gz or .nii.")
