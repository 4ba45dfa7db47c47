"""A Keras model on TensorFlow, seen through the verbs of `camcore.adapter.Adapter`."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from camcore.adapter import (
    ATTENTION,
    INPUT,
    Array,
    Bias,
    Channels,
    Layer,
    LayerRecord,
    LayerTrace,
    NativeScore,
    Rectifier,
    Seed,
    Trace,
)
from camcore.errors import LayerError

from .capture import Capture, Part, keras_of, walk
from .compile import cache_of, weak
from .forward import edge
from .inputs import Signature, prepare
from .program import Program, ProgramKey
from .resume import Head, Replay
from .survey import survey
from .weights import LINEAR, biases, classifier

_PARTS: dict[str, Part] = {LINEAR: "linear", ATTENTION: "attention"}
_CHANNELS: dict[str, Channels] = {"channels_first": "first", "channels_last": "last"}


class TensorFlowAdapter:
    """A Keras model and the verbs that camcore asks for; see `camcore.adapter.Adapter`.

    What is compiled is kept for as long as the model lives, and shared by all its adapters.

    Parameters
    ----------
    model : keras.Model or keras.Layer
        A model of Keras 3 on TensorFlow, or of tf_keras.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._cache = cache_of(model)

    @property
    def traces(self) -> int:
        """How often the model was traced to compile something, by all its adapters."""
        return self._cache.traces

    @property
    def input_channels(self) -> Channels:
        """As the first layer says that has a data format, else as Keras is set."""
        formats = (getattr(layer, "data_format", None) for _, layer in walk(self._model))
        default = keras_of(self._model).backend.image_data_format()
        return _CHANNELS[next((known for known in formats if known in _CHANNELS), default)]

    takes_images = False

    def layers(self) -> Sequence[Layer]:
        """Every layer, by its path ``outer/inner``; equal paths are numbered ``_1``, ``_2``."""
        return [Layer(path, type(layer).__name__, layer) for path, layer in walk(self._model)]

    def survey(self, inputs: Any) -> Sequence[LayerRecord]:
        """Shapes of the layers that run; nothing is computed."""
        tensors, signature = self._prepare(inputs)
        sample, sized = signature.first(tensors.values()), signature.sized(1)
        known = dict(walk(self._model))
        key = ("survey", self._state(known), sized.key)
        seen = self._cache.fetch(key, 1, lambda _: survey(self._model, sized, sample))
        paths = {id(layer): (path, layer) for path, layer in known.items()}
        records = []
        for one in seen:
            path, layer = paths[id(one.layer())]
            records.append(
                LayerRecord(
                    Layer(path, type(layer).__name__, layer),
                    one.shape,
                    self._channels(layer, len(one.shape)),
                    one.calls,
                    one.is_output,
                    one.attention,
                    None if one.repeats is None else paths[id(one.repeats())][0],
                    one.several,
                )
            )
        return records

    def run(
        self,
        inputs: Any,
        layers: Sequence[str] = (),
        seeds: Sequence[Seed | NativeScore] = (),
        *,
        logits: bool = True,
        second_order: bool = False,
        rectifier: Rectifier | None = None,
    ) -> Trace:
        """One compiled forward pass and one pull-back a seed, all in one graph.

        A `NativeScore` function is traced once and compiled in: what it reads from
        elsewhere is frozen then, so pass another function for another score.
        """
        tensors, signature = self._prepare(inputs)
        natives = [seed.function if isinstance(seed, NativeScore) else None for seed in seeds]
        known = dict(walk(self._model))
        targets = [self._target(name, known) for name in layers]
        question = ProgramKey(targets, natives, logits, second_order, rectifier)
        program = self._cache.fetch(
            ("run", self._state(known), signature.key, question.key),
            signature.batch,
            lambda size: Program(self._model, question, signature.sized(size)),
        )
        results = program(tensors.values(), seeds)
        return Trace(
            inputs={path: edge(tensor).numpy() for path, tensor in tensors.items()},
            input_channels=self.input_channels,
            outputs=results.outputs,
            activation=program.activation,
            layers={
                target.name: LayerTrace(
                    activations,
                    tuple(each[i] for each in results.gradients),
                    self._channels(target.layer, activations.ndim),
                    tuple(each[i] for each in results.hessian_products),
                )
                for i, (target, activations) in enumerate(
                    zip(targets, results.activations, strict=True)
                )
            },
            native_scores=tuple(results.scores),
        )

    @contextmanager
    def resume(self, inputs: Any, layer: str, *, logits: bool = True) -> Iterator[Head]:
        """Run one sample up to `layer`, then as often as asked from there on."""
        tensors, signature = self._prepare(inputs)
        one = signature.sized(1)
        known = dict(walk(self._model))
        target = self._target(layer, known)
        if target.layer is None or target.part != "output" or target.call is not None:
            raise LayerError(
                f"A model is resumed from a layer that runs once, not from {layer!r}. "
                "Name such a layer."
            )
        key = ("resume", self._state(known), one.key, layer, logits)
        replay = self._cache.fetch(key, 1, lambda _: Replay(self._model, target, logits, one))
        yield replay.start(one, signature.first(tensors.values()))

    def classifier(self) -> tuple[Array, Array] | None:
        """Kernel and bias of the last dense layer or 1x1 convolution."""
        return classifier(self._model)

    def biases(self) -> Sequence[Bias]:
        """What dense layers, convolutions and batch normalisations add, unless not built."""
        return list(biases(self._model))

    def _prepare(self, inputs: Any) -> tuple[dict[str, tf.Tensor], Signature]:
        """Inputs as tensors, for a model that is built by now."""
        tensors, signature = prepare(self._model, inputs)
        if not self._cache.ready:
            if not all(layer.built for layer in (self._model, *dict(walk(self._model)).values())):
                signature.call(self._model, signature.first(tensors.values()))
            self._cache.ready = True
        return tensors, signature

    def _target(self, name: str, known: dict[str, Any]) -> Capture:
        if name == INPUT:
            return Capture(name, None)
        if name in known:
            return Capture(name, known[name])
        path, _, call = name.partition("#")
        part = next((part for mark, part in _PARTS.items() if path.endswith(mark)), "output")
        layer = known.get(path.removesuffix(LINEAR).removesuffix(ATTENTION))
        fits = part != "linear" or hasattr(layer, "activation")
        if layer is not None and fits and (not call or call.lstrip("-").isdecimal()):
            return Capture(name, layer, int(call) if call else None, part)
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"Near it: {', '.join(near)}." if near else "List them with `layers()`."
        raise LayerError(f"The model has no layer {name!r}. {hint}")

    def _state(self, known: dict[str, Any]) -> Hashable:
        """What of the model is compiled in besides its weights: layers, activations, patches."""
        return tuple(
            (weak(layer), weak(getattr(layer, "activation", None)), weak(vars(layer).get("call")))
            for layer in (self._model, *known.values())
        )

    def _channels(self, layer: Any, rank: int) -> Channels | None:
        """Where the layer says its channels are; an image or a volume follows the model."""
        own = _CHANNELS.get(getattr(layer, "data_format", ""))
        if rank < 3:
            return None
        return own or (self.input_channels if rank in (4, 5) else None)
