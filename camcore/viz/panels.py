"""The parts that every figure is made of: panels in a grid, labels, bars and scales.

Figures are made without pyplot, so nothing is kept in global state and no display is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from string import ascii_lowercase
from textwrap import shorten, wrap
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore._shared.optional import needs
from camcore.errors import InputError
from camcore.viz.arrays import Picture, Table, as_bytes
from camcore.viz.export import png_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Pictures: TypeAlias = "npt.NDArray[Any] | Sequence[npt.NDArray[Any]]"
"""A batch in one array, or its members one by one where their sizes differ."""

Bars: TypeAlias = Sequence[tuple[str, float]]
"""Labels with their values, largest first: a top-5."""

PANEL = 2.8
"""Width of one picture, in inches."""

_PIXELS = 2**22
"""How many pixels a picture of a panel has at most: some 700 to the inch of a photograph."""

_BARS = 0.8
"""Width of a column of bars beside one of pictures."""

_LETTER = 0.088
"""Width of a letter of a title, in inches."""

_LINE = 0.17
"""Height of a line of a heading or caption, in inches."""

_EXPLAINED, _OTHER = "#c2410c", "#8b97a8"
"""Colours of the bar of what is explained, and of the others."""


@dataclass(frozen=True)
class Scale:
    """Which value has which colour.

    Parameters
    ----------
    table : (N, 3) array
        Colours of equal steps from `low` to `high`, RGB in [0, 1].
    low, high : float
        Values of the first and the last colour.
    label : str
        What the values are.
    """

    table: Table
    low: float
    high: float
    label: str

    def draw(self, drawing: Figure, columns: slice) -> None:
        """Draw the scale below some columns of a `panels` figure."""
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import ListedColormap, Normalize

        spec = drawing.axes[0].get_gridspec()
        assert spec is not None
        place = drawing.add_subplot(spec[-1, columns])
        colours = ScalarMappable(Normalize(self.low, self.high), ListedColormap(self.table))
        bar = drawing.colorbar(colours, cax=place, orientation="horizontal")
        ticks = [self.low, (self.low + self.high) / 2, self.high]
        bar.set_ticks(ticks, labels=[f"{tick:.3g}" for tick in ticks])
        # Labels at the ends stay within the bar, clear of those of the scale beside it.
        first, _, last = place.get_xticklabels()
        first.set_horizontalalignment("left")
        last.set_horizontalalignment("right")
        bar.set_label(self.label, fontsize=8)
        place.tick_params(labelsize=8)
        place.set_label("scale")


def one_by_one(batch: Pictures) -> list[npt.NDArray[Any]]:
    """List the members of a sequence; one array, of one member or a batch, stays whole."""
    return list(batch) if isinstance(batch, list | tuple) else [np.asarray(batch)]


def pictures(images: Pictures) -> list[Picture]:
    """List images ``(H, W, 3)`` uint8."""
    return [photo for batch in one_by_one(images) for photo in as_bytes(batch)]


def same_number(**rows: Pictures | Sequence[Any] | None) -> None:
    """Check that there are as many of each, leaving out what is None.

    Raises
    ------
    InputError
        Their numbers differ, or are 0.
    """
    counts = {name: len(value) for name, value in rows.items() if value is not None}
    if len(set(counts.values())) != 1 or 0 in counts.values():
        listing = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise InputError(f"{listing}: a figure needs as many of each, and at least one.")


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure of a size in inches, which a notebook shows by itself."""
    with needs("viz", "drawing figures"):
        from matplotlib.figure import Figure
    drawing = Figure(figsize=(width, height), layout="constrained")
    # Without pyplot, nothing else would tell a notebook how to show it.
    drawing._repr_png_ = partial(png_bytes, drawing, dpi=90)  # type: ignore[attr-defined]
    return drawing


def panel_rows(
    size: tuple[float, float], heights: Sequence[float], widths: Sequence[float] = (1.0,)
) -> tuple[Figure, npt.NDArray[Any]]:
    """Make a figure of panels in rows and columns.

    Parameters
    ----------
    size : (float, float)
        Width and height of the figure, in inches.
    heights : sequence of float
        Of each row of panels, and last of the row that is left free for scales; on any scale.
    widths : sequence of float
        Of each column, on any scale.

    Returns
    -------
    matplotlib.figure.Figure
    (rows, columns) array of matplotlib.axes.Axes
    """
    drawing = new_figure(*size)
    spec = drawing.add_gridspec(
        len(heights), len(widths), height_ratios=heights, width_ratios=widths
    )
    grid = [
        [drawing.add_subplot(spec[row, column]) for column in range(len(widths))]
        for row in range(len(heights) - 1)
    ]
    return drawing, np.asarray(grid)


def panels(
    shapes: Sequence[tuple[int, ...]], columns: int, width: float = PANEL, *, bars: bool = False
) -> tuple[Figure, npt.NDArray[Any]]:
    """Make a figure with a row of panels for each picture shape, and a row for scales.

    With `bars` there is a narrower column more at the right.
    """
    # A tall photograph gets a narrower place rather than a row as high as a poster, and bars
    # beside a wide one room for their names.
    low = 0.5 if bars else 0.25
    heights = [min(max(rows / across, low), 1.3) for rows, across, *_ in shapes]
    widths = [1.0] * columns + [_BARS] * bars
    # Beside the panels lie their padding, a line above and the scale with its labels.
    size = (
        width * sum(widths) + 0.1 * len(widths),
        width * sum(heights) + 0.09 * len(heights) + 0.75,
    )
    return panel_rows(size, [*heights, 0.05 * PANEL / width], widths)


def show(
    panel: Axes,
    picture: Picture,
    seen: npt.NDArray[np.bool_] | np.bool_ = np.True_,
) -> None:
    """Show a picture where the model looked, and white where it did not.

    One of many megapixels is scaled down first, in its own coordinates: beyond what a panel can
    show it would only take time and memory.
    """
    if not np.all(seen):
        picture = np.where(np.asarray(seen)[..., None], picture, np.uint8(255))
    by = math.ceil(math.sqrt(picture.shape[0] * picture.shape[1] / _PIXELS))
    small = _reduced(picture, by) if by > 1 else picture
    # A pixel's centre has whole coordinates, its edges lie between.
    right, bottom = small.shape[1] * by - 0.5, small.shape[0] * by - 0.5
    panel.imshow(small, extent=(-0.5, right, bottom, -0.5))
    panel.set(xlim=(-0.5, picture.shape[1] - 0.5), ylim=(picture.shape[0] - 0.5, -0.5))
    bare(panel)


def _reduced(picture: Picture, by: int) -> Picture:
    """Average squares of `by` pixels; those at the right and lower edge may be cut."""
    from PIL import Image

    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).reduce(by))


def bare(panel: Axes) -> None:
    """Take ticks and frame off a panel."""
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)


def label(
    grid: npt.NDArray[Any],
    columns: Sequence[str],
    rows: Sequence[str] | None = None,
    width: float = PANEL,
) -> None:
    """Name columns above and rows at the left, on as many lines as it takes."""
    for panel, name in zip(grid[0], columns, strict=False):
        panel.set_title("\n".join(wrap(name, int(width / _LETTER))), fontsize=10)
    for panel, title in zip(grid[:, 0], rows or (), strict=False):
        panel.set_ylabel("\n".join(wrap(title, 26)), fontsize=9)


def draw_bars(panel: Axes, bars: Bars, shares: bool = True, explained: int | None = None) -> None:
    """Draw labels with their values: shares, in [0, 1], or any numbers, from 0 or the lowest.

    The bar at the index `explained` stands out.
    """
    labels = [shorten(name, 30, placeholder="…") for name, _ in bars]
    values = [value for _, value in bars]
    places = np.arange(len(bars))
    colours = [_EXPLAINED if place == explained else _OTHER for place in places]
    panel.barh(places, values, height=0.28, color=colours)
    # Names stand above their bars: beside them, long ones would eat the pictures' room.
    low, high = (0, 1) if shares else (min(0, *values), max(0, *values) or 1)
    for place, name, value in zip(places, labels, values, strict=True):
        number = f"{value:.1%}" if shares else f"{value:.4g}"
        weight = "bold" if place == explained else "normal"
        text = f"{name}  {number}"
        panel.text(low, place - 0.2, text, fontsize=8, va="bottom", fontweight=weight)
    panel.set(xlim=(low, high), ylim=(len(bars) - 0.5, -0.75))
    bare(panel)


def add_heading(drawing: Figure, text: str) -> None:
    """Write a heading above a figure, which grows by its lines."""
    lines = _lines(drawing, text)
    drawing.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=9)


def add_caption(drawing: Figure, text: str) -> None:
    """Write a caption below a figure, which grows by its lines."""
    lines = _lines(drawing, text)
    drawing.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=9)


def _lines(drawing: Figure, text: str) -> list[str]:
    """Wrap a text to the width of a figure, and make room for it."""
    width, height = drawing.get_size_inches()
    lines = wrap(text, max(20, int(width / (0.8 * _LETTER))))
    drawing.set_size_inches(width, height + _LINE * len(lines) + 0.08)
    return lines


def add_letters(drawing: Figure) -> None:
    """Put (a), (b), ... before the titles of a figure's first row, or of its rows if it has one."""
    placed = [(axes, axes.get_subplotspec()) for axes in drawing.axes]
    drawn = [(axes, spec) for axes, spec in placed if spec and axes.get_label() != "scale"]
    top = [axes for axes, spec in drawn if spec.rowspan.start == 0]
    chosen = top if len(top) > 1 else [axes for axes, _ in drawn]
    for letter, axes in zip(ascii_lowercase, chosen, strict=False):
        side: Literal["left", "center"] = "left" if axes.get_title(loc="left") else "center"
        text = f"({letter}) {axes.get_title(loc=side)}"
        axes.set_title(text.rstrip(), fontsize=10, loc=side)
