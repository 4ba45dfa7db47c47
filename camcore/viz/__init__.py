"""Pictures of maps: arrays in, pictures and figures out."""

from camcore.viz.annotations import Marks
from camcore.viz.explanation import caption_text
from camcore.viz.export import png_bytes, save_figure
from camcore.viz.figure import compare_figure, figure
from camcore.viz.grid import grid
from camcore.viz.overlay import colour_table, heat_map, overlay
from camcore.viz.signal import signal_figure
from camcore.viz.signed import signed_map, signed_overlay
from camcore.viz.volume import volume_figure

__all__ = [
    "Marks",
    "caption_text",
    "colour_table",
    "compare_figure",
    "figure",
    "grid",
    "heat_map",
    "overlay",
    "png_bytes",
    "save_figure",
    "signal_figure",
    "signed_map",
    "signed_overlay",
    "volume_figure",
]
