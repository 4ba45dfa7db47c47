"""Draw signals as traces in the colours of their maps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

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

_TALLEST = 40.0
"""Height of all traces together, in inches; many are drawn lower."""

_MOST = 256
"""How many traces are still told apart at that height."""


def signal_figure(
    signals: npt.ArrayLike,
    maps: npt.ArrayLike,
    *,
    channels: Sequence[str] | None = None,
    channel_axis: Literal[1, 2] | None = None,
    rate: float | None = None,
    times: npt.ArrayLike | None = None,
    frequencies: npt.ArrayLike | None = None,
    signed: bool = False,
    titles: Sequence[str] | None = None,
    style: OverlayStyle | None = None,
    colormap: str | None = None,
) -> Figure:
    """Draw signals, each sample in the colour of its map.

    Parameters
    ----------
    signals : (B, L), (B, C, L) or (B, L, C) array
        Any finite values, as the model takes them. Several channels are drawn one below the
        other, each around its own middle, on one scale. Where the map has no batch axis,
        neither has the signal.
    maps : (B, l), (l,) or (B, C, l) array
        In [0, 1], or any finite values where they are signed; brought to the signals' length.
        With a channel axis, as of `Explanation.by_channel`, each channel has its own colours.
    channels : C strings, optional
        Names of the channels, such as an electrocardiogram's leads; their index unless given.
    channel_axis : {1, 2}, optional
        Which axis of the signals holds the channels. Unless given, samples lie along the axis
        that is as long as the maps, or along the longer one where none is.
    rate : float, optional
        Samples per second: the axis then shows seconds.
    times, frequencies : (L,) array, optional
        Instead of `rate`: when the samples were taken, in seconds, or the frequency of each in
        hertz, for spectra. The samples' index unless one of the three is given.
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
        A panel for each signal, 8 inches wide; 41 inches high at most, and a title for each.
        The trace has a dark rim, so that every colour shows.

    Raises
    ------
    InputError
        Shapes or numbers do not fit, it is not clear which axis holds the channels, or there
        are more than 256 traces.
    MissingExtraError
        matplotlib is not installed.
    """
    traces, heats = as_traces(signals, maps, channel_axis)
    length, count = traces.shape[1:]
    same_number(signals=traces, maps=heats, titles=titles)
    names = channel_names(channels, count)
    where, axis = sample_axis(length, rate, times, frequencies)
    if len(traces) * count > _MOST:
        raise InputError(
            f"{len(traces)} signals of {count} channels are more than the {_MOST} traces that one "
            "figure shows; pass fewer signals or channels, or the channels' axis: channel_axis=1."
        )
    if heats.shape[2] != length:
        heats = np.asarray(resize(heats, (length,), LINEAR, leading=2), dtype=np.float32)
    _, colours = coloured(heats, signed, style, colormap)
    height = min(max(1.5, _TRACE * count + 0.4), _TALLEST / len(traces))
    size = (_WIDTH, len(traces) * height + 1.0)
    drawing, grid = panel_rows(size, [height] * len(traces) + [0.12])
    panels = grid[:, 0]
    for index, (panel, trace, heat) in enumerate(zip(panels, traces, heats, strict=True)):
        _draw_traces(panel, where, trace, heat, colours, names)
        if titles is not None:
            panel.set_title(titles[index], fontsize=10, loc="left")
    panels[-1].set_xlabel(axis, fontsize=9)
    colours.scale().draw(drawing, slice(None))
    return drawing


def as_traces(
    signals: npt.ArrayLike, maps: npt.ArrayLike, channel_axis: Literal[1, 2] | None
) -> tuple[Floats, Floats]:
    """Check signals and maps, and bring both to one order of axes.

    Parameters
    ----------
    signals, maps, channel_axis
        As `signal_figure` takes them.

    Returns
    -------
    (B, L, C) and (B, C or 1, l) float32 arrays

    Raises
    ------
    InputError
        Their shapes or numbers do not fit.
    """
    heats = np.asarray(maps, dtype=np.float32)
    traces = np.asarray(signals, dtype=np.float32)
    if heats.ndim == 1:
        heats, traces = heats[None], traces[None]
    if traces.ndim == 2 and heats.ndim in (2, 3):
        traces, channel_axis = traces[..., None], 2
    fits = heats.ndim in (2, 3) and traces.ndim == 3
    if not fits or 0 in (*heats.shape, *traces.shape):
        raise InputError(
            f"Signals of shape {np.shape(signals)} and maps of shape {np.shape(maps)} cannot be "
            "drawn; pass (B, L), (B, C, L) or (B, L, C), and (B, l) or, of each channel, (B, C, l)."
        )
    count = heats.shape[1] if heats.ndim == 3 else None
    axis = channel_axis or _channel_axis(traces.shape, heats.shape[-1], count)
    traces = traces.swapaxes(1, 2) if axis == 1 else traces
    if count not in (None, traces.shape[2]):
        raise InputError(
            f"Signals of shape {np.shape(signals)} have no {count} channels, as maps of shape "
            f"{np.shape(maps)} do; pass a map for each channel, or one for all, (B, l)."
        )
    heats = heats if heats.ndim == 3 else heats[:, None]
    return check_finite(traces, "Signals"), check_finite(heats, "Maps")


def _channel_axis(shape: tuple[int, ...], length: int, count: int | None) -> int:
    """Find which axis of signals holds the channels: as many as have maps, or no map's length."""
    if shape[1] == shape[2]:
        raise InputError(
            f"Signals of shape {shape} do not tell which axis holds the channels; say it: "
            "channel_axis=1 for (B, C, L), channel_axis=2 for (B, L, C)."
        )
    if count is not None:
        return 1 if shape[1] == count else 2
    if length in shape[1:]:
        return 1 if shape[2] == length else 2
    return 1 if shape[1] < shape[2] else 2


def channel_names(channels: Sequence[str] | None, count: int) -> list[str]:
    """Name channels, by their index unless names are given.

    Parameters
    ----------
    channels : sequence of str or None
        Their names.
    count : int
        How many there are.

    Returns
    -------
    list of str

    Raises
    ------
    InputError
        There are more or fewer names.
    """
    names = [str(index) for index in range(count)] if channels is None else list(channels)
    if len(names) != count:
        raise InputError(f"{len(names)} names for {count} channels; pass one for each.")
    return names


def sample_axis(
    length: int,
    rate: float | None,
    times: npt.ArrayLike | None,
    frequencies: npt.ArrayLike | None,
) -> tuple[npt.NDArray[np.float64], str]:
    """Find where samples lie on an axis, and what it shows.

    Parameters
    ----------
    length : int
        How many samples there are.
    rate, times, frequencies
        As `signal_figure` takes them.

    Returns
    -------
    (L,) float64 array
    str
        Label of the axis.

    Raises
    ------
    InputError
        More than one is given, or it does not fit.
    """
    given = {"rate": rate, "times": times, "frequencies": frequencies}
    told = [name for name, value in given.items() if value is not None]
    if len(told) > 1:
        raise InputError(f"Of {' and '.join(told)} only one can be drawn; leave the others out.")
    if rate is not None:
        if not 0 < rate < np.inf:
            raise InputError(f"rate is {rate}; pass a positive number of samples per second.")
        return np.arange(length) / rate, "time (s)"
    if not told:
        return np.arange(length, dtype=np.float64), "sample"
    where = np.asarray(given[told[0]], dtype=np.float64)
    if where.shape != (length,) or not np.isfinite(where).all():
        raise InputError(
            f"{told[0]} of shape {where.shape} do not fit; pass one for each of {length} samples, "
            "and no NaN or infinity."
        )
    return where, "time (s)" if frequencies is None else "frequency (Hz)"


def _draw_traces(
    panel: Axes,
    where: npt.NDArray[np.float64],
    trace: Floats,
    heat: Floats,
    colormap: Colormap,
    names: Sequence[str],
) -> None:
    from matplotlib.collections import LineCollection

    rows = colormap.heat(heat, heat.shape) / 255
    step = 1.1 * float(np.ptp(trace, axis=0).max()) or 1.0
    channels = trace.shape[1]
    # Around their own middles, or leads of other offsets would cross and change places.
    middles = (trace.max(axis=0) + trace.min(axis=0)) / 2 if channels > 1 else np.zeros(1)
    for channel in range(channels):
        colours = rows[channel if len(rows) > 1 else 0]
        runs = _runs(colours)
        placed = trace[:, channel] - middles[channel] - step * channel
        x, y = (_with_midpoints(values) for values in (where, placed))
        points = np.stack([x, y], axis=-1)
        # Each sample owns the way from the midpoint before it to the midpoint after it.
        pieces = [points[2 * first : 2 * last + 1] for first, last in runs]
        panel.plot(x, y, color="#202020", linewidth=3.4, solid_joinstyle="round")
        coloured_line = LineCollection(
            pieces,
            colors=[colours[first] for first, _ in runs],
            linewidths=1.9,
            capstyle="butt",
            zorder=3,
        )
        coloured_line.set_in_layout(False)  # it lies on the line below, which is quicker to measure
        panel.add_collection(coloured_line, autolim=False)
    if channels > 1:
        panel.set_yticks([-step * channel for channel in range(channels)], labels=list(names))
        panel.set_ylabel("channel", fontsize=9)
    panel.margins(x=0.01)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)


def _runs(colours: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """List first and one past the last of successive samples of one colour."""
    changes = np.flatnonzero((np.diff(colours, axis=0) != 0).any(axis=1)) + 1
    return list(pairwise([0, *changes.tolist(), len(colours)]))


def _with_midpoints(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Put midpoints around every value; the outer ones are the ends themselves."""
    values = np.asarray(values, dtype=np.float64)
    found = np.empty(2 * len(values) + 1)
    found[1::2] = values
    found[2:-1:2] = (values[:-1] + values[1:]) / 2
    found[0], found[-1] = values[0], values[-1]
    return found
