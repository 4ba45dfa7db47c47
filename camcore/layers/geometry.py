"""Find which axes of a model's input are spatial, and how a layer's map lies over them.

Shapes tell, where only one reading fits them: the first convolution's for the input, a
layer's own for the layer. Else altered inputs tell; see `camcore.layers.halves`. What is found
out is kept for as long as the model lives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from camcore._shared.remembered import remembered
from camcore.adapter import Adapter, Array, LayerName, LayerRecord, LayerTrace, Trace
from camcore.errors import InputError
from camcore.input_layout import InputLayout
from camcore.inputs import Inputs
from camcore.layers import halves, layout
from camcore.layers.known import Known
from camcore.layers.layout import Layout, Reader

FEW = 4
"""An axis that is no longer, where a framework has the channels of images, holds them."""

_LOOKED_AT = 16
"""How many of a model's first layers are probed."""

_CONVOLVES = re.compile("conv", re.IGNORECASE)
_RECURRENT = re.compile("LSTM|GRU|RNN|Bidirectional")

_known: WeakKeyDictionary[Any, dict[Hashable, Any]] = WeakKeyDictionary()


@dataclass(frozen=True)
class _Seen:
    """What a probe showed: axes of the input that a layer's lie along, and that it mixes."""

    along: Mapping[int, int]
    mixed: frozenset[int]

    @classmethod
    def of(cls, response: halves.Response) -> _Seen:
        along = response.along
        unseen = [axis for axis in response.changes if axis not in along]
        return cls(along, frozenset(axis for axis in unseen if response.mixes(axis)))

    def tell_all(self, inputs: Inputs) -> bool:
        """Whether no spatial axis of the inputs is folded into others, or may be."""
        long = {axis for axis, n in zip(inputs.layout.spatial, inputs.size, strict=True) if n > 1}
        return long <= self.along.keys() | self.mixed


@dataclass(frozen=True)
class Placement:
    """How a layer's arrays lie over the input.

    Parameters
    ----------
    layout : Layout
        How they are laid out.
    order : tuple of (int or None), or None
        For each spatial axis of the input, the layer's that lies along it, or None where the
        layer has none that does. None altogether where the layer's map does not lie over the
        input, as far as is known.
    """

    layout: Layout
    order: tuple[int | None, ...] | None

    def canonical(self, array: Array) -> Array:
        """View ``(B, ...)`` of the layer as ``(B, C, *S)``, axes in the input's order.

        An axis that the layer lacks is 1 long. Of a layer that does not lie over the input,
        axes are in its own order.
        """
        own = self.layout.canonical(array)
        if self._as_it_is(own.ndim - 2):
            return own
        shape = [1 if at is None else own.shape[2 + at] for at in self.order or ()]
        return own.transpose(0, 1, *self._axes(own.ndim - 2)).reshape(*own.shape[:2], *shape)

    def native(self, array: Array, like: Array) -> Array:
        """Undo `canonical`; `like` is what the layer returned for one sample, ``(1, ...)``."""
        own = self.layout.canonical(like)
        if not self._as_it_is(own.ndim - 2):
            axes = self._axes(own.ndim - 2)
            moved = array.reshape(*array.shape[:2], *(own.shape[axis] for axis in axes))
            array = moved.transpose(0, 1, *(2 + np.argsort([axis - 2 for axis in axes])))
        return self.layout.native(array, like)

    def _as_it_is(self, rank: int) -> bool:
        return self.order is None or self.order == tuple(range(rank))

    def _axes(self, rank: int) -> list[int]:
        """List the layer's spatial axes in the input's order, those 1 long that it lacks last."""
        kept = [at for at in self.order or () if at is not None]
        return [2 + at for at in [*kept, *(at for at in range(rank) if at not in kept)]]


class Geometry:
    """What is known of how a model's layers lie over its input.

    Parameters
    ----------
    model : object
        The model.
    adapter : Adapter
        Its adapter.
    """

    def __init__(self, model: object, adapter: Adapter) -> None:
        self._adapter = adapter
        self._known = remembered(_known, model, {})

    def laid_out(self, inputs: Inputs, *, images: bool = True) -> Inputs:
        """Find where inputs have their channels.

        Parameters
        ----------
        inputs : Inputs
            Returned as they are where the user said it.
        images : bool
            Whether to believe what looks like images.

        Raises
        ------
        InputError
            Several readings fit, and the model does not tell.
        """
        if inputs.said is not None or (images and _look_like_images(inputs)):
            return inputs
        every = halves.all_spatial(inputs)
        if every.path is None:
            return inputs
        shape = every.shapes[every.path]
        key = "input", every.path, images, tuple(n <= FEW for n in shape[1:])
        if key not in self._known:
            self._known[key] = self._layout(inputs, every, shape)
        found: InputLayout | None = self._known[key]
        return inputs if found is None else replace(inputs, said=found)

    def seen(self, inputs: Inputs, trace: Trace) -> Inputs:
        """Look again at what was taken for images, where a layer has more spatial axes."""
        if inputs.said is None and any(
            LayerName.parse(name).part in ("", "linear")
            and traced.activations.ndim - 2 > len(inputs.size) > 0
            for name, traced in trace.layers.items()
        ):
            return self.laid_out(inputs, images=False)
        return inputs

    def place(
        self,
        adapter: Adapter,
        inputs: Inputs,
        name: str,
        traced: LayerTrace,
        wanted: Layout | None,
        known: Known,
        *,
        batch: int = 0,
        read: Reader | None = None,
    ) -> Placement:
        """Find how a layer's arrays lie over the inputs.

        Parameters
        ----------
        adapter : Adapter
            What traced the layer.
        inputs : Inputs
            What it was traced on.
        name : str
            The layer's.
        traced : LayerTrace
            What it did.
        wanted : Layout or None
            What the user says of its layout.
        known : Known
            What was learnt of tokens before.
        batch, read
            As `camcore.layers.layout.infer` takes them.

        Raises
        ------
        LayerError
            It has no spatial extent, or the grid of its tokens cannot be found.
        """
        shape, whole = traced.activations.shape, inputs.size
        seen = partial(self._seen, adapter, inputs, name)
        tokens = partial(known.read_off, adapter, inputs)
        said = wanted or self._sequence(inputs, traced, batch, seen, tokens)
        about = (shape, traced.channels, whole, said, inputs.channels)
        found = layout.infer(*about, batch=batch, read=read)
        size = found.size(shape)
        plain = tuple(range(len(size)))
        if not whole:
            return Placement(found, None)
        if len(size) == len(whole):
            turns = [turn for turn in permutations(plain) if _fits(size, whole, turn)]
            turned = plain not in turns and bool(turns)
            alike = inputs.said is not None and len(turns) > 1
            as_images = traced.channels == inputs.channels
            foreign = not (turns or wanted or as_images) and found.kind != "tokens"
            if not turned and not alike and not foreign:
                return Placement(found, plain)
        order = _order(inputs, seen(), found, shape)
        if order is None and len(size) == len(whole) and not (turned or foreign):
            order = plain
        if order is not None and None in order and traced.calls > 1:
            order = None  # of one call, which need not be alike all along what others see
        return Placement(found, order)

    def _layout(self, inputs: Inputs, every: Inputs, shape: tuple[int, ...]) -> InputLayout | None:
        """Read an array's layout off the model; None for the usual one, or no spatial axes."""
        records = self._adapter.survey(inputs.native)
        if reading := _read_off(records, shape):
            return reading
        responses = self._first_responses(every, records)
        for response in responses.values():
            if (found := _layout_seen(response, shape, inputs.channels)) is not None:
                return found
        if found := _layout_said(records, responses, len(shape)):
            return found
        if len(shape) == 2:
            return None
        if len(shape) == 3 and inputs.channels == "last" and self._recurs():
            return None  # recurrent layers take no other
        if len(shape) < 5 and shape[inputs.layout.channel or 0] <= FEW:
            return None  # small images
        *others, last = [repr(reading.axes) for reading in _every_reading(len(shape))]
        raise InputError(
            f"An input of shape {shape} may be laid out as {', '.join(others)} or {last}, and the "
            "model's layers do not tell which. Say it, with B for the batch, C for channels and "
            f"any other letter for a spatial axis, as in input_layout={others[0]}."
        )

    def _sequence(
        self,
        inputs: Inputs,
        traced: LayerTrace,
        batch: int,
        seen: Callable[[], _Seen],
        tokens: Callable[[int], Layout | None],
    ) -> Layout | None:
        """Find where a layer of three axes has its channels, which its shape does not tell."""
        shape, size = traced.activations.shape, inputs.size
        if len(shape) != 3 or not size or (batch and len(size) == 1):
            return None
        if len(size) == 1 and (
            traced.channels or _fits(shape[2:], size) != _fits(shape[1:-1], size)
        ):
            return None
        if len(size) > 1 and not traced.channels:
            count = shape[1 - batch]
            among_others = layout.has_prefix(count, size) and not self._recurs()
            if among_others or tokens(count) is not None:
                return None
        found = seen()
        at = {found.along.get(axis) for axis in inputs.layout.spatial} - {None, batch}
        if not at or (len(size) > 1 and not found.tell_all(inputs)):
            return None
        return Layout("channels_first" if at == {2} else "channels_last", batch=batch or None)

    def _seen(self, adapter: Adapter, inputs: Inputs, name: str) -> _Seen:
        """Say which of the input's axes a layer lies along, and which it mixes."""
        key = "seen", name, inputs.path, len(inputs.shapes[inputs.image_path()])
        if key not in self._known:
            every = halves.all_spatial(replace(inputs, said=None))
            response = halves.responses(adapter, every, [name])[name]
            if not response.along:
                rank = len(response.shape)
                records = self._adapter.survey(inputs.native)
                first = self._first_responses(every, records).values()
                response = next((r for r in first if len(r.shape) == rank and r.along), response)
            self._known[key] = _Seen.of(response)
        found: _Seen = self._known[key]
        return found

    def _first_responses(
        self, every: Inputs, records: Sequence[LayerRecord]
    ) -> dict[str, halves.Response]:
        names = [record.layer.name for record in records if len(record.shape) > 2]
        return halves.responses(self._adapter, every, names[:_LOOKED_AT]) if names else {}

    def _recurs(self) -> bool:
        """Whether the model has recurrent layers."""
        if "recurs" not in self._known:
            layers = self._adapter.layers()
            self._known["recurs"] = any(_RECURRENT.search(layer.kind) for layer in layers)
        return bool(self._known["recurs"])


def _order(
    inputs: Inputs, seen: _Seen, found: Layout, shape: tuple[int, ...]
) -> tuple[int | None, ...] | None:
    """See which of the layer's spatial axes lies along each of the input's."""
    axes = found.axes(len(shape))
    order = tuple(
        axes.index(seen.along[axis]) if seen.along.get(axis) in axes else None
        for axis in inputs.layout.spatial
    )
    if found.kind == "tokens":
        # What the grid's rows lie along, all tokens do.
        turned = len(inputs.size) == len(found.size(shape)) == 2 and order == (None, 0)
        return (1, 0) if turned else tuple(range(len(order)))
    kept = [at for at in order if at is not None]
    lost = [at for at, n in enumerate(found.size(shape)) if at not in kept and n > 1]
    if not kept or lost or len(set(kept)) < len(kept) or not seen.tell_all(inputs):
        return None
    return order


def _look_like_images(inputs: Inputs) -> bool:
    """Tell whether there are few channels where images have them, and nowhere else."""
    if inputs.path is None:
        return False
    shape = inputs.shapes[inputs.path]
    places = {1, len(shape) - 1} | ({2} if len(shape) == 5 else set())  # a clip's may be third
    return [at for at in places if shape[at] <= FEW] == [inputs.layout.channel]


def _every_reading(rank: int) -> list[InputLayout]:
    channels = range(1, rank) if rank > 2 else ()
    return [InputLayout.of(rank, channel) for channel in (None, *channels)]


def _read_off(records: Sequence[LayerRecord], shape: tuple[int, ...]) -> InputLayout | None:
    """Read an array's layout off the map of the first convolution; None where it does not tell."""
    record = next(_convolutions(records), None)
    if record is None:
        return None
    rows, *rest = record.shape
    size = tuple(rest[1:] if record.channels == "first" else rest[:-1])
    if shape[1] in (rows, record.calls) and shape[1] > 1:
        size = (shape[1], *size)  # frames of a clip come as rows, or one by one
    orders = list(permutations(size))
    possible = [
        reading
        for reading in _every_reading(len(shape))
        if any(_no_larger(order, reading.size(shape)) for order in orders)
    ]
    if len(possible) == 1 and any(_fits(order, possible[0].size(shape)) for order in orders):
        return possible[0]
    return None


def _layout_said(
    records: Sequence[LayerRecord], responses: Mapping[str, halves.Response], rank: int
) -> InputLayout | None:
    """Read an array's layout off a convolution whose channels lie along an axis of it."""
    for record in _convolutions(records):
        if record.layer.name in responses:
            own = 1 if record.channels == "first" else len(record.shape) - 1
            for axis, other in responses[record.layer.name].along.items():
                if other == own:
                    return InputLayout.of(rank, axis)
    return None


def _convolutions(records: Sequence[LayerRecord]) -> Iterator[LayerRecord]:
    for record in records:
        if record.channels and _CONVOLVES.search(record.layer.kind) and len(record.shape) > 2:
            yield record


def _no_larger(size: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    return len(size) == len(whole) and all(n <= m for n, m in zip(size, whole, strict=True))


def _fits(size: tuple[int, ...], whole: tuple[int, ...], turn: Sequence[int] | None = None) -> bool:
    """Tell whether a map may be the input, reduced alike along each axis, its axes turned."""
    if len(size) != len(whole):
        return False
    return layout.is_reduction(size if turn is None else tuple(size[at] for at in turn), whole)


def _layout_seen(
    response: halves.Response, shape: tuple[int, ...], channels: str
) -> InputLayout | None:
    """Read the input's layout off a layer that mixes its channels; None where it does not tell."""
    along = response.along
    other = [n for own, n in enumerate(response.shape) if own not in along.values() and n > 1]
    unseen = [axis for axis in response.changes if axis not in along]
    if not along or not (other or unseen):
        return None  # a layer that only rearranges or scales
    mixed = {axis: response.mixes(axis) for axis in unseen}
    if None in mixed.values():
        return None
    channel = [axis for axis, mixes in mixed.items() if mixes]
    if len(channel) > 1:  # frames that a memory goes through are mixed too
        channel = [axis for axis in channel if shape[axis] <= FEW]
        if len(channel) != 1:
            return None
    if channel and len(other) > 1:
        return None
    if not channel:
        usual = 1 if channels == "first" else len(shape) - 1
        single = [axis for axis, n in enumerate(shape) if axis and n == 1]
        channel = [usual] if usual in single else single[-1:]
    return InputLayout.of(len(shape), channel[0] if channel else None)
