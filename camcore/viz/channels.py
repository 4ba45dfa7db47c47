"""Draw attributions by channel: the leads of signals, and the bands of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from camcore.errors import InputError
from camcore.postprocess import normalise
from camcore.recipes import OverlayStyle
from camcore.viz.colormaps import coloured
from camcore.viz.panels import Pictures, label, panels, pictures, same_number, show
from camcore.viz.signal import channel_names, signal_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH = 1.9
"""Width of a panel, in inches."""

_MOST = 24
"""How many bands stand side by side."""


def channels_figure(
    images: Pictures | None,
    attributions: npt.NDArray[Any],
    *,
    channels: Sequence[str] | None = None,
    titles: Sequence[str] | None = None,
    style: OverlayStyle | None = None,
    colormap: str | None = None,
    **options: Any,
) -> Figure:
    """Draw what each channel of the input has, on one scale for all.

    Parameters
    ----------
    images : (B, H, W, 3) array, (B, C, L) or (B, L, C) array, or None
        Pictures of the images, which stand before their bands; or signals, as `signal_figure`
        takes them.
    attributions : (B, C, H, W) or (B, C, L) array
        As `Explanation.by_channel` holds them. Those that are nowhere negative are drawn
        relative to the strongest of their sample, others by their sign.
    channels : C strings, optional
        Names of the channels; their index unless given.
    titles : B strings, optional
        What is explained in each sample.
    style, colormap
        As `signal_figure` takes them.
    **options
        Of signals, what else `signal_figure` takes.

    Returns
    -------
    matplotlib.figure.Figure
        A row for each sample: of images a column for each band, of signals their traces.

    Raises
    ------
    InputError
        They are of volumes, or of more than 24 bands; or names, images and attributions differ
        in number.
    MissingExtraError
        matplotlib is not installed.
    """
    signed = float(attributions.min()) < 0
    shown = attributions if signed else normalise(attributions)
    look: dict[str, Any] = {"signed": signed, "style": style, "colormap": colormap}
    if attributions.ndim == 3:
        signals = np.zeros(shown.shape) if images is None else images
        return signal_figure(signals, shown, channels=channels, titles=titles, **look, **options)
    if attributions.ndim != 4 or options:
        raise InputError(
            f"Attributions of shape {attributions.shape} are drawn by channel for signals "
            f"(B, C, L) and images (B, C, H, W), without {', '.join(options) or 'more axes'}; "
            "draw a volume's channel by itself: volume_figure(volume, by_channel[:, c], "
            "signed=True)."
        )
    return _bands(images, shown, channels, titles, **look)


def _bands(
    images: Pictures | None,
    shown: npt.NDArray[Any],
    channels: Sequence[str] | None,
    titles: Sequence[str] | None,
    **look: Any,
) -> Figure:
    """Draw the maps of bands ``(B, C, H, W)`` side by side."""
    count, size = shown.shape[1], shown.shape[2:]
    if count > _MOST:
        raise InputError(
            f"{count} bands are more than the {_MOST} that stand side by side; draw some of them: "
            "camcore.viz.figure(None, explanation.by_channel[0, :6], signed=True)."
        )
    photos = None if images is None else pictures(images)
    same_number(images=photos, attributions=shown, titles=titles)
    names = channel_names(channels, count)
    heats, colours = coloured(shown.reshape(-1, *size), **look)
    before = 0 if photos is None else 1
    drawing, grid = panels([size] * len(shown), before + count, _WIDTH)
    for index, row in enumerate(grid):
        if photos is not None:
            show(row[0], photos[index])
        for panel, heat in zip(row[before:], heats[index * count :], strict=False):
            show(panel, colours.heat(heat, size))
    label(grid, [*["image"][:before], *names], titles, _WIDTH)
    colours.scale().draw(drawing, slice(before, None))
    return drawing
