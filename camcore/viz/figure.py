"""Figures: an image, its map and both together; two frameworks side by side.

Figures are made without pyplot, so nothing is kept in global state and no
display is needed.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from textwrap import shorten, wrap
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError
from camcore.extras import needs
from camcore.images import encode_png
from camcore.recipes import OverlayStyle
from camcore.viz.overlay import (
    Picture,
    as_images,
    as_maps,
    colour_table,
    heat_map,
    overlay,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Pictures: TypeAlias = "npt.NDArray[Any] | Sequence[npt.NDArray[Any]]"
"""A batch in one array, or its members one by one where their sizes differ."""

Bars: TypeAlias = Sequence[tuple[str, float]]
"""Labels with their values, largest first: a top-5."""

_PANEL = 2.8
"""Width of one picture, in inches."""

_EVIDENCE = "evidence, relative to the strongest"


def figure(
    images: Pictures | None,
    maps: Pictures,
    *,
    titles: Sequence[str] | None = None,
    bars: Sequence[Bars] | None = None,
    seen: Pictures | None = None,
    style: OverlayStyle | None = None,
) -> Figure:
    """Draw each image, its map, and the one laid over the other.

    Parameters
    ----------
    images : (B, H, W, 3) or (H, W, 3) array, or B arrays (H, W, 3), or None
        RGB, uint8 or floating in [0, 1]. None draws the maps alone.
    maps : (B, h, w) or (h, w) array, or B arrays (h, w)
        In [0, 1].
    titles : B strings, optional
        What is explained in each row.
    bars : B sequences of (label, value), optional
        Values in [0, 1], drawn as bars beside the pictures.
    seen : B arrays (H, W) of bool, optional
        Where the model looked; elsewhere the map is left white and the image bare.
    style : OverlayStyle, optional
        How image and map are mixed.

    Returns
    -------
    matplotlib.figure.Figure
        One row for each image.

    Raises
    ------
    InputError
        Images, maps, titles and bars differ in number, or are not what they should be.
    MissingExtraError
        matplotlib is not installed.
    """
    style = style or OverlayStyle()
    heats = _maps(maps)
    photos = None if images is None else _pictures(images)
    _same_number(images=photos, maps=heats, titles=titles, bars=bars, seen=seen)
    shapes = [picture.shape for picture in photos or heats]
    masks = seen if seen is not None else [np.True_] * len(heats)
    names = ("map",) if photos is None else ("image", "map", "overlay")
    drawing, grid = _grid(shapes, len(names) + (bars is not None))
    for panels, heat, shape, mask in zip(grid, heats, shapes, masks, strict=True):
        colours = heat_map(heat, shape[:2], colormap=style.colormap)[0]
        _show(panels[len(names) // 2], colours, mask)
    for panels, photo, heat, mask in zip(grid, photos or (), heats, masks, strict=False):
        _show(panels[0], photo)
        _show(panels[2], overlay(photo, heat, style=style)[0], mask, photo)
    _label(grid, names, titles)
    for panels, row in zip(grid, bars or (), strict=False):
        _draw_bars(panels[len(names)], row)
    _scale(drawing, slice(len(names) // 2, len(names)), style.colormap, _EVIDENCE)
    return drawing


def compare_figure(
    images: Pictures,
    first: Pictures,
    second: Pictures,
    *,
    names: tuple[str, str] = ("PyTorch", "TensorFlow"),
    titles: Sequence[str] | None = None,
    seen: Pictures | None = None,
    style: OverlayStyle | None = None,
) -> Figure:
    """Draw two sets of maps side by side, and how far they are apart.

    Parameters
    ----------
    images : (B, H, W, 3) or (H, W, 3) array, or B arrays (H, W, 3)
        RGB, uint8 or floating in [0, 1].
    first, second : (B, h, w) or (h, w) array, or B arrays (h, w)
        In [0, 1]; the two of a pair have the same shape.
    names : (str, str)
        What the two sets are.
    titles : B strings, optional
        What is explained in each row.
    seen : B arrays (H, W) of bool, optional
        Where the model looked; elsewhere the map is left white and the image bare.
    style : OverlayStyle, optional
        How image and map are mixed.

    Returns
    -------
    matplotlib.figure.Figure
        One row for each image: image, two overlays, absolute difference. All
        differences share one scale, which is drawn.

    Raises
    ------
    InputError
        The arguments differ in number, or the maps of a pair in shape.
    MissingExtraError
        matplotlib is not installed.
    """
    style = style or OverlayStyle()
    photos, ours, theirs = _pictures(images), _maps(first), _maps(second)
    _same_number(images=photos, first=ours, second=theirs, titles=titles, seen=seen)
    apart = [_apart(a, b) for a, b in zip(ours, theirs, strict=True)]
    largest = max(float(gap.max()) for gap in apart) or 1.0
    drawing, grid = _grid([photo.shape for photo in photos], 4)
    masks = seen if seen is not None else [np.True_] * len(photos)
    for panels, photo, *pair, gap, mask in zip(
        grid, photos, ours, theirs, apart, masks, strict=True
    ):
        _show(panels[0], photo)
        for panel, heat in zip(panels[1:3], pair, strict=True):
            _show(panel, overlay(photo, heat, style=style)[0], mask, photo)
        colours = heat_map(gap / largest, photo.shape[:2], colormap="viridis")[0]
        _show(panels[3], colours, mask)
    _label(grid, ("image", *names, "absolute difference"), titles)
    _scale(drawing, slice(1, 3), style.colormap, _EVIDENCE)
    _scale(drawing, slice(3, 4), "viridis", "difference (maps range from 0 to 1)", largest)
    return drawing


def png_bytes(picture: Figure | Picture, *, dpi: int = 150) -> bytes:
    """Encode a figure or a picture as PNG, for a file or a notebook.

    Parameters
    ----------
    picture : matplotlib.figure.Figure, or (H, W, 3) uint8 array
        A figure, or RGB pixels.
    dpi : int
        Pixels per inch of a figure.

    Returns
    -------
    bytes
    """
    if isinstance(picture, np.ndarray):
        return encode_png(picture)
    buffer = io.BytesIO()
    picture.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _pictures(images: Pictures) -> list[Picture]:
    batches = list(images) if isinstance(images, list | tuple) else [images]
    return [np.rint(photo).astype(np.uint8) for batch in batches for photo in as_images(batch)]


def _maps(maps: Pictures) -> list[npt.NDArray[np.float32]]:
    batches = list(maps) if isinstance(maps, list | tuple) else [maps]
    return [heat for batch in batches for heat in as_maps(batch)]


def _same_number(**rows: Pictures | Sequence[Any] | None) -> None:
    counts = {name: len(value) for name, value in rows.items() if value is not None}
    if len(set(counts.values())) != 1 or 0 in counts.values():
        listing = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise InputError(f"{listing}; a figure needs as many of each, one at least")


def _apart(
    first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    if first.shape != second.shape:
        raise InputError(
            f"maps of shape {first.shape} and {second.shape} cannot be compared; "
            "resize one to the other first"
        )
    gap: npt.NDArray[np.float32] = np.abs(first - second)
    return gap


def _grid(shapes: Sequence[tuple[int, ...]], columns: int) -> tuple[Figure, npt.NDArray[Any]]:
    """One row of panels for each picture, and below them a thin row for scales."""
    with needs("viz", "drawing figures"):
        from matplotlib.figure import Figure
    # A tall photograph gets a narrower place rather than a row as high as a poster.
    heights = [min(max(rows / width, 0.25), 1.3) for rows, width, *_ in shapes]
    size = (_PANEL * columns + 0.4, _PANEL * sum(heights) + 0.15 * len(heights) + 1.1)
    drawing = Figure(figsize=size, layout="constrained")
    spec = drawing.add_gridspec(len(heights) + 1, columns, height_ratios=[*heights, 0.05])
    grid = [
        [drawing.add_subplot(spec[row, column]) for column in range(columns)]
        for row in range(len(heights))
    ]
    return drawing, np.asarray(grid)


def _show(
    panel: Axes,
    picture: Picture,
    seen: npt.NDArray[np.bool_] | np.bool_ = np.True_,
    elsewhere: Picture | int = 255,
) -> None:
    panel.imshow(np.where(np.asarray(seen)[..., None], picture, elsewhere).astype(np.uint8))
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)


def _label(grid: npt.NDArray[Any], columns: Sequence[str], rows: Sequence[str] | None) -> None:
    for panel, name in zip(grid[0], columns, strict=False):
        panel.set_title(name, fontsize=10)
    for panel, title in zip(grid[:, 0], rows or (), strict=False):
        panel.set_ylabel("\n".join(wrap(title, 26)), fontsize=9)


def _draw_bars(panel: Axes, bars: Bars) -> None:
    labels = [shorten(label, 30, placeholder="…") for label, _ in bars]
    values = [value for _, value in bars]
    places = np.arange(len(bars))
    panel.barh(places, values, height=0.28, color="#4c72b0")
    # Names stand above their bars: beside them, long ones would eat the pictures' room.
    for place, label, value in zip(places, labels, values, strict=True):
        panel.text(0, place - 0.22, f"{label}  {value:.1%}", fontsize=8, va="bottom")
    panel.set_box_aspect(0.62)
    panel.set(xlim=(0, 1), ylim=(len(bars) - 0.5, -0.75), xticks=[], yticks=[])
    panel.spines[:].set_visible(False)


def _scale(
    drawing: Figure, columns: slice, colormap: str, label: str, largest: float = 1.0
) -> None:
    """Draw the scale of some columns below them."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    spec = drawing.axes[0].get_gridspec()
    assert spec is not None
    place = drawing.add_subplot(spec[-1, columns])
    colours = ScalarMappable(Normalize(0, largest), ListedColormap(colour_table(colormap)))
    bar = drawing.colorbar(colours, cax=place, orientation="horizontal")
    ticks = [0.0, largest / 2, largest]
    bar.set_ticks(ticks, labels=[f"{tick:.3g}" for tick in ticks])
    bar.set_label(label, fontsize=8)
    place.tick_params(labelsize=8)
