"""Put the positions of maps in order of importance."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from camcore.adapter import Array
from camcore.errors import InputError

Ties: TypeAlias = Literal["first", "last", "random", "numpy"]
"""Which of equally important positions comes first: the earlier, the later, either, or whichever
NumPy's own sorting leaves first, as the code of RISE and of xplique has it."""


def order_of(
    maps: Array, ties: Ties = "first", *, least: bool = False, seed: int = 0
) -> npt.NDArray[np.int64]:
    """Rank the positions of each map, most important first.

    Parameters
    ----------
    maps : (B, *S) array
        Real numbers.
    ties : {"first", "last", "random", "numpy"}
        Which of equally important positions comes first: the earlier one in the array, the later
        one, either, or whichever ``numpy.argsort(map)[::-1]`` leaves first, which differs from
        one processor to another.
    least : bool
        The least important first.
    seed : int
        Of random ties; they fall alike in each map, so that no map's depend on the others.

    Returns
    -------
    (B, P) int array
        Indices into each flattened map.

    Raises
    ------
    InputError
        There is no such way to deal with ties.
    """
    if ties not in get_args(Ties):
        raise InputError(f"ties={ties!r}; expected one of {', '.join(map(repr, get_args(Ties)))}.")
    rows = maps.reshape(len(maps), -1)
    if ties == "numpy":
        rising = np.argsort(rows, axis=1)
        return rising if least else rising[:, ::-1]
    # Integers without a sign cannot be negated.
    values = rows.astype(np.float64)
    values = values if least else -values
    if ties == "first":
        return np.argsort(values, axis=1, kind="stable")
    if ties == "last":
        count = values.shape[1]
        found: npt.NDArray[np.int64] = (
            count - 1 - np.argsort(values[:, ::-1], axis=1, kind="stable")
        )
        return found
    mixed = np.random.default_rng(seed).permutation(values.shape[1])
    return mixed[np.argsort(values[:, mixed], axis=1, kind="stable")]


def tied_share(maps: Array) -> npt.NDArray[np.float64]:
    """Compute the share of positions that are as important as another one.

    Parameters
    ----------
    maps : (B, *S) array
        Real numbers.

    Returns
    -------
    (B,) float64 array
        In [0, 1]; the order among them is a matter of `Ties`, and not of the map.
    """
    rows = np.sort(maps.reshape(len(maps), -1), axis=1)
    same = rows[:, 1:] == rows[:, :-1]
    edge = np.zeros((len(rows), 1), bool)
    tied = np.concatenate([edge, same], axis=1) | np.concatenate([same, edge], axis=1)
    share: npt.NDArray[np.float64] = tied.mean(axis=1)
    return share
