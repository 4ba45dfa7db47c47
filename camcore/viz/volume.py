"""Draw maps of volumes in three planes at right angles through one point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError
from camcore.medical.space import Affine, affine_of, check_affines, spacing_of
from camcore.recipes import OverlayStyle
from camcore.resize import LINEAR, resize
from camcore.viz.annotations import level_lines
from camcore.viz.arrays import Floats, Picture, check_finite
from camcore.viz.colormaps import Colormap, coloured
from camcore.viz.panels import bare, panel_rows, same_number
from camcore.viz.planes import Convention, Plane, anatomical_planes, plain_planes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LONGEST = 2.9
"""Longest side of a plane, in inches."""

_WINDOW = (0.5, 99.5)
"""Percentiles of a volume's values that are black and white."""

Window: TypeAlias = tuple[float, float]


def volume_figure(
    volumes: npt.ArrayLike | None,
    maps: npt.ArrayLike,
    *,
    at: Sequence[tuple[int, int, int]] | None = None,
    spacing: tuple[float, float, float] = (1, 1, 1),
    affine: npt.ArrayLike | None = None,
    convention: Convention = "radiological",
    window: Window | None = None,
    percentiles: Window = _WINDOW,
    contour: bool | float | Sequence[float] | None = None,
    signed: bool = False,
    titles: Sequence[str] | None = None,
    style: OverlayStyle | None = None,
    colormap: str | None = None,
) -> Figure:
    """Draw maps of volumes in three planes through their strongest point.

    Parameters
    ----------
    volumes : (B, D, H, W) or (D, H, W) array, Volume, or B of these, or None
        Any finite values, drawn in grey. What knows where its voxels lie, such as
        `camcore.medical.Volume`, is turned the right way up. None draws the maps alone.
    maps : (B, d, h, w) or (d, h, w) array
        In [0, 1], or any finite values where they are signed; brought to the volumes' size.
    at : B triples of int, optional
        Depth, row and column of the point of each volume. Left out, where its map is
        strongest, of either sign.
    spacing : (float, float, float)
        Size of a voxel along depth, rows and columns, in any one unit; an affine says it itself.
    affine : (4, 4) or (B, 4, 4) array, optional
        From the volumes' voxels to millimetres in RAS+, in place of what they bring with them.
    convention : {"radiological", "neurological"}
        Where an affine is known, whether the patient's right is at the left of a picture, as
        if seen from the feet and from the front, or at its right.
    window : (float, float), optional
        The volumes' values that are black and white, such as ``(-160, 240)`` Hounsfield units.
    percentiles : (float, float)
        Without a window, the percentiles of each volume's values that are black and white.
    contour : bool, float or sequence of float, optional
        Values of the maps at which lines are drawn over the volumes, in place of a veil; True
        is half of the largest value, of either sign where the maps are signed.
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
        A row for each volume, of three slices, each with lines where the other two cut it. With
        an affine they are the axial, coronal and sagittal ones, or those of the volume's own
        grid nearest to them, with letters at the sides that they point to (R and L, A and P, S
        and I; oblique ones two), the front of the sagittal one at the left, and how far on which
        side of the origin the point lies. Without one they are at that depth, row and column,
        and the first axis of a slice points down.

    Raises
    ------
    InputError
        Shapes or numbers do not fit, a point lies outside its volume, an affine is singular, or
        a window, percentiles, convention or contours are none.
    MissingExtraError
        matplotlib is not installed.
    """
    heats = _batch(maps, "Maps")
    own = own_affines(volumes)
    shown = heats if volumes is None else _batch(volumes, "Volumes")
    same_number(volumes=shown, maps=heats, at=at, titles=titles)
    size = shown.shape[1:]
    heats = heats if heats.shape[1:] == size else np.asarray(resize(heats, size, LINEAR, leading=1))
    points = [_peak(heat) for heat in heats] if at is None else [_inside(p, size) for p in at]
    affines = _affines(own if affine is None else affine, spacing, convention, len(heats))
    # All slices share their colours, so all are checked and scaled as one long picture.
    _, colours = coloured(heats.reshape(-1, *size[1:]), signed, style, colormap)
    if contour is True:
        half = float(np.abs(heats).max()) / 2
        contour = [-half, half] if signed else half
    levels = _levels(contour, volumes is None)
    rows = [
        plain_planes(size, point, spacing)
        if where is None
        else anatomical_planes(size, point, where, convention)
        for point, where in zip(points, affines, strict=True)
    ]
    drawing, grid = _panels(rows)
    for index, (panels, planes, heat) in enumerate(zip(grid, rows, heats, strict=True)):
        ends = None if volumes is None else _ends(shown[index], window, percentiles)
        for panel, plane in zip(panels, planes, strict=True):
            grey = None if ends is None else _grey(plane.cut(shown[index]), ends)
            _draw_plane(panel, plane, grey, plane.cut(heat), colours, levels)
        if titles is not None:
            panels[0].set_ylabel(titles[index], fontsize=9, labelpad=8)
    veiled = volumes is not None and not levels
    scale = colours.scale_over() if veiled else colours.scale()
    scale.draw(drawing, slice(None))
    return drawing


def _batch(values: npt.ArrayLike, name: str) -> Floats:
    try:
        array = np.asarray(values, dtype=np.float32)
    except ValueError as error:
        raise InputError(f"{name} of several sizes cannot share a figure. Draw each.") from error
    array = array[None] if array.ndim == 3 else array
    if array.ndim != 4 or 0 in array.shape:
        raise InputError(
            f"{name} of shape {np.shape(array)} cannot be drawn; pass (B, D, H, W) or (D, H, W), "
            "without a channel axis."
        )
    return check_finite(array, name)


def own_affines(volumes: Any) -> Any:
    """Take the affines that volumes bring with them; None where one of them has none."""
    if isinstance(volumes, (list, tuple)):
        each = [affine_of(one) for one in volumes]
        return None if any(one is None for one in each) else each
    return affine_of(volumes)


def _affines(
    affine: Any, spacing: Sequence[float], convention: str, count: int
) -> Sequence[Affine | None]:
    """Check what says where voxels lie, and how large they are."""
    if len(spacing) != 3 or not min(spacing) > 0:
        raise InputError(
            f"spacing={spacing} is no size of a voxel; pass three positive numbers, along depth, "
            "rows and columns."
        )
    if convention not in get_args(Convention):
        known = " or ".join(map(repr, get_args(Convention)))
        raise InputError(f"convention={convention!r} is unknown; choose {known}.")
    if affine is None:
        return [None] * count
    found = check_affines(affine, count)
    if tuple(spacing) != (1, 1, 1) and not np.allclose(spacing, spacing_of(found[0]), rtol=1e-3):
        raise InputError(
            f"spacing={spacing} is not that of the affine, {spacing_of(found[0])} mm; leave it out."
        )
    return list(found)


def _levels(contour: bool | float | Sequence[float] | None, alone: bool) -> list[float]:
    if contour is None or contour is False:
        return []
    levels = np.atleast_1d(np.asarray(contour, dtype=np.float64))
    if levels.ndim != 1 or not levels.size or not np.isfinite(levels).all():
        raise InputError(f"contour={contour!r} are no values of maps; pass one, or several.")
    if alone:
        raise InputError("contour= draws lines over volumes; pass these too.")
    return sorted(set(levels.tolist()))


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


def _ends(volume: Floats, window: Window | None, percentiles: Window) -> Window:
    """Find the values that are black and white, though a few voxels are far beyond them."""
    if window is not None:
        if np.shape(window) != (2,) or not -np.inf < window[0] < window[1] < np.inf:
            raise InputError(f"window={window} is none; pass the values of black and of white.")
        return window
    if np.shape(percentiles) != (2,) or not 0 <= percentiles[0] < percentiles[1] <= 100:
        raise InputError(f"percentiles={percentiles} are none; pass two, from 0 to 100.")
    low, high = map(float, np.percentile(volume, percentiles))
    if not high > low:  # few voxels differ from the rest, as in a mask of a small organ
        low, high = float(volume.min()), float(volume.max())
    return low, high if high > low else low + 1


def _grey(cut: Floats, ends: Window) -> Picture:
    """Turn values into grey levels, ``(h, w, 3)``."""
    low, high = ends
    shares = np.clip((cut - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.repeat(np.rint(shares * 255).astype(np.uint8)[..., None], 3, axis=-1)


def _panels(rows: Sequence[Sequence[Plane]]) -> tuple[Figure, npt.NDArray[Any]]:
    """Make a figure of three panels a row, as wide and high as their planes."""
    sizes = np.array([[plane.size for plane in planes] for planes in rows])
    sizes = sizes / sizes.max(axis=(1, 2), keepdims=True)  # the longest side of each row alike
    widths, heights = sizes[..., 1].max(axis=0), sizes[..., 0].max(axis=1)
    figsize = (
        _LONGEST * float(widths.sum()) + 0.9,
        _LONGEST * float(heights.sum()) + 0.35 * len(rows) + 0.8,
    )
    ratios = [*heights.tolist(), 0.05 * float(heights.max())]
    return panel_rows(figsize, ratios, widths.tolist())


def _draw_plane(
    panel: Axes,
    plane: Plane,
    grey: Picture | None,
    cut: Floats,
    colours: Colormap,
    levels: Sequence[float],
) -> None:
    if grey is None:
        picture = colours.heat(cut, cut.shape)
    else:
        picture = grey if levels else colours.over(grey, cut)
    panel.imshow(picture, aspect=plane.aspect)
    level_lines(panel, cut, levels, colours.scale())
    down, across = plane.lines
    for line, place in ((panel.axhline, down), (panel.axvline, across)):
        line(place, color="white", linewidth=0.6, alpha=0.7, linestyle=(0, (4, 3)))
    panel.set_title(plane.title, fontsize=10)
    bare(panel)
    plane.write_letters(panel)
