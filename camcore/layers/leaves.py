"""Layers that return several arrays: which of them is a map, and how another is named."""

from __future__ import annotations

import math
from collections.abc import Mapping

from camcore.adapter import Channels, LayerName
from camcore.errors import LayerError
from camcore.inputs import listed
from camcore.layers import layout
from camcore.layers.layout import Layout

Shapes = Mapping[str, tuple[int, ...]]
"""The shape of each floating array that a layer returned, by path."""


def meant(
    layer: str,
    leaves: Shapes,
    input_size: tuple[int, ...],
    convention: Channels,
    wanted: Layout | None = None,
) -> str:
    """Find which of the arrays that a layer returns is its map.

    Parameters
    ----------
    layer : str
        Its name.
    leaves : mapping of str to tuple of int
        Shapes of the arrays, in the layer's order; hidden states may be among them.
    input_size, convention, wanted
        As `camcore.layers.layout.infer` takes them.

    Returns
    -------
    str
        Path of the one map at the outermost level of the nest, attention weights aside; of the
        first array where none is a map.

    Raises
    ------
    LayerError
        There are several. The message lists them.
    """
    first = next(iter(leaves))
    rows = leaves[first][0] if leaves[first] else 0

    def is_map(shape: tuple[int, ...]) -> bool:
        beside = _is_attention(shape, leaves[first]) or _is_state(shape, leaves[first])
        if len(shape) < 3 or shape[0] != rows or beside:
            return False
        try:
            found = layout.infer(shape, None, input_size, wanted, convention)
        except LayerError:
            return False
        grid = {"channels_first": shape[2:], "channels_last": shape[1:-1]}
        return math.prod(grid.get(found.kind, found.grid or ())) > 1

    maps = [path for path, shape in leaves.items() if is_map(shape)]
    depth = min((path.count(".") for path in maps), default=0)
    outermost = [path for path in maps if path.count(".") == depth]
    if len(outermost) > 1:
        name = LayerName.parse(layer)
        example = LayerName(name.path, outermost[-1], name.call)
        raise LayerError(
            f"Layer {layer!r} returns {len(outermost)} maps: "
            f"{listed({path: leaves[path] for path in outermost})}. "
            f"Say which is meant: layer={str(example)!r}."
        )
    return outermost[0] if outermost else first


def absent(name: str, leaves: Shapes) -> LayerError:
    """Make the error for a leaf that a layer does not return, or not as floats."""
    asked = LayerName.among(name, {name.rpartition("@")[0]})
    return LayerError(
        f"Layer {asked.path!r} returns no floating array at {asked.part!r}; "
        + (f"it returns {listed(leaves)}." if len(leaves) > 1 else "it returns one array alone.")
    )


def _is_attention(shape: tuple[int, ...], tokens: tuple[int, ...]) -> bool:
    """Tell whether an array relates each token of another, ``(B, N, C)``, to each."""
    return len(tokens) == 3 and shape != tokens and shape[-2:] == (tokens[1], tokens[1])


def _is_state(shape: tuple[int, ...], steps: tuple[int, ...]) -> bool:
    """Tell whether an array is the last states of layers, ``(N, B, C)``, beside their steps."""
    return (
        len(shape) == len(steps) == 3
        and shape != steps
        and shape[1] == steps[0]
        and steps[2] % shape[2] == 0
    )
