"""Draw what a report is of, by itself and with its maps: photographs, volumes and signals."""

from __future__ import annotations

import base64
import inspect
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from camcore._shared.optional import needs
from camcore.batch.photos import ExplainedPhoto
from camcore.errors import InputError
from camcore.photos.io import encode_png
from camcore.recipes import OverlayStyle
from camcore.report.entries import Entry
from camcore.resize import LINEAR, resize
from camcore.viz.export import png_bytes
from camcore.viz.overlay import heat_map
from camcore.viz.photograph import heat_of
from camcore.viz.signal import as_traces, signal_figure
from camcore.viz.volume import volume_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Picture: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float32]

NOUNS: Mapping[int, str] = {2: "signal", 3: "photograph", 4: "volume"}
"""What maps ``(B, *S)`` of so many axes are of."""

_FIGURES: Mapping[int, Callable[..., Figure]] = {2: signal_figure, 4: volume_figure}
_OURS = frozenset(["signals", "volumes", "maps", "signed", "titles", "style", "colormap"])
"""What a report itself says of a figure."""

_WIDTH = 6.0
"""Width of a figure in a report, in inches: its letters can still be read on a telephone."""

_SCALE = 0.6
"""Height that a figure loses with its scale, in inches."""

_LOWER, _LOWEST = 0.7, 2.0
"""How high traces are, to those of a figure alone, and in inches at least."""

_THIN = 0.7
"""How thick their lines are, to those of a figure alone."""


class Sample(Protocol):
    """One sample of a report."""

    @property
    def bare(self) -> Picture:
        """The sample without a map."""

    def over(self, entry: Entry, index: int) -> Picture:
        """Draw an entry's map of it over it; of the size of `bare`."""

    def alone(self, entry: Entry, index: int) -> Picture:
        """Draw an entry's map of it by itself."""

    def encoded(self, picture: Picture) -> str:
        """Encode a picture of it within a ``data:`` address."""


@dataclass(frozen=True, eq=False)
class Photograph:
    """A photograph ``(H, W, 3)``, uint8."""

    bare: Picture

    def over(self, entry: Entry, index: int) -> Picture:
        """Lay the map over the photograph."""
        return self._shown(entry, index).overlay(exact=True)

    def alone(self, entry: Entry, index: int) -> Picture:
        """Colour the map, white where the model did not look."""
        shown = self._shown(entry, index)
        seen = np.True_ if shown.crop is None else shown.crop.seen()[..., None]
        heat = heat_map(shown.map(), colormap=entry.style.colormap)[0]
        return np.where(seen, heat, 255).astype(np.uint8)

    def _shown(self, entry: Entry, index: int) -> ExplainedPhoto:
        crop = None
        if entry.crops is not None:
            crop = replace(entry.crops[index], photo_shape=self.bare.shape)
        return ExplainedPhoto(self.bare, crop, entry.explanation[index])

    def encoded(self, picture: Picture) -> str:
        """Encode a picture as a JPEG."""
        return jpeg_uri(picture)


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume ``(D, H, W)``, drawn in the same three planes with every map."""

    volume: npt.NDArray[Any]
    options: Mapping[str, Any]
    side: int

    @cached_property
    def bare(self) -> Picture:
        """The three planes in grey."""
        nothing = np.zeros((1, *self.volume.shape), np.float32)
        return self._drawn(self.volume[None], nothing, OverlayStyle(alpha=0))

    def over(self, entry: Entry, index: int) -> Picture:
        """Lay the map over the planes."""
        return self._drawn(self.volume[None], self._heat(entry, index), entry.style)

    def alone(self, entry: Entry, index: int) -> Picture:
        """Colour the map's planes."""
        return self._drawn(None, self._heat(entry, index), entry.style)

    def _heat(self, entry: Entry, index: int) -> Floats:
        return _enlarged(entry, index, self.volume.shape)

    def _drawn(self, volume: Any, heat: Floats, style: OverlayStyle) -> Picture:
        drawing = volume_figure(volume, heat, style=style, **self.options)
        width, height = drawing.get_size_inches()
        drawing.set_size_inches(_WIDTH, (height - _SCALE) * _WIDTH / width)
        for panel in drawing.axes:
            panel.set_anchor("N")
        return _rendered(drawing, self.side)

    def encoded(self, picture: Picture) -> str:
        """Encode a picture as a JPEG."""
        return jpeg_uri(picture)


@dataclass(frozen=True, eq=False)
class Signal:
    """A signal ``(L,)``, ``(C, L)`` or ``(L, C)``, drawn as traces."""

    signal: npt.NDArray[Any]
    length: int
    options: Mapping[str, Any]
    side: int

    @cached_property
    def bare(self) -> Picture:
        """The traces in black."""
        return self._coloured(np.zeros((1, self.length), np.float32), "gray")

    def over(self, entry: Entry, index: int) -> Picture:
        """Draw the traces in the colours of the map."""
        return self._coloured(_enlarged(entry, index, (self.length,)), entry.style.colormap)

    def alone(self, entry: Entry, index: int) -> Picture:
        """Draw the map as a trace."""
        heat = _enlarged(entry, index, (self.length,))
        told = {n: one for n, one in self.options.items() if n not in ("channels", "channel_axis")}
        drawing = signal_figure(heat, heat, colormap=entry.style.colormap, **told)
        drawing.axes[0].set(ylim=(-0.05, 1.05), ylabel="evidence")
        return self._narrow(drawing)

    def _coloured(self, heat: Floats, colormap: str) -> Picture:
        drawing = signal_figure(self.signal[None], heat, colormap=colormap, **self.options)
        return self._narrow(drawing)

    def _narrow(self, drawing: Figure) -> Picture:
        height = _LOWER * (drawing.get_size_inches()[1] - _SCALE)
        drawing.set_size_inches(_WIDTH, max(height, _LOWEST))
        for panel in drawing.axes:
            lines: list[Any] = [*panel.lines, *panel.collections]
            for line in lines:
                line.set_linewidth(_THIN * np.max(line.get_linewidth()))
        return _rendered(drawing, self.side)

    def encoded(self, picture: Picture) -> str:
        """Encode a picture, which is lines and letters, as a PNG."""
        return png_uri(picture)


def options_of(axes: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Check what a user says of how samples are drawn.

    Parameters
    ----------
    axes : int
        Number of axes of the maps, ``(B, *S)``.
    given : mapping of str to object
        Keywords of `signal_figure` or `volume_figure`.

    Returns
    -------
    mapping of str to object

    Raises
    ------
    InputError
        One is none of these.
    """
    drawn = _FIGURES.get(axes)
    takes = [] if drawn is None else [*inspect.signature(drawn).parameters.keys() - _OURS]
    for name in given:
        if name not in takes:
            known = f"; choose from {', '.join(sorted(takes))}" if takes else ""
            raise InputError(f"A report of {NOUNS[axes]}s has no option {name!r}{known}.")
    return given


def as_arrays(given: object, count: int, axes: int) -> list[npt.NDArray[Any]]:
    """List volumes or signals, one or several.

    Parameters
    ----------
    given : array, or iterable of arrays
        A batch, or one sample where one was explained.
    count : int
        How many were explained.
    axes : int
        Number of axes of the maps, ``(B, *S)``.

    Returns
    -------
    list of arrays

    Raises
    ------
    InputError
        There are more or fewer.
    """
    given = np.asarray(given) if hasattr(given, "__array__") else given
    single = isinstance(given, np.ndarray) and count == 1 and given.shape[:1] != (1,)
    listed = [np.asarray(one) for one in ([given] if single else given)]  # type: ignore[attr-defined]
    if len(listed) != count:
        raise InputError(
            f"{len(listed)} {NOUNS[axes]}s and explanations of {count}. Give the explained ones."
        )
    return listed


def sample_of(
    given: npt.NDArray[Any],
    entries: Sequence[Entry],
    index: int,
    side: int,
    options: Mapping[str, Any],
) -> Sample:
    """Make ready to draw a volume or a signal.

    Parameters
    ----------
    given : (D, H, W), or (L,), (C, L) or (L, C) array
        The sample.
    entries : sequence of Entry
        Its explanations.
    index : int
        Which of their samples it is.
    side : int
        Longer side of the pictures, in pixels.
    options : mapping of str to object
        As `options_of` checks them.

    Returns
    -------
    Sample

    Raises
    ------
    InputError
        It is no volume or signal.
    """
    first = entries[0].explanation.maps
    if first.ndim == 2:
        traces, _ = as_traces(given[None], first[:1], options.get("channel_axis"))
        return Signal(given, traces.shape[1], options, side)
    if given.ndim != 3:
        raise InputError(f"A volume has shape {given.shape}. Give one of shape (D, H, W).")
    points = options.get("at")
    point = _peak(entries, index, given.shape) if points is None else points[index]
    return Volume(given, {**options, "at": [point]}, side)


def _peak(entries: Sequence[Entry], index: int, size: tuple[int, ...]) -> tuple[int, ...]:
    """Find where the maps of all entries together are strongest; the middle of maps of zeros."""
    total = sum((_enlarged(entry, index, size)[0] for entry in entries), np.zeros(size))
    if not total.any():
        return tuple(side // 2 for side in size)
    return tuple(int(place) for place in np.unravel_index(np.argmax(total), size))


def _enlarged(entry: Entry, index: int, size: tuple[int, ...]) -> Floats:
    """Bring an entry's map of a sample to [0, 1] and to a size, ``(1, *size)``."""
    heat = heat_of(entry.explanation.maps[index])[None]
    if heat.shape[1:] == size:
        return heat
    return np.asarray(resize(heat, size, LINEAR, leading=1), np.float32)


def _rendered(drawing: Figure, side: int) -> Picture:
    """Render a figure without its scale, which the page has."""
    with needs("report", "drawing figures"):
        from PIL import Image
    for axes in list(drawing.axes):
        if axes.get_label() == "scale":
            axes.remove()
    data = png_bytes(drawing, dpi=max(1, round(side / max(drawing.get_size_inches()))))
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def jpeg_uri(picture: Picture) -> str:
    """Encode a picture as a JPEG within a ``data:`` address.

    Parameters
    ----------
    picture : (H, W, 3) uint8 array
        RGB.

    Returns
    -------
    str
    """
    with needs("report", "encoding pictures"):
        from PIL import Image
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=84, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def png_uri(picture: Picture) -> str:
    """Encode a picture as a PNG within a ``data:`` address.

    Parameters
    ----------
    picture : (H, W, 3) uint8 array
        RGB.

    Returns
    -------
    str
    """
    return "data:image/png;base64," + base64.b64encode(encode_png(picture)).decode("ascii")
