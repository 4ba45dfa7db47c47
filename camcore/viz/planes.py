"""The three planes of a volume through a point: which way up, how large, and their letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore.medical.space import Affine, letters, millimetres, orientation, spacing_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Convention: TypeAlias = Literal["radiological", "neurological"]
"""Which hand of the patient is at the left of a picture: the right one, or the left one."""

AXES = ("depth", "row", "column")

_ANATOMICAL = (("axial", 2, 1, 0), ("coronal", 1, 2, 0), ("sagittal", 0, 2, 1))
"""Name, and axes of RAS+: the one that is cut, down (reversed), and across."""


@dataclass(frozen=True, eq=False)
class Plane:
    """One plane of a volume, as it is drawn.

    Parameters
    ----------
    axis, place : int
        The volume's axis that is cut, and where.
    down, across : int
        The volume's axes of the picture's rows and columns.
    flips : (bool, bool)
        Whether rows and columns run against these.
    lines : (int, int)
        Row and column of the picture where the other two planes cut it.
    steps : (float, float)
        Sides of a pixel, down and across.
    shape : (int, int)
        Numbers of rows and columns.
    title : str
        What the plane is, and where.
    ends : tuple of str
        Letters at the left, right, top and bottom; empty for none.
    """

    axis: int
    place: int
    down: int
    across: int
    flips: tuple[bool, bool]
    lines: tuple[int, int]
    steps: tuple[float, float]
    shape: tuple[int, int]
    title: str
    ends: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[float, float]:
        """Height and width, in the unit of the steps."""
        return self.shape[0] * self.steps[0], self.shape[1] * self.steps[1]

    @property
    def aspect(self) -> float:
        """How much higher a pixel is than wide."""
        return self.steps[0] / self.steps[1]

    def cut(self, volume: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Take the plane of a volume ``(D, H, W, ...)`` as a picture."""
        found = np.take(volume, self.place, axis=self.axis)
        found = found if self.down < self.across else found.swapaxes(0, 1)
        rows, columns = (slice(None, None, -1 if flip else 1) for flip in self.flips)
        return np.ascontiguousarray(found[rows, columns])

    def write_letters(self, panel: Axes) -> None:
        """Write the letters at the sides of the picture."""
        places = ((0.02, 0.5), (0.98, 0.5), (0.5, 0.98), (0.5, 0.02))
        aligned = (("left", "center"), ("right", "center"), ("center", "top"), ("center", "bottom"))
        # Behind a letter nothing is seen: an I is not taken for the line that runs through it.
        behind = {"facecolor": "black", "edgecolor": "none", "alpha": 0.7, "pad": 1.2}
        for text, (x, y), (across, along) in zip(self.ends, places, aligned, strict=False):
            panel.text(
                x,
                y,
                text,
                transform=panel.transAxes,
                ha=across,
                va=along,
                color="white",
                fontsize=8,
                fontweight="bold",
                bbox=behind,
            )


def plain_planes(
    size: tuple[int, ...], point: Sequence[int], spacing: Sequence[float]
) -> list[Plane]:
    """Cut a volume of which no orientation is known along its axes, the first one pointing down."""
    planes = []
    for axis in range(3):
        down, across = (other for other in range(3) if other != axis)
        lines = point[down], point[across]
        where = axis, point[axis], down, across, (False, False), lines
        title = f"{AXES[axis]} {point[axis]}"
        planes.append(Plane(*where, *_extent(spacing, size, down, across), title))
    return planes


def anatomical_planes(
    size: tuple[int, ...], point: Sequence[int], affine: Affine, convention: Convention
) -> list[Plane]:
    """Cut a volume along the axes that are nearest to the patient's, the head or front up.

    Parameters
    ----------
    size : (int, int, int)
        Of the volume.
    point : three ints
        The voxel that all planes cut.
    affine : (4, 4) array
        From voxels to millimetres in RAS+.
    convention : {"radiological", "neurological"}
        Where the patient's right is, in the axial and the coronal plane.

    Returns
    -------
    list of three Plane
        Axial, coronal and sagittal.
    """
    runs = orientation(affine)
    place = affine @ [*point, 1]
    spacing = spacing_of(affine)
    axis_of = {int(world): axis for axis, (world, _) in enumerate(runs)}
    planes = []
    for name, cut, down_world, across_world in _ANATOMICAL:
        axis, down, across = axis_of[cut], axis_of[down_world], axis_of[across_world]
        # Rows run towards the feet or the back; columns to the patient's left where radiologists
        # look, and in the sagittal plane to the back, as both do.
        to_left = across_world == 1 or convention == "radiological"
        flips = bool(runs[down, 1] > 0), bool(runs[across, 1] > 0) == to_left
        last = size[down] - 1, size[across] - 1
        lines = tuple(
            end - point[one] if flip else point[one]
            for end, one, flip in zip(last, (down, across), flips, strict=True)
        )
        right = affine[:3, across] * (-1 if flips[1] else 1)
        bottom = affine[:3, down] * (-1 if flips[0] else 1)
        where = axis, point[axis], down, across, flips, (lines[0], lines[1])
        title = f"{name}, {millimetres(cut, float(place[cut]))}"
        ends = letters(-right), letters(right), letters(-bottom), letters(bottom)
        planes.append(Plane(*where, *_extent(spacing, size, down, across), title, ends))
    return planes


def _extent(
    spacing: Sequence[float], size: tuple[int, ...], down: int, across: int
) -> tuple[tuple[float, float], tuple[int, int]]:
    """Read the sides of a pixel, and the numbers of rows and columns."""
    return (spacing[down], spacing[across]), (size[down], size[across])
