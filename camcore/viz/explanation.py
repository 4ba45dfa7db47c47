"""The figure that fits an explanation: flat, a volume or a signal; shown, signed or by layer."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from camcore.adapter import Array
from camcore.errors import InputError, MissingExtraError
from camcore.recipes import OverlayStyle
from camcore.viz.colormaps import coloured
from camcore.viz.export import png_bytes
from camcore.viz.figure import figure
from camcore.viz.grid import grid
from camcore.viz.panels import label, panels, show
from camcore.viz.signal import signal_figure
from camcore.viz.volume import volume_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from camcore.explanation import Explanation

Kind: TypeAlias = Literal["map", "signed", "layers"]

_MOST = 8
"""So many samples of a batch are shown where nobody asked for a figure."""

_WIDTH = 1.9


def explanation_figure(
    explanation: Explanation,
    images: Any = None,
    kind: Kind = "map",
    *,
    names: Sequence[str] | None = None,
    **options: Any,
) -> Figure:
    """Draw an explanation; see `Explanation.figure`."""
    if kind not in get_args(Kind):
        raise InputError(f"kind={kind!r}; expected one of {', '.join(get_args(Kind))}")
    options = {"style": explanation.overlay_style, **options}
    rank = explanation.maps.ndim - 1
    if names is not None:
        options = {**_named(explanation, names, rank == 2 and kind != "layers"), **options}
    if kind == "layers" or (kind == "signed" and len(explanation.raw) > 1):
        if rank != 2 or images is None:
            raise InputError(
                f"Maps of {len(explanation.raw)} layers side by side need flat images; "
                "pass images (B, H, W, 3), or draw one of explanation.by_layer() by itself."
            )
        drawn: Literal["signed", "overlay"] = "signed" if kind == "signed" else "overlay"
        return grid(images, explanation, kind=drawn, **options)
    signed = kind == "signed"
    maps = next(iter(explanation.raw.values())) if signed else explanation.maps
    return _drawn(images, maps, signed=signed, **options)


def _drawn(images: Any, maps: Array, **options: Any) -> Figure:
    if maps.ndim == 3:
        return figure(images, maps, **options)
    if maps.ndim == 4:
        return volume_figure(images, maps, **options)
    return signal_figure(np.zeros(maps.shape) if images is None else images, maps, **options)


def html(explanation: Explanation) -> str:
    """An explanation as a notebook shows it: a table of what is explained, and its maps."""
    rows = "".join(
        f"<tr><td>{i}</td><td>{_class(explanation, i)}</td>"
        f"<td>{float(explanation.scores[i]):.4g}</td></tr>"
        for i in range(min(len(explanation), _MOST))
    )
    table = f"<table><tr><th>sample</th><th>explained</th><th>score</th></tr>{rows}</table>"
    more = len(explanation) - _MOST
    rest = f"<p>and {more} more</p>" if more > 0 else ""
    picture = png(explanation)
    image = ""
    if picture is not None:
        data = base64.b64encode(picture).decode()
        image = f'<img style="max-width: 100%" src="data:image/png;base64,{data}"/>'
    head = (
        f"{explanation.method} at {', '.join(explanation.layers)}, recipe {explanation.recipe}, "
        f"maps {explanation.maps.shape}"
    )
    return f"<div><p><b>{escape(head)}</b></p>{table}{rest}{image}</div>"


def png(explanation: Explanation) -> bytes | None:
    """The first maps of an explanation as PNG; None where they cannot be drawn.

    Maps outside of [0, 1], which some recipes leave, are drawn by their sign.
    """
    maps = explanation.maps[:_MOST]
    signed = not (float(maps.min()) >= 0 and float(maps.max()) <= 1)
    try:
        if maps.ndim == 3:
            drawing = _strip(maps, signed, explanation.overlay_style)
        else:
            drawing = _drawn(None, maps, signed=signed, style=explanation.overlay_style)
        return png_bytes(drawing, dpi=80)
    except MissingExtraError:
        return None


def _strip(maps: Array, signed: bool, style: OverlayStyle) -> Figure:
    """Flat maps side by side, numbered."""
    heats, palette = coloured(maps, signed, style, None)
    drawing, grid = panels([maps.shape[1:]], len(heats), _WIDTH)
    for panel, heat in zip(grid[0], heats, strict=True):
        show(panel, palette.heat(heat, heat.shape))
    label(grid, [f"sample {i}" for i in range(len(heats))])
    palette.scale().draw(drawing, slice(None))
    return drawing


def _class(explanation: Explanation, index: int) -> str:
    if explanation.classes is None:
        return "score"
    return f"class {int(explanation.classes[index])}"


def _named(explanation: Explanation, names: Sequence[str], bars: bool) -> dict[str, Any]:
    """Titles, and where there is room a top-5, in the classes' names."""

    def name(index: int) -> str:
        return names[index] if index < len(names) else f"class {index}"

    found: dict[str, Any] = {}
    if explanation.classes is not None:
        found["titles"] = [name(int(c)) for c in explanation.classes]
    if bars and explanation.probabilities is not None:
        found["bars"] = [[(name(c), p) for c, p in row] for row in explanation.top(5)]
    return found
