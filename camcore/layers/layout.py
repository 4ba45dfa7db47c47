"""Turn the arrays of any layer into ``(B, C, *S)``, and back.

Channels-last arrays and transformer tokens are recognised by their shape next
to the input's, or named by the user. No other module knows of layouts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np

from camcore.adapter import Array, Channels, LayerRecord
from camcore.errors import LayerError, MethodError

MAX_PREFIX_TOKENS = 16
"""How many class, distillation and register tokens may precede the patches."""

Reader: TypeAlias = "Callable[[int, Layout | None], Layout]"
"""Given a number of tokens and what the user says of them, where the patches are among them."""


@dataclass(frozen=True)
class Layout:
    """How one layer's arrays are laid out.

    Parameters
    ----------
    kind : {"channels_first", "channels_last", "tokens"}
        ``(B, C, *S)``, ``(B, *S, C)``, or ``(B, T, C)`` with T tokens, patches among them.
    grid : tuple of int, optional
        Rows and columns of the patch tokens; worked out from the model where left out.
    prefix : int, optional
        Tokens before the patches; worked out where left out.
    suffix : int, optional
        Tokens behind the patches; worked out where left out.
    batch : int, optional
        Which axis carries the batch; found where left out. The axes before it are places
        too, such as time steps: ``(T, C)`` tokens of ``(T, B, C)``, or the first spatial
        axis of ``(T, B, C, *S)`` and ``(T, B, *S, C)``.
    """

    kind: Literal["channels_first", "channels_last", "tokens"]
    grid: tuple[int, ...] | None = None
    prefix: int | None = None
    suffix: int | None = field(default=None, kw_only=True)
    batch: int | None = field(default=None, kw_only=True)

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
        if min(self.suffix or 0, self.batch or 0) < 0:
            raise LayerError(
                "A suffix and the number of an axis are not negative; "
                f"got suffix={self.suffix}, batch={self.batch}."
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
        if self.kind != "tokens":
            return np.moveaxis(array, self._axes, (0, 1))
        grid, patches = self.patches
        array = np.moveaxis(array, self.batch or 0, 0)
        return np.moveaxis(array[:, patches].reshape(len(array), *grid, -1), -1, 1)

    def native(self, array: Array, like: Array) -> Array:
        """Undo `canonical`: put ``(N, C, *S)`` back into the layer's own layout.

        Parameters
        ----------
        array : (N, C, *S) array
            What to put back.
        like : (1, ...) array
            The layer's own activations, for the prefix and suffix tokens that the canonical
            form leaves out.

        Returns
        -------
        (N, ...) array
            In this layout.
        """
        if self.kind != "tokens":
            return np.moveaxis(array, (0, 1), self._axes)
        batch = self.batch or 0
        tokens = np.repeat(np.moveaxis(like, batch, 0), len(array), axis=0)
        tokens[:, self.patches[1]] = np.moveaxis(array, 1, -1).reshape(
            len(array), -1, array.shape[1]
        )
        return np.moveaxis(tokens, 0, batch)

    def sample(self, array: Array, index: int) -> Array:
        """Cut out one sample.

        Parameters
        ----------
        array : (B, ...) array
            In this layout.
        index : int
            Which sample.

        Returns
        -------
        (1, ...) array
            In this layout.
        """
        return array.take([index], axis=self.batch or 0)

    def size(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Read the spatial size off a shape.

        Parameters
        ----------
        shape : tuple of int
            Of an array in this layout; tokens need their grid.

        Returns
        -------
        tuple of int
        """
        if self.kind == "tokens":
            return self.patches[0]
        axes = {axis % len(shape) for axis in self._axes}
        return tuple(length for axis, length in enumerate(shape) if axis not in axes)

    def axes(self, rank: int) -> tuple[int, ...]:
        """List the spatial axes of an array.

        Parameters
        ----------
        rank : int
            How many axes it has.

        Returns
        -------
        tuple of int
            Of tokens, the one axis that they stand along.
        """
        others = {axis % rank for axis in self._axes}
        return tuple(axis for axis in range(rank) if axis not in others)

    def among_others(self, shape: tuple[int, ...]) -> bool:
        """Tell whether there are other tokens than patches.

        Parameters
        ----------
        shape : tuple of int
            Of an array in this layout.

        Returns
        -------
        bool
        """
        return self.kind == "tokens" and math.prod(self.size(shape)) < _count(
            shape, self.batch or 0
        )

    @property
    def _axes(self) -> tuple[int, int]:
        """Where the batch and the channels are."""
        batch = self.batch or 0
        return batch, batch + 1 if self.kind == "channels_first" else -1

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
    *,
    batch: int = 0,
    read: Reader | None = None,
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
    batch : int
        Which axis carries the batch, where the user does not say.
    read : callable, optional
        Finds the patches among tokens; left out, by their number alone.

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
    if wanted is not None and wanted.batch is not None:
        batch = wanted.batch
    if batch > len(shape) - 2:
        raise LayerError(
            f"batch={batch} leaves no axis for channels; the layer's output is {shape}. "
            "Give the axis that carries the batch."
        )
    at = batch or None
    if wanted is not None and wanted.kind != "tokens":
        return replace(wanted, batch=at)
    if wanted is not None or (len(shape) == 3 and len(input_size) > 1):
        count = _count(shape, batch)
        found = read(count, wanted) if read else by_shape(count, input_size, wanted)
        return replace(found, batch=at)
    if len(shape) == batch + 2:
        channels = "last"
    elif channels is None:
        channels = _channel_axis(shape[batch:], input_size, convention)
    return Layout("channels_first" if channels == "first" else "channels_last", batch=at)


def of_one(
    record: LayerRecord,
    input_size: tuple[int, ...],
    convention: Channels = "first",
    read: Reader | None = None,
) -> Layout:
    """Work out how a layer's output is laid out that was surveyed for one sample; see `infer`."""
    batch = axis_of_one(record.shape)
    return infer(
        record.shape, record.channels, input_size, None, convention, batch=batch, read=read
    )


def map_axes(shape: tuple[int, ...], batch: int, input_size: tuple[int, ...]) -> list[int]:
    """List the axes as long as the batch beside which a map over the input remains."""
    return [
        axis
        for axis, length in enumerate(shape[:-1])
        if length == batch
        and any(
            is_reduction(Layout(kind, batch=axis).size(shape), input_size)
            for kind in ("channels_first", "channels_last")
        )
    ]


def axis_of_one(shape: tuple[int, ...]) -> int:
    """Tell which axis of this shape may carry a batch of one; the first where none shows it."""
    return shape.index(1) if 1 in shape else 0


def shape_of_one(shape: tuple[int, ...], batch: int) -> tuple[int, ...]:
    """Give the shape for one sample of what has this shape for a batch.

    The batch is the first axis as long as it; where none is, the first holds several rows a sample.
    """
    axis = shape.index(batch) if batch in shape else 0
    if not shape or shape[axis] % batch:
        return shape
    return (*shape[:axis], shape[axis] // batch, *shape[axis + 1 :])


def axis_moved(of_one: tuple[int, ...], of_batch: tuple[int, ...]) -> int:
    """Tell which axis is longer in a layer's output for a batch than in that for one sample."""
    lengths = zip(of_one, of_batch, strict=False)
    return next((i for i, (a, b) in enumerate(lengths) if a != b), axis_of_one(of_batch))


def by_head(attention: Array, batch: int) -> Array:
    """View attention, or its gradient, as ``(B, heads, queries, keys)``.

    Parameters
    ----------
    attention : (B, heads, queries, keys) or (B * heads, queries, keys) array
        As an adapter captures it.
    batch : int
        Number of samples.

    Returns
    -------
    (B, heads, queries, keys) array

    Raises
    ------
    MethodError
        Attention is computed within windows rather than over the whole input.
    """
    if attention.ndim == 3 and len(attention) % batch == 0:
        attention = attention.reshape(batch, -1, *attention.shape[1:])
    if attention.ndim != 4 or len(attention) != batch:
        raise MethodError(
            f"Its attention has the shape {attention.shape} for a batch of {batch}: it is computed "
            "within windows (as Swin does), so its keys do not lie over the whole input. Choose a "
            "layer with global attention, or another method: method='gradcam'."
        )
    return attention


def keys_on_grid(
    attention: Array,
    batch: int,
    input_size: tuple[int, ...],
    wanted: Layout | None = None,
    read: Reader | None = None,
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
        What the user says of the tokens' grid, prefix and suffix.
    read : callable, optional
        As `infer` takes it.

    Returns
    -------
    (B, heads, queries, *S) array
        A view; keys before and behind the patches (class, distillation, register and
        detection tokens) are left out.

    Raises
    ------
    MethodError
        Attention is computed within windows rather than over the whole input.
    LayerError
        The grid of the keys cannot be found.
    """
    attention = by_head(attention, batch)
    *outer, keys = attention.shape
    tokens = wanted if wanted is not None and wanted.kind == "tokens" else None
    found = read(keys, tokens) if read else by_shape(keys, input_size, tokens)
    grid, patches = found.patches
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
    batch = axis_of_one(record.shape)
    shape = (record.shape[batch], *record.shape[:batch], *record.shape[batch + 1 :])
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


def has_prefix(count: int, input_size: tuple[int, ...]) -> bool:
    """Tell whether so many tokens can only be patches among others."""
    return square_patches(count, input_size) is None


def by_shape(count: int, input_size: tuple[int, ...], wanted: Layout | None = None) -> Layout:
    """Find the patches among tokens by their number: as few before square patches as fit.

    Parameters
    ----------
    count : int
        Number of tokens.
    input_size : tuple of int
        Spatial size of the model's input.
    wanted : Layout or None
        What the user says of them.

    Returns
    -------
    Layout
        Complete.

    Raises
    ------
    LayerError
        What is said does not fit, or no grid does.
    """
    if wanted is not None and wanted.grid is not None:
        return on_said_grid(count, wanted)
    behind = 0 if wanted is None else wanted.suffix or 0
    prefixes = range(min(MAX_PREFIX_TOKENS, count - behind - 1) + 1)
    if wanted is not None and wanted.prefix is not None:
        prefixes = range(wanted.prefix, wanted.prefix + 1)
    for prefix in prefixes:
        grid = square_patches(count - prefix - behind, input_size)
        if grid is not None:
            return Layout("tokens", grid, prefix)
    raise LayerError(
        f"The layer returns {count} tokens, which no patch grid over an input of "
        f"{input_size} explains. Give it: "
        "layout=camcore.Layout('tokens', grid=(rows, columns), prefix=n)."
    )


def on_said_grid(count: int, wanted: Layout) -> Layout:
    """Complete tokens whose grid the user says; what is left of them stands before it.

    Raises
    ------
    LayerError
        It does not fit the number of tokens.
    """
    assert wanted.grid is not None
    patches = math.prod(wanted.grid)
    prefix = wanted.prefix
    if prefix is None:
        prefix = count - patches - (wanted.suffix or 0)
    rest = count - prefix - patches
    if prefix < 0 or rest < 0 or wanted.suffix not in (None, rest):
        behind = "" if wanted.suffix is None else f" and {wanted.suffix} suffix tokens"
        raise LayerError(
            f"A grid of {wanted.grid} with {prefix} prefix tokens{behind} does not fit "
            f"the layer's {count} tokens. Give one that does."
        )
    return Layout("tokens", wanted.grid, prefix)


def _count(shape: tuple[int, ...], batch: int) -> int:
    """Count the tokens in an array of this shape."""
    if len(shape) != 3:
        raise LayerError(f"Tokens are (batch, tokens, channels); the layer's output is {shape}.")
    return shape[1 - batch]


def square_patches(count: int, input_size: tuple[int, ...]) -> tuple[int, ...] | None:
    """Find the grid of `count` square patches over the input, or None."""
    if count < 1 or not input_size:
        return None
    patch = round((math.prod(input_size) / count) ** (1 / len(input_size)))
    if patch < 1:
        return None
    grid = tuple(whole // patch for whole in input_size)
    return grid if math.prod(grid) == count else None
