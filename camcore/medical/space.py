"""Where voxels lie in the patient: affines, their orientation, and the letters of directions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError

Affine: TypeAlias = npt.NDArray[np.float64]

LETTERS: Final = ("LR", "PA", "IS")
"""The two ends of each axis of RAS+: left and right, back and front, foot and head."""

LPS_TO_RAS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From DICOM's coordinates, whose x grows to the left and y to the back, to RAS+."""

_FLAT: Final = 1e-6
"""Volume of a voxel, relative to its sides' product, below which its axes do not span space."""

_NEAR: Final = 0.1
"""Share of a voxel's shortest side within which places are one: files round them."""

_ASLANT: Final = 0.26
"""Share of another axis, the sine of 15°, from which on its letter is written too."""


def check_affine(affine: npt.ArrayLike, of: str = "The affine") -> Affine:
    """Check an affine and convert it to float64.

    Parameters
    ----------
    affine : (4, 4) array
        From voxel indices ``(i, j, k, 1)`` to millimetres in RAS+.
    of : str
        What an error calls it.

    Returns
    -------
    (4, 4) float64 array

    Raises
    ------
    InputError
        It has another shape or last row, is not finite, or singular.
    """
    try:
        found = np.asarray(affine, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.shape != (4, 4) or not np.array_equal(found[3], (0, 0, 0, 1)):
        came = f"has the shape {found.shape}" if found.shape != (4, 4) else f"ends in {found[3]}"
        raise InputError(
            f"{of} {came}; an affine is a (4, 4) array from voxels (i, j, k, 1) to millimetres, "
            "whose last row is 0, 0, 0, 1."
        )
    sides = np.linalg.norm(found[:3, :3], axis=0)
    if not np.isfinite(found).all():
        raise InputError(f"{of} has values that are NaN or infinite. Give one of finite numbers.")
    if not sides.all() or abs(np.linalg.det(found[:3, :3] / sides)) < _FLAT:
        raise InputError(
            f"{of} is singular: its voxels have the sides {sides.tolist()} mm and do not span "
            "space, so that it is not known where they lie. Give the affine of the scan."
        )
    return found


def check_affines(affines: npt.ArrayLike, count: int) -> Affine:
    """Check one affine for all, or one for each, and convert them to ``(count, 4, 4)`` float64."""
    array = np.asarray(affines, dtype=np.float64)
    if array.ndim == 3 and len(array) != count:
        raise InputError(
            f"There are {len(array)} affines for {count} volumes. Give one for each, or one for "
            "all."
        )
    if array.ndim == 3:
        return np.stack([check_affine(one, f"Affine {i}") for i, one in enumerate(array)])
    return np.repeat(check_affine(array)[None], count, axis=0)


def spacing_of(affine: Affine) -> tuple[float, float, float]:
    """Measure the sides of a voxel along its three axes, in millimetres."""
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return x, y, z


def resized_affine(affine: Affine, size: Sequence[int], new: Sequence[int]) -> Affine:
    """Find the affine of a grid of another size over the same field of view.

    Parameters
    ----------
    affine : (..., 4, 4) array
        Of the grid of `size`.
    size, new : three ints
        Numbers of voxels along each axis.

    Returns
    -------
    (..., 4, 4) float64 array
    """
    ratio = np.divide(size, new)
    step = np.diag([*ratio, 1.0])
    # The edges of the grids meet, not the centres of their corner voxels.
    step[:3, 3] = (ratio - 1) / 2
    moved: Affine = affine @ step
    return moved


def check_covers(
    affine: Affine, size: Sequence[int], over: Affine, over_size: Sequence[int]
) -> None:
    """Refuse to lay a map over a volume that shows something else than what was explained.

    Parameters
    ----------
    affine : (4, 4) array
        Of the map, whose `size` is three ints.
    over : (4, 4) array
        Of the volume, whose `over_size` may be another over the same field of view.

    Raises
    ------
    InputError
        They lie in different places.
    """
    expected = resized_affine(affine, size, over_size)
    corners = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)]) * [*over_size, 1]
    apart = float(np.abs(corners @ (expected - over).T).max())
    if apart > _NEAR * min(spacing_of(over)):
        raise InputError(
            f"The volume lies up to {apart:.4g} mm from what was explained: it was turned, cropped "
            "or resampled before the model was shown it. Give the volume as the model was shown "
            "it, or bring the map back: camcore.medical.undo_transforms(result, transforms, data)."
        )


def orientation(affine: Affine) -> npt.NDArray[np.int64]:
    """Find which axis of RAS+ each axis of a grid is nearest to.

    Parameters
    ----------
    affine : (4, 4) array

    Returns
    -------
    (3, 2) int array
        For each axis of the grid the axis of RAS+, each of which is taken once, and 1, or -1
        where it runs against it.
    """
    shares = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    axes = list(max(permutations(range(3)), key=lambda p: np.abs(shares[p, range(3)]).sum()))
    signs = np.where(shares[axes, range(3)] > 0, 1, -1)
    return np.stack([np.array(axes, np.int64), signs], axis=1)


def letters(direction: npt.ArrayLike) -> str:
    """Name the side of the patient that a direction points to.

    Parameters
    ----------
    direction : (3,) array
        In RAS+, of any length but zero.

    Returns
    -------
    str
        Such as ``"R"``; of an oblique direction the nearest side first, as ``"AS"``.
    """
    share = np.asarray(direction, dtype=np.float64)
    share = share / np.linalg.norm(share)
    order = np.argsort(-np.abs(share), kind="stable")
    chosen = [axis for place, axis in enumerate(order) if not place or abs(share[axis]) > _ASLANT]
    return "".join(LETTERS[axis][int(share[axis] > 0)] for axis in chosen)


def millimetres(axis: int, place: float) -> str:
    """Write a place along an axis of RAS+ with its side of the origin, as ``"L 12.5 mm"``."""
    rounded = round(place, 1)
    side = LETTERS[axis][int(rounded > 0)] + " " if rounded else ""
    return f"{side}{abs(rounded):.1f} mm"


def affine_of(source: Any) -> Affine | None:
    """Take the affine that an array brings with it, as MONAI's do; None where it has none.

    Parameters
    ----------
    source : object
        Its `meta` may say that its millimetres are in ``"LPS"``, as of DICOM; an identity that
        no file said is none.

    Returns
    -------
    (4, 4) or (B, 4, 4) float64 array or None
        To millimetres in RAS+.
    """
    found = getattr(source, "affine", None)
    if found is None:
        return None
    affine: Affine = np.asarray(found, dtype=np.float64)
    meta = getattr(source, "meta", None)
    # MONAI writes the identity where nothing is known; what a file said is kept beside it.
    if meta is not None and "original_affine" not in meta and np.all(affine == np.eye(4)):
        return None
    space = (meta or {}).get("space")
    space = space[0] if isinstance(space, (list, tuple)) and space else space
    return LPS_TO_RAS @ affine if str(space) == "LPS" else affine
