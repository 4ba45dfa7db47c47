"""A matplotlib figure that a notebook shows. Imports matplotlib, so it is imported when drawing."""

from __future__ import annotations

from matplotlib.figure import Figure

from camcore.viz.export import png_bytes


class Drawing(Figure):
    """A figure made without pyplot, which therefore has to show itself."""

    def _repr_png_(self) -> bytes:
        return png_bytes(self, dpi=90)
