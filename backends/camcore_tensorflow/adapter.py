"""A Keras model on TensorFlow, seen through the verbs of `camcore.adapter.Adapter`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import tensorflow as tf

from camcore.adapter import (
    Array,
    Bias,
    Channels,
    Layer,
    LayerRecord,
    Leaves,
    Mode,
    Parameters,
    Rectifier,
    SecondOrder,
    Seed,
    Trace,
    check_parameters,
    not_between,
)
from camcore.errors import LayerError
from camcore.layers.layout import shape_of_one
from camcore.nest import path_of
from camcore.targets.scale import Scale
from camcore.targets.stated import stated_scales

from . import weights
from .between import Between
from .compile import Program, Seeds, cache_of, seed_key
from .inputs import Signature, prepare
from .layers import check_reachable, find, input_channels, walk
from .preserve import uninterrupted
from .resume import Head, Replay
from .survey import Survey

T = TypeVar("T")

_TRAINING: dict[Mode, bool | None] = {"eval": False, "as-is": None, "train": True}
"""The argument that a model is called with; None leaves it out."""


class TensorFlowAdapter:
    """A Keras model and the verbs that camcore asks for; see `camcore.adapter.Adapter`.

    What is compiled is kept for as long as the model lives, and shared by all its adapters, at
    most for a number of questions and sizes. Sizes that vary are left open where the model does
    not ask for them.

    The main thread lets another one run the model, and waits: Ctrl-C arrives when the pass under
    way is done, and leaves nothing behind. Locks that the main thread holds, and values that it
    keeps for itself (`threading.local`), are not there for the model; Keras' own are.

    Parameters
    ----------
    model : keras.Model or keras.Layer
        A model of Keras 3 on TensorFlow, or of tf_keras.
    mode : {"eval", "as-is", "train"}
        Whether the model is called with ``training=False``, without a word, or with
        ``training=True``. What it assigns in a call is forgotten, but what is drawn from its
        seeds goes on from call to call.
    """

    takes_images = False
    compiles = True

    def __init__(self, model: Any, mode: Mode = "eval") -> None:
        self._model = model
        self._training = _TRAINING[mode]
        self._cache = cache_of(model)

    @property
    def traces(self) -> int:
        """How often the model was traced to compile something, by all its adapters."""
        return self._cache.traces

    @property
    def stated_scales(self) -> Mapping[str, Scale]:
        """What the loss that the model is compiled with, or its configuration, says of outputs."""
        return stated_scales(self._model)

    @property
    def input_channels(self) -> Channels:
        """As the first layer says that has a data format, else as Keras is set."""
        return input_channels(self._model)

    @property
    def output_names(self) -> Mapping[str, str]:
        """Paths of the outputs by the names that a functional Keras model has for them."""
        model: Any = self._model
        names = getattr(model, "output_names", None) or ()
        tensors = model.outputs if names else ()
        paths = (path_of(model.output, tensor) for tensor in tensors)
        return {name: path for name, path in zip(names, paths, strict=True) if path is not None}

    def layers(self) -> Sequence[Layer]:
        """List every layer by its path ``outer/inner``; equal paths are numbered ``_1``, ``_2``."""
        return [Layer(path, type(layer).__name__, layer) for path, layer in walk(self._model)]

    @uninterrupted
    def survey(self, inputs: Any) -> Sequence[LayerRecord]:
        """Survey the layers that run; nothing is computed.

        A model that does not take a single sample is surveyed on the whole batch.

        Raises
        ------
        LayerError
            The layers are those of a saved model, out of reach.
        """
        tensors, signature, known = self._read(inputs)
        make = partial(Survey, self._model)
        try:
            survey = self._compiled("survey", signature.sized(1), (), make)
            records = survey(signature.first(tensors.values()))
        except (ValueError, tf.errors.InvalidArgumentError):
            if signature.batch == 1:
                raise
            # A batch size of its own, rows that belong together: else it raises again.
            whole = self._compiled("survey", signature, (), make)([*tensors.values()])
            records = [replace(r, shape=shape_of_one(r.shape, signature.batch)) for r in whole]
        check_reachable(records, {"": self._model, **known})
        return [
            replace(record, layer=replace(record.layer, native=known[record.layer.name]))
            for record in records
        ]

    @uninterrupted
    def run(
        self,
        inputs: Any,
        layers: Sequence[str] = (),
        seeds: Seeds = (),
        *,
        logits: bool = True,
        second_order: SecondOrder = False,
        rectifier: Rectifier | None = None,
        optional: Sequence[str] = (),
    ) -> Trace:
        """Run one compiled forward pass and one pull-back a seed, all in one graph.

        A `NativeScore` function is compiled in. One that is written anew, with the code and
        the values of one before it, compiles nothing; what a function reads of objects with state
        of their own is frozen as it was first, so pass another one for another score.
        """
        tensors, signature, known = self._read(inputs)
        captures = {name: find(name, known) for name in layers}
        how = logits, second_order, rectifier, tuple(optional)
        asked = tuple(captures), tuple(map(seed_key, seeds)), how
        make = partial(Program, self._model, captures, seeds, *how)
        return self._compiled("run", signature, asked, make)(tensors, seeds)

    @contextmanager
    def resume(self, inputs: Any, layer: str, *, logits: bool = True) -> Iterator[Head]:
        """Run one sample up to `layer`, then as often as asked from there on."""
        yield self._resume(inputs, layer, logits)

    @contextmanager
    def gradients_from(
        self, inputs: Any, layer: str, *, logits: bool = True
    ) -> Iterator[Callable[[Array, Seed], Array]]:
        """Run one sample up to `layer`, then from there on and back again."""
        yield self._resume(inputs, layer, logits, layer).gradients

    @contextmanager
    def gradients_beyond(
        self, inputs: Any, layer: str, later: str, *, logits: bool = True
    ) -> Iterator[Callable[[Array, Seed], Array]]:
        """Run one sample up to `layer`, then from there on and back to a later one."""
        yield self._resume(inputs, layer, logits, later).gradients

    @uninterrupted
    def gradients_between(self, inputs: Any, pulls: Mapping[str, tuple[str, Array]]) -> Leaves:
        """Run one forward pass, and pull what is given at some layers back to earlier ones."""
        tensors, signature, known = self._read(inputs)
        pairs = {name: later for name, (later, _) in pulls.items()}
        captures = {name: find(name, known) for name in (*pairs, *pairs.values())}
        make = partial(Between, self._model, captures, pairs)
        between = self._compiled("between", signature, tuple(pairs.items()), make)
        return between(tensors, {name: cotangent for name, (_, cotangent) in pulls.items()})

    @uninterrupted
    def _resume(self, inputs: Any, layer: str, logits: bool, back: str | None = None) -> Head:
        """Run one sample up to `layer`, to go on from there, and back to what is asked for."""
        tensors, signature, known = self._read(inputs)
        one, capture = signature.sized(1), find(layer, known)
        part, call = capture.name.part, capture.name.call
        if capture.layer is None or part in ("attention", "linear") or call is not None:
            raise LayerError(f"A model is resumed from a layer that runs once, not {layer!r}.")
        source = None if back is None else find(back, known)
        if source is not None and source.layer is None:
            raise not_between(layer, str(source.name))
        make = partial(Replay, self._model, capture, logits, source)
        replay = self._compiled("resume", one, (layer, logits, back), make)
        return replay.start(one, signature.first(tensors.values()))

    @uninterrupted
    def classifier(self) -> tuple[Array, Array] | None:
        """Read kernel and bias of the last dense layer or 1x1 convolution."""
        return weights.classifier(self._model)

    @uninterrupted
    def biases(self) -> Sequence[Bias]:
        """List what dense layers, convolutions and batch normalisations add, unless not built."""
        return list(weights.biases(self._model))

    @uninterrupted
    def parameters(self) -> Parameters:
        """Copy each layer's own weights and moving statistics; empty for layers not built."""
        return weights.parameters(self._model)

    @uninterrupted
    def with_parameters(self, parameters: Parameters) -> Any:
        """Copy the model, and write these into the copy."""
        check_parameters(parameters, weights.parameters(self._model))
        twin = weights.copied(self._model)
        weights.assign(self._model, parameters, twin)
        return twin

    def _read(self, inputs: Any) -> tuple[dict[str, tf.Tensor], Signature, dict[str, Any]]:
        """Prepare the inputs, and list the layers by path of a model that is built by now."""
        tensors, signature = prepare(self._model, inputs)
        inference, signature = signature, replace(signature, training=self._training)
        known = dict(walk(self._model))
        if not self._cache.built:
            if not all(layer.built for layer in (self._model, *known.values())):
                inference.call(self._model, signature.first(tensors.values()))
                known = dict(walk(self._model))
            self._cache.built = True
        return tensors, signature, known

    def _compiled(
        self,
        verb: str,
        signature: Signature,
        asked: Hashable,
        make: Callable[[Signature], T],
    ) -> T:
        """Compile what a verb asks for, or take what was compiled for it before."""
        key = verb, self.input_channels, signature.key, asked
        return self._cache.fetch(key, signature, make)
