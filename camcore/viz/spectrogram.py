"""Draw maps of spectrograms on axes of seconds and hertz, low frequencies at the bottom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError
from camcore.viz.arrays import Floats, check_finite
from camcore.viz.panels import Pictures, one_by_one
from camcore.viz.signal import sample_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHAPE = (6, 10)
"""Height and width of a panel, to each other; a spectrogram fills it."""

_STRAIGHT = 0.02
"""How far from evenly spaced values are that count as such, as a share of their range."""

_APART = 0.12
"""How far apart ticks are at least, as a share of the axis."""

_Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SpectrogramAxes:
    """What the rows and columns of spectrograms are.

    Parameters
    ----------
    times : (W,) array or None
        When the columns were taken, in seconds.
    frequencies : (H,) array or None
        Of the rows, in hertz.
    turned : bool
        Whether rows and columns change places, as rows are times in what is given.
    """

    times: _Values | None
    frequencies: _Values | None
    turned: bool = False

    @classmethod
    def of(
        cls,
        sizes: Sequence[tuple[int, ...]],
        rate: float | None,
        times: npt.ArrayLike | None,
        frequencies: npt.ArrayLike | None,
    ) -> SpectrogramAxes | None:
        """Read what a figure is given; None where it is of no spectrograms.

        Parameters
        ----------
        sizes : sequence of (int, int)
            Rows and columns of what is drawn.
        rate, times, frequencies
            As `camcore.viz.figure` takes them.

        Raises
        ------
        InputError
            There are not as many as rows and columns, or they are in no order, or what is drawn
            differs in size.
        """
        if rate is None and times is None and frequencies is None:
            return None
        if len(set(sizes)) > 1:
            raise InputError(
                f"Spectrograms of {' and '.join(map(str, dict.fromkeys(sizes)))} do not share "
                "times and frequencies; draw them one by one."
            )
        size = sizes[0]
        counts = [None if one is None else np.size(one) for one in (frequencies, times)]
        turned = _fits(counts, size[::-1]) and not _fits(counts, size)
        rows, columns = size[::-1] if turned else size
        told = rate is not None or times is not None
        where = sample_axis(columns, rate, times, None)[0] if told else None
        pitch = None if frequencies is None else sample_axis(rows, None, None, frequencies)[0]
        for name, values in (("times", where), ("frequencies", pitch)):
            if values is not None and len(values) > 1:
                steps = np.diff(values)
                if not (np.all(steps > 0) or np.all(steps < 0)):
                    raise InputError(f"{name} neither rise nor fall throughout; pass sorted ones.")
        return cls(where, pitch, turned)

    def check_marks(self, *marks: object) -> None:
        """Refuse marks, in rows and columns, where these change places."""
        if self.turned and any(mark is not None for mark in marks):
            raise InputError(
                "Times are the rows of these spectrograms, which are drawn as columns, and marks "
                "stay in rows and columns. Transpose images, maps and marks, or leave them out."
            )

    def upright(self, arrays: Pictures) -> list[npt.NDArray[Any]]:
        """Bring maps or pictures, ``(h, w)`` or ``(h, w, 3)`` each, to rows of frequencies."""
        return [np.swapaxes(one, 0, 1) if self.turned else one for one in arrays]

    def draw(self, panel: Axes, size: tuple[int, ...], *, left: bool) -> None:
        """Put ticks along a picture of a size ``(H, W)``; at the left only where asked for."""
        panel.set_aspect("auto")
        panel.spines[:].set_visible(True)
        panel.tick_params(labelsize=8)
        if self.times is not None:
            _tick(panel.xaxis, self.times)
            panel.set_xlabel("time (s)", fontsize=9)
        if self.frequencies is None:
            return
        rises = self.frequencies[-1] > self.frequencies[0]
        low, high = -0.5, size[0] - 0.5
        panel.set_ylim((low, high) if rises else (high, low))
        _tick(panel.yaxis, self.frequencies)
        if left:
            named = panel.get_ylabel()
            label = "frequency (Hz)"
            panel.set_ylabel(f"{named}\n{label}" if named else label, fontsize=9)
        else:
            panel.set_yticklabels([])


def grey_spectrograms(images: Pictures) -> Pictures:
    """Turn spectrograms of any values into grey pictures, each from its smallest to its largest.

    Parameters
    ----------
    images : (B, H, W) or (H, W) array, or B arrays (H, W)
        Any finite values, such as decibels. Pictures of three colours stay as they are.

    Returns
    -------
    list of (H, W) float32 arrays in [0, 1], or pictures as they are

    Raises
    ------
    InputError
        A value is NaN or infinite.
    """
    found: list[npt.NDArray[Any]] = []
    for batch in one_by_one(images):
        if batch.ndim > 2 and batch.shape[-1] == 3:
            found.append(batch)
            continue
        flat = batch[:, 0] if batch.ndim == 4 and batch.shape[1] == 1 else batch
        flat = flat[None] if flat.ndim == 2 else flat
        found += [_stretched(one) for one in check_finite(flat.astype(np.float32), "Spectrograms")]
    return found


def _stretched(values: Floats) -> Floats:
    low, high = float(values.min()), float(values.max())
    return np.asarray((values - low) / ((high - low) or 1.0), np.float32)


def _fits(counts: Sequence[int | None], size: tuple[int, ...]) -> bool:
    return all(count in (None, side) for count, side in zip(counts, size, strict=True))


def _tick(axis: Any, values: _Values) -> None:
    """Put ticks at round values, where they lie along an axis of pixels."""
    from matplotlib.ticker import MaxNLocator

    places = np.arange(len(values), dtype=np.float64)
    if values[-1] < values[0]:
        values, places = values[::-1], places[::-1]
    low, high = float(values[0]), float(values[-1])
    straight = np.linspace(low, high, len(values))
    if np.abs(values - straight).max() <= _STRAIGHT * (high - low):
        ticks = np.asarray(MaxNLocator(5).tick_values(low, high), np.float64)
    else:
        ticks = np.outer(10.0 ** np.arange(-3, 7), (1, 2, 5)).ravel()
    slack = 1e-9 * (high - low)
    inside = ticks[(ticks >= low - slack) & (ticks <= high + slack)]
    inside = inside if len(inside) else np.asarray([low])
    kept: list[tuple[float, float]] = []
    for value, place in zip(inside, np.interp(inside, values, places), strict=True):
        if not kept or abs(place - kept[-1][1]) >= _APART * len(values):
            kept.append((float(value), float(place)))
    axis.set_ticks([place for _, place in kept], labels=[f"{value:g}" for value, _ in kept])
