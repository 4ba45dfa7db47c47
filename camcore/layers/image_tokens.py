"""Where the tokens of an image stand among those of a text, as the text's own ids tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from camcore.adapter import Leaves
from camcore.errors import LayerError
from camcore.layers.layout import Layout

_NAMES = ("image_token_id", "image_token_index", "video_token_id", "video_token_index")
"""What configurations of Hugging Face call the id that stands where an image's tokens go."""

_IDS = "input_ids"
"""What Hugging Face calls the ids of a text; masks and positions are whole numbers, too."""


def stated_image_tokens(model: Any) -> frozenset[int]:
    """Read the ids that hold the place of image tokens off a model's configuration.

    Parameters
    ----------
    model : object
        A model of Hugging Face, or any other.

    Returns
    -------
    frozenset of int
        Empty where there is no such configuration.
    """
    config = getattr(model, "config", None)
    found = [getattr(config, name, None) for name in _NAMES]
    return frozenset(one for one in found if isinstance(one, int))


def placed(inputs: Leaves, ids: frozenset[int], count: int) -> tuple[int, int] | None:
    """Find where the image tokens stand among so many tokens, by the ids that were given.

    Parameters
    ----------
    inputs : mapping of str to array
        The model's inputs by path.
    ids : frozenset of int
        Those that hold the place of image tokens.
    count : int
        Number of tokens.

    Returns
    -------
    (int, int) or None
        The first, and how many; None where no input of as many ids has them.

    Raises
    ------
    LayerError
        They are several runs, or stand elsewhere in other samples.
    """
    for path, given in inputs.items():
        if path.rpartition(".")[2] != _IDS or given.ndim != 2 or given.shape[1] != count:
            continue
        held = np.isin(given, list(ids))
        if not held.any():
            continue
        if np.any(held != held[0]):
            firsts = [np.flatnonzero(row)[:1].tolist() for row in held]
            raise LayerError(
                "Image tokens stand at other places in other samples (they begin at "
                f"{', '.join(map(str, firsts))}), so one grid does not fit all. Explain the "
                "samples one by one."
            )
        at = np.flatnonzero(held[0])
        if len(at) != at[-1] - at[0] + 1:
            runs = 1 + int(np.sum(np.diff(at) > 1))
            raise LayerError(
                f"The ids have {runs} runs of image tokens, and a map lies over one image. Give "
                "one image, or say which run is meant: layout=camcore.Layout('tokens', "
                "grid=(rows, columns), prefix=n)."
            )
        return int(at[0]), len(at)
    return None


def on_grid(
    first: int, count: int, grids: Sequence[tuple[int, ...]], wanted: Layout | None
) -> Layout | None:
    """Lay a run of image tokens out on a grid: the one that is said, or that of a map.

    Parameters
    ----------
    first, count : int
        The run.
    grids : sequence of tuple of int
        Sizes of maps that the model makes of its input, the last first.
    wanted : Layout or None
        What the user says of them.

    Returns
    -------
    Layout or None
        None where no map has as many places: tokens may be merged, or stand for no place.

    Raises
    ------
    LayerError
        What is said does not fit.
    """
    if wanted is not None and wanted.grid is not None:
        if math.prod(wanted.grid) != count:
            raise LayerError(
                f"A grid of {wanted.grid} does not fit the {count} image tokens that the ids have. "
                "Give one that does."
            )
        return Layout("tokens", wanted.grid, first)
    grid = next((grid for grid in grids if math.prod(grid) == count), None)
    return None if grid is None else Layout("tokens", grid, first)


def check_run(found: Layout, first: int, count: int) -> Layout:
    """Refuse a grid that is found at other places than those of the ids.

    Raises
    ------
    LayerError
        It says how to say the grid.
    """
    if found.patches[1] != slice(first, first + count):
        raise LayerError(
            f"The ids have {count} image tokens from {first} on, and not these alone follow the "
            "picture place by place: their grid cannot be seen. Say it: "
            "layout=camcore.Layout('tokens', grid=(rows, columns))."
        )
    return found
