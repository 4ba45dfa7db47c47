"""What a figure's colours mean: evidence from 0 to 1, or a sign around zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import numpy as np

from camcore.recipes import OverlayStyle
from camcore.viz.overlay import Floats, Picture, Table, colour_table, heat_map, overlay
from camcore.viz.panels import Pictures, Scale, heats
from camcore.viz.signed import DIVERGING, diverging_table, resized, signed_map, signed_overlay

EVIDENCE = "evidence, relative to the strongest"
CONTRIBUTION = "against   -   for"


class Palette(Protocol):
    """How maps of a figure are coloured."""

    def heat(self, heat: Floats, size: tuple[int, ...]) -> Picture:
        """Colour a map ``(h, w)`` at another size."""
        ...

    def over(self, photo: Picture, heat: Floats) -> Picture:
        """Lay a map over a photograph ``(H, W, 3)``."""
        ...

    def scale(self) -> Scale:
        """Say which value has which colour."""
        ...


@dataclass(frozen=True)
class Evidence:
    """Maps in [0, 1], in a style's colours."""

    style: OverlayStyle

    def heat(self, heat: Floats, size: tuple[int, ...]) -> Picture:
        """Colour a map ``(h, w)`` at another size."""
        shown = (size[0], size[1])
        return _first(heat_map(heat, shown, colormap=self.style.colormap))

    def over(self, photo: Picture, heat: Floats) -> Picture:
        """Lay a map over a photograph ``(H, W, 3)``."""
        return _first(overlay(photo, heat, style=self.style))

    def scale(self) -> Scale:
        """Say which value has which colour."""
        return Scale(colour_table(self.style.colormap), 0, 1, EVIDENCE)


@dataclass(frozen=True)
class Sign:
    """Signed maps, on a scale whose middle is zero."""

    limit: float
    colormap: str = DIVERGING

    def heat(self, heat: Floats, size: tuple[int, ...]) -> Picture:
        """Colour a map ``(h, w)`` at another size."""
        shown = (size[0], size[1])
        return _first(signed_map(heat, shown, limit=self.limit, colormap=self.colormap))

    def over(self, photo: Picture, heat: Floats) -> Picture:
        """Lay a map over a photograph ``(H, W, 3)``."""
        return _first(signed_overlay(photo, heat, limit=self.limit, colormap=self.colormap))

    def scale(self) -> Scale:
        """Say which value has which colour."""
        table: Table = diverging_table(self.colormap)
        return Scale(table, -self.limit, self.limit, CONTRIBUTION)


def _first(batch: Picture) -> Picture:
    picture: Picture = batch[0]
    return picture


Coloured: TypeAlias = "tuple[list[Floats], Palette]"


def coloured(
    maps: Pictures, signed: bool, style: OverlayStyle | None, colormap: str | None
) -> Coloured:
    """Maps one by one, and the colours that all of them share."""
    if not signed:
        style = style or OverlayStyle()
        return heats(maps), Evidence(
            style if colormap is None else replace(style, colormap=colormap)
        )
    batches: Sequence[Pictures] = list(maps) if isinstance(maps, list | tuple) else [maps]
    values = [heat for batch in batches for heat in resized(np.asarray(batch), None)]
    limit = max((float(np.abs(heat).max()) for heat in values), default=0.0) or 1.0
    return values, Sign(limit, colormap or DIVERGING)
