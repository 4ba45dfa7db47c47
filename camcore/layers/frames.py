"""Videos that a model sees frame by frame: each frame is a row of its layers' batch.

Each frame then has a map of its own, made from its own row, and the maps of a sample are
put together as ``(B, T, *S)``: they are shown on one scale, so that frames compare.
"""

from __future__ import annotations

from camcore.adapter import Array, LayerName, Trace
from camcore.errors import LayerError, MethodError


def per_sample(layer: str, trace: Trace, batch: int) -> int:
    """Count the rows of a layer that belong to one sample: its frames, or else 1.

    Parameters
    ----------
    layer : str
        Of the trace.
    trace : Trace
        A pass.
    batch : int
        Number of samples.

    Raises
    ------
    LayerError
        The layer's rows are neither samples nor their frames.
    """
    traced = trace.layers.get(layer)
    if traced is None or LayerName.parse(layer).is_input:
        return 1
    rows = len(traced.activations)
    if rows == batch * traced.frames or LayerName.parse(layer).is_attention:
        return traced.frames
    for leaf in trace.inputs.values():
        if leaf.ndim > 4 and rows == batch * leaf.shape[1]:
            return int(leaf.shape[1])
    raise LayerError(
        f"Layer {layer!r} returns {rows} rows for {batch} samples: it sees parts of them, such as "
        "windows or proposals. Choose a layer that sees each as a whole."
    )


def check_method(label: str, by_row: bool, layer: str) -> None:
    """Refuse a method that alters whole inputs, where a layer sees frames one by one.

    Raises
    ------
    MethodError
        Says what to do.
    """
    if not by_row:
        raise MethodError(
            f"{label} alters whole inputs, and {layer!r} sees their frames one by one. Choose "
            "method='gradcam' or another of one pass, or a layer that sees all frames."
        )


def together(maps: Array, batch: int) -> Array:
    """Group the maps of rows, ``(B * T, *S)``, by sample: ``(B, T, *S)``."""
    return maps.reshape(batch, -1, *maps.shape[1:])
