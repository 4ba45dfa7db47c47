"""A figure of explanations held against one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from camcore._shared.optional import needs
from camcore.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from camcore.comparison import Pair

_PANEL = 2.6
"""Width of one map, in inches."""


def comparison_figure(pairs: Sequence[Pair]) -> Figure:
    """Draw both maps and their difference, a row for each pair.

    Parameters
    ----------
    pairs : sequence of Pair
        Of each, the image whose maps are farthest apart is drawn.

    Returns
    -------
    matplotlib.figure.Figure
        The two maps of a row share one scale; all differences share another, and a cross
        marks where each is largest.

    Raises
    ------
    InputError
        The maps are not flat.
    MissingExtraError
        matplotlib is not installed.
    """
    if any(maps.ndim != 3 for pair in pairs for maps in pair.maps):
        raise InputError("Only maps (B, H, W) can be drawn; cut slices out of volumes first.")
    with needs("viz", "drawing figures"):
        from camcore.viz.drawing import Drawing
    drawing = Drawing(figsize=(3.4 * _PANEL, len(pairs) * _PANEL), layout="constrained")
    grid = drawing.subplots(len(pairs), 3, squeeze=False)
    farthest = max(float(pair.largest.max()) for pair in pairs) or 1.0
    shown = None
    for panels, pair in zip(grid, pairs, strict=True):
        one, other = (maps[pair.worst] for maps in pair.maps)
        scale = {"vmin": min(one.min(), other.min()), "vmax": max(one.max(), other.max())}
        for panel, heat, name in zip(panels, (one, other), pair.names, strict=False):
            panel.imshow(heat, cmap="inferno", **scale)
            panel.set_title(name, fontsize=9)
        gap = np.abs(one - other)
        shown = panels[2].imshow(gap, cmap="viridis", vmin=0, vmax=farthest)
        row, column = pair.where[pair.worst]
        panels[2].plot(column, row, "+", color="white", markersize=9)
        panels[2].set_title(f"difference, at most {gap.max():.2g}", fontsize=9)
        for panel in panels:
            panel.set(xticks=[], yticks=[])
    if shown is not None:
        drawing.colorbar(shown, ax=grid[:, 2], shrink=0.8)
    return drawing
