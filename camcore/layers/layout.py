"""Turn the arrays of any layer into ``(B, C, *S)``, and back.

Channels-last arrays and transformer tokens are recognised by their shape next
to the input's, or named by the user. No other module knows of layouts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from camcore.adapter import Array, Channels, LayerRecord
from camcore.errors import LayerError, MethodError

MAX_PREFIX_TOKENS = 16
"""How many class, distillation and register tokens may precede the patches."""


@dataclass(frozen=True)
class Layout:
    """How one layer's arrays are laid out.

    Parameters
    ----------
    kind : {"channels_first", "channels_last", "tokens"}
        ``(B, C, *S)``, ``(B, *S, C)``, or ``(B, T, C)`` with T prefix and patch tokens.
    grid : tuple of int, optional
        Rows and columns of the patch tokens; worked out from the input where left out.
    prefix : int, optional
        Tokens before the patches; worked out where left out.
    """

    kind: Literal["channels_first", "channels_last", "tokens"]
    grid: tuple[int, ...] | None = None
    prefix: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("channels_first", "channels_last", "tokens"):
            raise LayerError(
                f"Unknown layout {self.kind!r}; expected 'channels_first', "
                "'channels_last' or 'tokens'."
            )
        if (self.grid is not None and min(self.grid, default=0) < 1) or (self.prefix or 0) < 0:
            raise LayerError(
                f"A grid has positive lengths and a prefix is not negative; "
                f"got grid={self.grid}, prefix={self.prefix}."
            )

    def canonical(self, array: Array) -> Array:
        """View the array as ``(B, C, *S)``.

        Parameters
        ----------
        array : (B, ...) array
            In this layout; tokens need their grid and prefix.

        Returns
        -------
        (B, C, *S) array
        """
        if self.kind == "channels_first":
            return array
        if self.kind == "channels_last":
            return np.moveaxis(array, -1, 1)
        grid, patches = self.patches
        return np.moveaxis(array[:, patches].reshape(len(array), *grid, -1), -1, 1)

    def native(self, array: Array, like: Array) -> Array:
        """Undo `canonical`: put ``(N, C, *S)`` back into the layer's own layout.

        Parameters
        ----------
        array : (N, C, *S) array
            What to put back.
        like : (1, ...) array
            The layer's own activations, for the prefix tokens that the canonical
            form leaves out.

        Returns
        -------
        (N, ...) array
            In this layout.
        """
        if self.kind == "channels_first":
            return array
        if self.kind == "channels_last":
            return np.moveaxis(array, 1, -1)
        tokens = np.repeat(like, len(array), axis=0)
        tokens[:, self.patches[1]] = np.moveaxis(array, 1, -1).reshape(
            len(array), -1, array.shape[1]
        )
        return tokens

    @property
    def patches(self) -> tuple[tuple[int, ...], slice]:
        """The grid of tokens, and where they stand among all."""
        assert self.grid is not None
        assert self.prefix is not None
        return self.grid, slice(self.prefix, self.prefix + math.prod(self.grid))


def infer(
    shape: tuple[int, ...],
    channels: Channels | None,
    input_size: tuple[int, ...],
    wanted: Layout | None = None,
    convention: Channels = "first",
) -> Layout:
    """Work out how an array of this shape is laid out.

    Parameters
    ----------
    shape : tuple of int
        Shape of the layer's output, batch axis included.
    channels : {"first", "last"} or None
        Where the framework says the channel axis is.
    input_size : tuple of int
        Spatial size of the model's input; empty where the input has none.
    wanted : Layout or None
        What the user says; only what it leaves open is worked out.
    convention : {"first", "last"}
        Where the model takes the channel axis of its input; decides where the shape does
        not, as with every signal.

    Returns
    -------
    Layout
        Complete: tokens have their grid and prefix.

    Raises
    ------
    LayerError
        The output has no spatial extent, or the token grid cannot be found.
    """
    if len(shape) < 3:
        raise LayerError(
            f"The layer's output {shape} has no spatial extent, so there is nothing to map. "
            "Choose an earlier layer, before pooling or flattening."
        )
    if wanted is not None and wanted.kind != "tokens":
        return wanted
    if wanted is not None or (len(shape) == 3 and len(input_size) > 1):
        return _tokens(shape, input_size, wanted)
    if channels is None:
        channels = _channel_axis(shape, input_size, convention)
    return Layout("channels_first" if channels == "first" else "channels_last")


def keys_on_grid(
    attention: Array,
    batch: int,
    input_size: tuple[int, ...],
    wanted: Layout | None = None,
) -> Array:
    """Lay the keys of attention, or of its gradient, out over the input.

    Parameters
    ----------
    attention : (B, heads, queries, keys) or (B * heads, queries, keys) array
        As an adapter captures it.
    batch : int
        Number of samples.
    input_size : tuple of int
        Spatial size of the model's input.
    wanted : Layout or None
        What the user says of the tokens' grid and prefix.

    Returns
    -------
    (B, heads, queries, *S) array
        A view; keys before the patches (class, distillation and register tokens) are
        left out.

    Raises
    ------
    MethodError
        Attention is computed within windows rather than over the whole input.
    LayerError
        The grid of the keys cannot be found.
    """
    if attention.ndim == 3 and len(attention) % batch == 0:
        attention = attention.reshape(batch, -1, *attention.shape[1:])
    if attention.ndim != 4 or len(attention) != batch:
        raise MethodError(
            f"Its attention has the shape {attention.shape} for a batch of {batch}: it is computed "
            "within windows (as Swin does), so its keys do not lie over the whole input. Choose a "
            "layer with global attention, or another method: method='gradcam'."
        )
    *outer, keys = attention.shape
    tokens = wanted if wanted is not None and wanted.kind == "tokens" else None
    grid, patches = _tokens((batch, keys, 1), input_size, tokens).patches
    return attention[..., patches].reshape(*outer, *grid)


def relates_channels(record: LayerRecord) -> bool:
    """Tell whether a layer attends between its channels, as in XCiT, not between places.

    Parameters
    ----------
    record : LayerRecord
        What the layer returned, and the shape of its attention.

    Returns
    -------
    bool
        False too where the shapes fit both, and where there is no attention.
    """
    shape = record.shape
    if record.attention is None or len(shape) < 3:
        return False
    *heads, queries, keys = record.attention
    places = {math.prod(shape[1:-1]), *([math.prod(shape[2:])] if len(shape) > 3 else [])}
    channels = {shape[1], shape[-1]}
    return queries == keys and math.prod(heads) * keys in channels and queries not in places


def _channel_axis(
    shape: tuple[int, ...], input_size: tuple[int, ...], convention: Channels
) -> Channels:
    first, last = (is_reduction(size, input_size) for size in (shape[2:], shape[1:-1]))
    if first == last:
        return convention
    return "first" if first else "last"


def is_reduction(size: tuple[int, ...], input_size: tuple[int, ...]) -> bool:
    """Tell whether a map of this size could be the input, reduced alike along each axis."""
    if len(size) != len(input_size):
        return False
    stride = max(whole / part for whole, part in zip(input_size, size, strict=True))
    return all(
        part <= whole and abs(whole / stride - part) <= 1
        for whole, part in zip(input_size, size, strict=True)
    )


def _tokens(shape: tuple[int, ...], input_size: tuple[int, ...], wanted: Layout | None) -> Layout:
    if len(shape) != 3:
        raise LayerError(f"Tokens are (batch, tokens, channels); the layer's output is {shape}.")
    count = shape[1]
    if wanted is not None and wanted.grid is not None:
        prefix = count - math.prod(wanted.grid) if wanted.prefix is None else wanted.prefix
        if prefix < 0 or prefix + math.prod(wanted.grid) > count:
            raise LayerError(
                f"A grid of {wanted.grid} with {prefix} prefix tokens does not fit "
                f"the layer's {count} tokens. Give one that does."
            )
        return Layout("tokens", wanted.grid, prefix)
    prefixes = range(min(MAX_PREFIX_TOKENS, count - 1) + 1)
    if wanted is not None and wanted.prefix is not None:
        prefixes = range(wanted.prefix, wanted.prefix + 1)
    for prefix in prefixes:
        grid = _patch_grid(count - prefix, input_size)
        if grid is not None:
            return Layout("tokens", grid, prefix)
    raise LayerError(
        f"The layer returns {count} tokens, which no patch grid over an input of "
        f"{input_size} explains. Give it: "
        "layout=camcore.Layout('tokens', grid=(rows, columns), prefix=n)."
    )


def _patch_grid(count: int, input_size: tuple[int, ...]) -> tuple[int, ...] | None:
    """Find the grid of `count` square patches over the input, or None."""
    if count < 1 or not input_size:
        return None
    patch = round((math.prod(input_size) / count) ** (1 / len(input_size)))
    if patch < 1:
        return None
    grid = tuple(whole // patch for whole in input_size)
    return grid if math.prod(grid) == count else None
