"""Draw curves of scores with their bands, a panel for each metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore.viz.panels import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats: TypeAlias = npt.NDArray[np.floating]
Dash: TypeAlias = "str | tuple[float, tuple[float, ...]]"

_WIDTH, _HEIGHT = 4.6, 3.4
"""Of a panel, in inches."""

_ENTRY = 0.19
"""Height of an entry of the legend, in inches."""

STRONG = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d00", "#7a3db8")
"""Colours that eyes of any kind tell apart, by Okabe and Ito but for the last two, which are for
more curves than they have colours on white."""

MUTED = "#8b97a8"
"""The colour of curves to compare with."""

DASHES: Sequence[Dash] = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)))
"""How curves of one colour are told apart."""


@dataclass(frozen=True, eq=False)
class Line:
    """A mean curve and its band.

    Parameters
    ----------
    label : str
        For the legend.
    fractions, mean : (P,) array
        The curve.
    low, high : (P,) array
        Its band; not drawn where it is NaN.
    muted : bool
        Whether it is only there to compare with: it is grey, and its band is not drawn.
    """

    label: str
    fractions: Floats
    mean: Floats
    low: Floats
    high: Floats
    muted: bool = False


@dataclass(frozen=True, eq=False)
class Panel:
    """What one panel shows.

    Parameters
    ----------
    title : str
        Above it.
    across, up : str
        What its axes are.
    lines : sequence of Line
        In the order of the legend.
    legend : str
        Above the legend: what the numbers in it are.
    """

    title: str
    across: str
    up: str
    lines: Sequence[Line]
    legend: str = ""


def curves_figure(panels: Sequence[Panel]) -> Figure:
    """Draw curves with their bands, a panel beside the other.

    Parameters
    ----------
    panels : sequence of Panel
        At least one.

    Returns
    -------
    matplotlib.figure.Figure
        Below each panel is its legend.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    named = max(len(panel.lines) + bool(panel.legend) for panel in panels)
    drawing = new_figure(_WIDTH * len(panels), _HEIGHT + _ENTRY * named + 0.3)
    grid = drawing.subplots(1, len(panels), squeeze=False)
    for place, panel in zip(grid[0], panels, strict=True):
        for line, (colour, dash) in zip(panel.lines, looks(panel.lines), strict=True):
            # The bands of what is only there to compare with would be a fog over the others.
            if not line.muted and not np.isnan(line.low).any():
                place.fill_between(
                    line.fractions, line.low, line.high, color=colour, alpha=0.18, linewidth=0
                )
            place.plot(
                line.fractions,
                line.mean,
                color=colour,
                linestyle=dash,
                linewidth=1.0 if line.muted else 1.8,
                zorder=2 if line.muted else 3,
                label=line.label,
            )
        place.set_title(panel.title, fontsize=10)
        place.set_xlabel(panel.across, fontsize=9)
        place.set_ylabel(panel.up, fontsize=9)
        place.set_xlim(0, 1)
        place.tick_params(labelsize=8)
        place.spines[["top", "right"]].set_visible(False)
        place.legend(
            loc="upper left",
            bbox_to_anchor=(0, -0.18),
            fontsize=8,
            title=panel.legend or None,
            title_fontsize=8,
            alignment="left",
            frameon=False,
            borderaxespad=0,
            handlelength=3,
        )
    return drawing


def looks(lines: Sequence[Line]) -> list[tuple[str, Dash]]:
    """Choose a colour and a dash for each line: muted ones share a colour, and differ by dashes."""
    strong = [i for i, line in enumerate(lines) if not line.muted]
    muted = [i for i, line in enumerate(lines) if line.muted]
    chosen: dict[int, tuple[str, Dash]] = {}
    for place, index in enumerate(strong):
        dash = DASHES[place // len(STRONG) % len(DASHES)]
        chosen[index] = STRONG[place % len(STRONG)], dash
    for place, index in enumerate(muted):
        chosen[index] = MUTED, DASHES[place % len(DASHES)]
    return [chosen[index] for index in range(len(lines))]
