"""Draw figures: images with their maps, two frameworks side by side, maps and their differences."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from camcore.adapter import Array
from camcore.errors import InputError
from camcore.recipes import OverlayStyle
from camcore.viz.annotations import Marks
from camcore.viz.arrays import Floats, Picture
from camcore.viz.colormaps import Colormap, coloured
from camcore.viz.overlay import colour_table, framed, heat_map
from camcore.viz.panels import (
    Bars,
    Pictures,
    Scale,
    add_letters,
    draw_bars,
    label,
    new_figure,
    panels,
    pictures,
    same_number,
    show,
)
from camcore.viz.spectrogram import SHAPE, SpectrogramAxes, grey_spectrograms

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAP_WIDTH = 2.6
"""Width of one map of a comparison, in inches."""


def figure(
    images: Pictures | None,
    maps: Pictures,
    *,
    signed: bool = False,
    titles: Sequence[str] | None = None,
    bars: Sequence[Bars] | None = None,
    shares: bool = True,
    explained: Sequence[int | None] | None = None,
    letters: bool = False,
    seen: Pictures | None = None,
    style: OverlayStyle | None = None,
    colormap: str | None = None,
    marks: Marks | None = None,
    rate: float | None = None,
    times: npt.ArrayLike | None = None,
    frequencies: npt.ArrayLike | None = None,
) -> Figure:
    """Draw each image, its map, and the one laid over the other.

    Parameters
    ----------
    images : (B, H, W, 3) or (H, W, 3) array, or B arrays (H, W, 3), or None
        RGB, or grey as `overlay` takes it, uint8 or floating in [0, 1]. None draws the maps
        alone.
    maps : (B, h, w) or (h, w) array, or B arrays (h, w)
        In [0, 1]; any finite values where they are signed.
    signed : bool
        Draw the maps' signs, in diverging colours around zero on one scale for all.
    titles : B strings, optional
        What is explained in each row.
    bars : B sequences of (label, value), optional
        Drawn as bars beside the pictures.
    shares : bool
        Whether the values of bars are shares, in [0, 1], rather than any numbers.
    explained : B ints or None, optional
        Index of the bar that is explained, which stands out.
    letters : bool
        Put (a), (b), ... before the columns' titles.
    seen : B arrays (H, W) of bool, optional
        Where the model looked; elsewhere the map is left white, and the image bare outside
        of a thin frame.
    style : OverlayStyle, optional
        How image and map are mixed.
    colormap : str, optional
        Instead of the style's, as `overlay` takes it: ``"jet"`` for the tutorials' look.
    marks : Marks, optional
        Level lines, boxes and outlines over the pictures.
    rate : float, optional
        Of spectrograms: columns per second.
    times : (W,) array, optional
        Instead of `rate`: when the columns of spectrograms were taken, in seconds.
    frequencies : (H,) array, optional
        Frequency of each row of spectrograms, in hertz, rising or falling; spaced evenly or not.

    Returns
    -------
    matplotlib.figure.Figure
        One row for each image. Where times or frequencies are told, images are spectrograms,
        (B, H, W) of any finite values, drawn in grey from the smallest to the largest; low
        frequencies are at the bottom, and times run to the right though they be the rows.

    Raises
    ------
    InputError
        Images, maps, titles, bars and marks differ in number, or cannot be drawn; or there are
        not as many times and frequencies as columns and rows.
    MissingExtraError
        matplotlib is not installed.
    """
    heats, colours = coloured(maps, signed, style, colormap)
    spectral = any(told is not None for told in (rate, times, frequencies))
    images = grey_spectrograms(images) if spectral and images is not None else images
    photos = None if images is None else pictures(images)
    marks = marks or Marks()
    same_number(
        images=photos,
        maps=heats,
        titles=titles,
        bars=bars,
        explained=explained,
        seen=seen,
        boxes=marks.boxes,
        masks=marks.masks,
    )
    axes = SpectrogramAxes.of([one.shape[:2] for one in photos or heats], rate, times, frequencies)
    if axes is not None:
        axes.check_marks(seen, marks.boxes, marks.masks)
        heats, photos = axes.upright(heats), photos and axes.upright(photos)
    shapes = [picture.shape for picture in photos or heats]
    masks = _masks(seen, len(heats))
    names = ("map",) if photos is None else ("image", "map", "overlay")
    places = shapes if axes is None else [SHAPE] * len(shapes)
    drawing, grid = panels(places, len(names), bars=bars is not None)
    middle = len(names) // 2
    for index, (row, heat, shape, mask) in enumerate(zip(grid, heats, shapes, masks, strict=True)):
        show(row[middle], colours.heat(heat, shape), mask)
        if photos is not None:
            show(row[0], photos[index])
            show(row[2], _over(photos[index], heat, colours, mask))
            marks.draw(row[0], index, shape)
        for panel in row[middle : len(names)]:
            marks.draw(panel, index, shape, heat)
    label(grid, [*names, "probability" if shares else "score"], titles)
    if axes is not None:
        for row, shape in zip(grid, shapes, strict=True):
            for place, panel in enumerate(row[: len(names)]):
                axes.draw(panel, shape, left=place == 0)
    for row, values, which in zip(grid, bars or (), explained or repeat(None), strict=False):
        draw_bars(row[len(names)], values, shares, which)
    colours.scale().draw(drawing, slice(middle, middle + 1))
    if photos is not None:
        colours.scale_over().draw(drawing, slice(2, 3))
    if letters:
        add_letters(drawing)
    return drawing


def compare_figure(
    images: Pictures,
    first: Pictures,
    second: Pictures,
    *further: Pictures,
    names: Sequence[str] = ("PyTorch", "TensorFlow"),
    titles: Sequence[str] | None = None,
    seen: Pictures | None = None,
    style: OverlayStyle | None = None,
    letters: bool = False,
) -> Figure:
    """Draw sets of maps side by side, and how far they are apart.

    Parameters
    ----------
    images : (B, H, W, 3) or (H, W, 3) array, or B arrays (H, W, 3)
        RGB, uint8 or floating in [0, 1].
    first, second, *further : (B, h, w) or (h, w) array, or B arrays (h, w)
        In [0, 1]; those of one image have the same shape.
    names : sequence of str
        What each set is.
    titles : B strings, optional
        What is explained in each row.
    seen : B arrays (H, W) of bool, optional
        Where the model looked; elsewhere the map is left white, and the image bare outside
        of a thin frame.
    style : OverlayStyle, optional
        How image and map are mixed.
    letters : bool
        Put (a), (b), ... before the columns' titles.

    Returns
    -------
    matplotlib.figure.Figure
        One row for each image: image, an overlay for each set, and the difference of the
        largest and the smallest value at each place. All differences share one scale, which
        is drawn.

    Raises
    ------
    InputError
        The arguments differ in number, or the maps of an image in shape.
    MissingExtraError
        matplotlib is not installed.
    """
    photos, sets = pictures(images), (first, second, *further)
    drawn = [coloured(maps, False, style, None) for maps in sets]
    heats, colours = [maps for maps, _ in drawn], drawn[0][1]
    same_number(sets=sets, names=names)
    numbered = {f"set {n}": maps for n, maps in enumerate(heats, 1)}
    same_number(images=photos, **numbered, titles=titles, seen=seen)
    apart = [_apart(maps) for maps in zip(*heats, strict=True)]
    largest = max(float(gap.max()) for gap in apart) or 1.0
    drawing, grid = panels([photo.shape for photo in photos], 2 + len(heats))
    masks = _masks(seen, len(photos))
    for row, photo, gap, mask, *maps in zip(grid, photos, apart, masks, *heats, strict=True):
        show(row[0], photo)
        for panel, heat in zip(row[1:-1], maps, strict=True):
            show(panel, _over(photo, heat, colours, mask))
        show(row[-1], heat_map(gap / largest, photo.shape[:2], colormap="viridis")[0], mask)
    label(grid, ("image", *names, "absolute difference"), titles)
    colours.scale_over().draw(drawing, slice(1, 1 + len(heats)))
    values = "difference (maps range from 0 to 1)"
    Scale(colour_table("viridis"), 0, largest, values).draw(drawing, slice(1 + len(heats), None))
    if letters:
        add_letters(drawing)
    return drawing


def comparison_figure(
    names: Sequence[tuple[str, str]], maps: Sequence[tuple[Array, Array]]
) -> Figure:
    """Draw pairs of maps and their difference, a row for each pair.

    Parameters
    ----------
    names : sequence of (str, str)
        What the two maps of each pair are called.
    maps : sequence of pair of (H, W) array
        Any finite values; the two of a pair have the same shape.

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
    if any(heat.ndim != 2 for pair in maps for heat in pair):
        raise InputError("Only maps (B, H, W) can be drawn; cut slices out of volumes first.")
    drawing = new_figure(3.4 * _MAP_WIDTH, len(maps) * _MAP_WIDTH)
    grid = drawing.subplots(len(maps), 3, squeeze=False)
    gaps = [np.abs(first - second) for first, second in maps]
    farthest = max(float(gap.max()) for gap in gaps) or 1.0
    for row_panels, titles, pair, gap in zip(grid, names, maps, gaps, strict=True):
        low, high = min(heat.min() for heat in pair), max(heat.max() for heat in pair)
        for panel, heat, name in zip(row_panels, pair, titles, strict=False):
            panel.imshow(heat, cmap="inferno", vmin=low, vmax=high)
            panel.set_title(name, fontsize=9)
        shown = row_panels[2].imshow(gap, cmap="viridis", vmin=0, vmax=farthest)
        row, column = np.unravel_index(np.argmax(gap), gap.shape)
        row_panels[2].plot(column, row, "+", color="white", markersize=9)
        row_panels[2].set_title(f"difference, at most {gap.max():.2g}", fontsize=9)
        for panel in row_panels:
            panel.set(xticks=[], yticks=[])
    drawing.colorbar(shown, ax=grid[:, 2], shrink=0.8)
    return drawing


def _masks(seen: Pictures | None, count: int) -> Pictures:
    """Return the masks of where the model looked; without any, it looked everywhere."""
    return [np.asarray(True)] * count if seen is None else [np.asarray(mask) for mask in seen]


def _over(photo: Picture, heat: Floats, colours: Colormap, seen: npt.NDArray[np.bool_]) -> Picture:
    """Lay a map over what the model saw, framed where that is not the whole photograph."""
    mixed = colours.over(photo, heat)
    if seen.all():
        return mixed
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return photo
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return framed(photo, np.where(seen[..., None], mixed, photo)[window], window)


def _apart(maps: Sequence[Floats]) -> Floats:
    if len({one.shape for one in maps}) > 1:
        shapes = " and ".join(str(one.shape) for one in maps)
        raise InputError(
            f"Maps of shape {shapes} cannot be compared; resize them to one size first."
        )
    gap: Floats = np.max(maps, axis=0) - np.min(maps, axis=0)
    return gap
