"""Fill in what is removed from an image: a baseline, a blur, or what its neighbours have."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from camcore._shared.finite import finite
from camcore._shared.optional import needs
from camcore.adapter import Array
from camcore.errors import InputError

if TYPE_CHECKING:
    from scipy.sparse import csc_array

Filling: TypeAlias = Literal["blur", "mean", "min"]
Baseline: TypeAlias = Filling | float | Array | Callable[[Array], Array]
"""What takes the place of removed positions; see `baseline_of`."""

_SIDE, _SIGMA, _REACH = 11, 5.0, 20
"""Side and standard deviation of the authors' kernel, and how far SciPy's goes."""


def baseline_of(images: Array, baseline: Baseline) -> Array:
    """Make the images that positions are taken from once they are removed.

    Parameters
    ----------
    images : (B, C, *S) array
        The model's input.
    baseline : {"blur", "mean", "min"}, float, array or callable
        The image blurred as RISE's authors do; the mean of each channel of each image; the
        smallest value of each image; a number; an array that has an image for each;
        or a callable that takes the images and returns theirs.

    Returns
    -------
    (B, C, *S) array
        Of the images' dtype; a view that cannot be written to where it repeats.

    Raises
    ------
    InputError
        There is no such baseline, or it is not finite or does not fit the images.
    """
    if isinstance(baseline, str):
        if baseline not in get_args(Filling):
            raise InputError(
                f"baseline={baseline!r}; expected one of "
                f"{', '.join(map(repr, get_args(Filling)))}, a number, images or a callable."
            )
        if baseline == "blur":
            return blurred(images)
        axes = tuple(range(2 if baseline == "mean" else 1, images.ndim))
        filled = (images.mean if baseline == "mean" else images.min)(axis=axes, keepdims=True)
        return np.broadcast_to(filled.astype(images.dtype), images.shape)
    values = np.asarray(baseline(images) if callable(baseline) else baseline, dtype=images.dtype)
    finite(values, "A baseline's values")
    if values.shape not in ((), images.shape):
        raise InputError(
            f"The baseline has shape {values.shape}; pass one number, or an image for each: "
            f"{images.shape}."
        )
    return np.broadcast_to(values, images.shape)


def blurred(images: Array) -> Array:
    """Blur images as the authors of RISE do for insertion.

    Their kernel has 11 positions a side. It is SciPy's Gaussian of σ = 5 at a single point,
    whose tails SciPy mirrors back into those 11, so that it is nearly a box: its corner has 0.88
    of what its centre has. Beyond the image's border there are zeros.

    Parameters
    ----------
    images : (B, C, *S) array
        With any number of spatial axes, one after the other of which is blurred.

    Returns
    -------
    (B, C, *S) array
        Of the images' dtype.

    References
    ----------
    Petsiuk et al., "RISE", BMVC 2018, sec. 4.2; ``gkern(11, 5)`` in the authors' evaluation.py.
    """
    kernel = _kernel()
    for axis in range(2, images.ndim):
        last = np.moveaxis(images, axis, -1)
        sides = [(0, 0)] * (images.ndim - 1) + [(_SIDE // 2, _SIDE // 2)]
        padded = np.pad(last, sides)
        length = last.shape[-1]
        total = sum(kernel[k] * padded[..., k : k + length] for k in range(_SIDE))
        images = np.moveaxis(np.asarray(total).astype(images.dtype, copy=False), -1, axis)
    return images


def _kernel() -> npt.NDArray[np.float64]:
    """Weigh a point by SciPy's Gaussian, mirrored at the ends of the kernel, along one axis."""
    point = np.zeros(_SIDE)
    point[_SIDE // 2] = 1
    offsets = np.arange(-_REACH, _REACH + 1)
    gaussian = np.exp(-0.5 * (offsets / _SIGMA) ** 2)
    mirrored = np.pad(point, _REACH, mode="symmetric")
    return np.convolve(mirrored, gaussian / gaussian.sum(), mode="valid")


class LinearImputer:
    """Fills in removed positions so that each is the weighted mean of its neighbours.

    Of its eight neighbours in a picture the nearer four weigh 1/6 and the diagonal ones 1/12:
    in inverse proportion to the square of the distance, which serves signals (1/2 and 1/2) and
    volumes as well.

    Parameters
    ----------
    removed : (*S) bool array
        What is removed; something must be left.

    Raises
    ------
    InputError
        Nothing is left to fill in from.
    MissingExtraError
        SciPy is not installed, which scikit-image (extra ``metrics``) brings.

    References
    ----------
    Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods",
    ICML 2022.
    """

    def __init__(self, removed: npt.NDArray[np.bool_]) -> None:
        self._at = np.flatnonzero(removed)
        self._sources: Any = None
        if not len(self._at):
            return
        if len(self._at) == removed.size:
            raise InputError(
                "Everything is removed, and nothing left to fill in from. Remove a share below 1."
            )
        with needs("metrics", "imputation"):
            from scipy.sparse.linalg import splu
        own, self._sources = _system(removed, self._at)
        # The matrix is symmetric, and its diagonal never smaller than the rest of a row.
        self._solve = splu(
            own,
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        ).solve

    def __call__(self, image: Array, noise: Array | float = 0.0) -> Array:
        """Fill in an image.

        Parameters
        ----------
        image : (C, *S) array
        noise : (C, *S) array or 0
            Added where something was filled in.

        Returns
        -------
        (C, *S) array
            Another array, of the image's dtype.
        """
        filled = np.array(image)
        if self._sources is None:
            return filled
        flat = filled.reshape(len(image), -1)
        found = self._solve(self._sources @ flat.T.astype(np.float64)).T
        added = np.broadcast_to(noise, image.shape).reshape(len(image), -1)[:, self._at]
        flat[:, self._at] = found + added
        return filled


def _system(
    removed: npt.NDArray[np.bool_], at: npt.NDArray[np.int64]
) -> tuple[csc_array, csc_array]:
    """Set up L·x = R·y, for removed positions x and all positions y, where R reads those kept."""
    from scipy.sparse import coo_array, csc_array

    size, count = removed.shape, len(at)
    places = np.stack(np.unravel_index(at, size))
    offsets = [o for o in product((-1, 0, 1), repeat=len(size)) if any(o)]
    weights = np.array([1 / sum(map(abs, offset)) for offset in offsets])
    weights /= weights.sum()
    number = np.full(removed.size, -1)
    number[at] = np.arange(count)
    rows, columns, values = [np.arange(count)], [np.arange(count)], [np.zeros(count)]
    kept: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], float]] = []
    for offset, weight in zip(offsets, weights, strict=True):
        moved = places + np.array(offset)[:, None]
        inside = ((moved >= 0) & (moved < np.array(size)[:, None])).all(axis=0)
        here = np.flatnonzero(inside)
        there = np.ravel_multi_index(tuple(moved[:, inside]), size)
        values[0][here] += weight
        unknown = number[there] >= 0
        rows.append(here[unknown])
        columns.append(number[there[unknown]])
        values.append(np.full(unknown.sum(), -weight))
        kept.append((here[~unknown], there[~unknown], float(weight)))
    own = coo_array(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), (count, count)
    )
    known = coo_array(
        (
            np.concatenate([np.full(len(here), weight) for here, _, weight in kept]),
            tuple(np.concatenate([part[i] for part in kept]) for i in (0, 1)),
        ),
        (count, removed.size),
    )
    return csc_array(own), csc_array(known)
