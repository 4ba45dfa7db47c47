"""Draw signals as traces in the colours of their maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError
from camcore.recipes import OverlayStyle
from camcore.resize import LINEAR, resize
from camcore.viz.arrays import Floats, check_finite
from camcore.viz.colormaps import Colormap, coloured
from camcore.viz.panels import panel_rows, same_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _TRACE = 8.0, 0.75
"""Width of a panel and height of one trace, in inches."""


def signal_figure(
    signals: npt.ArrayLike,
    maps: npt.ArrayLike,
    *,
    times: npt.ArrayLike | None = None,
    signed: bool = False,
    titles: Sequence[str] | None = None,
    style: OverlayStyle | None = None,
    colormap: str | None = None,
) -> Figure:
    """Draw signals, each sample in the colour of its map.

    Parameters
    ----------
    signals : (B, L) or (B, L, C) array
        Any finite values. Several channels are drawn one below the other, on one scale.
        Where the map has no batch axis, neither has the signal.
    maps : (B, l) or (l,) array
        In [0, 1], or any finite values where they are signed; brought to the signals' length.
    times : (L,) array, optional
        When the samples were taken; their index unless given.
    signed : bool
        Draw the maps' signs, in diverging colours around zero on one scale for all.
    titles : B strings, optional
        What is explained in each signal.
    style : OverlayStyle, optional
        Which colours are used.
    colormap : str, optional
        Instead of the style's, as `overlay` takes it.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each signal. The trace has a dark rim, so that every colour shows.

    Raises
    ------
    InputError
        Shapes or numbers do not fit.
    MissingExtraError
        matplotlib is not installed.
    """
    traces, heats = _batches(signals, maps)
    length = traces.shape[1]
    same_number(signals=traces, maps=heats, titles=titles)
    when = np.arange(length, dtype=float) if times is None else np.asarray(times, dtype=float)
    if when.shape != (length,) or not np.isfinite(when).all():
        raise InputError(
            f"times of shape {when.shape} do not fit; pass one for each of {length} samples, and "
            "no NaN or infinity."
        )
    if heats.shape[1] != length:
        heats = np.asarray(resize(heats, (length,), LINEAR), dtype=np.float32)
    _, colours = coloured(heats[:, None], signed, style, colormap)
    height = max(1.5, _TRACE * traces.shape[2] + 0.4)
    size = (_WIDTH, len(traces) * height + 1.0)
    drawing, grid = panel_rows(size, [height] * len(traces) + [0.12])
    panels = grid[:, 0]
    for index, (panel, trace, heat) in enumerate(zip(panels, traces, heats, strict=True)):
        _draw_traces(panel, when, trace, heat, colours)
        if titles is not None:
            panel.set_title(titles[index], fontsize=10, loc="left")
    panels[-1].set_xlabel("sample" if times is None else "time", fontsize=9)
    colours.scale().draw(drawing, slice(None))
    return drawing


def _batches(signals: npt.ArrayLike, maps: npt.ArrayLike) -> tuple[Floats, Floats]:
    heats = np.asarray(maps, dtype=np.float32)
    traces = np.asarray(signals, dtype=np.float32)
    if heats.ndim == 1:
        heats, traces = heats[None], traces[None]
    if traces.ndim == heats.ndim == 2:
        traces = traces[..., None]
    if heats.ndim != 2 or traces.ndim != 3 or 0 in (*heats.shape, *traces.shape):
        raise InputError(
            f"Signals of shape {np.shape(signals)} and maps of shape {np.shape(maps)} cannot be "
            "drawn; pass (B, L) or (B, L, C), channels last, and (B, l)."
        )
    return check_finite(traces, "Signals"), check_finite(heats, "Maps")


def _draw_traces(
    panel: Axes, when: npt.NDArray[np.floating], trace: Floats, heat: Floats, colormap: Colormap
) -> None:
    from matplotlib.collections import LineCollection

    colours = colormap.heat(heat[None], (1, len(heat)))[0] / 255
    step = 1.1 * float(np.ptp(trace, axis=0).max()) or 1.0
    channels = trace.shape[1]
    for channel in range(channels):
        middle = trace[:, channel] - (step * channel if channels > 1 else 0)
        x, y = (_with_midpoints(values) for values in (when, middle))
        points = np.stack([x, y], axis=-1)
        # Each sample owns the way from the midpoint before it to the midpoint after it.
        pieces = [points[2 * i : 2 * i + 3] for i in range(len(when))]
        panel.plot(x, y, color="#202020", linewidth=3.4, solid_joinstyle="round")
        panel.add_collection(
            LineCollection(pieces, colors=colours, linewidths=1.9, capstyle="butt", zorder=3)
        )
    if channels > 1:
        middles = [float(trace[:, c].mean()) - step * c for c in range(channels)]
        panel.set_yticks(middles, labels=[str(c) for c in range(channels)])
        panel.set_ylabel("channel", fontsize=9)
    panel.margins(x=0.01)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)


def _with_midpoints(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Put midpoints around every value; the outer ones are the ends themselves."""
    values = np.asarray(values, dtype=np.float64)
    found = np.empty(2 * len(values) + 1)
    found[1::2] = values
    found[2:-1:2] = (values[:-1] + values[1:]) / 2
    found[0], found[-1] = values[0], values[-1]
    return found
