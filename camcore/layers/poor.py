"""Warn, once a model, of layers at which a map shows little."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from camcore._shared.remembered import remembered
from camcore._shared.warn import warn
from camcore.adapter import Array
from camcore.errors import PoorMapWarning

_COARSE = 2
"""Up to how many places along each axis a map tells little of where."""

_warned: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()
"""What was said of a model's layers."""


def warn_if_coarse(
    model: object, layer: str, places: tuple[int, ...], size: tuple[int, ...]
) -> None:
    """Warn where a map has hardly any places.

    Parameters
    ----------
    model : object
        What is explained.
    layer : str
        Where the map is made.
    places, size : tuple of int
        Spatial size of the map and of the input.
    """
    if places and max(places) <= _COARSE < max(size, default=0):
        grid, whole = ("×".join(map(str, shape)) for shape in (places, size))
        _once(
            model,
            f"The map at layer {layer!r} has {grid} places for an input of {whole}, so it hardly "
            "says where. Choose an earlier layer: layer='...', or give larger inputs.",
        )


def warn_without_gradient(model: object, layer: str) -> None:
    """Warn that a layer's map is empty because no gradient comes to its places."""
    _once(
        model,
        f"The score's gradient is zero at every place of layer {layer!r}, so its map is empty. "
        "Choose a layer that the score is made of: see camcore.layers.candidates(model, inputs).",
    )


def warn_if_empty(model: object, layer: str, signed: Array) -> None:
    """Warn where nothing of a sample's map speaks for what is explained.

    Parameters
    ----------
    model : object
        What is explained.
    layer : str
        Where the map is made.
    signed : (B, *S) array
        The signed maps.
    """
    flat = signed.reshape(len(signed), -1)
    high, low = flat.max(1, initial=0), flat.min(1, initial=0)
    if ((high == 0) & (low == 0)).any():
        _once(
            model,
            f"Nothing at layer {layer!r} speaks for or against what is explained, so that a map "
            "is zero everywhere: so are the layer's activations, or their products with the "
            "gradients. Explain another layer: layer='...'.",
        )
    if ((high == 0) & (low < 0)).any():
        _once(
            model,
            f"Nothing at layer {layer!r} speaks for what is explained, and some of it against, so "
            "that a map is empty: its values are negative, and cut off at zero. See them in "
            "explanation.raw or explanation.figure(kind='signed'), or explain another class.",
        )


def _once(model: object, message: str) -> None:
    said = remembered(_warned, model, set())
    if message not in said:
        said.add(message)
        warn(message, PoorMapWarning)
