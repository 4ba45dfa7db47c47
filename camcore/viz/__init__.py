"""Pictures of maps: what a person sees. Arrays in, pictures out."""

from camcore.viz.figure import compare_figure, figure, png_bytes
from camcore.viz.overlay import colour_table, heat_map, overlay

__all__ = ["colour_table", "compare_figure", "figure", "heat_map", "overlay", "png_bytes"]
