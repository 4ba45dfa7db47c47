"""What the name of a layer means that runs several times, or returns several arrays.

It is found out in the first pass that shows it, by further passes, and known of the model
from then on. A layer that sees the frames of a video one by one gives all its calls at
once, as rows ``(B * T, ...)`` of one batch; see `camcore.layers.frames`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from camcore._shared.remembered import remembered
from camcore._shared.warn import warn
from camcore.adapter import (
    Adapter,
    Array,
    Bias,
    Channels,
    Layer,
    LayerName,
    LayerRecord,
    LayerTrace,
    Leaves,
    NativeScore,
    PullsBetween,
    PullsBeyond,
    Seed,
    Trace,
    not_offered,
)
from camcore.errors import GradientError, LayerError, MethodError
from camcore.inputs import Inputs
from camcore.layers import leaves, seen
from camcore.layers.dependent import dependent_layers
from camcore.layers.fed import fed
from camcore.layers.layout import Layout

Key: TypeAlias = tuple[str, "str | None", tuple[tuple[int, ...], ...]]
"""A layer's name, the input that is said, and the shapes of one sample of all inputs."""


@dataclass(frozen=True)
class Reading:
    """What a layer's name means.

    Parameters
    ----------
    name : str
        The name that an adapter understands alike, of a leaf where the layer returns several.
    frames : tuple of int
        For each frame of a sample the call that sees it; empty where one call is meant.
    """

    name: str
    frames: tuple[int, ...] = ()

    @property
    def names(self) -> list[str]:
        """What an adapter is asked for."""
        parsed = LayerName.parse(self.name)
        return [str(replace(parsed, call=call)) for call in self.frames] or [self.name]


_known: WeakKeyDictionary[Any, dict[Key, Reading]] = WeakKeyDictionary()
"""What is known of each model."""


class Reader:
    """An adapter that reads the names of layers as they are meant.

    Parameters
    ----------
    model : object
        The model, and what is known of it.
    adapter : Adapter
        Its adapter.
    inputs : Inputs
        What the model is explained on.
    layout : Layout or None
        What the user says of the layer's layout.
    explained : sequence of str
        The layers that are looked at; other names are left as they are.
    said : str or None
        The input that the user says maps lie over.
    """

    def __init__(
        self,
        model: object,
        adapter: Adapter,
        inputs: Inputs,
        layout: Layout | None,
        explained: Sequence[str],
        said: str | None,
    ) -> None:
        self._model = model
        self._adapter = adapter
        self._inputs = inputs
        self._layout = layout
        self._explained = explained
        self._said = said if len(inputs.pictures) > 1 else None
        self._of = self._said, tuple(shape[1:] for shape in inputs.shapes.values())
        self._known = remembered(_known, model, {})

    @property
    def input_channels(self) -> Channels:
        """As the adapter has it."""
        return self._adapter.input_channels

    @property
    def takes_images(self) -> bool:
        """As the adapter has it."""
        return self._adapter.takes_images

    @property
    def compiles(self) -> bool:
        """As the adapter has it."""
        return self._adapter.compiles

    def layers(self) -> Sequence[Layer]:
        """List every layer, as the adapter does."""
        return self._adapter.layers()

    def survey(self, inputs: Any) -> Sequence[LayerRecord]:
        """Survey the layers, as the adapter does."""
        return self._adapter.survey(inputs)

    def classifier(self) -> tuple[Array, Array] | None:
        """Read the last linear layer, as the adapter does."""
        return self._adapter.classifier()

    def biases(self) -> Sequence[Bias]:
        """List what layers add, as the adapter does."""
        return self._adapter.biases()

    def resume(
        self, inputs: Any, layer: str, *, logits: bool = True
    ) -> AbstractContextManager[Callable[[Array], Leaves]]:
        """Run one sample up to a layer, as the adapter does."""
        return self._adapter.resume(inputs, self._reading(layer).name, logits=logits)

    def gradients_from(
        self, inputs: Any, layer: str, *, logits: bool = True
    ) -> AbstractContextManager[Callable[[Array, Seed], Array]]:
        """Run one sample up to a layer, then on and back again, as the adapter does."""
        return self._adapter.gradients_from(inputs, self._reading(layer).name, logits=logits)

    def gradients_between(self, inputs: Any, pulls: Mapping[str, tuple[str, Array]]) -> Leaves:
        """Pull what is given at some layers back to earlier ones, as the adapter does.

        Raises
        ------
        NotOfferedError
            It does not.
        """
        if not isinstance(self._adapter, PullsBetween):
            raise not_offered(self._adapter, "gradients_between")
        named = {self._reading(name).name: name for name in pulls}
        asked = {
            own: (self._reading(pulls[name][0]).name, pulls[name][1]) for own, name in named.items()
        }
        found = self._adapter.gradients_between(inputs, asked)
        return {named[own]: gradients for own, gradients in found.items()}

    def gradients_beyond(
        self, inputs: Any, layer: str, later: str, *, logits: bool = True
    ) -> AbstractContextManager[Callable[[Array, Seed], Array]]:
        """Run one sample up to a layer, then on and back to a later one, as the adapter does.

        Raises
        ------
        NotOfferedError
            It does not.
        """
        if not isinstance(self._adapter, PullsBeyond):
            raise not_offered(self._adapter, "gradients_beyond")
        names = self._reading(layer).name, self._reading(later).name
        return self._adapter.gradients_beyond(inputs, *names, logits=logits)

    def run(
        self,
        inputs: Any,
        layers: Sequence[str] = (),
        seeds: Sequence[Seed | NativeScore] = (),
        **how: Any,
    ) -> Trace:
        """Run one pass, and once again where it shows that a name means something else.

        Raises
        ------
        LayerError
            A layer returns several maps, or sees a part of the input in each call.
        """
        readings = {name: self._reading(name) for name in layers}
        asked = [name for reading in readings.values() for name in reading.names]

        def traced(names: Sequence[str]) -> Trace:
            return self._adapter.run(inputs, names, seeds, **how)

        try:
            trace = traced(asked)
        except GradientError:
            # The score may depend on other calls, or on some of the frames.
            plain = self._adapter.run(inputs, asked)
            if self._learn(plain, readings):
                return self.run(inputs, layers, seeds, **how)
            if len(asked) == len(readings):
                raise
            trace = _of_some_frames(plain, traced, readings.values())
        if self._learn(trace, readings):
            return self.run(inputs, layers, seeds, **how)
        if asked == list(layers):
            return trace
        found = {
            name: _together([trace.layers[one] for one in reading.names], self._inputs.batch)
            for name, reading in readings.items()
        }
        return replace(trace, layers=found)

    def _reading(self, name: str) -> Reading:
        return self._known.get((name, *self._of), Reading(name))

    def _learn(self, trace: Trace, readings: Mapping[str, Reading]) -> bool:
        """Learn from a pass what names mean; tells whether another pass is needed for it."""
        again = False
        for name in readings:
            key = (name, *self._of)
            if key not in self._known and name in self._explained:
                self._known[key] = reading = self._read(name, trace)
                again |= reading.names != [name]
        return again

    def _read(self, name: str, trace: Trace) -> Reading:
        """Find out what a name means."""
        traced = trace.layers[name]
        if traced.calls == 1 and not traced.leaves and self._said is None:
            return Reading(name)
        parsed = LayerName.among(name, {layer.name for layer in self._adapter.layers()})
        if traced.leaves and not parsed.part:
            about = self._inputs.size, self._inputs.channels, self._layout
            path = leaves.meant(name, traced.leaves, *about)
            if path != next(iter(traced.leaves)):
                name = str(replace(parsed, part=path))
        repeated = traced.calls > 1 and parsed.call is None
        calls = [f"{name}#{call}" for call in range(traced.calls)] if repeated else [name]
        if self._said is not None:
            found = fed(self._model, self._adapter, self._inputs, calls, self._said)
            if not found:
                raise LayerError(
                    f"Layer {name!r} does not depend on the input {self._said!r}, so it has no map "
                    "that lies over it. Say another input, or choose a layer that this one feeds."
                )
            if len(found) == 1:
                return Reading(next(iter(found)))
        if not repeated:
            return Reading(name)
        return Reading(name, self._frames(name, traced, self._inputs.traced(trace)))

    def _frames(self, name: str, traced: LayerTrace, inputs: Inputs) -> tuple[int, ...]:
        """Find the call that sees each frame; warn where one call stands for several.

        Raises
        ------
        LayerError
            It would stand for the whole input, of which it sees a part.
        """
        count, first = traced.calls, f"{name}#0"
        names = [f"{name}#{call}" for call in range(count)]

        def calls(images: Array) -> list[Array]:
            layers = self._adapter.run(inputs.with_images(images).native, names).layers
            return [layers[name].activations for name in names]

        images = None if inputs.path is None else inputs.arrays[inputs.path]
        if images is not None and images.ndim > 4:
            for axis in range(1, images.ndim):
                several = images.shape[axis] > 1 and count % images.shape[axis] == 0
                if several and (found := seen.order_of_frames(calls, images, axis)):
                    return found
        if images is not None and seen.last_sees_a_part(calls, images, inputs.layout.spatial):
            raise LayerError(
                f"Layer {name!r} runs {count} times in a pass and sees a part of the input each "
                "time, such as a window or a crop, whose place in it is not known. Choose a layer "
                f"that sees the whole, or one part by its call: layer={first!r} to "
                f"{names[-1]!r}, whose map then lies over that part alone."
            )
        warn(
            f"Layer {name!r} runs {count} times in a pass; its last call is explained. Say which "
            f"is meant: layer={first!r} to {names[-1]!r}, or several in a list."
        )
        return ()


def _of_some_frames(
    plain: Trace, traced: Callable[[Sequence[str]], Trace], readings: Iterable[Reading]
) -> Trace:
    """Trace frames that the score may not depend on: those have gradients of zero.

    Raises
    ------
    GradientError
        It depends on none of a layer's, or not on another layer.
    """
    kept: list[Trace] = []

    def keep(names: Sequence[str]) -> Trace:
        kept.append(traced(names))
        return kept[-1]

    found: dict[str, LayerTrace] = {}
    for reading in readings:
        some = dependent_layers(keep, reading.names) if reading.frames else {}
        found |= some or keep(reading.names).layers
        like = next(iter(found[name] for name in reading.names if name in found))
        for name in reading.names:
            of_plain = plain.layers[name]
            nothing = tuple(np.zeros_like(of_plain.activations) for _ in like.gradients)
            found.setdefault(name, replace(of_plain, gradients=nothing))
    return replace(kept[-1], layers=found)


def _together(calls: Sequence[LayerTrace], batch: int) -> LayerTrace:
    """Put the calls of a layer, one a frame, together as rows of one batch, sample by sample.

    Raises
    ------
    MethodError
        Second derivatives were asked for, which of a call alone leave other frames out.
    """
    if len(calls) == 1:
        return calls[0]
    if calls[0].hessian_products:
        raise MethodError(
            "ShapleyCAM takes second derivatives of all frames together, and the layer sees them "
            "one by one. Choose method='gradcam' or another of first derivatives."
        )

    def rows(arrays: Iterable[Array]) -> Array:
        # Attention may have its heads folded into the batch.
        by_call = [array.reshape(batch, -1, *array.shape[1:]) for array in arrays]
        joined = np.stack(by_call, axis=1)
        return joined.reshape(-1, *joined.shape[3:])

    return replace(
        calls[0],
        activations=rows(call.activations for call in calls),
        gradients=tuple(map(rows, zip(*(call.gradients for call in calls), strict=True))),
        frames=len(calls),
    )
