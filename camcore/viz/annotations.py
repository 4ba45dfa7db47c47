"""Draw lines over pictures: level lines of a map, boxes, outlines of masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError
from camcore.viz.arrays import Floats, resized
from camcore.viz.panels import Scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEVEL, _BOX, _MASK = "white", "#00e5ff", "#76ff03"


@dataclass(frozen=True)
class Marks:
    """Level lines, boxes and outlines to draw over the pictures of a figure.

    Parameters
    ----------
    contours : sequence of float
        Values at which the map gets a level line, such as ``(0.25, 0.5, 0.75)``.
    boxes : B arrays (n, 4), optional
        Of each image, ``left, top, right, bottom`` in its pixels.
    masks : B arrays (H, W) of bool, optional
        Of each image, a region whose outline is drawn.
    """

    contours: Sequence[float] = ()
    boxes: Sequence[npt.ArrayLike] | None = None
    masks: Sequence[npt.ArrayLike] | None = None

    def draw(
        self, panel: Axes, index: int, shape: tuple[int, ...], heat: Floats | None = None
    ) -> None:
        """Draw the marks of one image.

        Parameters
        ----------
        panel : matplotlib.axes.Axes
            Shows a picture of `shape`.
        index : int
            Index of the image.
        shape : (H, W, ...)
            Its size.
        heat : (h, w) array, optional
            Its map, for level lines.

        Raises
        ------
        InputError
            Boxes or masks have another shape.
        """
        if heat is not None and len(self.contours):
            self._levels(panel, resized(heat, shape[:2]))
        if self.boxes is not None:
            _boxes(panel, self.boxes[index])
        if self.masks is not None:
            _outline(panel, np.asarray(self.masks[index]), shape)

    def _levels(self, panel: Axes, heat: Floats) -> None:
        # A level outside of the map's range has no line.
        levels = sorted(c for c in set(self.contours) if heat.min() < c < heat.max())
        if levels:
            _legible(panel.contour(heat, levels, colors=_LEVEL, linewidths=1.0))


def _boxes(panel: Axes, boxes: npt.ArrayLike) -> None:
    from matplotlib.patches import Rectangle

    corners = np.asarray(boxes, dtype=float)
    corners = corners.reshape(-1, 4) if corners.size == 0 else np.atleast_2d(corners)
    if corners.ndim != 2 or corners.shape[1] != 4 or (corners[:, 2:] < corners[:, :2]).any():
        raise InputError(
            f"Boxes of shape {np.shape(boxes)} cannot be drawn; pass (n, 4): left, top, right, "
            "bottom, with right beyond left and bottom beyond top."
        )
    for left, top, right, bottom in corners:
        # A pixel's centre has whole coordinates on a panel, its edges lie between.
        corner, size = (left - 0.5, top - 0.5), (right - left, bottom - top)
        box = Rectangle(corner, *size, fill=False, edgecolor=_BOX, linewidth=1.5, label="box")
        _legible(panel.add_patch(box))


def _outline(panel: Axes, mask: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    if mask.shape != tuple(shape[:2]):
        raise InputError(
            f"A mask of shape {mask.shape} does not fit a picture of {tuple(shape[:2])}; pass one "
            "of the picture's size."
        )
    if not mask.any():
        return
    # A border of nothing closes the outline of a region that reaches the edge.
    padded = np.pad(mask.astype(np.float32), 1)
    rows, columns = (np.arange(side + 2) - 1.0 for side in mask.shape)
    limits = panel.get_xlim(), panel.get_ylim()
    _legible(panel.contour(columns, rows, padded, [0.5], colors=_MASK, linewidths=1.5))
    panel.set(xlim=limits[0], ylim=limits[1])


def level_lines(panel: Axes, heat: Floats, levels: Sequence[float], scale: Scale) -> None:
    """Draw lines of a map at some values, each in the colour that its scale has there."""
    # A level outside of the map's range has no line.
    crossed = [level for level in levels if heat.min() < level < heat.max()]
    if crossed:
        shares = (np.array(crossed) - scale.low) / (scale.high - scale.low)
        places = np.clip(np.rint(shares * (len(scale.table) - 1)), 0, len(scale.table) - 1)
        colours = scale.table[places.astype(int)].tolist()
        _legible(panel.contour(heat, crossed, colors=colours, linewidths=1.4, linestyles="solid"))


def _legible(artist: Any) -> None:
    """Give lines a dark rim, so that they stand out from any picture."""
    from matplotlib.patheffects import withStroke

    width = float(np.max(artist.get_linewidth()))
    artist.set_path_effects([withStroke(linewidth=width + 1.2, foreground="black", alpha=0.6)])
