"""Read one DICOM image, such as a radiograph, as a photograph."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError
from camcore.medical.dicom import decoded, frames_of, measured, read_dataset

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_SHOWN: Final = (0.5, 99.5)
"""Percentiles that are black and white of an image that says no window."""


def read_image(
    path: Path, value_range: tuple[float, float] | None
) -> tuple[npt.NDArray[Any], tuple[float, float] | None]:
    """Read one image for people, such as a radiograph.

    Parameters
    ----------
    path : Path
    value_range : (float, float) or None
        Values after rescaling that are the darkest and the brightest.

    Returns
    -------
    values : (H, W) or (H, W, 3) array
        After rescaling, or RGB.
    value_range : (float, float) or None
        Values that become 0 and 255, the first the larger one where low values are white
        (``MONOCHROME1``): as given, else as the file's first window says, else the percentiles
        0.5 and 99.5. None of colours of 8 bits.

    Raises
    ------
    InputError
        It holds several frames, or no pixels that can be decoded.
    MissingExtraError
        pydicom is not installed.
    """
    dataset = read_dataset(path)
    if "PixelData" not in dataset:
        raise InputError(f"{path} holds no image; give a DICOM file with pixels.")
    if frames_of(dataset) > 1:
        raise InputError(
            f"{path} holds {frames_of(dataset)} frames. As a volume it is read by "
            "camcore.medical.read_volume; of a film, give one frame as an array (H, W, 3)."
        )
    if dataset.get("SamplesPerPixel", 1) > 1 or dataset.get("RedPaletteColorLookupTableData"):
        colours = decoded(dataset)
        eight = colours.dtype == np.uint8 and value_range is None
        return colours, None if eight else value_range or _whole_range(colours)
    values, window = _windowed(dataset, measured(dataset))
    low, high = value_range or window
    inverted = dataset.get("PhotometricInterpretation") == "MONOCHROME1"
    return values, (high, low) if inverted else (low, high)


def _whole_range(colours: npt.NDArray[Any]) -> tuple[float, float]:
    return 0.0, float(np.iinfo(colours.dtype).max)


def _windowed(
    dataset: Dataset, values: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], tuple[float, float]]:
    """Find which values are the darkest and the brightest; where a curve says it, apply that."""
    from pydicom.pixels.processing import apply_voi_lut

    curved = dataset.get("VOILUTFunction", "LINEAR") == "SIGMOID"
    if dataset.get("VOILUTSequence") or (curved and dataset.get("WindowWidth")):
        values = np.asarray(apply_voi_lut(values, dataset))
        return values, _ends(values, (0, 100))
    centre, width = (_first(dataset.get(f"Window{name}")) for name in ("Center", "Width"))
    if centre is None or width is None or not width > 1:
        return values, _ends(values, _SHOWN)
    if dataset.get("VOILUTFunction") == "LINEAR_EXACT":
        return values, (centre - width / 2, centre + width / 2)
    # DICOM PS3.3 C.11.2.1.2.1: a window's ends are whole values of its own.
    return values, (centre - width / 2, centre + width / 2 - 1)


def _first(value: Any) -> float | None:
    """Take the first of a window's values, of which files list several."""
    if value is None or value == "":
        return None
    several = isinstance(value, Iterable) and not isinstance(value, str)
    return float(next(iter(value))) if several else float(value)


def _ends(values: npt.NDArray[Any], percentiles: tuple[float, float]) -> tuple[float, float]:
    low, high = map(float, np.percentile(values, percentiles))
    if not high > low:
        low, high = float(values.min()), float(values.max())
    return low, high if high > low else low + 1
