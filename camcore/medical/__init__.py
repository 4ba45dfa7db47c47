"""Volumes with millimetres: NIfTI and DICOM read, maps written as NIfTI, MONAI's transforms undone.

Affines are of millimetres in RAS+, as of NIfTI: x grows to the patient's right, y to the front,
z to the head.
"""

from camcore.medical.meta_tensor import undo_transforms
from camcore.medical.reading import read_volume
from camcore.medical.volume import Volume

__all__ = ["Volume", "read_volume", "undo_transforms"]
