"""The colours of a figure's maps: sequential from 0 to 1, or diverging around zero."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from camcore.recipes import OverlayStyle
from camcore.viz.arrays import Floats, Picture, Table, as_maps
from camcore.viz.overlay import colour_table, heat_map, overlay
from camcore.viz.panels import Pictures, Scale, one_by_one
from camcore.viz.signed import DIVERGING, diverging_table, signed_map, signed_overlay


@dataclass(frozen=True)
class Sequential:
    """Maps in [0, 1], in a style's colours."""

    style: OverlayStyle

    def heat(self, heat: Floats, size: tuple[int, ...]) -> Picture:
        """Colour a map ``(h, w)`` at a size ``(H, W, ...)``."""
        return _only(heat_map(heat, (size[0], size[1]), colormap=self.style.colormap))

    def over(self, photo: Picture, heat: Floats) -> Picture:
        """Lay a map over a photograph ``(H, W, 3)``."""
        return _only(overlay(photo, heat, style=self.style))

    def scale(self) -> Scale:
        """Return the scale of a map: which value has which colour."""
        label = "evidence, relative to the strongest"
        return Scale(colour_table(self.style.colormap), 0, 1, label)

    def scale_over(self) -> Scale:
        """Return the scale of an overlay: which colour each value has over mid grey."""
        steps = np.linspace(0, 1, 256, dtype=np.float32)
        return Scale(_over_grey(self, steps), 0, 1, "evidence, over mid grey")


@dataclass(frozen=True)
class Diverging:
    """Signed maps, on a scale whose middle is zero."""

    limit: float
    colormap: str = DIVERGING

    def heat(self, heat: Floats, size: tuple[int, ...]) -> Picture:
        """Colour a map ``(h, w)`` at a size ``(H, W, ...)``."""
        shown = (size[0], size[1])
        return _only(signed_map(heat, shown, limit=self.limit, colormap=self.colormap))

    def over(self, photo: Picture, heat: Floats) -> Picture:
        """Lay a map over a photograph ``(H, W, 3)``."""
        return _only(signed_overlay(photo, heat, limit=self.limit, colormap=self.colormap))

    def scale(self) -> Scale:
        """Return the scale of a map: which value has which colour."""
        table = diverging_table(self.colormap)
        return Scale(table, -self.limit, self.limit, "against   -   for")

    def scale_over(self) -> Scale:
        """Return the scale of an overlay: which colour each value has over mid grey."""
        steps = np.linspace(-self.limit, self.limit, 255, dtype=np.float32)
        table = _over_grey(self, steps)
        return Scale(table, -self.limit, self.limit, "against   -   for, over mid grey")


Colormap: TypeAlias = Sequential | Diverging
"""How the maps of a figure are coloured."""


def _over_grey(colours: Colormap, steps: Floats) -> Table:
    """Lay values ``(N,)`` over mid grey, ``(N, 3)`` in [0, 1]."""
    grey = np.full((1, len(steps), 3), 128, np.uint8)
    table: Table = colours.over(grey, steps[None])[0] / 255
    return table


def _only(batch: Picture) -> Picture:
    picture: Picture = batch[0]
    return picture


Coloured: TypeAlias = "tuple[list[Floats], Colormap]"
"""Maps one by one, and the colours that all of them share."""


def coloured(
    maps: Pictures, signed: bool, style: OverlayStyle | None, colormap: str | None
) -> Coloured:
    """Check maps, and choose the colours that all of them share."""
    heats = [heat for batch in one_by_one(maps) for heat in as_maps(batch, signed=signed)]
    if signed:
        limit = max((float(np.abs(heat).max()) for heat in heats), default=0.0) or 1.0
        return heats, Diverging(limit, colormap or DIVERGING)
    style = style or OverlayStyle()
    return heats, Sequential(style if colormap is None else replace(style, colormap=colormap))
