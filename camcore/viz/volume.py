"""Draw maps of volumes in three planes at right angles through one point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError
from camcore.recipes import OverlayStyle
from camcore.resize import LINEAR, resize
from camcore.viz.arrays import Floats, Picture, check_finite
from camcore.viz.colormaps import Colormap, coloured
from camcore.viz.panels import bare, panel_rows, same_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AXES = ("depth", "row", "column")
_LONGEST = 2.9
"""Longest side of a plane, in inches."""


def volume_figure(
    volumes: npt.ArrayLike | None,
    maps: npt.ArrayLike,
    *,
    at: Sequence[tuple[int, int, int]] | None = None,
    spacing: tuple[float, float, float] = (1, 1, 1),
    signed: bool = False,
    titles: Sequence[str] | None = None,
    style: OverlayStyle | None = None,
    colormap: str | None = None,
) -> Figure:
    """Draw maps of volumes in three planes through their strongest point.

    Parameters
    ----------
    volumes : (B, D, H, W) or (D, H, W) array, or None
        Any finite values; each is drawn in grey from its smallest to its largest. None
        draws the maps alone.
    maps : (B, d, h, w) or (d, h, w) array
        In [0, 1], or any finite values where they are signed; brought to the volumes' size.
    at : B triples of int, optional
        Depth, row and column of the point of each volume. Left out, where its map is
        strongest, of either sign.
    spacing : (float, float, float)
        Size of a voxel along depth, rows and columns, in any one unit.
    signed : bool
        Draw the maps' signs, in diverging colours around zero.
    titles : B strings, optional
        What is explained in each volume.
    style : OverlayStyle, optional
        How volume and map are mixed.
    colormap : str, optional
        Instead of the style's, as `overlay` takes it.

    Returns
    -------
    matplotlib.figure.Figure
        A row for each volume: its slice at that depth, at that row and at that column,
        each with lines where the other two cut it. The first axis of a slice points down.

    Raises
    ------
    InputError
        Shapes or numbers do not fit, or a point lies outside its volume.
    MissingExtraError
        matplotlib is not installed.
    """
    heats = _batch(maps, "Maps")
    shown = heats if volumes is None else _batch(volumes, "Volumes")
    same_number(volumes=shown, maps=heats, at=at, titles=titles)
    size = shown.shape[1:]
    if len(spacing) != 3 or not min(spacing) > 0:
        raise InputError(
            f"spacing={spacing} is no size of a voxel; pass three positive numbers, along depth, "
            "rows and columns."
        )
    heats = heats if heats.shape[1:] == size else np.asarray(resize(heats, size, LINEAR, leading=1))
    points = [_peak(heat) for heat in heats] if at is None else [_inside(p, size) for p in at]
    # All slices share their colours, so all are checked and scaled as one long picture.
    _, colours = coloured(heats.reshape(-1, *size[1:]), signed, style, colormap)
    drawing, grid = _panels(len(heats), size, spacing)
    for index, (panels, heat, point) in enumerate(zip(grid, heats, points, strict=True)):
        grey = None if volumes is None else _grey(shown[index])
        for axis, panel in enumerate(panels):
            _draw_plane(panel, grey, heat, axis, point, colours, spacing)
        if titles is not None:
            panels[0].set_ylabel(titles[index], fontsize=9)
    scale = colours.scale() if volumes is None else colours.scale_over()
    scale.draw(drawing, slice(None))
    return drawing


def _batch(values: npt.ArrayLike, name: str) -> Floats:
    array = np.asarray(values, dtype=np.float32)
    array = array[None] if array.ndim == 3 else array
    if array.ndim != 4 or 0 in array.shape:
        raise InputError(
            f"{name} of shape {np.shape(values)} cannot be drawn; pass (B, D, H, W) or (D, H, W), "
            "without a channel axis."
        )
    return check_finite(array, name)


def _peak(heat: Floats) -> tuple[int, ...]:
    if not heat.any():
        return tuple(side // 2 for side in heat.shape)
    return tuple(int(i) for i in np.unravel_index(np.argmax(np.abs(heat)), heat.shape))


def _inside(point: Sequence[int], size: tuple[int, ...]) -> tuple[int, ...]:
    if len(point) != 3 or not all(0 <= p < side for p, side in zip(point, size, strict=True)):
        raise InputError(
            f"at={tuple(point)} lies outside a volume of {size}; pass depth, row and column."
        )
    return tuple(point)


def _grey(volume: Floats) -> Picture:
    low, high = float(volume.min()), float(volume.max())
    levels = np.rint((volume - low) * (255 / ((high - low) or 1.0))).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=-1)


def _panels(
    rows: int, size: tuple[int, ...], spacing: Sequence[float]
) -> tuple[Figure, npt.NDArray[Any]]:
    """Make a figure of three panels a row, as wide and high as their planes."""
    depth, height, width = (side * step for side, step in zip(size, spacing, strict=True))
    inch = _LONGEST / max(depth, height, width)
    widths, tallest = (width, width, height), max(height, depth)
    figsize = (inch * sum(widths) + 0.9, rows * (inch * tallest + 0.35) + 0.8)
    return panel_rows(figsize, [1.0] * rows + [0.05], widths)


def _draw_plane(
    panel: Axes,
    grey: Picture | None,
    heat: Floats,
    axis: int,
    point: tuple[int, ...],
    colours: Colormap,
    spacing: Sequence[float],
) -> None:
    down, across = (other for other in range(3) if other != axis)
    cut = np.take(heat, point[axis], axis=axis)
    if grey is None:
        picture = colours.heat(cut, cut.shape)
    else:
        picture = colours.over(np.take(grey, point[axis], axis=axis), cut)
    panel.imshow(picture, aspect=spacing[down] / spacing[across])
    for line, place in ((panel.axhline, point[down]), (panel.axvline, point[across])):
        line(place, color="white", linewidth=0.6, alpha=0.7, linestyle=(0, (4, 3)))
    panel.set_title(f"{AXES[axis]} {point[axis]}", fontsize=10)
    bare(panel)
